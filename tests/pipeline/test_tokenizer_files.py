"""Tokenizers give the ids of the checkpoint's own files, or the run is refused."""

import json
import random
import shutil

import pytest
from published_models import LLAVA, needs_published, read, write_json
from tiny_models import llama_tokenizer
from tiny_mplug_owl import write_tokenizer

from brain_activity_prediction.extract_image_embeddings.prompts import PROMPTS
from brain_activity_prediction.models.checkpoints import tokenizer_files
from brain_activity_prediction.models.checkpoints.checkpoint import Checkpoint
from brain_activity_prediction.runtime.errors import InputError

pytestmark = pytest.mark.slow

BLANKS = (
    "How many  dogs",
    "  two first",
    " one",
    "\nHuman: What  is it? \nAI: ",
    "é 漢字 🙂",
    "\t tab",
    "at the end  ",
    "",
)


def tokenizer_of(folder, **needs):
    return Checkpoint("org/model", None, folder).tokenizer(**needs)


@pytest.fixture
def spm(tmp_path):
    """A folder with a small tokenizer.model alone, and the model by sentencepiece itself."""
    return tmp_path, write_tokenizer(tmp_path)


def test_a_sentencepiece_model_gives_its_own_ids_blanks_included(spm):
    folder, pieces = spm
    tokenizer, draw = tokenizer_of(folder), random.Random(0)
    known = [pieces.id_to_piece(number).replace("▁", " ") for number in range(259, pieces.vocab_size())]
    drawn = ["".join(draw.choices([*known, " ", "  ", "\n"], k=9)) for _ in range(300)]
    for text in (*BLANKS, *PROMPTS.values(), *drawn):
        assert tokenizer(text).input_ids == [pieces.bos_id(), *pieces.encode(text)], text
    assert tokenizer.eos_token_id == pieces.eos_id()


@needs_published
def test_llava_without_tokenizer_json_reads_the_ids_that_file_gives(tmp_path):
    folder = shutil.copytree(LLAVA, tmp_path / "llava", ignore=shutil.ignore_patterns("tokenizer.json"))
    tokenizer, own = tokenizer_of(folder), tokenizer_files._backend(LLAVA / "tokenizer.json")
    for prompt in (*BLANKS, *PROMPTS.values()):
        text = f"USER: <image>\n{prompt} ASSISTANT:"
        assert tokenizer(text).input_ids == own.encode(text).ids
    assert tokenizer.decode(tokenizer("Two dogs").input_ids, skip_special_tokens=True) == "Two dogs"


@needs_published
def test_the_places_of_a_prompts_tokens_are_the_same_from_either_file(tmp_path):
    folder = shutil.copytree(LLAVA, tmp_path / "llava", ignore=shutil.ignore_patterns("tokenizer.json"))
    text = "USER: <image>\nHow many  dogs? ASSISTANT:"
    from_model, from_json = (
        tokenizer_of(place)(text, return_offsets_mapping=True)["offset_mapping"] for place in (folder, LLAVA)
    )
    assert from_model == from_json


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer.model"])
def test_another_tokenizer_than_the_files_is_refused_by_the_file(spm, name):
    folder, _ = spm
    if name == "tokenizer.json":
        llama_tokenizer("<s>", "<unk>", ()).save_pretrained(folder)
    other = tokenizer_of(folder)
    other.backend_tokenizer.normalizer = None
    checkpoint = Checkpoint("org/model", None, folder)
    with pytest.raises(InputError, match=rf"gives 'What is it\?' other token ids than .*{name}"):
        tokenizer_files.check_tokenizer(other, checkpoint.file, ["What is it?"])
    checkpoint.tokenizer()
    checkpoint.check_tokenizers(["What is it?", *BLANKS])


def test_added_tokens_come_from_any_of_the_settings_as_texts_or_with_their_flags(spm):
    folder, pieces = spm
    first, second = pieces.vocab_size(), pieces.vocab_size() + 1
    write_json(folder / "added_tokens.json", {"<image>": first})
    end = {"content": "<end>", "lstrip": False, "special": True}
    roles = {"eos_token": {"content": "</s>", "lstrip": False}, "additional_special_tokens": [end]}
    write_json(folder / "special_tokens_map.json", roles)
    write_json(folder / "tokenizer_config.json", {"added_tokens_decoder": {str(second): end}})
    tokenizer = tokenizer_of(folder, needs=["<image>", "<end>"])
    assert tokenizer.convert_tokens_to_ids(["<image>", "<end>", "</s>"]) == [first, second, 2]
    assert tokenizer("a<image>b<end>", add_special_tokens=False).input_ids == [
        *pieces.encode("a"),
        first,
        *pieces.encode("b"),
        second,
    ]


def test_settings_and_vocabulary_of_different_models_are_refused(spm):
    folder, pieces = spm
    write_json(folder / "added_tokens.json", {"<image>": pieces.vocab_size() + 7})
    with pytest.raises(InputError, match=r"<image> has the id 400 in .*tokenizer.model, but 407 in"):
        tokenizer_of(folder)


def test_a_missing_special_token_is_named(spm):
    with pytest.raises(InputError, match="has no special token <image>"):
        tokenizer_of(spm[0], needs=["<image>"])


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer.model"])
def test_a_damaged_tokenizer_is_one_line_with_its_name(tmp_path, name):
    (tmp_path / name).write_bytes(b"<html>")
    with pytest.raises(InputError, match=name) as refused:
        tokenizer_of(tmp_path)
    assert "\n" not in str(refused.value)


@needs_published
def test_the_roles_of_special_tokens_are_those_of_the_settings():
    tokenizer = tokenizer_of(LLAVA)
    settings = read(LLAVA / "tokenizer_config.json")
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == tuple(
        settings[role] for role in ("bos_token", "eos_token", "pad_token")
    )
    assert len(tokenizer) == 32002
    assert json.loads(tokenizer.backend_tokenizer.to_str())["normalizer"]["normalizers"][0]["type"] == "Prepend"
