"""Scores per voxel agree with SciPy and scikit-learn, and a constant scores zero."""

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
import torch

from brain_activity_prediction.ridge import CRITERIA
from brain_activity_prediction.ridge.scores import (
    HeldOut,
    centred,
    correlation,
    fold_correlations,
    fold_scores,
    pearson_r,
    r2_score,
    standard_columns,
)

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


@pytest.mark.parametrize("value", [0.0, 0.1, -0.1, 1e6 / 3, 1e-4 / 7])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_constant_voxel_scores_zero(value, dtype):
    constant = np.full((50, 1), value, dtype=dtype)
    assert pearson_r(constant, Y_HAT[:, :1]) == 0
    assert pearson_r(Y[:, :1], constant) == 0
    assert r2_score(constant, Y_HAT[:, :1]) == 0


@pytest.mark.parametrize("mean", [0.1, -3e4, 1e-6])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_prediction_that_is_constant_up_to_rounding_scores_zero(mean, dtype):
    """Repeats of one image are predicted alike but for the last digits, which would correlate with noise by chance."""
    last_digits = np.random.default_rng(1).integers(-4, 5, (50, 7)) * np.finfo(dtype).eps
    predicted = (mean * (1 + last_digits)).astype(dtype)
    assert np.ptp(predicted, axis=0).all()
    noise = (Y - 1000).astype(dtype)
    assert not pearson_r(noise, predicted).any()
    assert not pearson_r(torch.from_numpy(noise), torch.from_numpy(predicted)).any()
    assert not standard_columns(torch.from_numpy(predicted)).any()  # of which resamples and permutations take r
    assert standard_columns(torch.from_numpy(noise + mean)).any(dim=0).all()
    varying = (mean * (1 + 1e-4 * noise)).astype(dtype)
    np.testing.assert_allclose(pearson_r(noise, varying), np.sign(mean), atol=1e-5)


def test_a_voxel_in_small_units_is_not_taken_for_constant_beside_one_in_large_units():
    small, large = Y - 1000, Y_HAT - 1000
    units = np.array([1e-12, 1, 1, 1, 1, 1, 1e12])
    np.testing.assert_allclose(pearson_r(small * units, large), pearson_r(small, large), rtol=1e-9)


def test_arrays_may_be_read_only():
    read_only = Y.copy()
    read_only.flags.writeable = False
    np.testing.assert_array_equal(pearson_r(read_only, Y_HAT), pearson_r(Y, Y_HAT))


def test_a_voxel_that_is_nan_scores_nan_alone():
    spoilt = Y.copy()
    spoilt[3, 2] = np.nan
    for score in (pearson_r, r2_score):
        assert np.flatnonzero(np.isnan(score(spoilt, Y_HAT))).tolist() == [2]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_scores_of_a_fold_are_those_of_the_residuals_that_are_never_formed(dtype):
    """Of the first voxel the residuals are zero, the second one is constant."""
    responses, nodes = torch.from_numpy(RNG.standard_normal((12, 5))), torch.from_numpy(RNG.standard_normal((4, 5, 12)))
    weights = torch.from_numpy(RNG.standard_normal((4, 7)))
    responses[:, 1], nodes[:, 0] = 0.1, 0
    formed = torch.einsum("pa,pvn->anv", weights, nodes)
    held_out = HeldOut(nodes.to(dtype), responses.T.to(dtype))
    expected = {
        "neg_mean_squared_error": [-residuals.square().mean(dim=0) for residuals in formed],
        "r2": [r2_score(responses, responses - residuals) for residuals in formed],
    }
    for criterion, scores in expected.items():
        found = fold_scores(held_out, responses.to(dtype), weights, criterion)
        assert found.dtype == torch.float64
        torch.testing.assert_close(found, torch.stack(scores), rtol=0, atol=1e-5 if dtype == torch.float32 else 1e-12)
    outside = fold_scores(
        HeldOut(held_out.values, held_out.responses, torch.arange(5.0)), responses, weights, CRITERIA[0]
    )
    torch.testing.assert_close(outside, torch.stack(expected[CRITERIA[0]]) - torch.arange(5.0) / 12, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_correlations_of_a_fold_equal_those_of_explicit_predictions(dtype):
    """Of the first voxel nothing is predicted, the second one is constant."""
    responses = torch.from_numpy(RNG.standard_normal((12, 5)))
    responses[:, 1] = 0.1
    nodes = 0.01 * torch.from_numpy(RNG.standard_normal((4, 5, 12)))
    nodes[:, 0] = 0
    nodes -= nodes.mean(dim=2, keepdim=True)
    weights = torch.from_numpy(RNG.standard_normal((4, 7)))
    held_out = HeldOut(nodes.to(dtype), centred(responses).T.to(dtype))
    found, doubtful = fold_correlations(held_out, responses.to(dtype), weights, torch.zeros(7, 5))
    formed = torch.einsum("pa,pvn->anv", weights, nodes)
    assert found.dtype == torch.float64
    expected = torch.stack([pearson_r(responses, predicted) for predicted in formed])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 if dtype == torch.float32 else 1e-12)
    assert (found[:, :2] == 0).all()
    assert not doubtful.any()


def test_a_correlation_is_in_doubt_where_rounding_may_be_much_of_its_prediction():
    responses = torch.from_numpy(RNG.standard_normal((12, 4)))
    predicted = torch.from_numpy(RNG.standard_normal((1, 4, 12)))
    predicted -= predicted.mean(dim=2, keepdim=True)
    predicted[:, 2], predicted[:, 3] = 1e-150 * predicted[:, 2], 0
    size = torch.linalg.vector_norm(predicted[0], dim=1)
    of_nodes = HeldOut(predicted, centred(responses).T)
    largest = size * torch.tensor([1e7, 1e9, 1, 1])
    largest[3] = 1e-300
    _, doubtful = fold_correlations(of_nodes, responses, torch.ones(1, 1, dtype=torch.float64), largest)
    assert doubtful.tolist() == [False, True, True, True]
    cancelling = torch.tensor([[1.0], [1e-9 - 1]], dtype=torch.float64)
    twice = HeldOut(predicted.expand(2, -1, -1), of_nodes.responses)
    assert fold_correlations(twice, responses, cancelling, 0 * largest)[1][:3].all()


def test_a_prediction_within_rounding_of_its_mean_correlates_by_zero():
    responses, predicted = torch.from_numpy(Y), torch.from_numpy(Y_HAT)
    size = torch.linalg.vector_norm(predicted - predicted.mean(dim=0), dim=0)
    found = correlation(responses, predicted, size * torch.tensor([0, 0.9, 1.1, 0, 0, 0, 0]))
    expected = np.where(np.arange(7) == 2, 0, pearson_r(Y, Y_HAT))
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_responses_far_from_zero_are_centred_in_float64_and_restored():
    stored = torch.from_numpy(1e6 + Y).to(torch.float32)
    exact = stored.double() - stored.double().mean(dim=0)
    torch.testing.assert_close(centred(stored), exact.float(), rtol=0, atol=0)


def test_standard_columns_have_mean_0_and_sd_1_in_any_units_and_constant_ones_are_0():
    stored = (Y * np.array([1, 1e3, 1e-3, 1, 1, 1, 1])).astype(np.float32)
    stored[:, 4] = 0.1
    varying = stored.astype(float)
    expected = (varying - varying.mean(axis=0)) / np.where(varying.std(axis=0) > 1e-12, varying.std(axis=0), np.inf)
    found = standard_columns(torch.from_numpy(stored))
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert (found[:, 4] == 0).all()
