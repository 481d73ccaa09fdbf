"""A perfect model has a normalised score of 1 over all voxels of a region, down to a true ceiling of 0.05."""

import numpy as np
import pytest
import torch

from brain_activity_prediction.datasets.averages import average_repeats
from brain_activity_prediction.inference.bootstrap import bootstrap_regions
from brain_activity_prediction.inference.noise_ceiling import TrialSums, noise_of_averages
from brain_activity_prediction.inference.region_ceilings import region_ceilings, score_columns
from brain_activity_prediction.inference.resampling import explained_variance
from brain_activity_prediction.ridge.scores import pearson_r

N_IMAGES, N_TEST, N_VOXELS = 600, 100, 400
TEST = np.arange(N_TEST)
REGION = {"V1": np.ones(N_VOXELS, dtype=bool)}


def study(ceiling, n_repeats=3, seed=0, n_voxels=N_VOXELS):
    """Averaged responses of voxels of a true ceiling on three trials, and the perfect model's predictions (n_test, V).

    Signals of 20 features: neighbours share them, as voxels of a region do.
    """
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal((20, n_voxels))
    signal = rng.standard_normal((N_IMAGES, 20)) @ (weights / np.linalg.norm(weights, axis=0))
    trial_ids = rng.permutation(np.repeat(np.arange(N_IMAGES), n_repeats))
    snr = np.sqrt(ceiling / (1 - ceiling) / 3)
    trials = snr * signal[trial_ids] + rng.standard_normal((len(trial_ids), n_voxels))
    return average_repeats([trials.astype(np.float32)], trial_ids, TEST), signal[:N_TEST].astype(np.float32)


def ceilings_of(averaged, regions=REGION):
    sums = TrialSums.of(averaged["betas"], averaged["n_repeats"], averaged["within_image_ss"], averaged["image_groups"])
    there = np.isfinite(averaged["betas"][:N_TEST])
    return region_ceilings(sums, averaged["n_repeats"][:N_TEST], regions, dict.fromkeys(regions, ""), there)


def scored(averaged, predicted, n_resamples=0, regions=REGION):
    """Columns of one region for predictions (n_test, V)."""
    ceilings, observed = ceilings_of(averaged, regions), averaged["betas"][:N_TEST]
    members = np.stack(list(regions.values()))
    explained = (explained_variance(pearson_r(observed, predicted), N_TEST) * members).sum(axis=1) / members.sum(axis=1)
    resampled = None
    if n_resamples:
        pair = map(torch.from_numpy, (observed, predicted))
        _, resampled = bootstrap_regions(*pair, members, n_resamples, counted=members)
    return {name: values[0] for name, values in score_columns(explained, resampled, ceilings).items()}


@pytest.mark.parametrize("ceiling", [0.5, 0.23, 0.13, 0.05])
def test_a_perfect_model_reaches_1_whatever_the_ceiling_of_the_region(ceiling):
    found = [scored(*study(ceiling, seed=seed)) for seed in range(12)]
    scores = np.array([one["r_normalised_all_voxels"] for one in found])
    assert abs(scores.mean() - 1) < 3 * scores.std(ddof=1) / np.sqrt(len(scores)) + 0.005
    assert np.mean([one["r_ceiling"] for one in found]) == pytest.approx(np.sqrt(ceiling), rel=0.05)


def test_a_model_of_half_the_correlation_scores_a_half():
    rng, scores = np.random.default_rng(1), []
    for seed in range(12):
        averaged, signal = study(0.13, seed=seed)
        noise = rng.standard_normal(signal.shape).astype(np.float32) * signal.std(axis=0)
        scores.append(scored(averaged, 0.5 * signal + np.sqrt(0.75) * noise)["r_normalised_all_voxels"])
    assert np.mean(scores) == pytest.approx(0.5, abs=0.05)


def test_voxels_without_signal_have_no_score_and_leave_that_of_the_others_right():
    averaged, signal = study(0.23, n_voxels=N_VOXELS // 2)
    nothing, unrelated = study(0.0, seed=1, n_voxels=N_VOXELS // 2)
    assert np.isnan(scored(nothing, unrelated, regions={"V1": np.ones(N_VOXELS // 2, bool)})["r_normalised_all_voxels"])
    both = {name: np.concatenate([averaged[name], nothing[name]], axis=1) for name in ("betas", "within_image_ss")}
    found = scored({**averaged, **both}, np.concatenate([signal, unrelated], axis=1))
    assert found["r_normalised_all_voxels"] == pytest.approx(1, abs=0.15)
    assert found["r_ceiling"] == pytest.approx(np.sqrt(0.23 / 2), rel=0.1)


def test_a_ceiling_moves_with_a_group_of_images_as_its_influence_says():
    averaged, _ = study(0.13, n_voxels=30)
    averaged["n_repeats"] = averaged["n_repeats"].copy()
    sums = TrialSums.of(
        averaged["betas"], averaged["n_repeats"], averaged["within_image_ss"].astype(float), averaged["image_groups"]
    )
    found = ceilings_of(averaged, {"V1": np.ones(30, dtype=bool)})
    test_noise = noise_of_averages(averaged["n_repeats"][:N_TEST])
    for group in (0, 57, N_TEST, N_TEST + 99):
        weights = np.ones((1, len(sums.within)))
        weights[0, group] += 1e-4
        signal, noise = sums.variances(weights)
        moved = (signal / (signal + noise * test_noise)).mean() - found.mean[0]
        assert found.influence[group, 0] == pytest.approx(moved / 1e-4, rel=0.02)


def test_the_standard_error_matches_the_spread_over_studies():
    region = {"V1": np.ones(100, dtype=bool)}
    found = [scored(*study(0.13, seed=seed, n_voxels=100), 100, region) for seed in range(40)]
    scores = np.array([one["r_normalised_all_voxels"] for one in found])
    error = np.mean([one["r_normalised_all_voxels_se"] for one in found])
    assert error == pytest.approx(scores.std(ddof=1), rel=4 / np.sqrt(2 * len(found)))
    inside = [one["r_normalised_all_voxels_ci_low"] < 1 < one["r_normalised_all_voxels_ci_high"] for one in found]
    assert np.mean(inside) >= 0.8
    ceilings = np.array([one["r_ceiling"] for one in found])
    assert np.mean([one["r_ceiling_se"] for one in found]) == pytest.approx(ceilings.std(ddof=1), rel=0.5)


def test_without_repeats_there_is_no_score():
    averaged, signal = study(0.5, n_repeats=1)
    assert np.isnan(scored(averaged, signal)["r_normalised_all_voxels"])
