"""Banded ridge is ridge on weighted features, and himalaya's choice on the same folds and candidates."""

import numpy as np
import pytest
import torch
from himalaya.backend import set_backend
from himalaya.kernel_ridge import solve_multiple_kernel_ridge_random_search
from himalaya.ridge import solve_group_ridge_random_search

from brain_activity_prediction.ridge import RidgeInputError
from brain_activity_prediction.ridge.banded import FeatureSpaces
from brain_activity_prediction.ridge.ridge_cv import ridge_cv
from brain_activity_prediction.ridge.weightings import random_weightings

pytestmark = pytest.mark.slow

ALPHAS = np.logspace(0, 4, 20)
# More images than features, and fewer; the third with one space wider than the images are many.
WIDTHS = [(20, 30), (90, 60, 40), (200, 10)]


def simulate(widths, n_images=120, n_new=30, n_voxels=50, dtype=np.float64):
    rng = np.random.default_rng(0)
    X = [rng.standard_normal((n_images + n_new, width)) / np.sqrt(np.arange(1, width + 1)) for width in widths]
    shares = rng.dirichlet(np.ones(len(widths) + 1), n_voxels).T
    signals = [x @ rng.standard_normal((x.shape[1], n_voxels)) for x in X]
    Y = sum(s / s.std(0) * np.sqrt(share) for s, share in zip(signals, shares, strict=False))
    Y = Y + np.sqrt(shares[-1]) * rng.standard_normal(Y.shape)
    X = [((x - x[:n_images].mean(0)) / x[:n_images].std(0)).astype(dtype) for x in X]
    Y = ((Y - Y[:n_images].mean(0)) / Y[:n_images].std(0)).astype(dtype)
    return [x[:n_images] for x in X], [x[n_images:] for x in X], Y[:n_images]


def fit_all(spaces, weightings, Y):
    fits = [spaces.fit(weighting, Y, ALPHAS) for weighting in weightings]
    return tuple(np.stack([values.numpy() for values in of]) for of in zip(*fits, strict=True))


@pytest.mark.parametrize("widths", WIDTHS)
def test_himalaya_chooses_the_same_weights_and_alphas_from_the_same_candidates(widths):
    set_backend("numpy")
    X, _, Y = simulate(widths)
    weightings = random_weightings(len(widths), n_draws=8, seed=0)
    weightings = weightings[(weightings > 0).all(axis=1)]  # himalaya divides by a weight of 0
    alpha, cv_scores, _ = fit_all(FeatureSpaces.of(X, X), weightings, Y)
    best = cv_scores.argmax(axis=0)
    assert len(np.unique(best)) > 3
    deltas = np.log(weightings[best].T / np.take_along_axis(alpha, best[None], axis=0))
    shared = {"n_iter": weightings, "alphas": ALPHAS, "cv": 5, "progress_bar": False}
    kernels = np.stack([x @ x.T for x in X])
    for peer in (
        solve_multiple_kernel_ridge_random_search(kernels, Y, **shared),
        solve_group_ridge_random_search(X, Y, warn=False, **shared),
    ):
        np.testing.assert_allclose(cv_scores, peer[2], rtol=1e-5)
        np.testing.assert_allclose(deltas, peer[0], atol=1e-6)


@pytest.mark.parametrize(
    ("smallest", "dtype", "tolerance"),
    [(0, np.float32, 5e-5), (0, np.float64, 1e-8), (-12, np.float64, 1e-8)],  # the last is too small for a Gram matrix
)
@pytest.mark.parametrize("widths", WIDTHS)
def test_a_weighting_is_ridge_on_the_weighted_features(widths, smallest, dtype, tolerance):
    X, X_new, Y = simulate(widths, dtype=dtype)
    alphas = np.logspace(smallest, 4, 15)
    spaces = FeatureSpaces.of(X, X_new)
    for weighting in random_weightings(len(widths), n_draws=2, seed=1):
        scaled, scaled_new = (
            np.concatenate(
                [np.sqrt(weight) * x.astype(np.float64) for weight, x in zip(weighting, part, strict=True)], 1
            )
            for part in (X, X_new)
        )
        reference = ridge_cv(scaled, Y, alphas, fit_intercept=False)
        alpha, cv_score, predicted = spaces.fit(weighting, Y, alphas)
        np.testing.assert_allclose(cv_score, reference.cv_score, rtol=tolerance)
        same = alpha == reference.alpha
        assert same.float().mean() >= 0.98  # another alpha only where two are equal up to rounding
        np.testing.assert_allclose(predicted[:, same], reference.predict(scaled_new)[:, same], atol=20 * tolerance)


def test_nan_and_constant_voxels_harm_no_other():
    X, X_new, Y = simulate((20, 30))
    spaces = FeatureSpaces.of(X, X_new)
    before = spaces.fit((0.5, 0.5), Y, ALPHAS)
    Y[:, 0], Y[3, 1] = 0, np.nan
    alpha, cv_score, predicted = spaces.fit((0.5, 0.5), Y, ALPHAS)
    assert alpha[0] == ALPHAS[-1]
    assert torch.isnan(alpha[1])
    assert torch.isnan(cv_score[1])
    assert (predicted[:, 0] == 0).all()
    for values, other in zip((alpha, cv_score, predicted), before, strict=True):
        torch.testing.assert_close(values[..., 2:], other[..., 2:])


def test_spaces_of_other_images_are_refused():
    X, X_new, _ = simulate((20, 30))
    with pytest.raises(RidgeInputError, match="have different numbers of rows"):
        FeatureSpaces.of([X[0], X[1][:-1]], X_new)
    with pytest.raises(RidgeInputError, match="have different columns"):
        FeatureSpaces.of(X, X_new[:1])
