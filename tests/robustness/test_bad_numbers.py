"""Numbers that are none are found where they arise, by image, stream and layer, in real models made to give them."""

import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from scripts import load_script
from two_layers import FOLDER, align, write_states

from brain_activity_prediction.cli import extraction_command
from brain_activity_prediction.datasets.nsd.design import read_design
from brain_activity_prediction.datasets.nsd.nsd import find_nsd
from brain_activity_prediction.encoding.scores.score_store import ScoreStore
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore

pytestmark = pytest.mark.slow

FLOAT16_LARGEST = 65504
VIT, LLAVA = "vit_huge_patch14_224_in21k.py", "llava_1.5_13b.py"


@pytest.fixture
def own_checkpoint(tiny_model, tmp_path):
    """A copy of a tiny model's checkpoint by name, one of its parameters changed."""

    def make(name, parameter, change):
        folder = shutil.copytree(tiny_model(name).folder, tmp_path / name)
        tensors = load_file(folder / "model.safetensors")
        (found,) = (key for key in tensors if key.endswith(parameter))
        tensors[found] = change(tensors[found])
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return folder

    return make


def extract(monkeypatch, capsys, script, base_dir, *more):
    """Status and last line on stderr of an extraction, 16 images a batch."""
    flags = ["-d", base_dir, "-g", "cpu", "-b", 16, "--max-new-tokens", 3, *more]
    monkeypatch.setattr("sys.argv", ["script.py", *map(str, flags)])
    with pytest.raises(SystemExit) as ended:
        extraction_command.main(script)
    return ended.value.code, capsys.readouterr().err.splitlines()[-1]


def first_image(base_dir):
    return read_design(find_nsd(base_dir).design()).image_ids(1).min()


def store(base_dir, script, prompt="no_prompt"):
    return EmbeddingStore(base_dir / "image_embeddings" / prompt / script.MODEL_ID.replace("/", "_"))


def test_states_that_overflow_in_half_precision_are_refused_others_are_complete(
    own_nsd, own_checkpoint, monkeypatch, capsys
):
    """The weights lie within float16's range, what the layer makes of them does not."""
    script = load_script(VIT)
    folder = own_checkpoint("vit", "layer.1.output.dense.weight", lambda weight: 30_000 * weight / weight.abs().max())
    ended = extract(monkeypatch, capsys, script, own_nsd, "--checkpoint", folder, "--dtype", "float16")
    assert ended[0] == 2
    assert f"vision is not finite for image {first_image(own_nsd)} at layer 2, the first of " in ended[1]
    assert ended[1].endswith("run it with --dtype bfloat16 or float32")
    assert not list(own_nsd.rglob("batch_*"))
    ids = None
    for dtype in ("bfloat16", "float32"):
        base_dir = own_nsd.parent / dtype
        shutil.copytree(own_nsd, base_dir, ignore=shutil.ignore_patterns("image_embeddings"))
        assert extract(monkeypatch, capsys, script, base_dir, "--checkpoint", folder, "--dtype", dtype)[0] == 0
        found = store(base_dir, script)
        ids = found.image_ids(["vision"])
        states = found.read_layer("vision", 2, ids)
        assert np.isfinite(states).all()
        assert np.abs(states).max() > FLOAT16_LARGEST
    assert len(ids) == 40


def test_weights_that_are_no_numbers_are_told_from_a_range_that_is_too_small(
    own_nsd, own_checkpoint, monkeypatch, capsys
):
    script = load_script(LLAVA)
    folder = own_checkpoint(
        "llava", ".layers.2.mlp.down_proj.weight", lambda weight: torch.full_like(weight, torch.nan)
    )
    ended = extract(monkeypatch, capsys, script, own_nsd, "--checkpoint", folder)
    assert ended[0] == 2
    assert f"language is not finite for image {first_image(own_nsd)} at layer 3, " in ended[1]
    assert ended[1].endswith("fetch the weights again")


def losing(script, layer):
    """The script, the states of a language layer replaced by zeros, as accelerate's hooks have been seen to do."""
    load = script.load

    def load_and_lose(*arguments):
        model, processor = load(*arguments)
        lost = model.model.language_model.layers[layer]
        lost.register_forward_hook(lambda module, inputs, output: torch.zeros_like(output), prepend=True)
        return model, processor

    script.load = load_and_lose
    return script


def test_a_layer_whose_states_were_lost_on_the_way_is_not_taken_for_zeros(own_nsd, tiny_model, monkeypatch, capsys):
    script = losing(load_script(LLAVA), layer=1)
    for more in (["--no-test-run"], ["--test-run"]):
        ended = extract(monkeypatch, capsys, script, own_nsd, "--checkpoint", tiny_model("llava").folder, *more)
        assert ended[0] == 2
        said = f"language is zero throughout for image {first_image(own_nsd)} at layer 2, the first of 112 such vectors"
        assert said in ended[1]
        assert ended[1].endswith("run it without --device-map and --quantize")


def test_an_untrained_model_may_have_layers_of_zeros(own_nsd, tiny_model, monkeypatch, capsys):
    script = losing(load_script(LLAVA), layer=1)
    flags = ["--checkpoint", tiny_model("llava").folder, "--random-weights", 1]
    assert extract(monkeypatch, capsys, script, own_nsd, *flags)[0] == 0
    found = EmbeddingStore(own_nsd / "image_embeddings/prompt_1/llava-hf_llava-1.5-13b-hf-random-1")
    assert not found.read_layer("language", 2, found.image_ids(["language"])).any()


def test_states_that_are_no_numbers_on_disk_are_named_before_they_are_fitted(own_nsd, monkeypatch):
    written = write_states(own_nsd)
    ids = written.image_ids(["vision"])
    states = np.stack([written.read_layer("vision", layer, ids) for layer in (0, 1)], axis=1)
    subject = read_design(find_nsd(own_nsd).design()).image_ids(1)
    bad = int(np.flatnonzero(np.isin(ids, subject))[5])
    states[bad, 1, 2] = np.nan
    next(written.folder.glob("batch_*")).unlink()
    written.write(ids, {"vision": states})
    with pytest.raises(
        InputError, match=f"vision is not finite for 1 of 40 images at layer 1 .*first: image {ids[bad]}"
    ):
        align(monkeypatch, own_nsd)


def test_a_layer_that_is_the_same_for_all_images_is_named_and_scores_zero(own_nsd, monkeypatch, capsys):
    written = write_states(own_nsd)
    ids = written.image_ids(["vision"])
    states = np.stack([written.read_layer("vision", layer, ids) for layer in (0, 1)], axis=1)
    states[:, 0] = states[0, 0]
    next(written.folder.glob("batch_*")).unlink()
    written.write(ids, {"vision": states})
    align(monkeypatch, own_nsd)
    said = capsys.readouterr().err
    assert "layer 0 of vision is the same for all training images and predicts nothing" in said
    assert "layer 1 of vision is" not in said
    assert not ScoreStore(own_nsd / FOLDER).read("vision", 0)["r"].any()
    assert pd.read_csv(own_nsd / FOLDER / "scores.csv").query("layer == 1")["r"].max() > 0.5
