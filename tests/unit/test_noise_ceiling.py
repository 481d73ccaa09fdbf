"""Simulated repeats with a known signal-to-noise ratio have the noise ceiling that follows from it."""

import numpy as np
import pytest
from scipy.stats import f_oneway

from brain_activity_prediction.datasets.averages import average_repeats, zscore_session
from brain_activity_prediction.datasets.nsd.nsd import find_nsd
from brain_activity_prediction.datasets.nsd.regions import region_masks
from brain_activity_prediction.datasets.responses import ResponseChoice
from brain_activity_prediction.demo.simulation import REGIONS
from brain_activity_prediction.encoding.subject_data import read_subject_data
from brain_activity_prediction.inference.noise_ceiling import (
    TrialSums,
    noise_ceiling,
    noise_ceiling_snr,
    noise_of_averages,
    snr,
    unclipped_ceiling,
)
from brain_activity_prediction.ridge.scores import pearson_r

SNRS = np.array([0.0, 0.3, 0.6, 1.0, 2.0])
VOXELS_PER_SNR = 40
N_IMAGES = 900
REPEATS = {
    "two repeats": np.full(N_IMAGES, 2),
    "three repeats": np.full(N_IMAGES, 3),
    "mixed repeats": np.resize([1, 1, 2, 3], N_IMAGES),
}
snr_of_voxel = np.repeat(SNRS, VOXELS_PER_SNR)


def simulate(n_repeats, offset=0.0, scale=1.0, zscore=True):
    """The arguments of `noise_ceiling_snr`, from trials of known SNR in six sessions; and the noiseless response."""
    rng = np.random.default_rng(0)
    signal = snr_of_voxel * rng.standard_normal((len(n_repeats), len(snr_of_voxel)))
    image_of_trial = rng.permutation(np.repeat(np.arange(len(n_repeats)), n_repeats))
    noise = rng.standard_normal((image_of_trial.size, len(snr_of_voxel)))
    sessions = np.array_split(offset + scale * (signal[image_of_trial] + noise), 6)
    averaged = average_repeats(map(zscore_session, sessions) if zscore else sessions, image_of_trial)
    return (averaged["betas"], averaged["n_repeats"], averaged["within_image_ss"].sum(axis=0)), signal


def by_snr(values):
    """Mean over the voxels of each SNR but 0, where what is estimated is at its lower bound."""
    return values.reshape(len(SNRS), VOXELS_PER_SNR).mean(axis=1)[1:]


@pytest.mark.parametrize("n_repeats", REPEATS.values(), ids=REPEATS)
def test_the_snr_of_simulated_repeats_is_recovered_within_sampling_error(n_repeats):
    """Compared as the correlation of two trials of an image, snr^2 / (snr^2 + 1), whose standard error is known."""
    found = np.square(noise_ceiling_snr(*simulate(n_repeats)[0]))
    planted = np.square(SNRS[1:]) / (np.square(SNRS[1:]) + 1)
    dof = n_repeats.sum() - n_repeats.size
    standard_error = (1 - planted) * (1 + 2 * planted) / np.sqrt(dof * VOXELS_PER_SNR)
    assert (np.abs(by_snr(found / (found + 1)) - planted) < 4 * standard_error).all()


@pytest.mark.parametrize("n_repeats", REPEATS.values(), ids=REPEATS)
def test_the_ceiling_is_the_squared_correlation_of_a_perfect_prediction(n_repeats):
    averaged, signal = simulate(n_repeats)
    ceiling = noise_ceiling(noise_ceiling_snr(*averaged), n_repeats)
    np.testing.assert_allclose(by_snr(ceiling), by_snr(np.square(pearson_r(averaged[0], signal))), atol=0.01)


@pytest.mark.parametrize("trials", [1, 2, 3])
def test_test_images_of_one_to_three_trials_have_the_ceiling_of_their_repeats(trials):
    """Test images may have one trial each: the noise is then known from the repeats of the training images."""
    n_test = 300
    n_repeats = np.concatenate([np.full(n_test, trials), np.resize([2, 3], N_IMAGES - n_test)])
    averaged, signal = simulate(n_repeats)
    ceiling = noise_ceiling(noise_ceiling_snr(*averaged), n_repeats[:n_test])
    planted = SNRS[1:] ** 2 / (SNRS[1:] ** 2 + 1 / trials)
    reached = np.square(pearson_r(averaged[0][:n_test], signal[:n_test]))
    # SE of a mean of squared correlations over voxels, 2 r (1 - r^2) / sqrt(n), and of the planted ones, about as much.
    error = 2 * np.sqrt(planted) * (1 - planted) / np.sqrt(n_test * VOXELS_PER_SNR)
    np.testing.assert_array_less(np.abs(by_snr(ceiling) - planted), 4 * error + 0.003)
    np.testing.assert_array_less(np.abs(by_snr(reached) - by_snr(ceiling)), 6 * error + 0.003)


def test_voxels_without_signal_have_a_ceiling_near_zero_and_never_below():
    n_repeats = REPEATS["three repeats"]
    ceiling = noise_ceiling(noise_ceiling_snr(*simulate(n_repeats)[0]), n_repeats)[snr_of_voxel == 0]
    assert ceiling.min() == 0
    assert ceiling.max() < 0.2


def test_units_and_offset_of_betas_that_are_not_z_scored_do_not_matter():
    n_repeats = REPEATS["mixed repeats"]
    as_drawn = noise_ceiling_snr(*simulate(n_repeats, zscore=False)[0])
    shifted = noise_ceiling_snr(*simulate(n_repeats, offset=5.0, scale=3.0, zscore=False)[0])
    np.testing.assert_allclose(shifted, as_drawn, rtol=1e-4, atol=0.01)


def test_mixed_repeats_have_the_ceiling_of_the_nsd_data_manual():
    n_repeats = np.repeat([3, 2, 1], [5, 4, 2])
    noise = (5 / 3 + 4 / 2 + 2) / 11
    np.testing.assert_allclose(noise_ceiling(SNRS, n_repeats), SNRS**2 / (SNRS**2 + noise))
    stored = SNRS.astype(np.float32)
    np.testing.assert_array_equal(noise_ceiling(stored, n_repeats), noise_ceiling(stored.astype(float), n_repeats))


def test_signal_and_noise_are_told_apart_as_the_trials_themselves_tell_them():
    """NSD's formula: noise is the variance of trials about their image's mean, signal what it leaves of all."""
    n_repeats = np.array([3, 2, 3, 1])
    images = np.repeat([0, 1, 2, 3], n_repeats)
    trials = 5 + np.array([0, 4, -3, 1])[images, None] + np.random.default_rng(0).standard_normal((images.size, 6))
    means = np.stack([trials[images == image].mean(axis=0) for image in range(4)])
    within = ((trials - means[images]) ** 2).sum(axis=0)
    noise = within / (9 - 4)
    signal = trials.var(axis=0, ddof=1) - noise
    np.testing.assert_allclose(noise_ceiling_snr(means, n_repeats, within), np.sqrt(signal / noise), rtol=1e-10)


def test_a_voxel_whose_trials_repeat_exactly_has_a_ceiling_of_one():
    snr = noise_ceiling_snr(np.array([[1.0], [2.0]]), np.array([2, 2]), np.zeros(1))
    assert noise_ceiling(snr, np.array([2, 2])) == 1


def test_without_repeats_there_is_no_ceiling():
    once = np.ones(50, dtype=int)
    ceiling = noise_ceiling(noise_ceiling_snr(*simulate(once)[0]), once)
    assert np.isnan(ceiling).all()


def test_voxels_that_never_vary_or_hold_nan_have_no_ceiling_and_harm_no_other():
    (betas, n_repeats, within), _ = simulate(REPEATS["three repeats"])
    before = noise_ceiling_snr(betas, n_repeats, within)
    betas[:, 1], within[1] = 0, 0
    betas[:, 2], within[2] = np.nan, np.nan
    after = noise_ceiling_snr(betas, n_repeats, within)
    assert np.isnan(noise_ceiling(after, n_repeats)[[1, 2]]).all()
    np.testing.assert_array_equal(np.delete(after, [1, 2]), np.delete(before, [1, 2]))


@pytest.mark.parametrize("sessions", [None, [1, 2, 4]], ids=["all sessions", "a session missing"])
def test_the_planted_ceiling_of_each_region_comes_back(official_nsd, tmp_path, sessions):
    layout = find_nsd(official_nsd)
    targets = read_subject_data(layout, 1, ResponseChoice(sessions), tmp_path)
    ceiling = noise_ceiling(targets.ncsnr, targets.test_repeats)
    masks = region_masks(layout, 1, targets.units.mask)
    noise = np.mean(1 / targets.test_repeats)
    assert (targets.test_repeats.min() < 3) == (sessions is not None)
    for region in REGIONS:
        planted = region.snr**2 / (region.snr**2 + noise)
        assert np.median(ceiling[masks[region.label]]) == pytest.approx(planted, abs=0.1), region


def sums_of(trials, image_of_trial, n_groups=20):
    """The `TrialSums` of trials (n_trials, V), NaN where a voxel has no valid one; and its valid repeats (n, V)."""
    valid = np.isfinite(trials)
    images = range(image_of_trial.max() + 1)
    repeats = np.stack([valid[image_of_trial == image].sum(axis=0) for image in images])
    filled = np.where(valid, trials, 0)
    sums = np.stack([filled[image_of_trial == image].sum(axis=0) for image in images])
    means = np.where(repeats, sums / np.maximum(repeats, 1), np.nan)
    groups = np.arange(len(means)) % n_groups
    deviations = np.where(valid, np.square(trials - means[image_of_trial]), 0)
    within = np.stack([deviations[groups[image_of_trial] == group].sum(axis=0) for group in range(n_groups)])
    return TrialSums.of(means, repeats, within, groups), repeats


def test_the_mean_ceiling_of_voxels_without_signal_is_zero_unless_it_is_clipped():
    """Clipped at 0, each voxel's ceiling would be too high by half of its sampling error."""
    rng, images = np.random.default_rng(0), np.repeat(np.arange(500), 3)
    variances = sums_of(rng.standard_normal((1500, 300)), images)[0].variances()
    assert abs(unclipped_ceiling(*variances, 1 / 3).mean()) < 0.01
    assert noise_ceiling(snr(*variances), np.array([3])).mean() > 0.02


def test_missing_trials_leave_each_voxel_the_ceiling_of_the_trials_that_it_has():
    rng, images = np.random.default_rng(2), np.repeat(np.arange(40), 3)
    trials = rng.standard_normal((40, 5))[images] + rng.standard_normal((120, 5))
    trials[:9, 1] = np.nan  # images 0 to 2 are missing for voxel 1
    trials[[10, 20, 30], 2] = np.nan
    sums, repeats = sums_of(trials, images)
    for voxel in range(5):
        valid = np.isfinite(trials[:, voxel])
        _, images_of_valid = np.unique(images[valid], return_inverse=True)
        alone, own_repeats = sums_of(trials[valid][:, [voxel]], images_of_valid)
        np.testing.assert_allclose(snr(*sums.variances())[voxel], snr(*alone.variances()), rtol=1e-12)
        assert noise_of_averages(repeats)[voxel] == pytest.approx(noise_of_averages(own_repeats[:, 0]))


def test_groups_of_images_left_out_give_the_variances_of_the_others():
    rng, images = np.random.default_rng(3), np.repeat(np.arange(40), 3)
    trials = rng.standard_normal((40, 5))[images] + rng.standard_normal((120, 5))
    sums, _ = sums_of(trials, images, n_groups=4)
    others = images % 4 != 2
    _, images_of_others = np.unique(images[others], return_inverse=True)
    alone, _ = sums_of(trials[others], images_of_others)
    without = unclipped_ceiling(*sums.variances(np.array([[1, 1, 0, 1]])), 1 / 3)
    np.testing.assert_allclose(without[0], unclipped_ceiling(*alone.variances(), 1 / 3), rtol=1e-10)


def test_the_f_test_of_a_signal_is_that_of_scipy_with_any_number_of_repeats():
    rng = np.random.default_rng(5)
    repeats = np.array([1, 2, 3, 3, 5])
    image_of_trial = np.repeat(np.arange(5), repeats)
    trials = rng.standard_normal((14, 6)) + rng.standard_normal((5, 6))[image_of_trial] * [0, 0, 1, 1, 2, 2]
    means = np.stack([trials[image_of_trial == image].mean(axis=0) for image in range(5)])
    within = np.square(trials - means[image_of_trial]).sum(axis=0)
    sums = TrialSums.of(means, repeats, within[None], np.zeros(5, dtype=int))
    expected = f_oneway(*(trials[image_of_trial == image] for image in range(5))).pvalue
    np.testing.assert_allclose(sums.p_of_signal(), expected, rtol=1e-9)
    once = TrialSums.of(means, np.ones(5, dtype=int), np.zeros((1, 6)), np.zeros(5, dtype=int))
    assert np.isnan(once.p_of_signal()).all()
