"""Names that files state of themselves never become paths out of BASE_DIR."""

import os

import numpy as np
import pytest
from two_layers import align

from brain_activity_prediction.align_image_embeddings.outputs.results import QUANTITIES, Results
from brain_activity_prediction.embedding_store import EmbeddingStore
from brain_activity_prediction.errors import InputError
from brain_activity_prediction.sealed_hdf5 import write_sealed
from brain_activity_prediction.settings_file import recorded_settings

OUTSIDE = "../../../../../../outside"


def test_a_stream_named_like_a_path_is_refused_and_nothing_is_written_there(own_nsd, monkeypatch):
    store = EmbeddingStore(own_nsd / "image_embeddings/no_prompt/test_two-layers")
    store.claim({"template": None})
    states = np.random.default_rng(0).random((400, 2, 4), dtype=np.float32)
    ids = np.arange(1, 401)
    about = {"image_ids": ids.tolist(), "settings": {}}
    path = store.folder / "batch_00001-00400_0.h5"
    write_sealed(path, {"image_ids": ids, OUTSIDE: states}, about, {OUTSIDE: (1, 1)})
    before = sorted(own_nsd.parent.rglob("*"))
    with pytest.raises(InputError, match="is no stream's name"):
        align(monkeypatch, own_nsd)
    assert sorted(own_nsd.parent.rglob("*")) == before


def test_scores_that_say_they_are_of_another_file_are_refused(tmp_path):
    results = Results(tmp_path / "scores")
    scores = {name: np.ones(3, np.float32) for name in QUANTITIES}
    results.write("vision", 0, 1, scores)
    about = {"stream": OUTSIDE, "layer": 0, "n_layers": 1}
    write_sealed(tmp_path / "scores/voxels/vision_layer_01.h5", scores, about)
    with pytest.raises(InputError, match="vision_layer_01"):
        results.layers()


@pytest.mark.parametrize("name", ["settings.json", "batch_00001-00002_0.h5"])
def test_a_pipe_among_the_files_is_not_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match=name):
        recorded_settings(tmp_path, "delete it") if name == "settings.json" else EmbeddingStore(tmp_path).streams()
