"""The same command on the same data gives the same bytes, and the batch size changes no number beyond rounding."""

import hashlib
import shutil

import numpy as np
import pytest
import tiny_models  # noqa: F401  imports torchvision where it is
from forked import run_forked, warm
from scripts import ALIGN, run

from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore

pytestmark = pytest.mark.exhaustive

LLAVA = "llava_1.5_13b.py"
MODEL_ID = "llava-hf/llava-1.5-13b-hf"


def alone(script, flags, folder):
    done = run(script, *flags)
    return done.returncode, done.stderr


def forked(script, flags, folder):
    ended = run_forked(script, flags, folder, may_load=True)
    return ended.status, ended.err


def extract(base_dir, checkpoint, batch_size, run_script=forked):
    flags = ["-d", base_dir, "-g", "cpu", "--checkpoint", checkpoint, "-b", batch_size, "-p", "1-2"]
    flags += ["--response", "--max-new-tokens", 4, "--pooling", "mean", "last"]
    status, said = run_script(LLAVA, flags, base_dir.parent)
    assert status == 0, said


def digests(folder):
    """The SHA-256 of every file of results, by its path; made_from.json holds when their inputs were changed."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for part in ("image_embeddings", "alignment")
        for path in sorted((folder / part).rglob("*"))
        if path.is_file() and path.name != "made_from.json"
    }


@pytest.fixture(scope="module")
def twice(official_nsd, tmp_path_factory, tiny_model):
    """Two base directories of the same files, each extracted and aligned by processes of its own.

    The first are started anew, so that they differ from the others in all that Python draws as it starts.
    """
    warm()
    folders = []
    for run_script in (alone, forked):
        base_dir = shutil.copytree(official_nsd, tmp_path_factory.mktemp("twice") / "nsd")
        extract(base_dir, tiny_model("llava").folder, 16, run_script)
        flags = ["-d", base_dir, "-g", "cpu", "-m", MODEL_ID, "-p", "1-2", "--permutations", 19]
        status, said = run_script(ALIGN, flags, base_dir.parent)
        assert status == 0, said
        folders.append(base_dir)
    return folders


def test_extraction_and_alignment_are_the_same_bit_for_bit_from_run_to_run(twice):
    first, second = map(digests, twice)
    assert first.keys() == second.keys()
    assert [path for path in first if first[path] != second[path]] == []
    written = {path.split("/")[-1] for path in first}
    assert {"scores.csv", "scores.parquet", "settings.json", "layers.png", "language_layer_00.h5"} <= written
    assert any(name.endswith(".nii.gz") for name in written)
    assert any(name.startswith("batch_") for name in written)


@pytest.mark.parametrize("batch_size", [1, 40])
def test_the_batch_size_changes_states_by_rounding_alone_and_no_answer(twice, tiny_model, tmp_path, batch_size):
    base_dir = tmp_path / "nsd"
    shutil.copytree(twice[0], base_dir, ignore=shutil.ignore_patterns("image_embeddings", "alignment"))
    extract(base_dir, tiny_model("llava").folder, batch_size)
    for prompt in ("no_prompt", "prompt_1", "prompt_2"):
        stores = [
            EmbeddingStore(folder / "image_embeddings" / prompt / MODEL_ID.replace("/", "_"))
            for folder in (twice[0], base_dir)
        ]
        assert stores[0].streams() == stores[1].streams()
        assert stores[0].read_answers() == stores[1].read_answers()
        for stream, (n_layers, _) in stores[0].streams().items():
            ids = stores[0].image_ids([stream])
            for layer in range(n_layers):
                one, other = (store.read_layer(stream, layer, ids) for store in stores)
                assert np.linalg.norm(other - one) <= 1e-6 * np.linalg.norm(one), (stream, layer)
