"""Whatever goes wrong in a model's first forward is one line, and nothing is written before it."""

import json
import shutil
from types import SimpleNamespace

import pytest
import torch
from mean_colours import assert_all_there, colours, extract, store
from scripts import load_script
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from brain_activity_prediction.extraction.prompt_selection import check_prompts
from brain_activity_prediction.models.decoding import Decoder
from brain_activity_prediction.runtime.errors import InputError

pytestmark = pytest.mark.slow

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
    ("part", "said"), [("load", "could not be loaded"), ("preprocess", "could not prepare the images")]
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


def test_a_context_too_small_for_the_image_alone_is_refused_where_no_prompt_is_read(llava, own_nsd):
    folder = llava.change("config.json", text_config={"max_position_embeddings": 5})
    with pytest.raises(InputError, match=r"language model has 5 positions"):
        extract(llava.script, own_nsd, "--checkpoint", folder, "-b", 2, "--pooling", "image")
    assert not list(own_nsd.glob("image_embeddings/*prompt*"))


def test_a_configuration_that_tells_no_context_is_one_line(llava, own_nsd):
    folder = llava.change("config.json", vision_config={"patch_size": 0})
    with pytest.raises(InputError, match="does not tell the length of prompt 1") as refused:
        extract(llava.script, own_nsd, "--checkpoint", folder, "-b", 2)
    assert "\n" not in str(refused.value)


def test_a_processor_of_another_image_size_is_one_line(llava, own_nsd):
    size = {"shortest_edge": 80}
    folder = llava.change(
        "processor_config.json", image_processor={"size": size, "crop_size": {"height": 80, "width": 80}}
    )
    with pytest.raises(InputError, match=r"LlavaForConditionalGeneration could not compute the images \(ValueError: "):
        extract(llava.script, own_nsd, "--checkpoint", folder, "-b", 2)
    assert not list(own_nsd.glob("image_embeddings/*prompt*"))


def word_tokenizer():
    """A tokenizer of a Q-Former's kind: [SEP] is special, and control characters are nothing."""
    backend = Tokenizer(models.WordLevel({"[UNK]": 0, "[SEP]": 1, "what": 2, "is": 3, "it": 4}, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]", sep_token="[SEP]")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("what is [SEP] it", r"prompt 7 contains \[SEP\], which this model's tokenizer reads as a special token"),
        ("\u200b\u0007", "prompt 7 has no tokens for this model's tokenizer"),
    ],
)
@pytest.mark.parametrize("part", ["tokenizer", "qformer_tokenizer"])
def test_a_prompt_with_a_special_token_or_no_tokens_is_refused_early(part, text, said, own_nsd, tmp_path):
    script = colours()
    script.load = lambda *_: (TinyNetwork(), SimpleNamespace(**{part: word_tokenizer()}))
    script.encode_images = lambda *_: pytest.fail("computed")
    path = tmp_path / "prompts.json"
    path.write_text(json.dumps({"7": text}))
    with pytest.raises(InputError, match=said):
        extract(script, own_nsd, "-p", 7, "--prompts-file", path)


def test_a_prompt_with_a_special_token_is_refused_before_the_model_is_loaded(tiny_model, own_nsd, tmp_path):
    tiny, path = tiny_model("llava"), tmp_path / "prompts.json"
    script = SimpleNamespace(**vars(tiny.script) | {"load": lambda *_: pytest.fail("loaded")})
    path.write_text(json.dumps({"7": "What ends with </s>?"}))
    with pytest.raises(InputError, match=r"prompt 7 .*contains </s>"):
        extract(script, own_nsd, "-p", 7, "--prompts-file", path, "--checkpoint", tiny.folder)


def test_a_prompt_of_words_alone_is_welcome():
    assert check_prompts({1: "what is it", 2: "SEP ] and [ sep"}, [word_tokenizer()]) is None
