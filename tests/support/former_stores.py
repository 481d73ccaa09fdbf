"""Half-finished stores of version 1.0.0 (`tests/data/stores_of_1_0_0`), and the models and images they were made from.

`python tests/support/former_stores.py FOLDER` writes the images and models again. The stores were then written by the
scripts of version 1.0.0 (commit 08c0ec0) for every second of the six images:

    SCRIPT -d FOLDER/nsd -g cpu -b 3 --shard 0/2 --checkpoint FOLDER/SCRIPT -p 1 --response --max-new-tokens 3

InstructBLIP and OpenFlamingo also ran with `-p 2` and without answers. ViT has neither prompts nor answers.
"""

import shutil
import sys
from pathlib import Path

import published_models
import tiny_mplug_owl
import tiny_openflamingo

from brain_activity_prediction.demo.dataset import write_dataset
from brain_activity_prediction.demo.models import write_llava, write_vit
from brain_activity_prediction.demo.simulation import Recipe

STORES = Path(__file__).resolve().parents[1] / "data" / "stores_of_1_0_0"
SIX_IMAGES = Recipe(subjects=(), n_shared=2, n_unique=4, n_sessions=1, image_size=32)
ANSWERS = ("-p", 1, "--response", "--max-new-tokens", 3)


def write_images(base_dir: Path) -> Path:
    """Write an NSD of six images without responses."""
    write_dataset(base_dir, lambda pictures: {}, SIX_IMAGES)
    return base_dir


def _mplug_owl(folder):
    folder.mkdir()
    tiny_mplug_owl.write_checkpoint(folder)


def _openflamingo(folder):
    geometry = tiny_openflamingo.GEOMETRY
    tiny_openflamingo.write_checkpoint(folder, geometry, tiny_openflamingo.random_tensors(geometry))


def _idefics(folder):
    published_models.write_idefics(folder)
    (folder / "special_tokens_map.json").unlink()  # version 1.0.0 did not load tokens written as dictionaries


WRITE = {
    "llava_1.5_13b.py": lambda folder: write_llava(folder, num_hidden_layers=2),
    "instruct_blip_13b.py": published_models.write_instruct_blip,
    "idefics_9b_instruct.py": _idefics,
    "mplug_owl_llama_7b.py": _mplug_owl,
    "openflamingo_9b.py": _openflamingo,
    "vit_huge_patch14_224_in21k.py": lambda folder: write_vit(folder, num_hidden_layers=2),
}


if __name__ == "__main__":
    target = Path(sys.argv[1])
    shutil.rmtree(target, ignore_errors=True)
    write_images(target / "nsd")
    for script, write in WRITE.items():
        write(target / script)
