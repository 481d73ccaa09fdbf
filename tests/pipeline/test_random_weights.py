"""`--random-weights SEED`: the untrained model, reproducible, never mixed with the trained one."""

import shutil

import numpy as np
import pytest
import torch
from scripts import load_script
from tiny_models import MODELS
from tiny_mplug_owl import write_checkpoint

from brain_activity_prediction.cli import extraction_command
from brain_activity_prediction.datasets.nsd.design import read_design
from brain_activity_prediction.datasets.nsd.nsd import find_nsd
from brain_activity_prediction.extraction import loop
from brain_activity_prediction.models.checkpoints.checkpoint import Checkpoint
from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore
from brain_activity_prediction.storage.folders import embeddings_folder

pytestmark = pytest.mark.slow


def untrained(tiny, seed, dtype=torch.float32, folder=None):
    checkpoint = Checkpoint(tiny.script.MODEL_ID, None, folder or tiny.folder, seed)
    return tiny.script.load(checkpoint, "cpu", dtype)[0]


@pytest.mark.parametrize("name", MODELS)
def test_weights_are_those_the_class_starts_from_and_the_seed_decides_them(tiny_model, name):
    tiny = tiny_model(name)
    model = untrained(tiny, 3)
    torch.manual_seed(3)
    fresh = type(model)(type(model.config).from_pretrained(tiny.folder)).state_dict()
    torch.testing.assert_close(dict(model.state_dict()), dict(fresh), rtol=0, atol=0)
    other = untrained(tiny, 4).state_dict()
    assert any(not torch.equal(weights, other[key]) for key, weights in fresh.items())
    assert all(not torch.equal(fresh[key], weights) for key, weights in tiny.model.state_dict().items())
    assert not model.training


def test_mplug_owl_starts_from_its_own_initial_weights(tmp_path):
    script, folder = load_script("mplug_owl_llama_7b.py"), write_checkpoint(tmp_path / "owl")
    trained, first, again = (
        script.load(Checkpoint(script.MODEL_ID, None, folder, seed), "cpu", torch.float32)[0].state_dict()
        for seed in (None, 3, 3)
    )
    torch.testing.assert_close(dict(first), dict(again), rtol=0, atol=0)
    assert trained.keys() == first.keys()
    assert all(not torch.equal(trained[name], weights) for name, weights in first.items())


def test_the_random_numbers_of_the_rest_are_left_alone(tiny_model):
    tiny = tiny_model("vit")
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    untrained(tiny, 5)
    assert torch.equal(torch.rand(3), expected)


def test_half_precision_rounds_the_weights_and_no_position(tiny_model):
    """Rotary frequencies stay float32, as they do where trained weights are loaded."""
    model = untrained(tiny_model("llava"), 3, torch.float16)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float16}
    assert {buffer.dtype for buffer in model.buffers() if buffer.is_floating_point()} == {torch.float32}


def test_only_the_configuration_is_needed_and_decides_the_identity(tiny_model, tmp_path):
    tiny = tiny_model("vit")
    folder = shutil.copytree(tiny.folder, tmp_path / "vit", ignore=shutil.ignore_patterns("*.safetensors"))
    untrained(tiny, 3, folder=folder)
    identities = [Checkpoint("a/b", "main", path, seed).identity() for path in (folder, tiny.folder) for seed in (3, 4)]
    assert identities[:2] == identities[2:]
    assert identities[0] != identities[1]


def test_untrained_states_have_a_folder_of_their_own(own_nsd, tiny_model):
    tiny = tiny_model("vit")
    common = ["-d", str(own_nsd), "-g", "cpu", "-b", "20", "--checkpoint", str(tiny.folder)]
    for flags in ([], ["--random-weights", "0"], ["--random-weights", "1"]):
        arguments = extraction_command.flags("").parse_args([*common, *flags])
        loop.extract(tiny.script, extraction_command.settings(tiny.script, arguments))
    ids = read_design(find_nsd(own_nsd).design()).image_ids(1)
    states = {}
    for model_id in ("", "-random-0", "-random-1"):
        folder = embeddings_folder(own_nsd, tiny.script.MODEL_ID + model_id, None)
        store = EmbeddingStore(folder)
        states[store.settings()["weights"]] = store.read_layer("vision", 8, ids)
        assert store.settings()["model_id"] == tiny.script.MODEL_ID + model_id
    assert len(states) == 3
    first, second, third = states.values()
    assert np.abs(first - second).max() > 0.1
    assert np.abs(second - third).max() > 0.1


@pytest.mark.parametrize("seed", ["-1", "1.5", "one", str(2**32)])
def test_a_seed_that_is_none_is_refused(seed, capsys):
    with pytest.raises(SystemExit):
        extraction_command.flags("").parse_args(["-d", ".", f"--random-weights={seed}"])
    assert "--random-weights" in capsys.readouterr().err
