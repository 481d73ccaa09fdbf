"""Whatever goes wrong in a model's first forward is one line, and nothing is written before it."""

import json
import shutil
from types import SimpleNamespace

import pytest
import torch
from mean_colours import assert_all_there, colours, extract, store
from scripts import load_script

from brain_activity_prediction.errors import InputError
from brain_activity_prediction.extract_image_embeddings.decoding import Decoder

ERRORS = [
    AttributeError("'T5ForConditionalGeneration' object has no attribute 'model'"),
    RuntimeError("mat1 and mat2 shapes cannot be multiplied (8x1024 and 768x512)"),
    KeyError("pixel_attention_mask"),
    TypeError("forward() missing 1 required positional argument: 'spatial_shapes'"),
    IndexError("index out of range in self"),
    ValueError("Input image size (224*224) doesn't match\nmodel (336*336)."),
    AssertionError(),
]


class TinyNetwork(torch.nn.Module):
    pass


def failing(part, error):
    script = colours()

    def fail(*_):
        raise error

    setattr(script, part, fail)
    script.load = lambda *_: (TinyNetwork(), None)
    return script


@pytest.mark.parametrize("part", ["encode_images", "encode_prompt"])
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_forward_that_fails_is_one_line_with_the_class_and_the_cause(part, error, own_nsd):
    with pytest.raises(InputError, match=r"TinyNetwork could not compute (the images|prompt 1) \(\w+:") as refused:
        extract(failing(part, error), own_nsd)
    assert "\n" not in str(refused.value)
    assert type(error).__name__ in str(refused.value)
    assert not list(own_nsd.glob("image_embeddings/*prompt*"))


def test_after_a_first_forward_that_failed_another_dtype_is_welcome(own_nsd):
    with pytest.raises(InputError, match="could not compute"):
        extract(failing("encode_images", ERRORS[1]), own_nsd, "--dtype", "float16")
    extract(colours(), own_nsd, "--dtype", "float32")
    assert_all_there(own_nsd, [1])
    assert store(own_nsd, "prompt_1").settings()["dtype"] == "float32"


@pytest.mark.parametrize(
    ("part", "said"), [("load", "could not be made ready"), ("preprocess", "could not prepare the images")]
)
def test_a_processor_or_a_loader_that_fails_is_one_line(part, said, own_nsd):
    with pytest.raises(InputError, match=said):
        extract(colours().__class__(**vars(colours()) | {part: lambda *_: {}["missing"]}), own_nsd)


def decoder(positions):
    return Decoder(*[None] * 3, points=[], end_ids=frozenset(), positions=positions)


@pytest.mark.parametrize(("n_tokens", "max_new_tokens"), [(100, 0), (90, 11), (100, 1)])
def test_a_prompt_and_its_answer_may_fill_all_positions(n_tokens, max_new_tokens):
    decoder(100).check_room(n_tokens, max_new_tokens)
    decoder(None).check_room(10**6, 0)
    with pytest.raises(InputError, match="has 99 positions: give a shorter prompt"):
        decoder(99).check_room(n_tokens, max_new_tokens)


@pytest.fixture
def llava(tiny_model, tmp_path):
    """A copy of the tiny LLaVA whose settings may be changed."""
    folder = shutil.copytree(tiny_model("llava").folder, tmp_path / "llava")

    def change(name, **settings):
        content = json.loads((folder / name).read_text())
        for part, value in settings.items():
            content[part] = content[part] | value if isinstance(value, dict) else value
        (folder / name).write_text(json.dumps(content))
        return folder

    return SimpleNamespace(script=load_script("llava_1.5_13b.py"), change=change)


def test_a_prompt_longer_than_llavas_context_is_refused_and_not_computed_in_silence(llava, own_nsd):
    folder = llava.change("config.json", text_config={"max_position_embeddings": 24})
    with pytest.raises(InputError, match=r"language model has 24 positions: give a shorter prompt"):
        extract(llava.script, own_nsd, "--checkpoint", folder, "-b", 2)
    assert not list(own_nsd.glob("image_embeddings/*prompt*"))


def test_a_processor_of_another_image_size_is_one_line(llava, own_nsd):
    size = {"shortest_edge": 80}
    folder = llava.change(
        "processor_config.json", image_processor={"size": size, "crop_size": {"height": 80, "width": 80}}
    )
    with pytest.raises(InputError, match=r"LlavaForConditionalGeneration could not compute the images \(ValueError: "):
        extract(llava.script, own_nsd, "--checkpoint", folder, "-b", 2)
    assert not list(own_nsd.glob("image_embeddings/*prompt*"))
