"""One set of weights has one identity, in any folder and next to any other files."""

import json

import pytest

from brain_activity_prediction.models.checkpoints.checkpoint import Checkpoint
from brain_activity_prediction.storage.settings_file import first_difference

MODEL_ID = "org/model"
OF_1_0 = "files 53e9f88a58312285"  # what version 1.0.0 recorded for the folder below
OF_1_0_UNTRAINED = "random with seed 3, configuration of files 2e17d96f4593c658"
TENSORS = bytes(range(256)) * 100


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "checkpoint"
    write(folder, "config.json", b'{"model_type": "vit"}')
    write(folder, "merges.txt", b"a b\n")
    write(folder, "model.safetensors", TENSORS)
    return folder


def write(folder, name, content):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


def identity(folder, seed=None):
    return Checkpoint(MODEL_ID, folder=folder, seed=seed).identity()


def settings(folder, recorded=None, seed=None):
    return Checkpoint(MODEL_ID, folder=folder, seed=seed).recorded_weights(recorded or {})


@pytest.mark.parametrize(
    "name",
    [
        *("README.md", "notes.txt", "LICENSE.txt", ".gitattributes", "my_results.json", "trainer_state.json"),
        *(".cache/huggingface/download/config.json.metadata", ".cache/huggingface/config.json", "training_args.bin"),
        *("pytorch_model.bin", "tf_model.h5", "flax_model.msgpack", "optimizer.pt", "checkpoint-500/model.safetensors"),
        *("onnx/config.json", "original/consolidated.00.pth", "figure.png"),
    ],
)
def test_what_no_script_loads_changes_no_identity(folder, name):
    before = identity(folder)
    write(folder, name, b'{"note": 1}')
    assert identity(folder) == before


@pytest.mark.parametrize(
    "name", ["config.json", "generation_config.json", "merges.txt", "tokenizer.model", "qformer_tokenizer/vocab.txt"]
)
def test_every_configuration_that_is_loaded_belongs_to_the_identity(folder, name):
    before = {identity(folder), identity(folder, seed=3)}
    write(folder, name, b"changed")
    assert before.isdisjoint({identity(folder), identity(folder, seed=3)})


def test_shards_count_by_the_index_that_names_them(folder):
    (folder / "model.safetensors").unlink()
    shards = {"a.weight": "model-00001-of-00002.safetensors", "b.weight": "model-00002-of-00002.safetensors"}
    write(folder, "model.safetensors.index.json", json.dumps({"weight_map": shards}).encode())
    for name in shards.values():
        write(folder, name, name.encode())
    before = identity(folder)
    write(folder, "consolidated.safetensors", TENSORS)
    assert identity(folder) == before
    write(folder, "model-00002-of-00002.safetensors", b"changed")
    assert identity(folder) != before


def test_weights_are_the_same_if_one_side_lacks_unused_configurations(folder):
    recorded = settings(folder)
    (folder / "merges.txt").unlink()
    assert settings(folder, recorded)["weights"] == recorded["weights"]
    write(folder, "config.json", b'{"model_type": "dinov2"}')
    assert settings(folder, recorded)["weights"] != recorded["weights"]


def test_other_weights_are_refused_by_the_file_that_differs(folder):
    recorded = settings(folder)
    write(folder, "model.safetensors", TENSORS[:-1] + b"\0")
    assert first_difference(recorded, settings(folder, recorded)) == "other weights, which differ in model.safetensors"


@pytest.mark.parametrize(("seed", "recorded"), [(None, OF_1_0), (3, OF_1_0_UNTRAINED)])
def test_states_of_version_1_0_0_go_on_from_the_same_folder_and_no_other(folder, seed, recorded):
    assert settings(folder, {"weights": recorded}, seed)["weights"] == recorded
    write(folder, "config.json", b'{"model_type": "dinov2"}')
    assert settings(folder, {"weights": recorded}, seed)["weights"] != recorded


def test_a_record_of_version_1_0_0_gains_the_files_and_is_then_known_by_them(folder):
    recorded = settings(folder, {"weights": OF_1_0})
    write(folder, "notes.txt", b"to which 1.0.0 would have given another name")
    assert settings(folder, recorded)["weights"] == OF_1_0
