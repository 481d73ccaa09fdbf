"""Time the generic vision-language script next to LLaVA's own script and the bare forward pass, on one model.

    python benchmarks/generic_script.py [--layers 4] [--width 512] [--images 1] [--repeats 11]

The model is LLaVA-1.5's class with random weights: 576 image tokens, widths and layers as given. All variants run in
turn in one process of one thread. Ratios of processor time are taken within each repeat; their median is printed with
its 95 % interval.
"""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "tests" / "support")]

import numpy as np  # noqa: E402
import tiny_vision_language  # noqa: E402
import torch  # noqa: E402
from paired import alternate, median_ratio  # noqa: E402
from PIL import Image  # noqa: E402
from scripts import load_script  # noqa: E402

from brain_activity_prediction.extract_image_embeddings.prompts import PROMPTS  # noqa: E402
from brain_activity_prediction.models.checkpoints.checkpoint import Checkpoint  # noqa: E402
from brain_activity_prediction.models.vision_language import model_script  # noqa: E402

POOLINGS = ("mean",)


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("layers", 4), ("width", 512), ("images", 1), ("repeats", 11)):
        flags.add_argument(f"--{name}", type=int, default=default)
    sizes = flags.parse_args()
    torch.set_num_threads(1)
    print("making the model", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        measure(sizes, Path(folder) / "llava")


def measure(sizes, folder: Path) -> None:
    part = {"hidden_size": sizes.width, "intermediate_size": 3 * sizes.width, "num_hidden_layers": sizes.layers}
    row = {
        "processor": {"patch_size": 14, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1},
        "config": {
            "text_config": part | {"head_dim": sizes.width // 4, "max_position_embeddings": 2048},
            "vision_config": part | {"image_size": 336},
        },
        "image": {"size": {"shortest_edge": 336}, "crop_size": 336},
    }
    tiny_vision_language.write("llava", folder, row)
    checkpoint = Checkpoint("org/model", None, folder)
    special = load_script("llava_1.5_13b.py")
    generic = model_script.script(checkpoint, special.TEMPLATE, None, False)
    images = [
        Image.fromarray(np.random.default_rng(row).integers(0, 255, (425, 425, 3), dtype=np.uint8))
        for row in range(sizes.images)
    ]
    variants = {}
    for name, script in (("special", special), ("generic", generic)):
        print(f"loading the model of the {name} script", flush=True)
        loaded = script.load(checkpoint, "cpu", torch.float32)
        for prompts in (1, 9):
            variants[f"{name}, {prompts} prompts"] = reading(script, loaded, images, prompts)
    variants["bare forward"] = bare(generic, loaded, images)
    with torch.inference_mode():
        taken = alternate(variants, sizes.repeats, progress=True)
    for name, times in taken.items():
        print(f"{name:20} {np.median(times[:, 1]):.3f} s of processor time")
    for one, other in (
        ("generic, 1 prompts", "special, 1 prompts"),
        ("generic, 9 prompts", "special, 9 prompts"),
        ("generic, 1 prompts", "bare forward"),
        ("generic, 9 prompts", "generic, 1 prompts"),
    ):
        print(f"{one} / {other}: {median_ratio(taken, one, other)}")


def reading(script, loaded, images, n_prompts):
    """Return a function that reads preprocessed images with the first prompts."""
    model, processor = loaded
    pixels = script.preprocess(processor, images).to("cpu", torch.float32)

    def run():
        _, context = script.encode_images(model, processor, pixels, POOLINGS)
        for number in range(1, n_prompts + 1):
            script.encode_prompt(model, processor, context, shortened(PROMPTS[number]), POOLINGS, 0)

    return run


def shortened(prompt):
    """Cut a prompt to a quarter of its letters: tokens are bytes here, and some four letters in published models."""
    return prompt[: len(prompt) // 4]


def bare(script, loaded, images):
    """Return a function that runs the public forward pass of one prompt, without hooks and pooling."""
    network, reader = loaded
    (group,) = script.preprocess(reader, images).groups
    inputs = reader.whole(reader.text(shortened(PROMPTS[1])), group)
    return lambda: network.model(**inputs, use_cache=True, logits_to_keep=1)


if __name__ == "__main__":
    main()
