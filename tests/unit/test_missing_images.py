"""A voxel that lacks responses to some test images is scored, resampled and tested on those that it has."""

import numpy as np
import pytest
import torch

from brain_activity_prediction.inference import missing_images
from brain_activity_prediction.inference.bootstrap import bootstrap_region_r, resampled_r2, resamples
from brain_activity_prediction.inference.missing_images import score_present
from brain_activity_prediction.inference.region_statistics import StatisticsRequest
from brain_activity_prediction.inference.resampling import share_reaching
from brain_activity_prediction.ridge.scores import pearson_r, r2_score

N_IMAGES, N_VOXELS, N_RESAMPLES = 60, 12, 50
MISSING = {1: [3], 2: [3], 5: [0, 8, 59], 7: list(range(N_IMAGES)), 9: [3, 20]}  # images by voxel


@pytest.fixture
def pair():
    """Responses with gaps and their predictions, (n, V) torch tensors."""
    rng = np.random.default_rng(0)
    predicted = rng.standard_normal((N_IMAGES, N_VOXELS)).astype(np.float32)
    observed = 0.4 * predicted + rng.standard_normal((N_IMAGES, N_VOXELS)).astype(np.float32)
    for voxel, images in MISSING.items():
        observed[images, voxel] = np.nan
    return torch.from_numpy(observed), torch.from_numpy(predicted)


def alone(observed, predicted, voxel):
    """The voxel's responses and predictions on the images that it has, (m,) each, and these images."""
    images = np.flatnonzero(np.isfinite(observed[:, voxel].numpy()))
    return observed[images, voxel].numpy(), predicted[images, voxel].numpy(), images


@pytest.mark.parametrize("block", [5, missing_images.BLOCK_VOXELS])
@pytest.mark.parametrize("score", [pearson_r, r2_score])
def test_scores_are_those_of_the_images_that_a_voxel_has(pair, score, block, monkeypatch):
    monkeypatch.setattr(missing_images, "BLOCK_VOXELS", block)
    found = score_present(score, *pair)
    for voxel in range(N_VOXELS):
        own, predicted, images = alone(*pair, voxel)
        if len(images):
            assert found[voxel] == pytest.approx(score(own[:, None], predicted[:, None])[0], rel=1e-12)
        else:
            assert found[voxel].isnan()


def test_resamples_of_r_are_those_of_the_images_that_each_voxel_has(pair):
    members = np.eye(N_VOXELS, dtype=bool)
    found = bootstrap_region_r(*pair, np.vstack([members, np.ones((1, N_VOXELS), bool)]), N_RESAMPLES)
    counts = resamples(N_IMAGES, N_RESAMPLES).astype(int)
    for voxel in range(N_VOXELS):
        own, predicted, images = alone(*pair, voxel)
        if not len(images):
            assert np.isnan(found[:, voxel]).all()
            continue
        for count, r in zip(counts, found[:, voxel], strict=True):
            drawn = np.repeat(np.arange(len(images)), count[images])
            assert r == pytest.approx(np.corrcoef(own[drawn], predicted[drawn])[0, 1], abs=1e-5)
    np.testing.assert_allclose(found[:, -1], np.nanmean(found[:, :-1], axis=1), atol=1e-6)


def test_resamples_of_r2_are_those_of_the_images_that_each_voxel_has(pair):
    counts = resamples(N_IMAGES, N_RESAMPLES)
    found = resampled_r2(*pair, torch.from_numpy(counts) / N_IMAGES).numpy()
    for voxel in range(N_VOXELS):
        own, predicted, images = alone(*pair, voxel)
        for count, r2 in zip(counts.astype(int), found[:, voxel], strict=True):
            drawn = np.repeat(np.arange(len(images)), count[images])
            expected = r2_score(own[drawn][:, None], predicted[drawn][:, None])[0] if len(drawn) else np.nan
            assert r2 == pytest.approx(expected, abs=1e-4, nan_ok=True)


def test_permutations_of_a_voxel_with_gaps_find_its_signal_only(pair):
    observed, predicted = pair
    asked = StatisticsRequest({"all": np.ones(N_VOXELS, bool)}, 500, 1, 0)
    complete = torch.from_numpy(np.nan_to_num(observed.numpy()))
    with_gaps, without = asked.compute(observed, predicted), asked.compute(complete, predicted)
    whole = np.setdiff1d(np.arange(N_VOXELS), list(MISSING))
    np.testing.assert_array_equal(with_gaps.p[whole], without.p[whole])
    some = [voxel for voxel, images in MISSING.items() if len(images) < N_IMAGES]
    np.testing.assert_allclose(with_gaps.p[some], without.p[some], atol=0.02)
    assert np.isnan(with_gaps.p[7])
    assert share_reaching(with_gaps.region_r_permuted)[0] < 0.01


def test_p_of_voxels_with_gaps_and_no_signal_is_uniform():
    rng = np.random.default_rng(1)
    observed, predicted = rng.standard_normal((2, 40, 2000)).astype(np.float32)
    observed[:4, 500:] = np.nan
    observed[10:12, 1500:] = np.nan
    p = (
        StatisticsRequest({"all": np.ones(2000, bool)}, 200, 1, 0)
        .compute(*map(torch.from_numpy, (observed, predicted)))
        .p
    )
    assert abs((p[500:] <= 0.05).mean() - 0.05) < 3 * np.sqrt(0.05 * 0.95 / 1500)
