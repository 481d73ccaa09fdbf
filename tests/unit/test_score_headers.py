"""Files of scores whose checksums fit are still input: other types, sizes or names are said and fitted again."""

import numpy as np
import pytest

from brain_activity_prediction.encoding.scores import score_files
from brain_activity_prediction.encoding.scores.score_store import QUANTITIES, ScoreStore
from brain_activity_prediction.runtime.errors import Damaged
from brain_activity_prediction.storage.sealed_hdf5 import write_sealed
from brain_activity_prediction.variance_partitioning.share_store import WeightingScores

V, R, B = 6, 2, 3
SETTINGS = {"model_id": "org/model"}
STATISTICS = {"regions": {"V1": "a", "V2": "b"}, "n_permutations": 0, "permutation_block": 1}
LAYER = {"stream": "vision", "layer": 1, "n_layers": 2, "statistics": STATISTICS, "settings": SETTINGS}
SCORES = {**dict.fromkeys(QUANTITIES, np.ones(V)), "region_r": np.ones((B, R))}
CEILING = {"ncsnr": "provided", "regions": STATISTICS["regions"], "n_test_images": 4, "settings": SETTINGS}
CEILINGS = {"noise_ceiling": np.ones(V), "region_voxels": np.ones(V), "region_n_images": np.ones(V)}
CEILINGS |= {"region_mean": np.ones(R), "region_influence": np.ones((4, R))}

WRONG_LAYERS = {
    "a number as the stream": ({"stream": 3}, {}),
    "a path as the stream": ({"stream": "../vision"}, {}),
    "text as the layer": ({"layer": "1"}, {}),
    "a layer beyond the last": ({"n_layers": 1}, {}),
    "settings in a list": ({"settings": []}, {}),
    "statistics as text": ({"statistics": "x"}, {}),
    "statistics of another version": ({"statistics": STATISTICS | {"module": "os"}}, {}),
    "permutations as text": ({"statistics": STATISTICS | {"n_permutations": "9"}}, {}),
    "a region more than the arrays have": ({"statistics": STATISTICS | {"regions": {"V1": "a"}}}, {}),
    "a field that is not known": ({"script": "x.py"}, {}),
    "other voxels in one array": ({}, {"r": np.ones(V - 1)}),
    "an axis more": ({}, {"r2": np.ones((V, 1))}),
    "text as scores": ({}, {"r": np.array([b"1"] * V)}),
    "an array that is not known": ({}, {"more": np.ones(V)}),
}


@pytest.fixture
def results(tmp_path):
    results = ScoreStore(tmp_path)
    results.claim(SETTINGS)
    write_sealed(tmp_path / "voxels/vision_layer_01.h5", SCORES, LAYER)
    write_sealed(tmp_path / "noise_ceiling.h5", CEILINGS, CEILING)
    return results


def test_whole_files_are_read(results):
    assert results.layers() == [("vision", 1, 2)]
    assert results.read_statistics("vision", 1).regions == STATISTICS["regions"]
    assert results.read_region_ceilings().n_test_images == 4
    assert (results.ncsnr_from(), results.data_used()) == ("provided", {})


@pytest.mark.parametrize(("about", "arrays"), WRONG_LAYERS.values(), ids=WRONG_LAYERS)
def test_a_layer_that_does_not_fit_its_schema_is_named_and_fitted_again(results, capsys, about, arrays):
    path = results.folder / "voxels/vision_layer_01.h5"
    write_sealed(path, SCORES | arrays, LAYER | about)
    for read in (results.layers, lambda: results.read("vision", 1), lambda: results.read_statistics("vision", 1)):
        with pytest.raises(Damaged, match=f"^cannot read {path} .*align again, which fits this layer again$"):
            read()
    results.claim(SETTINGS)
    said = capsys.readouterr().err
    assert said.startswith(f"cannot read {path} ")
    assert said.count("\n") == 1
    assert not results.has("vision", 1)


@pytest.mark.parametrize(
    ("about", "arrays"),
    [
        *(({name: value}, {}) for name, value in {"ncsnr": None, "regions": ["V1"], "n_test_images": "4"}.items()),
        *(({"data_used": value}, {}) for value in ({"n_train": "9"}, {"roi": 1.0}, [9])),
        ({"regions": {"V1": "a"}}, {}),
        ({}, {"region_mean": np.ones(R + 1)}),
        ({}, {"region_voxels": np.ones(V + 1)}),
    ],
    ids=str,
)
def test_a_ceiling_that_does_not_fit_its_schema_is_damaged(results, about, arrays):
    path = results.folder / "noise_ceiling.h5"
    write_sealed(path, CEILINGS | arrays, CEILING | about)
    for read in (results.read_noise_ceiling, results.read_region_ceilings, results.ncsnr_from, results.data_used):
        with pytest.raises(Damaged, match=f"^cannot read {path} .*align again, which computes it again$"):
            read()


@pytest.mark.parametrize(
    ("about", "arrays"), [({"weighting": "x"}, {}), ({"weighting": {}}, {}), ({}, {"p": np.ones(V)})]
)
def test_a_weighting_that_does_not_fit_its_schema_is_named_and_fitted_again(tmp_path, capsys, about, arrays):
    scores = WeightingScores(tmp_path, np.ones((1, 2)))
    scores.claim(SETTINGS, redo=False)
    scores.write(0, dict.fromkeys(QUANTITIES, np.ones(V)))
    assert scores.left() == []
    right = {"weighting": [0.5, 0.5], score_files.SETTINGS: SETTINGS}
    write_sealed(tmp_path / "weightings/000.h5", {"r2": np.ones(V)} | arrays, right | about)
    with pytest.raises(Damaged, match=r"weightings/000\.h5 .*fits this weighting again$"):
        scores.read_all("r2")
    scores.claim(SETTINGS, redo=False)
    assert "000.h5" in capsys.readouterr().err
    assert scores.left() == [0]
