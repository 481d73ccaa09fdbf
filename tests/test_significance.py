"""Permutation tests are calibrated: noise is significant as often as it says, signal as often as theory says."""

import numpy as np
import pytest
import torch
from scipy.stats import norm

from brain_activity_prediction.align_image_embeddings.stats.significance import permutation_p, permuted, shifted_orders

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
    """The permutations of predictions against responses, one row each, the identity first; -1 where padding is."""
    orders, counted = shifted_orders(n_images, n_permutations, block, seed)
    rows = []
    for order, shifts in zip(orders, counted, strict=True):
        for shift in np.flatnonzero(shifts):
            row = np.empty_like(order)
            row[orders[0]] = np.roll(order, -shift * block)
            rows.append(np.where(row < n_images, row, -1)[:n_images])
    return np.stack(rows)


@pytest.fixture(scope="module", params=[1, 4], ids=["single images", "blocks of four"])
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


def test_where_neighbouring_images_depend_on_each_other_blocks_keep_the_nominal_rate_and_single_images_do_not():
    observed, predicted = (smooth(part, 4) for part in simulate(rho=0))
    rates = {block: permutation_p(observed, predicted, NO_REGION, N_PERMUTATIONS, block)[0] <= 0.05 for block in (1, 8)}
    assert rates[1].mean() > 0.1
    assert rates[8].mean() < 0.075


@pytest.mark.parametrize("block", [1, 7])
def test_p_counts_the_permutations_that_reach_r(block):
    """Seven does not divide the images: the last block is filled up with mean responses."""
    observed, predicted = simulate(rho=0.2)
    p, region_p = permutation_p(observed, predicted, np.ones((1, N_VOXELS), dtype=bool), 75, block, seed=3)
    x, y = ((part - part.mean(0)) / part.std(0, correction=0) for part in (observed.double(), predicted.double()))
    rows = permutations(N_IMAGES, 75, block, seed=3)
    r = np.stack([(x * torch.where(torch.from_numpy(row >= 0)[:, None], y[row], 0)).mean(0) for row in rows])
    np.testing.assert_allclose(p, (r >= r[0]).mean(axis=0), atol=1e-6)
    assert region_p[0] == pytest.approx((r.mean(axis=1) >= r[0].mean()).mean())


def test_unless_said_otherwise_single_images_are_permuted_and_always_in_the_same_way():
    observed, predicted = (part[:, :50] for part in simulate(rho=0.1))
    expected, _ = permutation_p(observed, predicted, NO_REGION[:, :50], 75, block=1, seed=0)
    for test in (permutation_p, permuted):
        np.testing.assert_array_equal(test(observed, predicted, NO_REGION[:, :50], 75)[0], expected)
    for found, orders in zip(shifted_orders(60, 75), shifted_orders(60, 75, block=1, seed=0), strict=True):
        np.testing.assert_array_equal(found, orders)


@pytest.mark.parametrize(("n_images", "block"), [(60, 1), (60, 7), (6, 1), (130, 1)])
def test_there_are_as_many_permutations_as_asked_for_and_the_first_is_the_identity(n_images, block):
    rows = permutations(n_images, 130, block, seed=1)
    assert rows.shape == (131, n_images)
    assert rows[0].tolist() == list(range(n_images))
    for row in rows:
        kept = np.sort(row[row >= 0])
        assert kept.size == np.unique(kept).size
    if n_images % block == 0:
        assert (np.sort(rows, axis=1) == np.arange(n_images)).all()
    n_shifts = -(-n_images // block)
    assert len(permutations(n_images, n_shifts - 1, block, seed=1)) == n_shifts  # all shifts of one order


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
