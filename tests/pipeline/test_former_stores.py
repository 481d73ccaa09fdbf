"""Stores that version 1.0.0 left half-finished continue, or are refused by the setting that it got wrong.

`former_stores` describes how the stores were made.
"""

import shutil

import numpy as np
import pytest
from former_stores import ANSWERS, STORES, WRITE, write_images
from published_models import needs_published
from scripts import load_script, run, run_here

from brain_activity_prediction.models.checkpoints import weights_identity
from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore
from brain_activity_prediction.storage.folders import embeddings_folder
from brain_activity_prediction.storage.settings_file import recorded_settings

pytestmark = pytest.mark.slow

LLAVA, BLIP, IDEFICS, MPLUG_OWL, OPENFLAMINGO, VIT = WRITE


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("images") / "nsd")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The checkpoint folder of a model script."""
    written = {}

    def write(script):
        if script not in written:
            written[script] = tmp_path_factory.mktemp("models") / script
            WRITE[script](written[script])
        return written[script]

    return write


@pytest.fixture
def former(images, tmp_path, monkeypatch):
    """A BASE_DIR with the stores of version 1.0.0, whose names for the weights hold here.

    The name is a digest of all files, and libraries write some of them otherwise from version to version.
    """
    base_dir = shutil.copytree(images, tmp_path / "former")
    shutil.copytree(STORES, base_dir, dirs_exist_ok=True)

    def name(folder, with_weights):
        return recorded_settings(embeddings_folder(base_dir, load_script(folder.name).MODEL_ID, None), "")["weights"]

    monkeypatch.setattr(weights_identity, "first_version_name", name)
    return base_dir


def stores(base_dir, script, prompts):
    folders = [embeddings_folder(base_dir, load_script(script).MODEL_ID, prompt) for prompt in (None, *prompts)]
    return [EmbeddingStore(folder) for folder in folders if folder.exists()]


@pytest.mark.parametrize(
    ("script", "flags", "prompts"),
    [
        (LLAVA, ANSWERS, [1]),
        (MPLUG_OWL, ANSWERS, [1]),
        (OPENFLAMINGO, ("-p", 2), [2]),
        (VIT, (), []),
        pytest.param(BLIP, ("-p", 2), [2], marks=needs_published),
    ],
)
def test_a_half_finished_store_continues_to_the_end_of_an_uninterrupted_run(
    script, flags, prompts, former, images, model, tmp_path
):
    common = ["-g", "cpu", "-b", 3, "--checkpoint", model(script), *flags]
    whole = shutil.copytree(images, tmp_path / "whole")
    for base_dir, left in ((former, "3 images were done before, 3 are left"), (whole, "6 are left")):
        done = run_here(script, "-d", base_dir, *common)
        assert done.returncode == 0, done.stderr
        assert left in done.stderr
    continued, expected = (stores(base_dir, script, prompts) for base_dir in (former, whole))
    assert len(continued) == len(expected) == 1 + len(prompts)
    for store, right in zip(continued, expected, strict=True):
        assert store.streams() == right.streams()
        assert store.read_answers() == right.read_answers()
        for stream, (n_layers, _) in right.streams().items():
            ids = right.image_ids([stream])
            assert store.image_ids([stream]).tolist() == ids.tolist()
            for layer in range(n_layers):
                states = right.read_layer(stream, layer, ids)
                np.testing.assert_allclose(
                    store.read_layer(stream, layer, ids), states, atol=1e-5 * np.abs(states).max()
                )


@pytest.mark.parametrize(
    ("script", "flags", "difference"),
    [
        (OPENFLAMINGO, ANSWERS, "answer_ends = [257], but this run has [256, 257]"),
        pytest.param(BLIP, ANSWERS, "answer_ends = [1], but this run has [1, 2]", marks=needs_published),
        pytest.param(IDEFICS, ANSWERS, "prompt_token_ids = 11 tokens", marks=needs_published),
    ],
)
def test_what_version_1_0_0_got_wrong_is_refused_by_name_and_left_as_it_is(script, flags, difference, former, model):
    before = {path: path.read_bytes() for path in former.rglob("batch_*")}
    done = run_here(script, "-d", former, "-g", "cpu", "--checkpoint", model(script), *flags)
    assert done.returncode == 2, done.stderr
    assert f"holds states made with {difference}" in done.stderr.splitlines()[-1]
    assert {path: path.read_bytes() for path in former.rglob("batch_*")} == before


def test_a_script_with_prompts_runs_in_a_process_of_its_own(images, model, tmp_path):
    """Unlike here, nothing has imported torchvision beside a torch without a GPU."""
    base_dir = shutil.copytree(images, tmp_path / "nsd")
    done = run(LLAVA, "-d", base_dir, "-g", "cpu", "--checkpoint", model(LLAVA), "-p", 1)
    assert done.returncode == 0, done.stderr
