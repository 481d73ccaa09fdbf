"""A checkpoint from somewhere cannot run code here: no pickle is unpickled, no module of its own is imported."""

import json
import os
import resource
import shutil
from contextlib import nullcontext, suppress
from types import SimpleNamespace
from unittest.mock import patch

import pytest
import tiny_mplug_owl
import tiny_openflamingo
import torch
from safetensors.torch import load_file
from scripts import load_script

from brain_activity_prediction.models.checkpoints.checkpoint import Checkpoint
from brain_activity_prediction.models.openflamingo.weights import read_trained
from brain_activity_prediction.runtime.errors import InputError

pytestmark = pytest.mark.slow

AUTO_MAP = {
    f"Auto{kind}": f"evil.Evil{kind}"
    for kind in ("Config", "Model", "Processor", "ImageProcessor", "Tokenizer", "ModelForCausalLM")
} | {"AutoTokenizer": ["evil.EvilTokenizer", "evil.EvilTokenizer"]}


class Touch:
    """Unpickled, it makes a file."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch '{self.marker}'",)


@pytest.fixture
def marker(tmp_path, monkeypatch):
    """A file that only code from a checkpoint makes; and nobody is asked whether it may run."""
    monkeypatch.setattr("builtins.input", lambda *question: pytest.fail("asked at the terminal"))
    path = tmp_path / "code of the checkpoint was run"
    yield path
    assert not path.exists()


def poison(path, marker):
    """Makes of a file of weights one that holds the same tensors and a pickle that runs code."""
    tensors = load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)
    poisoned = {
        "model.safetensors": path.with_name("pytorch_model.bin"),
        "open_clip_model.safetensors": path.with_name("open_clip_pytorch_model.bin"),
    }.get(path.name, path)
    path.unlink()
    torch.save({**tensors, "extra": Touch(marker)}, poisoned)
    return poisoned


def refused(script, folder):
    """The one line that a checkpoint is refused with."""
    checkpoint = Checkpoint(script.MODEL_ID, None, folder)
    with pytest.raises(InputError) as error:
        script.load(checkpoint, "cpu", torch.float32)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_the_poison_is_in_the_file_and_works(tmp_path):
    """Otherwise the tests below would not show anything."""
    poison, path = Touch(tmp_path / "marker"), tmp_path / "weights.bin"
    torch.save({"extra": poison}, path)
    call, arguments = poison.__reduce__()
    assert torch.serialization.get_unsafe_globals_in_checkpoint(path) == [f"{call.__module__}.{call.__name__}"]
    call(*arguments)
    assert poison.marker.exists()


@pytest.mark.parametrize("name", ["vit", "llava", "instruct_blip", "idefics"])
def test_a_pickle_among_the_weights_is_refused(tiny_model, tmp_path, marker, name):
    folder = shutil.copytree(tiny_model(name).folder, tmp_path / "checkpoint")
    poison(folder / "model.safetensors", marker)
    assert f"{folder} could not be loaded as" in refused(tiny_model(name).script, folder)


def test_a_pickle_among_the_weights_of_mplug_owl_is_refused(tmp_path, marker):
    folder = tiny_mplug_owl.write_checkpoint(tmp_path / "owl")
    poisoned = poison(next(folder.glob("*.safetensors")), marker)
    assert str(poisoned) in refused(load_script("mplug_owl_llama_7b.py"), folder)


@pytest.mark.parametrize("part", ["checkpoint.pt", "mpt-7b/pytorch_model.bin", "clip/open_clip_model.safetensors"])
def test_a_pickle_in_any_part_of_openflamingo_is_refused(tmp_path, marker, part):
    geometry = tiny_openflamingo.GEOMETRY
    folder = tiny_openflamingo.write_checkpoint(
        tmp_path / "flamingo", geometry, tiny_openflamingo.random_tensors(geometry)
    )
    poison(folder / part, marker)
    refused(load_script("openflamingo_9b.py"), folder)


@pytest.mark.parametrize("model_type", ["own", "evil"])
@pytest.mark.parametrize("name", ["vit", "llava", "instruct_blip", "idefics"])
def test_modules_of_the_checkpoint_are_never_imported(tiny_model, tmp_path, marker, name, model_type):
    """Not where the architecture is one of transformers' own, and where it is not, the checkpoint is refused."""
    folder = shutil.copytree(tiny_model(name).folder, tmp_path / "checkpoint")
    (folder / "evil.py").write_text(f"import os\nos.system(\"touch '{marker}'\")\nclass EvilModel: pass\n")
    for path in folder.glob("*config.json"):
        settings = json.loads(path.read_text()) | {"auto_map": AUTO_MAP}
        if model_type == "evil":
            settings |= {"model_type": "evil"}
        path.write_text(json.dumps(settings))
    vision = load_script("vision_model.py").script("org/model", 1, ["mean"])
    text = load_script("clip_text.py").script("org/model", SimpleNamespace(by_image={1: ["A dog."]}))
    script = tiny_model(name).script
    with nullcontext() if model_type == "own" else suppress(InputError):
        script.load(Checkpoint(script.MODEL_ID, None, folder), "cpu", torch.float32)
    if model_type == "evil":
        for script in (vision, text):
            assert "code of its own, which is never run here" in refused(script, folder)


def test_a_default_configuration_of_a_huge_model_is_refused_quickly(tiny_model, tmp_path):
    """Seven billion parameters are described by two words; their weights here are a few."""
    (tmp_path / "config.json").write_text('{"model_type": "llava"}')
    shutil.copy(tiny_model("llava").folder / "model.safetensors", tmp_path)
    for path in tiny_model("llava").folder.glob("*token*"):
        shutil.copy(path, tmp_path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "describes a model of 7" in refused(tiny_model("llava").script, tmp_path)
    script = tiny_model("llava").script
    with (
        patch("psutil.virtual_memory", lambda: SimpleNamespace(available=10**9)),
        pytest.raises(InputError, match=r"take 28.* GB, but 1 GB of memory are free"),
    ):
        script.load(Checkpoint(script.MODEL_ID, None, tmp_path, seed=0), "cpu", torch.float32)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kB


HOSTILE_PARTS = {  # of OpenFlamingo and mPLUG-Owl: the file, what is changed in it, what is said
    "owl, weights elsewhere": ("model.safetensors.index.json", {"weight_map": {"a": "../x"}}, "outside of its folder"),
    "owl, ten million layers": ("config.json", {"text_config": {"num_hidden_layers": 10**7}}, "more than any model"),
    "owl, code of the hub": ("config.json", {"attn_implementation": "kernels/evil"}, "code on the hub"),
    "mpt, weights elsewhere": ("mpt-7b/model.safetensors.index.json", {"weight_map": {"a": "/x"}}, "outside of its"),
    "mpt, ten million layers": ("mpt-7b/config.json", {"n_layers": 10**7}, "more than any model"),
    "mpt, code of the hub": ("mpt-7b/config.json", {"attn_implementation": "kernels/evil"}, "code on the hub"),
    "clip, ten million layers": ("clip/open_clip_config.json", {"vision_cfg": {"layers": 10**7}}, "more than any"),
}


@pytest.fixture(scope="module")
def own_networks(tmp_path_factory):
    """The folders of checkpoints of the scripts whose networks are not transformers' own, by script."""
    folder, geometry = tmp_path_factory.mktemp("own"), tiny_openflamingo.GEOMETRY
    tensors = tiny_openflamingo.random_tensors(geometry)
    return {
        "mplug_owl_llama_7b.py": tiny_mplug_owl.write_checkpoint(folder / "owl"),
        "openflamingo_9b.py": tiny_openflamingo.write_checkpoint(folder / "flamingo", geometry, tensors),
    }


@pytest.mark.parametrize(("name", "changes", "said"), HOSTILE_PARTS.values(), ids=HOSTILE_PARTS)
def test_parts_of_openflamingo_and_mplug_owl_are_looked_at_before_they_are_loaded(
    own_networks, tmp_path, marker, name, changes, said
):
    script = load_script("openflamingo_9b.py" if "/" in name else "mplug_owl_llama_7b.py")
    folder = shutil.copytree(own_networks[f"{script.__name__}.py"], tmp_path / "checkpoint")
    content = json.loads((folder / name).read_text()) if (folder / name).exists() else {}
    (folder / name).write_text(json.dumps(content | changes))
    with pytest.raises(InputError, match=said) as error:
        Checkpoint(script.MODEL_ID, None, folder).check(script.CHECKPOINT_FILES)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["checkpoint.pt", "mpt-7b/config.json", "clip/open_clip_model.safetensors"])
def test_a_pipe_among_the_parts_of_openflamingo_is_not_waited_for(own_networks, tmp_path, name):
    script = load_script("openflamingo_9b.py")
    folder = shutil.copytree(own_networks["openflamingo_9b.py"], tmp_path / "checkpoint")
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(InputError, match="is not a regular file"):
        Checkpoint(script.MODEL_ID, None, folder).check(script.CHECKPOINT_FILES)


@pytest.mark.parametrize(
    "tower",
    [
        {"vision_cfg": {"timm_model_name": "hf-hub:evil/net", "image_size": 28}},
        {"text_cfg": {"hf_model_name": "evil/net"}},
        {"text_cfg": {"hf_tokenizer_name": "evil/net"}},
    ],
    ids=str,
)
def test_a_clip_of_openflamingo_that_is_another_model_of_the_hub_is_refused(own_networks, tmp_path, tower):
    folder = shutil.copytree(own_networks["openflamingo_9b.py"], tmp_path / "checkpoint")
    path = folder / "clip/open_clip_config.json"
    path.write_text(json.dumps({"model_cfg": json.loads(path.read_text())["model_cfg"] | tower}))
    assert "names another model on the hub" in refused(load_script("openflamingo_9b.py"), folder)


@pytest.mark.parametrize(
    ("script", "name", "part", "sizes", "seed"),
    [
        ("mplug_owl_llama_7b.py", "config.json", "text_config", {"hidden_size": 2**16, "intermediate_size": 2**20}, 1),
        ("openflamingo_9b.py", "mpt-7b/config.json", None, {"d_model": 2**16, "n_layers": 32}, 1),
        ("openflamingo_9b.py", "clip/open_clip_config.json", "model_cfg", {"vision_cfg": {"width": 2**16}}, 1),
        ("openflamingo_9b.py", "clip/open_clip_config.json", "model_cfg", {"vision_cfg": {"width": 2**16}}, None),
    ],
)
def test_huge_sizes_of_own_networks_are_refused_in_little_memory(
    own_networks, tmp_path, script, name, part, sizes, seed
):
    folder = shutil.copytree(own_networks[script], tmp_path / "checkpoint")
    content = json.loads((folder / name).read_text())
    inner = content[part] if part else content
    for key, value in sizes.items():
        inner[key] = inner[key] | value if isinstance(value, dict) else value
    (folder / name).write_text(json.dumps(content))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    script = load_script(script)
    with (
        patch("psutil.virtual_memory", lambda: SimpleNamespace(available=10**9)),
        pytest.raises(InputError, match=r"take .* GB, but 1 GB of memory are free"),
    ):
        script.load(Checkpoint(script.MODEL_ID, None, folder, seed=seed), "cpu", torch.float32)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kB


def test_no_one_is_advised_to_unpickle_what_weights_hold(tiny_model, tmp_path, marker):
    folder = shutil.copytree(tiny_model("llava").folder, tmp_path / "checkpoint")
    poison(folder / "model.safetensors", marker)
    said = refused(tiny_model("llava").script, folder)
    assert "a pickle with more than tensors, which may run code and is never loaded" in said
    assert "weights_only" not in said


def test_a_bare_pickle_is_refused(marker, tmp_path):
    """The format of torch before it was a zip file."""
    (tmp_path / "checkpoint").mkdir()
    poisoned = {"model_state_dict": Touch(marker)}
    torch.save(poisoned, tmp_path / "checkpoint/checkpoint.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(InputError, match=r"checkpoint\.pt") as error:
        read_trained(tmp_path / "checkpoint/checkpoint.pt")
    assert "\n" not in str(error.value)
