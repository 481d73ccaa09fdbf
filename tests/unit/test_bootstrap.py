"""Bootstrap errors and intervals are calibrated, and differences are compared on the same resamples."""

import numpy as np
import pytest
import torch
from scipy.stats import norm

from brain_activity_prediction.inference.bootstrap import bootstrap_region_r, resampled_r2, resamples
from brain_activity_prediction.inference.resampling import interval, share_reaching, standard_error, two_sided_p
from brain_activity_prediction.ridge.scores import r2_score

N_IMAGES, N_RESAMPLES = 150, 399
N_REGIONS, REGION_SIZE = 1000, 2
MEMBERS = np.arange(N_REGIONS * REGION_SIZE) // REGION_SIZE == np.arange(N_REGIONS)[:, None]


def simulate(*rhos, seed=0):
    """Responses (n, V), and predictions that correlate with them by each rho, with noise of their own."""
    rng = np.random.default_rng(seed)
    responses = rng.standard_normal((N_IMAGES, MEMBERS.shape[1]))
    noise = rng.standard_normal((len(rhos), *responses.shape))
    predictions = [rho * responses + np.sqrt(1 - rho**2) * own for rho, own in zip(rhos, noise, strict=True)]
    return [torch.from_numpy(x.astype(np.float32)) for x in (responses, *predictions)]


def replicates(responses, predictions):
    return bootstrap_region_r(responses, predictions, MEMBERS, N_RESAMPLES)


def within_binomial_error(hits, rate, more=0.0):
    return abs(hits.mean() - rate) < 4 * np.sqrt(rate * (1 - rate) / hits.size) + more


def variance_of_a_difference(rho_1, rho_2):
    """Of r_1 - r_2 on n images, large n: two correlations with one variable (Olkin & Siotani 1976).

    The two predictions have nothing in common but the response, so that they correlate by rho_1 rho_2.
    """
    between = rho_1 * rho_2
    covariance = (1 - rho_1**2 - rho_2**2 - between**2) * (2 * between - rho_1 * rho_2) / 2 + between**3
    return ((1 - rho_1**2) ** 2 + (1 - rho_2**2) ** 2 - 2 * covariance) / N_IMAGES


@pytest.fixture(scope="module")
def equals():
    """Replicates of two models that predict every voxel equally well."""
    responses, *predictions = simulate(0.4, 0.4)
    return [replicates(responses, own) for own in predictions]


def test_the_standard_error_of_a_region_is_what_theory_gives(equals):
    """(1 - rho^2) / sqrt(n) for a voxel; voxels are independent here."""
    expected = (1 - 0.4**2) / np.sqrt(N_IMAGES * REGION_SIZE)
    assert np.median(standard_error(equals[0])) == pytest.approx(expected, rel=0.05)


def test_the_95_percent_interval_holds_the_truth_95_times_in_100(equals):
    low, high = interval(equals[0])
    assert within_binomial_error((low < 0.4) & (high > 0.4), 0.95, more=0.01)


@pytest.mark.parametrize("rate", [0.05, 0.2])
def test_equal_models_differ_significantly_at_the_nominal_rate(equals, rate):
    assert within_binomial_error(two_sided_p(equals[0] - equals[1]) <= rate, rate, more=0.01)


def test_a_planted_difference_is_found_as_often_as_theory_says():
    responses, better, worse = simulate(0.5, 0.4, seed=1)
    p = two_sided_p(replicates(responses, better) - replicates(responses, worse))
    z = 0.1 / np.sqrt(variance_of_a_difference(0.5, 0.4) / REGION_SIZE)
    power = norm.cdf(z - norm.isf(0.025)) + norm.cdf(-z - norm.isf(0.025))
    assert 0.2 < power < 0.8
    assert within_binomial_error(p <= 0.05, power, more=0.02)


def test_pairing_the_resamples_makes_the_difference_of_similar_models_more_certain():
    responses, model = simulate(0.4)
    similar = model + 0.1 * torch.randn(model.shape, generator=torch.Generator().manual_seed(0))
    paired = replicates(responses, model) - replicates(responses, similar)
    unpaired = replicates(responses, model) - bootstrap_region_r(responses, similar, MEMBERS, N_RESAMPLES, seed=1)
    assert np.median(standard_error(paired)) < 0.2 * np.median(standard_error(unpaired))


def test_p_is_at_most_5_percent_exactly_where_the_interval_leaves_zero_out():
    differences = np.random.default_rng(0).normal(np.linspace(-3, 3, 400), 1, size=(999, 400))
    low, high = interval(differences)
    np.testing.assert_array_equal(two_sided_p(differences) <= 0.05, (low > 0) | (high < 0))
    assert two_sided_p(np.ones((999, 1))) == pytest.approx(2 / 1000)


def test_errors_and_p_of_a_few_resamples_are_what_one_counts_by_hand():
    replicates = np.array([[0, 0, 0, 1, np.nan], [1, -1, 0, 2, 1], [3, -3, 0, 6, 1]], dtype=np.float32)
    np.testing.assert_array_equal(two_sided_p(replicates), [2 * 2 / 4, 2 * 2 / 4, 1, 2 * 1 / 4, np.nan])
    error = standard_error(replicates)
    np.testing.assert_allclose(error[:4], [np.sqrt(7 / 3), np.sqrt(7 / 3), 0, np.sqrt(7)])
    assert error.dtype == np.float64


def test_the_p_of_permutations_is_the_share_at_or_above_the_first():
    permuted = np.array([[0.5, 0.5, np.nan], [0.6, 0.1, 0.1], [0.5 - 1e-8, 0.2, 0.2], [0.1, 0.3, 0.3]])
    np.testing.assert_array_equal(share_reaching(permuted), [3 / 4, 1 / 4, np.nan])


def test_resampled_scores_are_those_of_the_images_drawn():
    responses, predictions = simulate(0.3)
    counts = resamples(N_IMAGES, 3)
    found = bootstrap_region_r(responses, predictions, MEMBERS, 3)
    for drawn, row in zip(counts.astype(int), found, strict=True):
        rows = np.repeat(np.arange(N_IMAGES), drawn)
        r = [np.corrcoef(responses[rows, v], predictions[rows, v])[0, 1] for v in range(REGION_SIZE)]
        assert row[0] == pytest.approx(np.mean(r), abs=1e-5)


def test_resampled_r2_is_that_of_the_drawn_images_and_0_for_constant_responses():
    responses, predictions = simulate(0.3)
    responses[:, 1] = 1
    counts = resamples(N_IMAGES, 3)
    found = resampled_r2(responses, predictions, torch.from_numpy(counts) / N_IMAGES)
    for drawn, row in zip(counts.astype(int), found, strict=True):
        rows = np.repeat(np.arange(N_IMAGES), drawn)
        np.testing.assert_allclose(row, r2_score(responses[rows], predictions[rows]), atol=1e-5)


def test_few_resamples_are_the_first_of_many_and_draw_as_many_images():
    many = resamples(40, 100)
    np.testing.assert_array_equal(resamples(40, 10), many[:10])
    assert (many.sum(axis=1) == 40).all()


def test_voxels_of_nan_count_in_no_region_and_constant_ones_have_r_0():
    responses, predictions = simulate(0.4)
    before = replicates(responses, predictions)
    predictions[:, 0] = 0.1
    responses[3, 2] = torch.nan
    responses[:, 4:6] = torch.nan
    after = replicates(responses, predictions)
    assert np.isfinite(after[:, [0, 1]]).all()
    assert np.median(after[:, 0]) < 0.7 * np.median(before[:, 0])
    assert np.isnan(after[:, 2]).all()
    np.testing.assert_allclose(after[:, 3:], before[:, 3:], atol=1e-6)
