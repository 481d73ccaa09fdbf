"""What an alignment says about its scores: errors, intervals and p of every choice of layers, by the command line."""

import nibabel
import numpy as np
import pandas as pd
import pytest
from scipy.stats import false_discovery_control
from test_align_model import FOLDER, align, read_scores, ready  # noqa: F401

from brain_activity_prediction.align_image_embeddings.best_predictions import best_predictions
from brain_activity_prediction.align_image_embeddings.layer_choice import stream_scores
from brain_activity_prediction.align_image_embeddings.results import Results
from brain_activity_prediction.align_image_embeddings.scores import pearson_r
from brain_activity_prediction.align_image_embeddings.targets import read_targets
from brain_activity_prediction.nsd.layout import find_layout

STATISTICS = ["r", "r_se", "r_ci_low", "r_ci_high", "p", "q"]


def observed(base_dir):
    return read_targets(find_layout(base_dir), 1, None, True, base_dir / "alignment/responses", n_folds=5).test


def tables(base_dir):
    table = pd.read_parquet(base_dir / FOLDER / "scores.parquet")
    return table.set_index(["layer_choice", "layer", "roi"])[STATISTICS]


@pytest.fixture
def aligned(ready, monkeypatch):  # noqa: F811
    align(monkeypatch, ready, "--permutations", 99, "--bootstrap", 199)
    return ready


def test_every_choice_of_layers_has_an_error_and_an_interval_about_its_score(aligned):
    table = tables(aligned)
    assert (table["r_se"] > 0).all()
    assert (table["r_ci_low"] < table["r"]).all()
    assert (table["r"] < table["r_ci_high"]).mean() > 0.95  # with 12 images the interval lies low
    tested = table.drop("average", level="layer_choice")
    assert tested[["p", "q"]].notna().all(axis=None)
    assert table.loc["average", ["p", "q"]].isna().all(axis=None)


def test_the_predictions_of_each_voxels_best_layer_are_kept_no_others_and_give_its_score(aligned):
    results = Results(aligned / FOLDER)
    scores = stream_scores(results, "vision")
    best_layers = scores.best_layers()
    predicted = best_predictions(results, "vision", best_layers)
    expected = np.choose(best_layers, scores.scores["r"])
    np.testing.assert_allclose(pearson_r(observed(aligned), predicted), expected, atol=1e-5)
    for layer in (0, 1):
        np.testing.assert_array_equal(results.predicted_voxels("vision", layer), np.flatnonzero(best_layers == layer))


def test_voxels_have_q_and_normalised_scores_in_maps(aligned):
    maps = {
        name: nibabel.load(aligned / FOLDER / f"maps/vision_best_layer_{name}.nii.gz").get_fdata()
        for name in ("p", "q", "r", "r_normalised")
    }
    inside = np.isfinite(maps["p"])
    np.testing.assert_allclose(maps["q"][inside], false_discovery_control(maps["p"][inside]), rtol=1e-5)
    ceiling = nibabel.load(aligned / FOLDER / "maps/noise_ceiling.nii.gz").get_fdata()
    known = ceiling > 0
    np.testing.assert_allclose(maps["r_normalised"][known], maps["r"][known] / np.sqrt(ceiling[known]), rtol=1e-5)
    assert np.isnan(maps["r_normalised"][~known]).all()


def test_the_region_of_noise_is_not_significant_with_a_layer_chosen_per_voxel_and_driven_regions_are(aligned):
    p = read_scores(aligned, "best_per_voxel").set_index("roi")["p"]
    assert p["RSC"] > 0.05
    assert p[["V1v", "V1d", "hV4", "FFA-1", "PPA"]].max() < 0.05


def test_lost_predictions_are_made_again_and_change_nothing(aligned, monkeypatch, capsys):
    before = tables(aligned)
    Results(aligned / FOLDER).keep_predictions("vision", 1, np.arange(10))
    capsys.readouterr()
    align(monkeypatch, aligned, "--permutations", 99, "--bootstrap", 199)
    assert "1 layers were scored before, 1 are left" in capsys.readouterr().err
    pd.testing.assert_frame_equal(tables(aligned), before)
    align(monkeypatch, aligned, "--permutations", 99, "--bootstrap", 199)
    assert "2 layers were scored before, 0 are left" in capsys.readouterr().err


def test_lost_statistics_of_best_layers_come_back_from_the_predictions_alone(aligned, monkeypatch, capsys):
    before = tables(aligned)
    path = aligned / FOLDER / "best_layers/vision.h5"
    path.write_bytes(path.read_bytes()[:-100])
    align(monkeypatch, aligned, "--permutations", 99, "--bootstrap", 199)
    assert "2 layers were scored before, 0 are left" in capsys.readouterr().err
    pd.testing.assert_frame_equal(tables(aligned), before)


@pytest.mark.parametrize(
    ("flags", "n_left"),
    [
        (["--permutations", 99, "--bootstrap", 199], 0),
        (["--bootstrap", 199], 0),
        (["--bootstrap", 0], 0),
        (["--bootstrap", 199, "--roi", "prf-visualrois"], 0),
        (["--permutations", 98, "--bootstrap", 199], 2),
        (["--permutations", 99, "--bootstrap", 199, "--permutation-block", 2], 2),
        (["--bootstrap", 198], 2),
    ],
)
def test_layers_are_fitted_again_only_for_statistics_that_are_not_there(aligned, monkeypatch, capsys, flags, n_left):
    capsys.readouterr()
    align(monkeypatch, aligned, *flags)
    assert ("2 layers were scored before, 0 are left" in capsys.readouterr().err) == (n_left == 0)


def test_a_region_that_was_added_later_gets_its_statistics(ready, monkeypatch):  # noqa: F811
    align(monkeypatch, ready, "--permutations", 19, "--bootstrap", 19, "--roi", "prf-visualrois")
    align(monkeypatch, ready, "--permutations", 19, "--bootstrap", 19)
    table = read_scores(ready).set_index("roi")
    assert table.loc["PPA", ["p", "r_se"]].notna().all(axis=None)


def test_without_statistics_nothing_is_kept_for_them(ready, monkeypatch):  # noqa: F811
    align(monkeypatch, ready, "--bootstrap", 0)
    assert not (ready / FOLDER / "best_layers").exists()
    assert not Results(ready / FOLDER).predicted_voxels("vision", 0).size
    assert tables(ready).drop(columns="r").isna().all(axis=None)


def test_layers_scored_in_two_runs_are_assessed_as_in_one(aligned, monkeypatch):
    before = tables(aligned)
    align(monkeypatch, aligned, "--permutations", 99, "--bootstrap", 199, "-l", 1, "--redo")
    assert "average" not in tables(aligned).index
    align(monkeypatch, aligned, "--permutations", 99, "--bootstrap", 199)
    pd.testing.assert_frame_equal(tables(aligned), before)
