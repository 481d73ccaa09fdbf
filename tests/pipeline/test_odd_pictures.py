"""Pictures that a model does not read are named before the others are computed; all others are read."""

import numpy as np
import pytest
import tiny_vision_language
import transformers as hf
from own_experiment import image_names, write_experiment
from PIL import Image
from scripts import run_here

from brain_activity_prediction.extraction.odd_pictures import extremes

pytestmark = pytest.mark.slow

ODD = image_names()[41]


@pytest.fixture
def extract(tmp_path):
    """A function that extracts a picture of a size among 59 plain ones with a model; returns the status and errors."""

    def run(model_type, size, *flags, own=None):
        write_experiment(tmp_path / "lab")
        tiny_vision_language.write(model_type, tmp_path / "model", own)
        pixels = np.random.default_rng(0).integers(0, 256, (*reversed(size), 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "lab/images" / ODD)
        done = run_here(
            *("vision_language_model.py", "-d", tmp_path / "lab", "-s", "sub-01", "-g", "cpu", "-m", "org/model"),
            *("--checkpoint", tmp_path / "model", "-b", "20", *flags),
        )
        return done.returncode, done.stderr.strip().splitlines()[-1]

    return run


@pytest.mark.parametrize(
    ("model_type", "size", "said"),
    [
        ("qwen2_5_vl", (2000, 3), "could not prepare the images (ValueError: absolute aspect ratio must be smaller"),
        ("lighton_ocr", (1, 1), "could not compute the images (RuntimeError: Given input with spatial size (1, 1)"),
    ],
)
def test_a_picture_that_a_model_does_not_read_is_named_before_anything_is_written(
    model_type, size, said, extract, tmp_path
):
    status, last = extract(model_type, size)
    assert status == 2
    assert f"image {ODD}, of {size[0]} x {size[1]} pixels, is not read (" in last
    assert said in last
    assert last.endswith("leave it out, or store it in another size")
    assert not list(tmp_path.rglob("batch_*"))


@pytest.mark.parametrize("size", [(1, 1), (2000, 3)])
def test_other_models_read_tiny_and_narrow_pictures(size, extract, tmp_path):
    assert extract("llava", size)[0] == 0
    assert list(tmp_path.rglob("batch_*"))


def test_a_picture_with_more_tokens_than_the_model_has_positions_is_named(extract, tmp_path):
    own = tiny_vision_language.OWN["qwen2_5_vl"]
    image = own["image"] | {"size": {"shortest_edge": 56 * 56, "longest_edge": 560 * 560}}
    text = own["config"]["text_config"] | {"max_position_embeddings": 330}
    own = own | {"image": image, "config": own["config"] | {"text_config": text}}
    status, last = extract("qwen2_5_vl", (600, 600), own=own)
    assert status == 2
    assert f"image {ODD}, of 600 x 600 pixels, is not read (a prompt takes " in last
    assert "the language model has 330 positions" in last
    assert not list(tmp_path.rglob("batch_*"))


def test_the_smallest_largest_widest_and_tallest_picture_are_computed_first():
    sizes = {"plain": (40, 40), "small": (30, 20), "large": (90, 60), "wide": (80, 25), "tall": (25, 80)}
    assert sorted(extremes(sizes)) == ["large", "small", "tall", "wide"]
    assert extremes({"a": (40, 40), "b": (40, 40)}) == []


def test_pictures_that_a_processor_leaves_in_several_sizes_are_read_with_b_1(tmp_path):
    write_experiment(tmp_path / "lab")
    Image.new("RGB", (30, 40), "teal").save(tmp_path / "lab/images" / ODD)
    config = hf.ResNetConfig(embedding_size=8, hidden_sizes=[8, 8], depths=[1, 1], layer_type="basic")
    hf.ResNetModel(config).save_pretrained(tmp_path / "resnet")
    hf.ViTImageProcessor(do_resize=False).save_pretrained(tmp_path / "resnet")
    words = ["-d", tmp_path / "lab", "-s", "sub-01", "-g", "cpu", "-m", "org/model"]
    words += ["--checkpoint", tmp_path / "resnet"]
    refused = run_here("vision_model.py", *words, "-b", "60")
    assert refused.returncode == 2
    assert "could not join pictures of several sizes (" in refused.stderr
    assert refused.stderr.endswith("give -b 1, or store them in one size\n")
    assert run_here("vision_model.py", *words, "-b", "1").returncode == 0
