"""Chosen by correlation, every voxel gets the brute force's alpha, and a constant prediction scores 0.

The reference centres the test features before it multiplies them, in float64, and scores exact constants 0.
"""

import numpy as np
import pytest
import torch
from every_alpha import COST, GRID, assert_same_choice

from brain_activity_prediction.ridge.ridge_cv import ridge_cv
from brain_activity_prediction.ridge.solver import cross_validation, exact_correlation

ALPHAS = GRID[::5]
FIVE = np.array_split(np.arange(60), 5)


@pytest.fixture(params=COST)
def either_formula(request, monkeypatch):
    monkeypatch.setitem(cross_validation.DECOMPOSITION, "cpu", COST[request.param])


def mean_of(values):
    return np.where((values == values[0]).all(axis=0), values[0], values.mean(axis=0))


def correlations(X, Y, alphas, folds, fit_intercept):
    """Mean r (A, V) of the dual ridge of every fold."""
    X, Y, scores = X.astype(np.float64), Y.astype(np.float64), 0
    for rows in folds:
        others = np.setdiff1d(np.arange(len(X)), rows)
        train, targets = X[others], Y[others]
        if fit_intercept:
            train, targets = train - mean_of(train), targets - mean_of(targets)
        test, observed = X[rows] - mean_of(X[rows]), Y[rows] - mean_of(Y[rows])
        kernel, crossed = train @ train.T, test @ train.T
        for_alpha = []
        for alpha in alphas:
            predicted = crossed @ np.linalg.solve(kernel + alpha * np.eye(len(kernel)), targets)
            predicted = predicted - mean_of(predicted)
            product = np.linalg.norm(predicted, axis=0) * np.linalg.norm(observed, axis=0)
            for_alpha.append((predicted * observed).sum(axis=0) / np.where(product > 0, product, np.inf))
        scores = scores + np.stack(for_alpha) / len(folds)
    return scores


def noise(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def one_hot(labels):
    return np.eye(labels.max() + 1)[labels]


def one_image_a_fold():
    return np.repeat(noise(5, 10), 12, axis=0), FIVE


def one_fold_of_one_image():
    X = noise(60, 10)
    X[:12] = X[0]
    return X, FIVE


def binary():
    return (noise(60, 6) > 1).astype(float), FIVE


def one_category_a_fold():
    return one_hot(np.arange(60) // 12), FIVE


def categories():
    labels = np.random.default_rng(0).integers(0, 4, 60)
    labels[:12], labels[12:24] = 4, 0
    return one_hot(labels), FIVE


def varying_inside_the_fold_alone():
    X = np.full((60, 10), 7.0)
    X[:12] = noise(12, 10)
    return X, FIVE


def zero_outside_the_fold():
    X = np.zeros((60, 10))
    X[:12] = noise(12, 10)
    return X, FIVE


def one_training_row():
    return noise(30, 10), [np.arange(1, 30), np.arange(29)]


def one_feature():
    return noise(60, 1), FIVE


KINDS = [
    one_image_a_fold,
    one_fold_of_one_image,
    binary,
    one_category_a_fold,
    categories,
    varying_inside_the_fold_alone,
]
KINDS += [zero_outside_the_fold, one_training_row, one_feature]
SMALL = {
    f"{name}, SD {sd:g}": lambda sd=sd, width=width, mean=mean: (sd * noise(60, width) + mean, FIVE)
    for sd in (1e-3, 1e-6, 1e-9)
    for name, width, mean in (("few", 10, 0), ("many", 100, 0), ("off zero", 10, 1))
}


@pytest.mark.usefixtures("either_formula")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("kind", [*KINDS, *SMALL.values()], ids=[*(kind.__name__ for kind in KINDS), *SMALL])
def test_rounding_decides_no_correlation(kind, fit_intercept, dtype):
    X, folds = kind()
    X, Y = X.astype(dtype), noise(len(X), 6, seed=1).astype(dtype)
    settings = {"folds": folds, "criterion": "correlation", "fit_intercept": fit_intercept}
    fit = ridge_cv(X, Y, ALPHAS, return_all_scores=True, **settings)
    expected = correlations(X, Y, ALPHAS, folds, fit_intercept)
    np.testing.assert_allclose(fit.scores, expected, rtol=0, atol=1e-5 if dtype == "float32" else 1e-8)
    assert_same_choice(fit, expected, tolerance=1e-11)


@pytest.mark.usefixtures("either_formula")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_noise_predicted_from_repeats_of_one_image_scores_zero(dtype):
    X, folds = one_image_a_fold()
    Y = noise(60, 50, seed=2).astype(dtype)
    for fit_intercept in (False, True):
        fit = ridge_cv(X.astype(dtype), Y, ALPHAS, folds=folds, criterion="correlation", fit_intercept=fit_intercept)
        assert set(fit.cv_score.tolist()) == {0.0}
        assert set(fit.alpha.tolist()) == {ALPHAS[-1]}


@pytest.mark.usefixtures("either_formula")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_weights_that_cancel_to_zero_predict_a_constant(dtype):
    """Responses sum to zero in each category of each fold: all the weights of all folds are zero."""
    labels, signs = np.tile(np.repeat(np.arange(3), 4), 3), np.tile([1.0, -1.0], 18)
    Y = signs[:, None] * np.repeat(noise(18, 40, seed=3), 2, axis=0)
    fit = ridge_cv(
        one_hot(labels).astype(dtype), Y.astype(dtype), ALPHAS, folds=3, criterion="correlation", fit_intercept=True
    )
    assert set(fit.cv_score.tolist()) == {0.0}
    assert set(fit.alpha.tolist()) == {ALPHAS[-1]}


@pytest.mark.usefixtures("either_formula")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("fit_intercept", [False, True])
def test_one_feature_ties_all_alphas_and_the_largest_is_taken(fit_intercept, dtype):
    X, Y = noise(60, 1).astype(dtype), noise(60, 40, seed=1).astype(dtype)
    fit = ridge_cv(X + 1, Y, GRID, criterion="correlation", fit_intercept=fit_intercept)
    assert set(fit.alpha.tolist()) == {GRID[-1]}


def test_voxels_in_doubt_are_scored_again_and_no_others(monkeypatch):
    scored = []
    original = exact_correlation.exact_correlations

    def recorded(X, rows, alphas, fit_intercept, responses):
        scored.append(responses.Y[0].tolist())
        return original(X, rows, alphas, fit_intercept, responses)

    monkeypatch.setattr(cross_validation, "exact_correlations", recorded)
    X, Y = noise(60, 10), noise(60, 5, seed=1)
    Y[:, 2] = np.where(np.arange(60) < 12, Y[:, 2], 0)  # the others of fold 0 predict zeros
    Y[3, 4] = np.nan
    fit = ridge_cv(X, Y, ALPHAS, criterion="correlation", fit_intercept=False)
    assert scored == 5 * [[Y[0, 2]]]
    assert fit.alpha.isnan().tolist() == [False] * 4 + [True]
    expected = correlations(X, Y[:, :4], ALPHAS, FIVE, False)
    torch.testing.assert_close(fit.cv_score[:4], torch.from_numpy(expected.max(axis=0)), rtol=0, atol=1e-8)
