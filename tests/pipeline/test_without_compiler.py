"""Loading a model does not import torch's compiler."""

import subprocess
import sys

import pytest
import tiny_vision_language
from inside_layers import FAMILIES
from scripts import command
from text_families import write_text_model

from brain_activity_prediction.datasets.nsd.design import read_design
from brain_activity_prediction.datasets.nsd.nsd import find_nsd

NEVER = "torch._dynamo.symbolic_convert"  # a module of the compiler that is imported with it


def bert(folder, nsd):
    write_text_model("bert", folder)
    images = read_design(find_nsd(nsd).design()).image_ids(1)
    (nsd / "captions.csv").write_text("nsd_id,caption\n" + "".join(f"{image},a dog\n" for image in images))
    return "text_model.py", "--captions", nsd / "captions.csv"


def clip(folder, nsd):
    FAMILIES["CLIP"]().model().save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(
        '{"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 28}, "crop_size": 28}'
    )
    return ("vision_model.py",)


def llava(folder, nsd):
    tiny_vision_language.write("llava", folder)
    return ("llava_1.5_13b.py",)


def any_vision_language_model(folder, nsd):
    tiny_vision_language.write("qwen2_5_vl", folder)
    return ("vision_language_model.py",)


@pytest.mark.very_slow
@pytest.mark.parametrize(
    "write",
    [*(pytest.param(one, marks=pytest.mark.exhaustive) for one in (bert, clip, llava)), any_vision_language_model],
)
def test_a_script_runs_without_torchs_compiler(write, own_nsd, tmp_path):
    script, *flags = write(tmp_path / "model", own_nsd)
    words = command(script, "-d", own_nsd, "-g", "cpu", "-m", "org/model", "--checkpoint", tmp_path / "model", *flags)
    words = [sys.executable, "-X", "importtime", *words[1:], "--shard", "0/20"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "torchvision.ops" in done.stderr  # what would import it is there
    assert NEVER not in done.stderr
