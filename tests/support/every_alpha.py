"""Reference for ridge_cv: every alpha of every fold fitted by scikit-learn, on simulated images."""

import numpy as np
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold

from brain_activity_prediction.ridge.scores import pearson_r, r2_score

GRID = np.logspace(1, 4, 60)
REGRET = 1e-6
SCORES = {
    "neg_mean_squared_error": lambda y, z: -np.mean((y - z) ** 2, axis=0),
    "r2": r2_score,
    "correlation": pearson_r,
}
# Assumed cost of a decomposition per fold, which makes the solver choose one method or the other at any size.
COST = {"leave-one-out": np.inf, "refit": -np.inf}


def simulate(n_images=150, n_features=40, n_voxels=12, seed=0):
    """Simulate features with a decaying spectrum and unit variance, and voxels from pure noise to mostly signal."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_images, n_features)) * np.arange(1, n_features + 1) ** -0.5
    X = X @ np.linalg.qr(rng.standard_normal((n_features, n_features)))[0]
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    signal = X @ rng.standard_normal((n_features, n_voxels)) / np.sqrt(n_features)
    share = np.linspace(0, 0.8, n_voxels)
    Y = np.sqrt(share) * signal / signal.std(axis=0) + np.sqrt(1 - share) * rng.standard_normal(signal.shape)
    return X, Y


def brute_force(X, Y, alphas, splits, criterion="neg_mean_squared_error", fit_intercept=False):
    """Return mean scores (A, V) of scikit-learn's Ridge, in float64, at every alpha of every fold."""
    X, Y = np.asarray(X, dtype=np.float64), np.asarray(Y, dtype=np.float64)
    n_voxels = Y.shape[1]
    Y = np.tile(Y, len(alphas))  # voxels at the first alpha, voxels at the second, ...
    model = Ridge(alpha=np.repeat(alphas, n_voxels), fit_intercept=fit_intercept, solver="svd")
    scores = 0.0
    for train, test in splits:
        prediction = model.fit(X[train], Y[train]).predict(X[test]).reshape(len(test), -1)
        scores = scores + SCORES[criterion](Y[test], prediction) / len(splits)
    return scores.reshape(len(alphas), n_voxels)


def assert_same_choice(fit, scores, tolerance=REGRET, voxels=slice(None)):
    """Check that the chosen alphas score as well as the best, and are equal unless the two best are almost equal."""
    chosen, scores = fit.alpha_index.numpy()[voxels], scores[:, voxels]
    regret = scores.max(axis=0) - np.take_along_axis(scores, chosen[None], axis=0)[0]
    scale = np.maximum(1, np.abs(scores.max(axis=0)))
    assert (regret <= tolerance * scale).all(), regret.max()
    second_best = np.sort(scores, axis=0)[-2:][0] if len(scores) > 1 else -np.inf
    clear = scores.max(axis=0) - second_best > tolerance * scale
    np.testing.assert_array_equal(chosen[clear], scores.argmax(axis=0)[clear])


def splits_of(X, folds=5):
    return list(KFold(folds).split(X))
