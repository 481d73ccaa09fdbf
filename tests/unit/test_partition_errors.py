"""Errors of variance parts: those of the images drawn, as large as parts really vary, and kept for the next run."""

import numpy as np
import pytest
import torch
from analyses import SHARES_FOLDER, partition

from brain_activity_prediction.inference.bootstrap import resampled_r2, resamples
from brain_activity_prediction.ridge.scores import r2_score
from brain_activity_prediction.variance_partitioning.partition import JointFits
from brain_activity_prediction.variance_partitioning.parts import parts
from brain_activity_prediction.variance_partitioning.share_store import WeightingScores, resampled_shares

N_IMAGES, N_VOXELS, N_RESAMPLES = 200, 30, 300
WEIGHTINGS = np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
REGIONS = {"all": np.ones(N_VOXELS, dtype=bool), "half": np.arange(N_VOXELS) < N_VOXELS // 2}
RNG = np.random.default_rng(0)


def simulate():
    """Responses (n, V) to A and B, two predictors that each explain a quarter, and predictions by weighting."""
    a, b, noise = RNG.standard_normal((3, N_IMAGES, N_VOXELS))
    responses = (0.5 * a + 0.5 * b + np.sqrt(0.5) * noise).astype(np.float32)
    return responses, [torch.from_numpy(x.astype(np.float32)) for x in (0.5 * a, 0.5 * b, 0.5 * a + 0.5 * b)]


def shares_of(folder, responses, predictions, cv_scores, settings="1", n_resamples=N_RESAMPLES, fitted=None):
    scores = WeightingScores(folder, WEIGHTINGS)
    scores.claim({"spaces": settings}, redo=True)
    for number, cv_score in enumerate(cv_scores):
        scores.write(number, {"alpha": cv_score, "cv_score": cv_score, "r2": cv_score})

    def refit(number, voxels):
        (fitted if fitted is not None else []).append((number, len(voxels)))
        return predictions[number][:, voxels]

    return resampled_shares(scores, responses, REGIONS, n_resamples, refit)


def even(values=(0.1, 0.1, 0.2)):
    return [np.full(N_VOXELS, value) for value in values]


def test_each_voxel_counts_at_its_own_weighting_and_is_fitted_once_at_each(tmp_path):
    responses, predictions = simulate()
    cv_scores, fitted = even(), []
    cv_scores[2][:10] = 0.0  # these ten voxels are best predicted by A alone
    cv_scores[0][:10] = 0.15
    cv_scores[0][29] = cv_scores[1][29] = cv_scores[2][29] = np.nan
    found = shares_of(tmp_path, responses, predictions, cv_scores, fitted=fitted)
    assert sorted(fitted) == [(0, 29), (1, 29), (2, 19)]
    counts = torch.from_numpy(resamples(N_IMAGES, N_RESAMPLES)) / N_IMAGES
    a, both = (resampled_r2(torch.from_numpy(responses), predictions[number], counts).numpy() for number in (0, 2))
    np.testing.assert_allclose(found[(0,)][:, 0], a[:, :29].mean(axis=1), atol=1e-5)
    mixed = np.concatenate([a[:, :10], both[:, 10:29]], axis=1)
    np.testing.assert_allclose(found[(0, 1)][:, 0], mixed.mean(axis=1), atol=1e-5)
    np.testing.assert_allclose(found[(0, 1)][:, 1], mixed[:, :15].mean(axis=1), atol=1e-5)


def test_errors_of_parts_are_as_large_as_parts_vary_over_sets_of_test_images(tmp_path):
    errors, seen = [], []
    for number in range(40):
        responses, predictions = simulate()
        part = parts(shares_of(tmp_path / str(number), responses, predictions, even()))
        errors.append([part[spaces][:, 0].std(ddof=1) for spaces in ((0,), (0, 1))])
        r2 = {(0,): predictions[0], (1,): predictions[1], (0, 1): predictions[2]}
        whole = parts({spaces: r2_score(responses, p.numpy()).mean() for spaces, p in r2.items()})
        seen.append([whole[(0,)], whole[(0, 1)]])
    ratio = np.mean(errors, axis=0) / np.std(seen, axis=0, ddof=1)
    assert (np.abs(ratio - 1) < 4 / np.sqrt(2 * 40)).all()  # the SD of 40 has a relative error of 1 / sqrt(80)


def test_resampled_shares_are_read_again_and_redone_for_other_inputs(tmp_path):
    responses, predictions = simulate()
    first, fitted = shares_of(tmp_path, responses, predictions, even()), []
    again = shares_of(tmp_path, responses, predictions, even(), fitted=fitted)
    assert fitted == []
    np.testing.assert_array_equal(first[(0, 1)], again[(0, 1)])
    shares_of(tmp_path, responses, predictions, even(), settings="2", fitted=fitted)
    assert len(fitted) == 3
    shares_of(tmp_path, responses, predictions, even(), settings="2", n_resamples=20, fitted=fitted)
    assert len(fitted) == 6


def test_every_share_has_an_error_and_an_interval_about_it(ready, monkeypatch):
    table = partition(monkeypatch, ready, "--bootstrap", 99)
    assert (table["r2_se"] > 0).all()
    assert (table["r2_ci_low"] < table["r2_ci_high"]).all()
    inside = (table["r2_ci_low"] < table["r2"]) & (table["r2"] < table["r2_ci_high"])
    assert inside.mean() > 0.7  # with 12 images the interval lies low
    monkeypatch.setattr(JointFits, "fit", lambda *_: pytest.fail("fitted again"))
    again = partition(monkeypatch, ready, "--bootstrap", 99)
    assert again.equals(table)
    without = partition(monkeypatch, ready, "--bootstrap", 0)
    assert without["r2_se"].isna().all()
    assert (ready / SHARES_FOLDER / "resampled.h5").exists()
