"""A region without valid data in a session, through the command lines: its scores are of the images that it has."""

import shutil

import nibabel
import numpy as np
import pandas as pd
import pytest
from analyses import similarities
from two_layers import FOLDER, align, read_scores

from brain_activity_prediction.datasets import valid_trials
from brain_activity_prediction.datasets.nsd.nsd import find_nsd
from brain_activity_prediction.datasets.responses import ResponseChoice
from brain_activity_prediction.encoding.evaluation import best_predictions
from brain_activity_prediction.encoding.scores.layer_choice import stream_scores
from brain_activity_prediction.encoding.scores.score_store import ScoreStore
from brain_activity_prediction.encoding.subject_data import read_subject_data

pytestmark = pytest.mark.slow
SCORES = ["r", "r2", "noise_ceiling", "cv_score"]
SESSION = 1  # the only one that shows one of the twelve test images


@pytest.fixture
def gappy(ready, monkeypatch):
    """A dataset whose V1v is 0 throughout a session; no voxel of so small a one is left out."""
    monkeypatch.setattr(valid_trials, "MOST_MISSING", 0.5)
    layout = find_nsd(ready)
    labels = np.asarray(nibabel.load(layout.roi(1, "prf-visualrois")[0]).dataobj)
    path = layout.betas(1, SESSION)
    image = nibabel.load(path)
    betas = np.asarray(image.dataobj).copy()
    betas[labels == 1] = 0
    nibabel.save(nibabel.Nifti1Image(betas, image.affine), path)
    return ready


def test_a_region_without_data_in_a_session_is_scored_on_the_images_that_it_has(gappy, monkeypatch):
    align(monkeypatch, gappy, "--permutations", 49, "--bootstrap", 49)
    targets = read_subject_data(find_nsd(gappy), 1, ResponseChoice(), gappy / "alignment/responses")
    v1v = np.flatnonzero(find_nsd(gappy).regions(1)["V1v"])
    (missing,) = np.flatnonzero(np.isnan(targets.test[:, v1v]).all(axis=1))
    there = np.delete(np.arange(12), missing)
    results = ScoreStore(gappy / FOLDER)
    stream = stream_scores(results, "vision")
    best = stream.best_layers()
    predicted, r = best_predictions(results, "vision", best), stream.at(stream.best_of_voxels())["r"]
    for voxel in v1v:
        expected = np.corrcoef(targets.test[there, voxel], predicted[there, voxel])[0, 1]
        assert r[voxel] == pytest.approx(expected, abs=1e-5)
    table = pd.read_parquet(gappy / FOLDER / "scores.parquet")
    rows = table[table["roi"] == "V1v"]
    assert (rows["n_voxels"] == len(v1v)).all()
    assert rows[["r", "r2", "r_se", "p", "noise_ceiling", "r_normalised", "cv_score"]].notna().all(axis=None)
    assert rows["r"].max() > 0.5


def test_other_voxels_are_scored_as_if_all_were_valid(gappy, official_nsd, monkeypatch):
    align(monkeypatch, gappy)
    found = read_scores(gappy).set_index(["layer", "roi"])
    clean = shutil.copytree(official_nsd, gappy.parent / "clean")
    shutil.copytree(gappy / "image_embeddings", clean / "image_embeddings")
    align(monkeypatch, clean)
    expected = read_scores(clean).set_index(["layer", "roi"])
    for roi in ("V1d", "FFA-1", "PPA"):
        pd.testing.assert_frame_equal(*(table.xs(roi, level="roi")[SCORES] for table in (found, expected)))


def test_an_image_that_a_region_lacks_is_in_no_geometry(gappy, monkeypatch, capsys):
    table = similarities(monkeypatch, gappy, "--ceiling-subjects", 2).set_index(["roi", "layer"])
    assert (table["n_images"] == 11).all()
    assert table[["rsa", "cka", "rsa_ceiling", "cka_ceiling"]].notna().all(axis=None)
    said = capsys.readouterr().err
    assert "images left out: 1 of 12, for which too many voxels of a region lack valid trials" in said
    assert all(f"subject {subject}: 4 of 4 sessions, " in said for subject in (1, 2))


def test_the_data_that_scores_are_from_are_said_and_stand_in_the_table(ready, monkeypatch, capsys):
    find_nsd(ready).betas(1, 3).unlink()
    align(monkeypatch, ready)
    targets = read_subject_data(find_nsd(ready), 1, ResponseChoice(), ready / "alignment/responses")
    n_train, n_test, trials = len(targets.train_ids), len(targets.test_ids), targets.test_repeats.mean()
    said = f"subject 1: 3 of 4 sessions (without 3), {n_train} training images, {n_test} test images of {trials:.2f}"
    assert said in capsys.readouterr().err
    table = pd.read_parquet(ready / FOLDER / "scores.parquet")
    used = table[["n_train", "n_test", "n_sessions", "test_repeats_mean"]].drop_duplicates()
    assert used.to_numpy(float).tolist() == [[n_train, n_test, 3, pytest.approx(trials)]]
