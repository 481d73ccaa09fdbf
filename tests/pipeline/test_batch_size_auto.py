"""`--batch-size auto` through the command line of a script."""

import json

import numpy as np
import pytest
from inside_layers import FAMILIES
from scripts import run_here

from brain_activity_prediction.demo.dataset import write_dataset
from brain_activity_prediction.demo.simulation import Recipe
from brain_activity_prediction.extraction import batch_size
from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore
from brain_activity_prediction.storage.folders import embeddings_folder

PICTURES = Recipe(subjects=(), n_shared=40, n_unique=24, n_sessions=1, image_size=30)


@pytest.fixture
def clip(tmp_path):
    folder = tmp_path / "model"
    FAMILIES["CLIP"]().model().save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(
        '{"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 28}, "crop_size": 28}'
    )
    return folder


def extract(tmp_path, checkpoint, model_id, *flags):
    nsd = tmp_path / "nsd"
    if not nsd.exists():
        write_dataset(nsd, lambda pictures: {}, PICTURES)
    done = run_here("vision_model.py", "-d", nsd, "-m", model_id, "-g", "cpu", "--checkpoint", checkpoint, *flags)
    assert done.returncode == 0, done.stderr
    return done


def states(nsd, model_id):
    store = EmbeddingStore(embeddings_folder(nsd, model_id, None))
    return np.stack([store.read_layer("vision", layer, store.image_ids(["vision"])) for layer in range(4)])


def test_the_size_is_found_once_and_changes_no_more_than_rounding(tmp_path, clip, caplog, monkeypatch):
    monkeypatch.setattr(batch_size, "MOST_IMAGES", 4)
    monkeypatch.setattr(batch_size, "LARGEST_SHARE", 8)
    nsd = tmp_path / "nsd"
    extract(tmp_path, clip, "org/eight")
    extract(tmp_path, clip, "org/auto", "-b", "auto", "--shard", "0/2")
    said = [line for line in caplog.messages if "--batch-size auto" in line]
    assert len(said) == 1
    assert "found before" not in said[0]
    (remembered,) = (nsd / "logs" / "batch_sizes").rglob("*.json")
    size = json.loads(remembered.read_text())["n_images"]
    assert size in (1, 2, 4)
    extract(tmp_path, clip, "org/auto", "-b", "auto", "--shard", "1/2")
    assert caplog.text.count("as found by an earlier run on this device") == 1
    expected = states(nsd, "org/eight")
    np.testing.assert_allclose(states(nsd, "org/auto"), expected, atol=1e-5 * np.abs(expected).max())
    batches = EmbeddingStore(embeddings_folder(nsd, "org/auto", None)).folder.glob("batch_*.h5")
    assert len(list(batches)) == 64 // size


def test_a_test_run_uses_the_size_that_it_finds(tmp_path, clip, monkeypatch):
    monkeypatch.setattr(batch_size, "search", lambda trial, n_left: (3, True))
    done = extract(tmp_path, clip, "org/auto", "-b", "auto", "--test-run")
    assert "images/s in batches of 3," in done.stdout
    assert not (tmp_path / "nsd" / "image_embeddings").exists()
