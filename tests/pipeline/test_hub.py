"""Which commit of the hub a model is, with the hub within reach and out of it."""

import shutil
import subprocess
from types import SimpleNamespace

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from scripts import command

from brain_activity_prediction.models.checkpoints import checkpoint_files, hub
from brain_activity_prediction.models.checkpoints.checkpoint import Checkpoint
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore
from brain_activity_prediction.storage.settings_file import first_difference

pytestmark = pytest.mark.slow

SCRIPT, MODEL_ID = "vit_huge_patch14_224_in21k.py", "google/vit-huge-patch14-224-in21k"
OLD, NEW = "0" * 40, "1" * 40


@pytest.fixture
def extract(own_nsd, tmp_path, monkeypatch):
    """Runs the script with a hub that nothing answers for, and files fetched to `tmp_path / "hub"`."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))

    def run(*flags):
        run = command(SCRIPT, "-d", own_nsd, "-s", 1, "-g", "cpu", *flags)
        return subprocess.run(run, capture_output=True, text=True, check=False)

    return run


def fetch(hub, folder, commit, model_id=MODEL_ID):
    """What the hub's library leaves in `hub` when `main` is `commit`."""
    kept = hub / f"models--{model_id.replace('/', '--')}"
    shutil.copytree(folder, kept / "snapshots" / commit)
    (kept / "blobs").mkdir(exist_ok=True)
    (kept / "refs").mkdir(exist_ok=True)
    (kept / "refs" / "main").write_text(commit)


def test_without_network_and_files_one_line_says_at_once_how_to_fetch_them(extract, own_nsd):
    refused = extract()
    assert refused.returncode == 2
    first, second = refused.stderr.splitlines()
    assert first.endswith("are left")
    assert f"hf download {MODEL_ID} --revision main --local-dir DIR" in second
    assert "--checkpoint DIR" in second
    assert not (own_nsd / "image_embeddings").exists()


@pytest.fixture
def states(own_nsd):
    return EmbeddingStore(own_nsd / "image_embeddings" / "no_prompt" / MODEL_ID.replace("/", "_"))


@pytest.fixture
def changed(tiny_model, tmp_path):
    """The model's folder with one of its numbers changed."""
    folder = shutil.copytree(tiny_model("vit").folder, tmp_path / "changed")
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(content)
    return folder


@pytest.mark.very_slow
def test_downloaded_files_are_used_offline_and_recorded_by_their_commit(extract, states, tmp_path, tiny_model, changed):
    fetch(tmp_path / "hub", tiny_model("vit").folder, OLD)
    assert extract("--shard", "0/2").returncode == 0
    assert states.settings()["made_from"]["names"] == [f"revision {OLD}"]
    before = states.settings()
    fetch(tmp_path / "hub", changed, NEW)
    refused = extract()
    assert refused.returncode == 2
    assert "made with other weights, which differ in model.safetensors" in refused.stderr
    assert extract("--revision", OLD).returncode == 0
    assert states.settings() == before


@pytest.fixture
def recorded_weights(tmp_path, monkeypatch):
    """What a checkpoint of the hub, out of reach, with files fetched to `tmp_path / "hub"`, or of a folder records."""

    def unreachable(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(HfApi, "model_info", unreachable)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))

    def recorded_weights(source, recorded):
        """`source` is a folder, or a revision."""
        of = {"revision": source} if isinstance(source, str) else {"folder": source}
        return Checkpoint(MODEL_ID, **of).recorded_weights(recorded)

    return recorded_weights


def test_a_later_commit_with_the_same_files_is_the_same_model(recorded_weights, tmp_path, tiny_model):
    for commit in (OLD, NEW):
        fetch(tmp_path / "hub", tiny_model("vit").folder, commit)
    first = recorded_weights(OLD, {})
    assert recorded_weights("main", first)["weights"] == first["weights"]


def test_parts_in_repositories_of_their_own_and_in_one_folder_are_one_model(recorded_weights, tmp_path):
    """OpenFlamingo: three repositories on the hub, or one folder with three parts."""
    whole, other = tmp_path / "whole", tmp_path / "other"
    names = ("checkpoint.pt", "mpt-7b/config.json", "mpt-7b/model.safetensors", "clip/open_clip_model.safetensors")
    for folder in (whole, other):
        for name in (*names, "clip/model.safetensors"):  # the same weights for timm, which nothing here loads
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(name.encode())
    (other / "mpt-7b" / "model.safetensors").write_bytes(b"others")
    parts = {"mpt-7b": ("org/mpt", OLD), "clip": ("org/clip", "main")}
    hub = Checkpoint(MODEL_ID, OLD, parts_on_hub=parts)
    assert hub.recorded_weights({})["made_from"]["files"] == {}
    for model_id, folder, files in (
        (MODEL_ID, whole, names[:1]),
        ("org/mpt", whole / "mpt-7b", ("config.json", "model.safetensors")),
        ("org/clip", whole / "clip", ("open_clip_model.safetensors",)),
    ):
        fetched = tmp_path / "fetched" / model_id
        for name in files:
            (fetched / name).parent.mkdir(parents=True, exist_ok=True)
            (fetched / name).write_bytes((folder / name).read_bytes())
        fetch(tmp_path / "hub", fetched, OLD, model_id)
    first = Checkpoint(MODEL_ID, OLD, parts_on_hub=parts).recorded_weights({})
    assert sorted(first["made_from"]["files"]) == sorted(names)
    assert recorded_weights(whole, first)["weights"] == first["weights"]
    assert recorded_weights(other, first)["weights"] != first["weights"]
    untrained = Checkpoint(MODEL_ID, OLD, seed=3, parts_on_hub=parts | {"clip": ("org/absent", "main")})
    assert untrained.recorded_weights({})["made_from"]["files"].keys() == {"mpt-7b/config.json"}


def test_the_hubs_cache_and_a_folder_of_the_same_files_are_one_model(recorded_weights, tmp_path, tiny_model, changed):
    fetch(tmp_path / "hub", tiny_model("vit").folder, OLD)
    folder = shutil.copytree(tiny_model("vit").folder, tmp_path / "folder")
    for name in ("README.md", "notes.txt", "tokenizer.json", ".cache/huggingface/download/config.json.metadata"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    for first, second in ((OLD, folder), (folder, OLD)):
        recorded = recorded_weights(first, {})
        assert recorded_weights(second, recorded)["weights"] == recorded["weights"]
        assert recorded_weights(changed, recorded)["weights"] != recorded["weights"]


def test_files_yet_to_be_fetched_are_not_held_against_states_of_a_folder(recorded_weights, tmp_path, tiny_model):
    recorded = recorded_weights(tiny_model("vit").folder, {})
    assert recorded_weights(OLD, recorded) == {}
    fetch(tmp_path / "hub", tiny_model("vit").folder, OLD)
    assert recorded_weights(OLD, recorded)["weights"] == recorded["weights"]


def test_states_that_1_0_0_recorded_by_commit_continue_with_that_commit_only(recorded_weights, tmp_path, tiny_model):
    for commit in (OLD, NEW):
        fetch(tmp_path / "hub", tiny_model("vit").folder, commit)
    of_1_0 = {"weights": f"revision {OLD}"}
    assert recorded_weights(OLD, of_1_0)["weights"] == f"revision {OLD}"
    said = first_difference(of_1_0, recorded_weights("main", of_1_0))
    assert said == f"weights = revision {OLD}, but this run has revision {NEW}"


def test_a_branch_is_recorded_as_the_hubs_commit_and_a_commit_as_itself(monkeypatch):
    asked = []

    def model_info(self, model_id, revision, timeout):
        asked.append((model_id, revision))
        return SimpleNamespace(sha=NEW)

    monkeypatch.setattr(HfApi, "model_info", model_info)
    assert Checkpoint("org/model", OLD).identity() == f"revision {OLD}"
    assert not asked
    of_branch = Checkpoint("org/model", "main")
    assert of_branch.identity() == f"revision {NEW}"
    assert of_branch.hub_source == {"revision": NEW, "local_files_only": False}
    assert asked == [("org/model", "main")]
    assert Checkpoint("org/model", "main", seed=3).identity() == f"random with seed 3, configuration of revision {NEW}"


def test_files_on_disk_are_loaded_without_asking_a_hub_out_of_reach_again(monkeypatch):
    def unreachable(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(HfApi, "model_info", unreachable)
    monkeypatch.setattr(hub, "_commit_on_disk", lambda model_id, revision: OLD)
    assert Checkpoint("org/model", "main").hub_source == {"revision": OLD, "local_files_only": True}


@pytest.mark.parametrize("error", [LocalEntryNotFoundError("timed out"), OSError("connection reset"), None])
@pytest.mark.parametrize("offline", [False, True])
def test_a_file_that_the_hub_fails_to_give_is_an_error_and_not_an_absent_file(error, offline, monkeypatch):
    def hf_hub_download(*_, **__):
        raise error or EntryNotFoundError("404")

    monkeypatch.setattr(checkpoint_files, "commit_on_hub", lambda model_id, revision: (OLD, offline))
    monkeypatch.setattr("huggingface_hub.hf_hub_download", hf_hub_download)
    checkpoint = Checkpoint("org/model", "main")
    if error is None or (offline and isinstance(error, LocalEntryNotFoundError)):
        assert checkpoint.file("generation_config.json") is None
    else:
        with pytest.raises(InputError, match=r"generation_config.json of org/model could not be fetched from the hub"):
            checkpoint.file("generation_config.json")
