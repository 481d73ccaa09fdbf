"""Permutation tests of a mean over outer folds are not fooled by the dependence between the folds."""

import numpy as np
import torch

from brain_activity_prediction.inference.bootstrap import bootstrap_region_r
from brain_activity_prediction.inference.outer_folds import mean_of_permuted, mean_of_resampled
from brain_activity_prediction.inference.resampling import share_reaching
from brain_activity_prediction.inference.significance import permuted, permuted_over_folds


def folds_of_noise(n_images=60, n_features=4, n_voxels=1500, n_folds=5):
    """Responses without signal, and predictions of each fold by a ridge fitted to the other folds."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((n_images, n_features)), rng.standard_normal((n_images, n_voxels))
    folds = []
    for test in np.array_split(rng.permutation(n_images), n_folds):
        train = np.setdiff1d(np.arange(n_images), test)
        weights = np.linalg.solve(x[train].T @ x[train] + 10 * np.eye(n_features), x[train].T @ y[train])
        folds.append(tuple(torch.from_numpy(part).float() for part in (y[test], x[test] @ weights)))
    return folds


def test_noise_is_significant_at_five_percent_in_no_more_than_five_percent():
    p = permuted_over_folds(folds_of_noise(), 199)
    assert 0.02 < (p <= 0.05).mean() < 0.065
    assert (p <= 0.01).mean() < 0.015


def test_the_standard_error_is_the_spread_of_the_mean_over_folds():
    folds = folds_of_noise(n_voxels=400)
    each = np.eye(400, dtype=bool)
    resampled = mean_of_resampled([bootstrap_region_r(*pair, each, 200) for pair in folds])
    spread = np.mean([permuted(*pair, each, 1)[1][0] for pair in folds], axis=0).std()
    assert 0.9 < resampled.std(axis=0).mean() / spread < 1.15


def test_regions_and_voxels_have_the_same_test():
    folds = folds_of_noise(n_voxels=7)
    region_r = [permuted(*pair, np.eye(7, dtype=bool), 99)[1] for pair in folds]
    np.testing.assert_allclose(permuted_over_folds(folds, 99), share_reaching(mean_of_permuted(region_r)), atol=1e-12)


def test_a_voxel_without_responses_has_no_p():
    folds = folds_of_noise(n_voxels=3)
    folds[2][0][:, 1] = torch.nan
    assert np.isnan(permuted_over_folds(folds, 99)).tolist() == [False, True, False]
