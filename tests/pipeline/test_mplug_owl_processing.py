"""Images and prompts reach mPLUG-Owl as its authors' processor would give them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_mplug_owl import write_tokenizer
from transformers import LlamaTokenizer

from brain_activity_prediction.models.checkpoints.checkpoint import Checkpoint
from brain_activity_prediction.models.mplug_owl.processing import MplugOwlProcessor

pytestmark = pytest.mark.slow

REFERENCE = Path(__file__).resolve().parents[3] / "shared" / "reference" / "mplug_owl"
needs_reference = pytest.mark.skipif(not REFERENCE.is_dir(), reason="no ../shared/reference/mplug_owl")
TEMPLATE = "Be brief.\nHuman: <image>\nHuman: {prompt}\nAI: "


class CharacterTokenizer:
    """The reference's tokenizer: an id a character."""

    bos_token_id = 1

    def __call__(self, text, add_special_tokens):
        assert not add_special_tokens
        return {"input_ids": [3 + ord(character) % 97 for character in text]}


@needs_reference
def test_pixels_are_the_authors():
    processor = MplugOwlProcessor(None, image_size=224, image_tokens=65)
    with np.load(REFERENCE / "preprocess.npz") as file:
        names = [name.removeprefix("in/") for name in file if name.startswith("in/")]
        pixels = [processor.pixels([Image.fromarray(file[f"in/{name}"])]) for name in names]
        expected = [torch.from_numpy(file[f"processor/{name}"]) for name in names]
    assert len(names) == 4
    torch.testing.assert_close(torch.cat(pixels), torch.stack(expected), rtol=0, atol=1e-6)


@needs_reference
def test_token_ids_of_prompts_are_the_authors():
    processor = MplugOwlProcessor(CharacterTokenizer(), image_size=224, image_tokens=65)
    for case in json.loads((REFERENCE / "prompt_cases.json").read_text())["cases"]:
        for prompt, ids, mask in zip(case["prompts"], case["input_ids"], case["attention_mask"], strict=True):
            length = int(sum(mask))
            assert processor.ids(prompt) == ids[:length]
            assert ids[length:] == [2] * (len(ids) - length)  # padding, which no prompt of ours needs


def test_an_image_is_stretched_to_the_square_before_its_palette_is_looked_up():
    processor = MplugOwlProcessor(None, image_size=8, image_tokens=1)
    palette = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 12)).convert("P")
    palette.putpalette(list(range(255, -1, -1)) * 3)
    resized = palette.resize((8, 8), Image.Resampling.BICUBIC).convert("RGB")
    torch.testing.assert_close(processor.pixels([palette]), processor.pixels([resized]))
    grey = processor.pixels([Image.new("L", (5, 9), 255)])[0, :, 0, 0]
    white = (1 - np.array([0.48145466, 0.4578275, 0.40821073])) / [0.26862954, 0.26130258, 0.27577711]
    np.testing.assert_allclose(grey, white, rtol=1e-6)


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    """A processor on LLaMA's tokenizer class, loaded from a tokenizer.model, and that file's own tokenizer."""
    folder = tmp_path_factory.mktemp("tokenizer")
    pieces = write_tokenizer(folder)
    tokenizer = Checkpoint("unused", None, folder).processor(LlamaTokenizer)
    return MplugOwlProcessor(tokenizer, image_size=8, image_tokens=3), pieces


def test_llamas_tokenizer_marks_a_word_start_before_each_stretch(llama):
    processor, pieces = llama
    before, after = "Be brief.\nHuman: ", "\nHuman: How many  dogs é?\nAI: "
    expected = [1, *pieces.encode(before), -1, -1, -1, *pieces.encode(after)]
    assert processor.ids(f"{before}<image>{after}") == expected
    assert pieces.id_to_piece(pieces.encode(after))[:3] == ["▁", "<0x0A>", "H"]


@pytest.mark.parametrize("prompt", ["How many dogs are there?", "Où est-il ?", "{not a field}", "x"])
def test_the_template_splits_into_image_part_question_and_prompt_tokens(llama, prompt):
    processor, pieces = llama
    before, after, own = processor.split_template(TEMPLATE, prompt)
    assert before + after == processor.ids(TEMPLATE.replace("{prompt}", prompt))
    assert before[-3:] == [-1, -1, -1]
    assert processor.tokenizer.decode(after[own]).strip() == prompt
    assert pieces.decode(after[: own.start]).strip() == "Human:"


def test_an_empty_prompt_has_no_tokens_of_its_own(llama):
    _, after, own = llama[0].split_template(TEMPLATE, "")
    assert after[own] == []
