"""Another size of a model's class goes through the same script, under an id of its own."""

import json

import pytest
from scripts import load_script, run_here

from brain_activity_prediction.cli import extraction_command
from brain_activity_prediction.demo.models import write_llava, write_vit
from brain_activity_prediction.models.checkpoints import checkpoint_files
from brain_activity_prediction.models.library_imports import import_torchvision
from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore
from brain_activity_prediction.storage.folders import embeddings_folder

pytestmark = pytest.mark.slow

LLAVA, VIT = "llava_1.5_13b.py", "vit_huge_patch14_224_in21k.py"


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    import_torchvision()
    folder = tmp_path_factory.mktemp("checkpoints")
    write_llava(folder / LLAVA, num_hidden_layers=2)
    write_vit(folder / VIT, num_hidden_layers=2)
    return folder


@pytest.mark.parametrize(
    ("script", "model_id", "stream", "prompt"),
    [
        (LLAVA, "llava-hf/llava-1.5-7b-hf", "language", 1),
        (VIT, "google/vit-large-patch16-224-in21k", "vision", None),
    ],
)
def test_states_of_another_size_go_under_its_own_id(script, model_id, stream, prompt, checkpoints, own_nsd):
    flags = ["-d", own_nsd, "-g", "cpu", "--checkpoint", checkpoints / script]
    for more in ([], ["--model-id", model_id]):
        done = run_here(script, *flags, *more)
        assert done.returncode == 0, done.stderr
    template = "is run with the template of llava-hf/llava-1.5-13b-hf: 'USER: <image>\\n{prompt} ASSISTANT:'"
    assert (f"{model_id} {template}" in done.stderr) == (script == LLAVA)
    folder = embeddings_folder(own_nsd, model_id, prompt)
    assert len(list(folder.parent.iterdir())) == 2
    assert len(EmbeddingStore(folder).image_ids([stream])) == 40
    assert json.loads((folder / "settings.json").read_text())["model_id"] == model_id


def test_another_size_comes_from_the_hubs_main_branch(own_nsd, monkeypatch):
    asked = []

    def commit_on_hub(model_id, revision):
        asked.append((model_id, revision))
        return "0" * 40, True

    monkeypatch.setattr(checkpoint_files, "commit_on_hub", commit_on_hub)
    run_here(LLAVA, "-d", own_nsd, "-g", "cpu", "-m", "llava-hf/llava-1.5-7b-hf")
    assert set(asked) == {("llava-hf/llava-1.5-7b-hf", "main")}


def test_the_scripts_own_id_keeps_its_pinned_revision():
    script = load_script(LLAVA)
    for flags in ([], ["-m", script.MODEL_ID]):
        settings = extraction_command.settings(script, extraction_command.flags("").parse_args(["-d", ".", *flags]))
        assert settings.checkpoint.revision == script.REVISION
