"""The six models with their published files, through their own command lines: tokens, pixels, embeddings, ends.

What reaches the networks is seen by hooks on torch's own modules, and compared with the files read by another route:
the libraries tokenizers and sentencepiece for text, Pillow and NumPy for pixels.
"""

import importlib.util
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mean_colours import extract
from PIL import Image
from published_models import BERT, LLAVA, MEAN, SD, WRITE, needs_published
from scripts import load_script, run_here
from torch.nn.modules.module import register_module_forward_pre_hook

from brain_activity_prediction.datasets.nsd.nsd import find_nsd
from brain_activity_prediction.datasets.nsd.stimuli import Stimuli
from brain_activity_prediction.demo.dataset import write_dataset
from brain_activity_prediction.demo.simulation import Recipe
from brain_activity_prediction.extract_image_embeddings.prompts import PROMPTS
from brain_activity_prediction.models.library_imports import import_torchvision
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore
from brain_activity_prediction.storage.folders import embeddings_folder

pytestmark = [pytest.mark.slow, needs_published]
PICTURES = Recipe(subjects=(), n_shared=2, n_unique=1, n_sessions=1, image_size=60)
ASKED = (1, 8)
LAYERS = ("LlamaDecoderLayer", "IdeficsDecoderLayer", "MptBlock")
LLAVA_SCRIPT, BLIP_SCRIPT, IDEFICS_SCRIPT, OWL_SCRIPT, FLAMINGO_SCRIPT, VIT_SCRIPT = WRITE
SPEAKING = [script for script in WRITE if script != VIT_SCRIPT]


@pytest.fixture(scope="session")
def published(tmp_path_factory):
    """A script by its name, run once on its published files: `folder`, `base_dir`, and what its network was given."""
    import_torchvision()
    runs = {}

    def run(script):
        if script == FLAMINGO_SCRIPT and importlib.util.find_spec("open_flamingo") is None:
            pytest.skip("open_flamingo is not installed")
        if script not in runs:
            place = tmp_path_factory.mktemp("published")
            WRITE[script](place / "model")
            write_dataset(place / "nsd", lambda pictures: {}, PICTURES)
            runs[script] = seen_by_network(script, place)
        return runs[script]

    return run


def seen_by_network(script, place):
    """Token ids, rows of embeddings, lengths that the first language layer reads, and pixels of one run."""
    ids, rows, lengths, pixels = [], set(), [], []

    def see(module, inputs):
        if isinstance(module, torch.nn.Embedding) and module.num_embeddings > 10_000:
            ids.append(inputs[0][0].tolist())
            extra = getattr(module, "num_additional_embeddings", 0)
            rows.add(module.num_embeddings + extra)
        elif type(module).__name__ in LAYERS and inputs:
            lengths.append((id(module), inputs[0].shape[1]))
        elif isinstance(module, torch.nn.Conv2d) and module.in_channels == 3:
            pixels.append(inputs[0])

    hook = register_module_forward_pre_hook(see)
    prompts = ["-p", *ASKED, "--response", "--max-new-tokens", 1] if script in SPEAKING else []
    done = run_here(script, "-d", place / "nsd", "-g", "cpu", "--checkpoint", place / "model", *prompts)
    hook.remove()
    assert done.returncode == 0, done.stderr
    first = [length for layer, length in lengths if layer == lengths[0][0]]
    return SimpleNamespace(
        folder=place / "model", base_dir=place / "nsd", ids=ids, rows=rows, lengths=first, pixels=torch.cat(pixels)
    )


def settings_of(run, script, prompt):
    folder = embeddings_folder(run.base_dir, load_script(script).MODEL_ID, prompt)
    return json.loads((folder / "settings.json").read_text())


def own_ids(path, text, special=True):
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(path)).encode(text, add_special_tokens=special).ids


def pieces():
    from sentencepiece import SentencePieceProcessor

    return SentencePieceProcessor(model_file=str(LLAVA / "tokenizer.model"))


def llava_ids(run, prompt):
    return own_ids(LLAVA / "tokenizer.json", f"USER: <image>\n{prompt} ASSISTANT:")


def idefics_ids(run, prompt):
    turn = f"<s>User:<fake_token_around_image><image><fake_token_around_image>{prompt}<end_of_utterance>\nAssistant:"
    ids = own_ids(run.folder / "tokenizer.json", turn, special=False)
    bare = pieces().encode
    assert ids == [1, *bare("User:"), 32000, 32001, 32000, *bare(prompt), 32002, *bare("\nAssistant:")]
    return ids


def owl_ids(run, prompt):
    system = (
        "The following is a conversation between a curious human and AI assistant. The assistant gives helpful, "
        "detailed, and polite answers to the user's questions."
    )
    bare = pieces().encode
    return [1, *bare(f"{system}\nHuman: "), *[0] * 65, *bare(f"\nHuman: {prompt}\nAI: ")]


def flamingo_ids(run, prompt):
    return [50278, *own_ids(run.folder / "mpt-7b" / "tokenizer.json", f"Question:{prompt} Answer:")]


@pytest.mark.parametrize(
    ("script", "whole"),
    [
        (LLAVA_SCRIPT, llava_ids),
        (IDEFICS_SCRIPT, idefics_ids),
        (OWL_SCRIPT, owl_ids),
        (FLAMINGO_SCRIPT, flamingo_ids),
    ],
)
def test_the_network_reads_the_ids_of_the_files_own_tokenizer(script, whole, published):
    run = published(script)
    image = [32000] if script == LLAVA_SCRIPT else []  # LLaVA's image takes its place as vectors, not as an id
    prefix, *questions = run.ids
    for prompt, question in zip(ASKED, questions, strict=True):
        assert [*prefix, *image, *question] == whole(run, PROMPTS[prompt])


def test_instruct_blips_two_readers_get_the_ids_of_their_own_vocabularies(published):
    from tokenizers import BertWordPieceTokenizer

    run, bert = published(BLIP_SCRIPT), BertWordPieceTokenizer(str(BERT / "vocab.txt"), lowercase=True)
    expected = []
    for prompt in ASKED:
        expected += [bert.encode(PROMPTS[prompt]).ids, [2, *pieces().encode(PROMPTS[prompt])]]
        assert own_ids(run.folder / "tokenizer.json", PROMPTS[prompt]) == expected[-1]
    assert run.ids == expected


@pytest.mark.parametrize(
    ("script", "rows"),
    [
        (LLAVA_SCRIPT, {32064}),
        (BLIP_SCRIPT, {32064, 30523}),
        (IDEFICS_SCRIPT, {32003}),
        (OWL_SCRIPT, {32000}),
        (FLAMINGO_SCRIPT, {50280}),
    ],
)
def test_the_embedding_has_the_published_rows(script, rows, published):
    assert published(script).rows == rows


@pytest.mark.parametrize(
    ("script", "image_tokens"),
    [(LLAVA_SCRIPT, 576), (IDEFICS_SCRIPT, 1), (OWL_SCRIPT, 65), (FLAMINGO_SCRIPT, 1)],
)
def test_an_image_takes_the_published_number_of_places(script, image_tokens, published):
    run = published(script)
    text = {LLAVA_SCRIPT: run.ids[0], OWL_SCRIPT: [number for number in run.ids[0] if number]}
    before = text.get(script, run.ids[0][:-1])
    assert run.lengths == [len(before) + image_tokens, *map(len, run.ids[1:])]


def test_instruct_blips_image_takes_32_places(published):
    run = published(BLIP_SCRIPT)
    assert run.lengths == [32 + len(run.ids[1]), 32 + len(run.ids[3])]


PARTS = {  # the settings of the language model's context
    LLAVA_SCRIPT: ("config.json", "text_config", "max_position_embeddings"),
    BLIP_SCRIPT: ("config.json", "text_config", "max_position_embeddings"),
    IDEFICS_SCRIPT: ("config.json", None, "max_position_embeddings"),
    OWL_SCRIPT: ("config.json", "text_config", "max_position_embeddings"),
    FLAMINGO_SCRIPT: ("mpt-7b/config.json", None, "max_seq_len"),
}


def with_context(folder, script, n_tokens, copy, part=None):
    """A copy of a checkpoint whose configuration has a context of that many tokens."""
    name, inner, key = PARTS[script]
    path = shutil.copytree(folder, copy) / name
    config = json.loads(path.read_text())
    inside = config if inner is None else config[part or inner]
    inside[key] = n_tokens
    path.write_text(json.dumps(config))
    return copy


@pytest.mark.parametrize("script", SPEAKING)
def test_a_context_too_small_is_refused_before_the_weights_load(script, published, own_nsd, tmp_path):
    run = published(script)
    before = 0 if script == BLIP_SCRIPT else run.lengths[0]
    longest = before + max(run.lengths[0 if script == BLIP_SCRIPT else 1 :])  # as the network's first layer saw it

    def fail(*_):
        raise InputError("the weights were loaded")

    planned = SimpleNamespace(**vars(load_script(script)) | {"load": fail})
    asked = ("-p", *ASKED, "--checkpoint")
    small = with_context(run.folder, script, longest - 1, tmp_path / "small")
    with pytest.raises(InputError, match=f"prompt . takes {longest} tokens .* has {longest - 1} positions"):
        extract(planned, own_nsd, *asked, small)
    fits = with_context(run.folder, script, longest, tmp_path / "fits")
    with pytest.raises(InputError, match="weights were loaded"):
        extract(planned, own_nsd, *asked, fits)
    with pytest.raises(InputError, match=f"takes {longest + 2} tokens .* 2 of them for the answer"):
        extract(planned, own_nsd, *asked, fits, "--response", "--max-new-tokens", 2)


def test_a_prompt_longer_than_the_q_former_reads_is_refused_before_the_weights_load(published, own_nsd, tmp_path):
    run = published(BLIP_SCRIPT)
    longest = max(map(len, run.ids[::2]))
    planned = SimpleNamespace(**vars(load_script(BLIP_SCRIPT)) | {"load": lambda *_: pytest.fail("loaded")})
    small = with_context(run.folder, BLIP_SCRIPT, longest - 1, tmp_path / "small", part="qformer_config")
    with pytest.raises(InputError, match=f"the Q-Former has {longest - 1} positions"):
        extract(planned, own_nsd, "-p", *ASKED, "--checkpoint", small)


@pytest.mark.parametrize(
    ("script", "side", "filter_", "mean", "sd"),
    [
        (LLAVA_SCRIPT, 336, Image.Resampling.BICUBIC, MEAN, SD),
        (BLIP_SCRIPT, 224, Image.Resampling.BICUBIC, MEAN, SD),
        (IDEFICS_SCRIPT, 224, Image.Resampling.BICUBIC, MEAN, SD),
        (OWL_SCRIPT, 224, Image.Resampling.BICUBIC, MEAN, SD),
        (FLAMINGO_SCRIPT, 224, Image.Resampling.BICUBIC, MEAN, SD),
        (VIT_SCRIPT, 224, Image.Resampling.BILINEAR, [0.5] * 3, [0.5] * 3),
    ],
)
def test_pixels_are_those_of_the_published_preprocessor(script, side, filter_, mean, sd, published):
    run = published(script)
    ids = EmbeddingStore(embeddings_folder(run.base_dir, load_script(script).MODEL_ID, None)).image_ids(["vision"])
    with Stimuli(find_nsd(run.base_dir).stimuli()) as stimuli:
        pictures = stimuli.images(ids)
    squares = np.stack([np.asarray(picture.resize((side, side), filter_)) for picture in pictures])
    expected = ((squares / 255 - mean) / sd).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(run.pixels.numpy(), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("script", "ends"),
    [
        (LLAVA_SCRIPT, [2]),
        (BLIP_SCRIPT, [1, 2]),
        (IDEFICS_SCRIPT, [2, 32002]),
        (OWL_SCRIPT, [2]),
        (FLAMINGO_SCRIPT, [0, 50277]),
    ],
)
def test_an_answer_ends_where_any_of_the_files_says(script, ends, published):
    run = published(script)
    assert settings_of(run, script, 1)["answer_ends"] == ends


@pytest.mark.parametrize("script", SPEAKING)
def test_what_the_prompts_came_to_is_recorded(script, published):
    run = published(script)
    tokens = {prompt: settings_of(run, script, prompt)["prompt_token_ids"] for prompt in (None, *ASKED)}
    assert len(set(tokens.values())) == 3
    assert "answer_ends" not in settings_of(run, script, None)
