"""A model of two layers whose states predict the voxels of the tiny NSD, and its alignment."""

import numpy as np
import pandas as pd
from conftest import simple_signals

from brain_activity_prediction.align_image_embeddings import align_model
from brain_activity_prediction.datasets.nsd.design import read_design
from brain_activity_prediction.datasets.nsd.nsd import find_nsd
from brain_activity_prediction.datasets.nsd.stimuli import Stimuli
from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore

MODEL = "test/two-layers"
FOLDER = "alignment/subj01/no_prompt/test_two-layers"


def write_states(base_dir, seed=0, settings=None):
    """Write states of a model whose layer 0 predicts the early voxels and whose layer 1 predicts the late ones."""
    layout = find_nsd(base_dir)
    design = read_design(layout.design())
    seen = np.unique([design.image_ids(subject) for subject in (1, 2)])
    with Stimuli(layout.stimuli()) as stimuli:
        signals = simple_signals(np.stack([np.asarray(image) for image in stimuli.images(seen)]))
    noise = np.random.default_rng(seed).standard_normal((len(seen), 2, 2))
    layers = np.stack([signals["early"], signals["late"]], axis=1)
    store = EmbeddingStore(base_dir / "image_embeddings/no_prompt/test_two-layers")
    store.claim(settings or {"template": None})
    store.write(seen, {"vision": np.concatenate([layers, noise], axis=2).astype(np.float32)})
    return store


def write_stream(base_dir, model_id, prompt, stream, noise):
    """Write the states of `vision` with added noise of this SD, relative to the SD of a column."""
    source = EmbeddingStore(base_dir / "image_embeddings/no_prompt/test_two-layers")
    ids = source.image_ids(["vision"])
    states = np.stack([source.read_layer("vision", layer, ids) for layer in (0, 1)], axis=1)
    rng = np.random.default_rng(len(stream) + (prompt or 0))
    store = EmbeddingStore(base_dir / "image_embeddings" / f"prompt_{prompt}" / model_id.replace("/", "_"))
    store.claim({"template": "{prompt}"})
    states += noise * states.std(axis=0) * rng.standard_normal(states.shape)
    store.write(ids, {stream: states.astype(np.float32)})


def align(monkeypatch, base_dir, *more):
    monkeypatch.setattr("sys.argv", ["align_model.py", "-d", str(base_dir), "-g", "cpu", "-m", MODEL, *map(str, more)])
    align_model.main()


def read_scores(base_dir, layer_choice="each"):
    """Read the rows of one choice of layers, with `layer` as a whole number."""
    table = pd.read_csv(base_dir / FOLDER / "scores.csv", dtype={"layer": "Int64"})
    return table[table["layer_choice"] == layer_choice].reset_index(drop=True)
