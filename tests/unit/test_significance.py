"""Permutation tests are calibrated: noise is significant as often as it says, signal as often as theory says."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm

from brain_activity_prediction.inference.significance import permutation_p, permuted, shifted_orders

N_IMAGES, N_VOXELS, N_PERMUTATIONS = 60, 2000, 199
REGION_SIZE = 10
REGIONS = np.arange(N_VOXELS) // REGION_SIZE == np.arange(N_VOXELS // REGION_SIZE)[:, None]  # (R, V)
NO_REGION = REGIONS[:0]


def simulate(rho, seed=0):
    """Responses and predictions (n, V) float32 that correlate by rho in every voxel."""
    rng = np.random.default_rng(seed)
    signal, noise = rng.standard_normal((2, N_IMAGES, N_VOXELS))
    return [torch.from_numpy(x.astype(np.float32)) for x in (signal, rho * signal + np.sqrt(1 - rho**2) * noise)]


def smooth(values, width):
    """Each row averaged with the `width` - 1 rows after it: neighbours depend on each other."""
    return torch.stack([values[row : row + width].mean(dim=0) for row in range(len(values) - width + 1)])


def within_binomial_error(positives, rate):
    return abs(positives.mean() - rate) < 4 * np.sqrt(rate * (1 - rate) / positives.size)


def permutations(n_images, n_permutations, block, seed):
    """The permutations of predictions against responses, one row each, the identity first."""
    orders, counted = shifted_orders(n_images, n_permutations, block, seed)
    rows = []
    for order, shifts in zip(orders, counted, strict=True):
        for shift in np.flatnonzero(shifts):
            row = np.empty_like(order)
            row[orders[0]] = np.roll(order, -shift * block)
            rows.append(row)
    return np.stack(rows)


@pytest.fixture(scope="module", params=[1, 4, 7, 11], ids="{} images a block".format)
def noise(request):
    return permutation_p(*simulate(rho=0), REGIONS, N_PERMUTATIONS, request.param)


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.2, 0.5])
def test_on_noise_voxels_and_regions_are_significant_at_the_nominal_rate(noise, rate):
    for p in noise:
        assert within_binomial_error(p <= rate, rate)


def test_planted_signal_is_found_as_often_as_theory_says():
    """By Fisher's z, power = Phi(atanh(rho) sqrt(n - 3) - z of the level)."""
    p, region_p = permutation_p(*simulate(rho=0.3), REGIONS, N_PERMUTATIONS)
    power = norm.cdf(np.arctanh(0.3) * np.sqrt(N_IMAGES - 3) - norm.isf(0.05))
    assert (p <= 0.05).mean() == pytest.approx(power, abs=0.04)
    assert region_p.max() == pytest.approx(1 / (N_PERMUTATIONS + 1))


def test_blocks_keep_the_nominal_rate_for_dependent_images_single_images_do_not():
    observed, predicted = (smooth(part, 4) for part in simulate(rho=0))
    rates = {block: permutation_p(observed, predicted, NO_REGION, N_PERMUTATIONS, block)[0] <= 0.05 for block in (1, 8)}
    assert rates[1].mean() > 0.1
    assert rates[8].mean() < 0.075


@pytest.mark.parametrize(("block", "rate"), [(11, 6 / 120), (14, 1 / 24)], ids=["5 blocks", "4 blocks"])
def test_blocks_that_do_not_divide_the_images_keep_the_rate_of_false_positives(block, rate):
    """With so few blocks p has few values: the rate is that of the largest one up to 0.05."""
    pair = torch.randn(2, N_IMAGES, 8000, generator=torch.Generator().manual_seed(4))
    p, _ = permutation_p(*pair, np.zeros((0, 8000), dtype=bool), N_PERMUTATIONS, block, seed=1)
    assert within_binomial_error(p <= 0.05, rate)


@pytest.mark.parametrize("block", [1, 7])
def test_p_counts_the_permutations_that_reach_r(block):
    """Seven does not divide the images: those after the last whole block are in no r."""
    observed, predicted = simulate(rho=0.2)
    p, region_p = permutation_p(observed, predicted, np.ones((1, N_VOXELS), dtype=bool), 75, block, seed=3)
    whole = observed[: N_IMAGES // block * block].double(), predicted[: N_IMAGES // block * block].double()
    x, y = ((part - part.mean(0)) / part.std(0, correction=0) for part in whole)
    r = np.stack([(x * y[row]).mean(0) for row in permutations(len(x), 75, block, seed=3)])
    np.testing.assert_allclose(p, (r >= r[0] - 1e-6).mean(axis=0), rtol=1e-12)
    assert region_p[0] == pytest.approx((r.mean(axis=1) >= r[0].mean()).mean())


def test_single_images_are_permuted_by_default_always_in_the_same_way():
    observed, predicted = (part[:, :50] for part in simulate(rho=0.1))
    expected, _ = permutation_p(observed, predicted, NO_REGION[:, :50], 75, block=1, seed=0)
    for test in (permutation_p, permuted):
        np.testing.assert_array_equal(test(observed, predicted, NO_REGION[:, :50], 75)[0], expected)
    for found, orders in zip(shifted_orders(60, 75), shifted_orders(60, 75, block=1, seed=0), strict=True):
        np.testing.assert_array_equal(found, orders)


@pytest.mark.parametrize(("n_images", "block"), [(60, 1), (60, 7), (6, 1), (130, 1)])
def test_there_are_as_many_permutations_as_asked_for_and_the_first_is_the_identity(n_images, block):
    rows = permutations(n_images, 130, block, seed=1)
    n_used = n_images // block * block
    assert rows.shape == (131, n_used)
    assert rows[0].tolist() == list(range(n_used))
    assert (np.sort(rows, axis=1) == np.arange(n_used)).all()
    n_shifts = n_images // block
    assert len(permutations(n_images, n_shifts - 1, block, seed=1)) == n_shifts  # all shifts of one order


@pytest.mark.parametrize(("n_images", "block"), [(4, 1), (13, 3), (5, 1), (46, 7), (7, 1)])
@pytest.mark.parametrize("n_permutations", [9, 20, 500, 6000])
def test_no_permutation_comes_twice_and_where_there_are_few_all_do(n_images, block, n_permutations):
    rows = permutations(n_images, n_permutations, block, seed=1)
    n_there_are = math.factorial(n_images // block)
    assert len(np.unique(rows, axis=0)) == len(rows) == min(n_permutations + 1, n_there_are)


def test_with_four_blocks_the_test_is_exact_and_of_all_24_orders():
    """p is a multiple of 1/24: on noise, 1/24 of the voxels have the lowest, whatever was asked for."""
    observed, predicted = simulate(rho=0)
    p, _ = permutation_p(observed, predicted, NO_REGION, 9999, block=13)  # 8 of 60 images are left over
    counts = np.bincount(np.round(p * 24).astype(int), minlength=25)[1:]
    np.testing.assert_allclose(p * 24, np.round(p * 24), atol=1e-9)
    assert (np.abs(counts - N_VOXELS / 24) < 4.5 * np.sqrt(N_VOXELS / 24)).all()
    observed[52:], predicted[52:] = 99, -99  # rows of no whole block change nothing
    np.testing.assert_array_equal(permutation_p(observed, predicted, NO_REGION, 9999, block=13)[0], p)


def test_p_varies_over_seeds_no_more_than_with_independent_permutations():
    """A share of 199 that is expected at p has SD sqrt(p (1 - p) / 199) when its permutations are independent."""
    observed, predicted = (part[:, :200] for part in simulate(rho=0.1))
    none = NO_REGION[:, :200]
    p = np.stack([permutation_p(observed, predicted, none, N_PERMUTATIONS, seed=seed)[0] for seed in range(30)])
    expected = np.sqrt(p.mean(axis=0) * (1 - p.mean(axis=0)) / N_PERMUTATIONS)
    assert (p.std(axis=0, ddof=1) / expected).mean() < 1.02


def test_voxels_of_nan_have_no_p_constant_ones_p_1_and_neither_harms_another():
    observed, predicted = simulate(rho=0.3)
    before, _ = permutation_p(observed, predicted, REGIONS, 19)
    observed[3, 5] = torch.nan
    predicted[:, :5] = 0.1
    observed[:, 10:20] = torch.nan
    after, region_p = permutation_p(observed, predicted, REGIONS, 19)
    assert np.isnan(after[[5, 10, 19]]).all()
    assert (after[:5] == 1).all()
    assert np.isnan(region_p[1])
    assert region_p[0] < 0.2
    np.testing.assert_array_equal(after[20:], before[20:])
