"""What a checkpoint folder of mPLUG-Owl holds: every format, what does not fit, what cannot be read."""

import json
from pathlib import Path

import pytest
import torch
from huggingface_hub.utils import filter_repo_objects
from safetensors.torch import load_file, save_file
from tiny_mplug_owl import load, write_checkpoint

from brain_activity_prediction.models.mplug_owl import weights
from brain_activity_prediction.runtime.errors import InputError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """The folder of a tiny network with random weights."""
    return write_checkpoint(tmp_path_factory.mktemp("tiny") / "checkpoint")


@pytest.fixture
def spoilt(tiny, tmp_path):
    """A function that copies the checkpoint, its state and configuration changed by the function it is given."""

    def copy(change=lambda state, config: None, save=None):
        state, config = load_file(tiny / "model.safetensors"), json.loads((tiny / "config.json").read_text())
        change(state, config)
        (tmp_path / "config.json").write_text(json.dumps(config))
        (save or (lambda state, folder: save_file(state, folder / "model.safetensors")))(state, tmp_path)
        return tmp_path

    return copy


def test_no_parameter_of_a_tiny_network_is_zero_and_all_of_them_are_loaded(tiny):
    written, loaded = load_file(tiny / "model.safetensors"), load(tiny).state_dict()
    assert all((tensor != 0).all() for tensor in written.values())
    assert written.keys() == loaded.keys()
    assert all(torch.equal(written[name], loaded[name]) for name in written)


def shards(suffix, write):
    def save(state, folder):
        names = sorted(state)
        for number, part in enumerate((names[::2], names[1::2]), start=1):
            write({name: state[name] for name in part}, folder / suffix.format(number))

    return save


@pytest.mark.parametrize(
    "save",
    [
        shards("model-0000{}-of-00002.safetensors", save_file),
        shards("pytorch_model-0000{}-of-00002.bin", torch.save),
        lambda state, folder: torch.save(state, folder / "pytorch_model.bin"),
        lambda state, folder: torch.save(state, folder / "pytorch_model.bin", _use_new_zipfile_serialization=False),
    ],
    ids=["safetensors shards", "bin shards", "one bin", "one bin of an old torch"],
)
def test_every_format_of_a_checkpoint_gives_the_same_network(tiny, spoilt, save):
    expected, loaded = load(tiny).state_dict(), load(spoilt(save=save)).state_dict()
    assert all(torch.equal(expected[name], loaded[name]) for name in expected)


def test_rotary_tables_saved_by_older_libraries_are_computed_anew(tiny, spoilt):
    name = "language_model.model.layers.0.self_attn.rotary_emb.inv_freq"
    folder = spoilt(lambda state, config: state.update({name: torch.full((4,), torch.nan)}))
    rotary = "language_model.model.rotary_emb"
    assert torch.equal(load(folder).get_submodule(rotary).inv_freq, load(tiny).get_submodule(rotary).inv_freq)


def test_the_width_of_the_abstractors_mlp_follows_its_weights(tiny, spoilt):
    folder = spoilt(lambda state, config: config["visual_abstractor_config"].update(intermediate_size=4096))
    expected, loaded = load(tiny).state_dict(), load(folder).state_dict()
    assert all(torch.equal(expected[name], loaded[name]) for name in expected)


def without_abstractor_norms(state, config):
    for name in [name for name in state if "norm1" in name]:
        del state[name]


def with_another_head(state, config):
    state["abstractor.extra.weight"] = torch.ones(2)


def with_fewer_queries(state, config):
    config["num_query_tokens"] = 4


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (without_abstractor_norms, "4 missing .first: abstractor.encoder.layers.0.crossattention.norm1.weight."),
        (with_another_head, "1 unexpected .first: abstractor.extra.weight."),
        (with_fewer_queries, r"1 of another shape .first: query_tokens \(1, 5, 24\) instead of \(1, 4, 24\)."),
    ],
)
def test_weights_that_do_not_fit_are_counted_and_the_first_is_named(spoilt, change, told):
    with pytest.raises(InputError, match=told) as caught:
        load(spoilt(change))
    assert "\n" not in str(caught.value)


def test_heads_that_do_not_divide_the_abstractors_width_are_refused(spoilt):
    with pytest.raises(InputError, match="width 24 is not a multiple of its 5 attention heads"):
        load(spoilt(lambda state, config: config["visual_abstractor_config"].update(num_attention_heads=5)))


def truncated(state, folder):
    save_file(state, folder / "model.safetensors")
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])


class Shout:
    """What a hostile weight file would do."""

    def __reduce__(self):
        return print, ("code from the checkpoint ran",)


@pytest.mark.parametrize(
    ("save", "told"),
    [
        (lambda state, folder: None, "neither .*safetensors nor pytorch_model"),
        (truncated, "cannot read .*model.safetensors"),
        (lambda state, folder: (folder / "pytorch_model.bin").write_bytes(b"not weights"), "cannot read .*model.bin"),
        (lambda state, folder: torch.save({"model": state}, folder / "pytorch_model.bin"), "named tensors"),
        (lambda state, folder: torch.save(Shout(), folder / "pytorch_model.bin"), "cannot read .*model.bin"),
    ],
    ids=["absent", "truncated", "not weights", "nested", "hostile"],
)
def test_weight_files_that_cannot_be_read_are_named_and_their_code_is_never_run(spoilt, save, told, capsys):
    with pytest.raises(InputError, match=told) as caught:
        load(spoilt(save=save))
    assert "\n" not in str(caught.value)
    assert "code from the checkpoint ran" not in capsys.readouterr().out


def test_from_the_hub_only_weights_and_settings_of_the_revision_are_fetched(tiny, monkeypatch):
    fetched = []

    def fetch(model_id, **settings):
        fetched.append((model_id, settings))
        return str(tiny)

    monkeypatch.setattr(weights, "snapshot_download", fetch)
    assert weights.local_folder("org/owl", "abc", local_files_only=True) == Path(tiny)
    ((model_id, settings),) = fetched
    assert (model_id, settings["revision"], settings["local_files_only"]) == ("org/owl", "abc", True)
    wanted = filter_repo_objects(
        ["config.json", "a.safetensors", "pytorch_model-1.bin", "code.py", "optimizer.bin"],
        allow_patterns=settings["allow_patterns"],
    )
    assert list(wanted) == ["config.json", "a.safetensors", "pytorch_model-1.bin"]
