"""Permutation tests are calibrated: noise is significant as often as it says, signal as often as theory says."""

import numpy as np
import pytest
import torch
from scipy.stats import norm

from brain_activity_prediction.align_image_embeddings.significance import permutation_p

N_IMAGES, N_VOXELS, N_PERMUTATIONS = 60, 2000, 199
REGION_SIZE = 10
REGIONS = {str(number): np.arange(N_VOXELS) // REGION_SIZE == number for number in range(N_VOXELS // REGION_SIZE)}


def simulate(rho, seed=0):
    """Responses and predictions (n, V) float32 that correlate by rho in every voxel."""
    rng = np.random.default_rng(seed)
    signal, noise = rng.standard_normal((2, N_IMAGES, N_VOXELS))
    return [torch.from_numpy(x.astype(np.float32)) for x in (signal, rho * signal + np.sqrt(1 - rho**2) * noise)]


def within_binomial_error(positives, rate):
    return abs(positives.mean() - rate) < 4 * np.sqrt(rate * (1 - rate) / positives.size)


@pytest.fixture(scope="module")
def noise():
    p, region_p = permutation_p(*simulate(rho=0), REGIONS, N_PERMUTATIONS)
    return p.numpy(), np.array(list(region_p.values()))


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.2, 0.5])
def test_on_noise_voxels_and_regions_are_significant_at_the_nominal_rate(noise, rate):
    for p in noise:
        assert within_binomial_error(p <= rate, rate)


def test_planted_signal_is_found_as_often_as_theory_says():
    """By Fisher's z, power = Phi(atanh(rho) sqrt(n - 3) - z of the level)."""
    p, region_p = permutation_p(*simulate(rho=0.3), REGIONS, N_PERMUTATIONS)
    power = norm.cdf(np.arctanh(0.3) * np.sqrt(N_IMAGES - 3) - norm.isf(0.05))
    assert (p <= 0.05).float().mean() == pytest.approx(power, abs=0.04)
    assert max(region_p.values()) == pytest.approx(1 / (N_PERMUTATIONS + 1))


def test_p_counts_the_permutations_that_reach_r():
    observed, predicted = simulate(rho=0.2)
    p, region_p = permutation_p(observed, predicted, {"all": np.ones(N_VOXELS, dtype=bool)}, 20, seed=3)
    rng = np.random.default_rng(3)
    orders = [np.arange(N_IMAGES), *(rng.permutation(N_IMAGES) for _ in range(20))]
    x, y = ((part - part.mean(0)) / part.std(0, correction=0) for part in (observed.double(), predicted.double()))
    r = np.stack([(x * y[order]).mean(0) for order in orders])
    np.testing.assert_allclose(p, (r >= r[0]).mean(axis=0), atol=1e-6)
    assert region_p["all"] == pytest.approx((r.mean(axis=1) >= r[0].mean()).mean())


def test_voxels_of_nan_have_no_p_constant_ones_p_1_and_neither_harms_another():
    observed, predicted = simulate(rho=0.3)
    before, _ = permutation_p(observed, predicted, REGIONS, 19)
    observed[3, 5] = torch.nan
    predicted[:, :5] = 0.1
    observed[:, REGIONS["1"]] = torch.nan
    after, region_p = permutation_p(observed, predicted, REGIONS, 19)
    assert torch.isnan(after[[5, 10, 19]]).all()
    assert (after[:5] == 1).all()
    assert np.isnan(region_p["1"])
    assert region_p["0"] < 0.2
    assert torch.equal(after[20:], before[20:])
