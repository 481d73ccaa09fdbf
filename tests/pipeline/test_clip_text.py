"""CLIP's text tower on captions, by a tiny random CLIP and a tokenizer of single letters."""

import csv
import shutil
from functools import cache

import numpy as np
import pytest
import torch
from published_models import PUBLISHED, needs_published
from scripts import load_script, run_here
from tokenizers.pre_tokenizers import ByteLevel

from brain_activity_prediction.cli import extraction_command
from brain_activity_prediction.datasets.nsd.design import read_design
from brain_activity_prediction.datasets.nsd.nsd import find_nsd
from brain_activity_prediction.datasets.texts.captions import Captions
from brain_activity_prediction.demo import models
from brain_activity_prediction.extraction import loop
from brain_activity_prediction.models.checkpoints.checkpoint import Checkpoint
from brain_activity_prediction.models.library_imports import import_torchvision
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore

pytestmark = pytest.mark.slow

MODEL = "openai/clip-vit-large-patch14"
FOLDER = "image_embeddings/no_prompt/openai_clip-vit-large-patch14"
LIMIT = 24  # tokens


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A checkpoint of both towers, as it is published, every parameter random."""
    import_torchvision()
    import transformers as hf

    folder = tmp_path_factory.mktemp("clip")
    letters = sorted(ByteLevel.alphabet())
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    hf.CLIPTokenizer({word: number for number, word in enumerate(words)}, []).save_pretrained(folder)
    size = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
    end = len(words) - 1
    text = {"vocab_size": len(words), "bos_token_id": end - 1, "eos_token_id": end, "max_position_embeddings": LIMIT}
    config = hf.CLIPConfig(
        text_config=hf.CLIPTextConfig(**size, **text), vision_config=hf.CLIPVisionConfig(**size, image_size=32)
    )
    torch.manual_seed(0)
    model = hf.CLIPModel(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    model.save_pretrained(folder)
    return folder


def write_captions(path, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("nsd_id", "caption"), *rows])
    return path


@pytest.fixture
def captions(own_nsd):
    """One to three captions an image, of unequal length, in no order."""
    ids = read_design(find_nsd(own_nsd).design()).image_ids(1)
    texts = ["a dog", "two red buses, parked", "sky", "naïve café", "a man on a horse"]
    rows = [
        (image_id, texts[(row + more) % 5]) for more in range(3) for row, image_id in enumerate(ids) if row % 3 >= more
    ]
    return write_captions(own_nsd / "captions.csv", rows)


def extract(base_dir, checkpoint, captions, *more):
    flags = ["-d", base_dir, "-g", "cpu", "--checkpoint", checkpoint, "--pooling", "mean", "last", *more]
    arguments = extraction_command.flags("").parse_args([str(flag) for flag in flags])
    script = load_script("clip_text.py").script(MODEL, Captions(captions))
    loop.extract(script, extraction_command.settings(script, arguments))


def stored(base_dir, stream):
    """NSD ids, ascending, and (images, layers, width)."""
    store = EmbeddingStore(base_dir / FOLDER)
    ids = store.image_ids([stream])
    return ids, np.stack([store.read_layer(stream, layer, ids) for layer in range(store.streams()[stream][0])], axis=1)


@cache
def tower_and_tokenizer(checkpoint):
    import transformers as hf

    return hf.CLIPModel.from_pretrained(checkpoint).eval().text_model, hf.CLIPTokenizer.from_pretrained(checkpoint)


@torch.inference_mode()
def states_of(checkpoint, text):
    """All hidden states of one caption alone, (layers, tokens, width), by transformers."""
    model, tokenizer = tower_and_tokenizer(checkpoint)
    tokens = tokenizer(text, return_tensors="pt")
    return torch.cat(model(**tokens, output_hidden_states=True).hidden_states).numpy()


def test_states_are_those_of_each_caption_alone_averaged_over_an_images_captions(own_nsd, clip, captions):
    extract(own_nsd, clip, captions, "-b", 7)
    alone = {text: states_of(clip, text) for texts in Captions(captions).by_image.values() for text in texts}
    for stream, pooled in (("text", lambda s: s.mean(axis=1)), ("text_last", lambda s: s[:, -1])):
        ids, found = stored(own_nsd, stream)
        assert found.shape == (40, 4, 16)
        of_image = Captions(captions).images(ids)
        assert {len(texts) for texts in of_image} == {1, 2, 3}
        wanted = np.stack([np.mean([pooled(alone[text]) for text in texts], axis=0) for texts in of_image])
        np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_the_batch_size_changes_no_number(own_nsd, clip, captions):
    found = []
    for batch_size in (1, 8):
        extract(own_nsd, clip, captions, "-b", batch_size)
        found.append([stored(own_nsd, stream)[1] for stream in ("text", "text_last")])
        for path in own_nsd.rglob("batch_*"):
            path.unlink()
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)


def test_a_caption_that_is_too_long_is_cut_keeps_its_end_and_is_counted(own_nsd, clip, captions, capsys):
    longest = "a b " * 20  # a token a letter
    rows = [(image_id, text) for image_id, texts in Captions(captions).by_image.items() for text in texts]
    image_id = next(i for i, texts in Captions(captions).by_image.items() if len(texts) == 1)
    rows = [(i, longest if i == image_id else text) for i, text in rows]
    extract(own_nsd, clip, write_captions(captions, rows))
    assert f"1 of {len(rows)} captions are cut to {LIMIT} tokens" in capsys.readouterr().err
    ids, found = stored(own_nsd, "text_last")
    wanted = states_of(clip, "a b " * ((LIMIT - 2) // 2))  # the text has a start and an end
    np.testing.assert_allclose(found[ids.tolist().index(image_id)], wanted[:, -1], atol=1e-5)


def test_other_captions_are_refused_and_the_stimulus_file_is_not_needed(own_nsd, clip, captions):
    find_nsd(own_nsd).stimuli().unlink()
    extract(own_nsd, clip, captions)
    captions.write_text(captions.read_text(encoding="utf-8").replace("a dog", "a cat"), encoding="utf-8")
    with pytest.raises(InputError, match=r"made with captions = "):
        extract(own_nsd, clip, captions)


def test_images_without_a_caption_are_counted_before_the_model_is_loaded(own_nsd, captions, tmp_path):
    ids = sorted(Captions(captions).by_image)
    rows = [(image_id, "a dog") for image_id in ids if image_id not in (ids[3], ids[9])]
    with pytest.raises(InputError, match=rf"no caption for 2 of 40 images in .* \(first: image {ids[3]}\): add them"):
        extract(own_nsd, tmp_path / "no model", write_captions(captions, rows))


def test_a_model_that_is_no_clip_is_refused(own_nsd, captions, tmp_path):
    models.write_vit(tmp_path / "vit", num_hidden_layers=1)
    (tmp_path / "vit" / "tokenizer.json").touch()
    with pytest.raises(InputError, match="is not a CLIP but a vit"):
        extract(own_nsd, tmp_path / "vit", captions)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "has the columns none, but needs nsd_id,caption"),
        (b"id,text\n1,a dog\n", "has the columns id, text"),
        (b"nsd_id,caption\n1,a dog\n2,red, white\n", "line 3, is not an NSD id and a caption"),
        (b"nsd_id,caption\n0,a dog\n", "line 2, is not"),
        (b"nsd_id,caption\none,a dog\n", "line 2, is not"),
        (b"nsd_id,caption\n1, \n", "line 2, is not"),
        (b'nsd_id,caption\n1,"a dog\n', "cannot be read as a table of captions"),
        (b"nsd_id,caption\n1,\xff\xfe\n", "cannot be read as a table of captions"),
    ],
)
def test_a_broken_table_of_captions_is_named_with_its_line(content, said, tmp_path):
    path = tmp_path / "captions.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=said) as raised:
        Captions(path)
    assert "\n" not in str(raised.value)


def test_a_users_command_extracts_and_a_missing_file_is_one_line(own_nsd, clip, captions):
    command = ["-d", own_nsd, "-g", "cpu", "--checkpoint", clip, "--captions"]
    done = run_here("clip_text.py", *command, captions)
    assert done.returncode == 0, done.stderr
    assert stored(own_nsd, "text")[1].shape == (40, 4, 16)
    done = run_here("clip_text.py", *command, "nowhere.csv")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "nowhere.csv" in done.stderr


@needs_published
def test_a_folder_with_vocab_json_and_merges_reads_captions_as_clip_does(own_nsd, captions, tmp_path):
    import_torchvision()
    import open_clip
    import transformers as hf

    folder = shutil.copytree(PUBLISHED / "openai__clip-vit-large-patch14", tmp_path / "clip")
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    towers = {"text_config": hf.CLIPTextConfig(**size), "vision_config": hf.CLIPVisionConfig(**size, image_size=32)}
    hf.CLIPModel(hf.CLIPConfig(**towers)).save_pretrained(folder)
    assert not (folder / "tokenizer.json").exists()
    extract(own_nsd, folder, captions)
    texts = ["Two red buses,  parked.", "naïve café's", "A MAN on a horse"]
    reference = open_clip.get_tokenizer("ViT-L-14")(texts)  # OpenAI's own code, in a copy
    ids = Checkpoint(MODEL, None, folder).tokenizer()(texts).input_ids
    assert ids == [row[: row.argmax() + 1].tolist() for row in reference]
