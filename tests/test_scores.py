"""Scores per voxel agree with SciPy and scikit-learn, and a constant scores zero."""

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
import torch

from brain_activity_prediction.align_image_embeddings.scores import pearson_r, r2_score

RNG = np.random.default_rng(0)
Y = RNG.standard_normal((50, 7)) + 1000
Y_HAT = Y + RNG.standard_normal(Y.shape)


def test_scores_agree_with_scipy_and_scikit_learn():
    expected = [scipy.stats.pearsonr(y, z).statistic for y, z in zip(Y.T, Y_HAT.T, strict=True)]
    np.testing.assert_allclose(pearson_r(Y, Y_HAT), expected, atol=1e-12)
    expected = sklearn.metrics.r2_score(Y, Y_HAT, multioutput="raw_values")
    np.testing.assert_allclose(r2_score(Y, Y_HAT), expected, atol=1e-12)


@pytest.mark.parametrize("score", [pearson_r, r2_score])
def test_tensors_give_a_float64_tensor_with_the_same_scores(score):
    result = score(torch.from_numpy(Y), torch.from_numpy(Y_HAT))
    assert result.dtype == torch.float64
    np.testing.assert_array_equal(result, score(Y, Y_HAT))


@pytest.mark.parametrize("value", [0.0, 0.1, 1e6])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_constant_voxel_scores_zero(value, dtype):
    constant = np.full((50, 1), value, dtype=dtype)
    assert pearson_r(constant, Y_HAT[:, :1]) == 0
    assert pearson_r(Y[:, :1], constant) == 0
    assert r2_score(constant, Y_HAT[:, :1]) == 0


def test_a_voxel_that_is_nan_scores_nan_alone():
    spoilt = Y.copy()
    spoilt[3, 2] = np.nan
    for score in (pearson_r, r2_score):
        assert np.flatnonzero(np.isnan(score(spoilt, Y_HAT))).tolist() == [2]
