"""`--sites` and `--heads` in the scripts that take any model: from the command line to the stored streams."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
import tiny_vision_language
import torch
import vision_language_reference as reference
from inside_layers import FAMILIES, own_parts
from scripts import run_here
from sites_of_families import NO_HEADS, NO_PARTS
from text_families import write_text_model
from vision_language_batch import read

from brain_activity_prediction.datasets.nsd.design import read_design
from brain_activity_prediction.datasets.nsd.nsd import find_nsd
from brain_activity_prediction.demo.dataset import write_dataset
from brain_activity_prediction.demo.simulation import Recipe
from brain_activity_prediction.models.checkpoints.checkpoint import Checkpoint
from brain_activity_prediction.models.layer_lists import layer_list
from brain_activity_prediction.models.text import model_script
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore
from brain_activity_prediction.storage.folders import embeddings_folder

PICTURES = Recipe(subjects=(), n_shared=3, n_unique=2, n_sessions=1, image_size=60)
EVERY = ("block", "attention", "mlp", "heads")
TOLERANCE = 2e-5  # of a stream's largest value, which is a difference of larger numbers


@pytest.fixture
def nsd(tmp_path):
    write_dataset(tmp_path / "nsd", lambda pictures: {}, PICTURES)
    return tmp_path / "nsd"


def extract(nsd, checkpoint, *flags, script="vision_language_model.py"):
    return run_here(script, "-d", nsd, "-m", "org/model", "-g", "cpu", "--checkpoint", checkpoint, *flags)


def stored(nsd, prompt=None):
    store = EmbeddingStore(embeddings_folder(nsd, "org/model", prompt))
    return {
        stream: np.stack([store.read_layer(stream, layer, store.image_ids([stream])) for layer in range(layers)])
        for stream, (layers, _) in store.streams().items()
    }


def close(found, expected):
    return float((found - expected).abs().max() / expected.abs().max()) < TOLERANCE


@pytest.mark.parametrize(
    ("model_type", "before_mlp"),
    [
        ("llava", "post_attention_layernorm"),
        pytest.param("gemma3", "pre_feedforward_layernorm", marks=pytest.mark.slow),
        pytest.param("qwen2_5_vl", "post_attention_layernorm", marks=pytest.mark.slow),
        pytest.param("granite_docling", "post_attention_layernorm", marks=pytest.mark.slow),
        pytest.param("qwen3_vl_moe", "post_attention_layernorm", marks=pytest.mark.slow),
        pytest.param("idefics3", "post_attention_layernorm", marks=pytest.mark.slow),
    ],
)
def test_prompts_that_share_a_prefix_have_the_parts_of_each_prompt_alone(model_type, before_mlp, tmp_path):
    """By the residual stream of one image at a time, read whole without a cache."""
    tiny_vision_language.write(model_type, tmp_path / "model")
    batch = read(tmp_path / "model", ("mean", "last"), 3, EVERY)
    assert batch.network.cached
    language = batch.network.model.get_decoder()
    with torch.inference_mode():
        for _, found, _, inputs in batch.each():
            run = lambda inputs=inputs: batch.network.model(**inputs)  # noqa: E731
            attention, mlp = own_parts(run, language.layers, before_mlp)
            for site, states in (("attention", attention), ("mlp", mlp)):
                assert close(found[f"language_{site}"], torch.stack([state[0].mean(dim=0) for state in states]))
                assert close(found[f"language_{site}_last"], torch.stack([state[0, -1] for state in states]))
            _, block = reference.answer(batch.network.model, inputs, batch.network.end_ids, 3)
            added = found["response_attention"] + found["response_mlp"]
            assert close(added[:-1], block[1:-1] - block[:-2])  # the last state is after the final norm
            assert found["language_heads"].shape[0] == 4 * len(attention)


EVERY_TYPE = tiny_vision_language.OWN
# One of each way in which layers add their parts: post-norms, gates, a mixture of experts, DeepStack, other towers.
TRIED_EACH_TIME = {"gemma3", "granite_docling", "idefics2", "llava", "llava_onevision", "paligemma", "qwen3_vl_moe"}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")  # PaliGemma's processor
@pytest.mark.parametrize(
    "model_type",
    [
        pytest.param(name, marks=() if name in TRIED_EACH_TIME else pytest.mark.exhaustive)
        for name in sorted(EVERY_TYPE)
    ],
)
def test_the_parts_of_each_family_add_up_to_what_its_layers_add(model_type, tmp_path):
    """In the language model, by its own layers for one image at a time, and in the tower up to its shape."""
    tiny_vision_language.write(model_type, tmp_path / "model")
    sites = [site for site in EVERY if site != "heads" or model_type not in NO_HEADS]
    template = EVERY_TYPE[model_type].get("template")
    if model_type in NO_PARTS:
        with pytest.raises(InputError, match=re.escape(NO_PARTS[model_type])):
            read(tmp_path / "model", ("mean",), 0, sites, template)
        return
    batch = read(tmp_path / "model", ("mean",), 0, sites, template)
    layers = layer_list(batch.network.model.get_decoder())[1]
    with torch.inference_mode():
        for _, found, _, inputs in batch.each(answered=False):
            added, _ = own_parts(lambda inputs=inputs: batch.network.model(**inputs), layers, None)
            parts = found["language_attention"] + found["language_mlp"]
            assert close(parts, torch.stack([states[0].mean(dim=0) for states in added]))
    if batch.network.tower is not None:  # not in Chameleon
        assert batch.streams["vision_attention"].shape == batch.streams["vision_mlp"].shape
        assert ("vision_heads" in batch.streams) == (model_type not in NO_HEADS)


@pytest.mark.slow
@pytest.mark.parametrize(
    "model_type",
    [pytest.param(name, marks=pytest.mark.exhaustive if place else ()) for place, name in enumerate(NO_HEADS)],
)
def test_a_family_without_the_same_heads_in_each_layer_is_refused(model_type, tmp_path):
    tiny_vision_language.write(model_type, tmp_path / "model")
    with pytest.raises(InputError, match="leave out --heads"):
        read(tmp_path / "model", ("mean",), 0, ("heads",))


def test_the_towers_parts_are_those_of_each_image_alone(tmp_path):
    tiny_vision_language.write("llava", tmp_path / "model")
    batch = read(tmp_path / "model", ("mean", "cls"), 0, EVERY)
    with torch.inference_mode():
        for row in range(len(batch.images)):
            inputs = batch.inputs(row)
            run = lambda inputs=inputs: batch.network.model(**inputs)  # noqa: E731
            attention, mlp = own_parts(run, batch.network.tower.encoder.layers, "layer_norm2")
            for site, states in (("attention", attention), ("mlp", mlp)):
                assert close(batch.streams[f"vision_{site}"][row], torch.stack([one[0].mean(dim=0) for one in states]))
                assert close(batch.streams[f"vision_{site}_cls"][row], torch.stack([one[0, 0] for one in states]))


def test_sites_are_further_streams_and_leave_the_block_as_it_was(nsd, tmp_path):
    tiny_vision_language.write("llava", tmp_path / "model")
    assert extract(nsd, tmp_path / "model").returncode == 0
    before = stored(nsd) | stored(nsd, 1)
    done = extract(nsd, tmp_path / "model", "--sites", "attention", "mlp", "--heads", "--response")
    assert done.returncode == 0, done.stderr
    after = stored(nsd) | stored(nsd, 1)
    assert after.keys() - before.keys() == {
        f"{stream}_{site}" for stream in ("vision", "language", "response") for site in ("attention", "mlp", "heads")
    }
    for stream, states in before.items():
        np.testing.assert_array_equal(after[stream], states)
    assert after["language_attention"].shape == (3, 5, 32)
    assert after["language_heads"].shape == (12, 5, 8)
    both = extract(nsd, tmp_path / "model", "--sites", "block", "attention", "mlp", "--heads", "--response")
    assert both.returncode == 0, both.stderr
    np.testing.assert_array_equal(stored(nsd, 1)["language"], before["language"])


def test_a_vision_network_stores_its_parts_and_heads_on_a_grid(nsd, tmp_path):
    family = FAMILIES["DINOv2"]()
    folder = tmp_path / "model"
    family.model().save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(
        '{"image_processor_type": "BitImageProcessor", "size": {"shortest_edge": 28}, "crop_size": 28}'
    )
    flags = ("--sites", "block", "attention", "mlp", "--heads")
    done = extract(nsd, folder, *flags, "--pooling", "mean", "cls", "patch", script="vision_model.py")
    assert done.returncode == 0, done.stderr
    states = stored(nsd)
    for pooling in ("", "_cls"):
        added = np.diff(states[f"vision{pooling}"], axis=0)
        parts = states[f"vision_attention{pooling}"] + states[f"vision_mlp{pooling}"]
        np.testing.assert_allclose(parts, added, atol=TOLERANCE * np.abs(states["vision"]).max())
    done = extract(nsd, folder, *flags, "--grid", 2, script="vision_model.py")
    assert done.returncode == 0, done.stderr
    states = stored(nsd)
    added = np.diff(states["vision_grid2"], axis=0)
    parts = states["vision_attention_grid2"] + states["vision_mlp_grid2"]
    np.testing.assert_allclose(parts, added, atol=TOLERANCE * np.abs(states["vision_grid2"]).max())
    cells = states["vision_heads_grid2"].reshape(12, 5, 8, 4)  # the four cells are the four patches
    np.testing.assert_allclose(cells.mean(axis=3), states["vision_heads_patch"], atol=1e-5)


def test_a_text_model_stores_its_parts(tmp_path):
    folder = write_text_model("gpt2", tmp_path / "model")
    texts = SimpleNamespace(by_image={1: ["a dog", "two red buses"], 2: ["sky"]})
    checkpoint = Checkpoint("org/text", None, folder)
    network, reader = model_script.load(checkpoint, "cpu", torch.float32, texts=texts, sites=EVERY)
    with torch.inference_mode():
        inputs = model_script.preprocess(reader, list(texts.by_image.values()))
        streams, _ = model_script.encode_images(network, reader, inputs, ["mean", "last"], sites=EVERY)
    for pooling in ("", "_last"):
        block = streams[f"text{pooling}"]
        added = streams[f"text_attention{pooling}"] + streams[f"text_mlp{pooling}"]
        expected = block[:, 1:-1] - block[:, :-2]
        assert close(added[:, :-1], expected)  # GPT-2's last state is after the final norm
    assert streams["text_heads"].shape[1] % streams["text_mlp"].shape[1] == 0


def test_layers_that_share_their_modules_are_refused(tmp_path):
    folder = write_text_model("albert", tmp_path / "model")
    texts = SimpleNamespace(by_image={1: ["a dog"]})
    with pytest.raises(InputError, match="times for one input: leave out"):
        model_script.load(Checkpoint("org/text", None, folder), "cpu", torch.float32, texts=texts, sites=["heads"])


def test_a_model_whose_parts_do_not_add_up_is_one_line_before_anything_is_written(nsd, tmp_path):
    folder = write_text_model("bert", tmp_path / "model")
    images = read_design(find_nsd(nsd).design()).image_ids(1)
    (tmp_path / "captions.csv").write_text("nsd_id,caption\n" + "".join(f"{image},a dog\n" for image in images))
    flags = ("-d", nsd, "-g", "cpu", "-m", "org/text", "--checkpoint", folder)
    done = run_here("text_model.py", *flags, "--captions", tmp_path / "captions.csv", "--sites", "mlp")
    assert done.returncode == 2
    assert "in layer 0 (BertLayer)" in done.stderr.strip().splitlines()[-1]
    assert not (nsd / "image_embeddings").exists()
