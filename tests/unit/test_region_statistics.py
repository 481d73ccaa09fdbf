"""Statistics are asked for by region, found again by a region's name and voxels, and made anew where they are not."""

import numpy as np
import pytest
import torch

from brain_activity_prediction.inference.bootstrap import bootstrap_region_r
from brain_activity_prediction.inference.region_statistics import (
    Statistics,
    StatisticsRequest,
    digest_of_ceiling,
    digests,
    usable_ceiling,
)
from brain_activity_prediction.inference.significance import permutation_p, permuted
from brain_activity_prediction.ridge.scores import pearson_r

N_IMAGES, N_VOXELS = 40, 12
V1, PPA = np.arange(N_VOXELS) < 5, np.arange(N_VOXELS) >= 8
REGIONS = {"V1": V1, "PPA": PPA}
ANOTHER_V1 = {"V1": ~PPA}
OBSERVED, PREDICTED = torch.randn(2, N_IMAGES, N_VOXELS, generator=torch.Generator().manual_seed(0)).cumsum(dim=0)


@pytest.fixture(scope="module")
def found():
    return StatisticsRequest(REGIONS, 99, 4, 50).compute(OBSERVED, PREDICTED)


def test_what_is_asked_for_comes_from_the_permutation_test_and_the_bootstrap(found):
    members = np.stack([V1, PPA])
    p, region_p = permutation_p(OBSERVED, PREDICTED, members, 99, 4)
    np.testing.assert_array_equal(found.p, p)
    np.testing.assert_array_equal(found.region_p, region_p)
    np.testing.assert_array_equal(found.region_r, bootstrap_region_r(OBSERVED, PREDICTED, members, 50))
    _, region_r = permuted(OBSERVED, PREDICTED, members, 99, 4)
    np.testing.assert_array_equal(found.region_r_permuted, region_r)
    assert found.region_r_permuted.shape == (100, 2)
    np.testing.assert_allclose(region_r[0, 0], pearson_r(OBSERVED[:, V1], PREDICTED[:, V1]).mean(), atol=1e-6)
    assert (found.n_permutations, found.permutation_block, found.n_resamples) == (99, 4, 50)
    assert found.regions == digests(REGIONS)


def test_images_outside_blocks_are_counted_and_older_block_tests_are_redone():
    asked = StatisticsRequest(REGIONS, 99, 7, 0)
    found = asked.compute(OBSERVED, PREDICTED)
    assert found.n_images_not_permuted == N_IMAGES % 7 == 5
    assert asked.met_by(found)
    older = {name: value for name, value in found.about().items() if name != "n_images_not_permuted"}
    assert not asked.met_by(
        Statistics(
            **older,
            **dict.fromkeys(Statistics.ARRAYS),
        )
    )
    single = {**older, "permutation_block": 1}
    assert StatisticsRequest(REGIONS, 99, 1, 0).met_by(Statistics(**single, **dict.fromkeys(Statistics.ARRAYS)))


def test_what_is_not_asked_for_is_not_computed(found):
    permuted, resampled = (
        StatisticsRequest(REGIONS, *numbers).compute(OBSERVED, PREDICTED) for numbers in ((99, 4, 0), (0, 1, 50))
    )
    np.testing.assert_array_equal(permuted.region_p, found.region_p)
    np.testing.assert_array_equal(resampled.region_r, found.region_r)
    assert (permuted.arrays().keys(), resampled.arrays().keys()) == (
        {"p", "region_p", "region_r_permuted"},
        {"region_r"},
    )
    assert permuted.n_resamples == 0
    assert permuted.rows_of("region_r", digests(REGIONS)) is None
    assert np.isnan(resampled.p_of(digests(REGIONS))).tolist() == [True, True]
    assert StatisticsRequest(REGIONS, 0, 1, 0).compute(OBSERVED, PREDICTED) is None


def test_normalised_scores_are_resampled_without_the_voxels_that_have_no_ceiling():
    ceiling = np.full(N_VOXELS, 0.25, dtype=np.float32)
    ceiling[[0, 9]] = np.nan
    found = StatisticsRequest(REGIONS, 0, 1, 50, ceiling).compute(OBSERVED, PREDICTED)
    members = np.stack([V1, PPA]) & np.isfinite(ceiling)
    expected = 2 * bootstrap_region_r(OBSERVED, PREDICTED, members, 50)
    np.testing.assert_allclose(found.region_r_normalised, expected, rtol=1e-5)
    assert found.normalised_by == digest_of_ceiling(ceiling) != digest_of_ceiling(ceiling / 2)
    assert StatisticsRequest(REGIONS, 99, 1, 0, ceiling).compute(OBSERVED, PREDICTED).region_r_normalised is None


def test_a_ceiling_is_used_from_the_lowest_that_is_asked_for_and_never_of_zero():
    ceiling = np.array([0, 0.05, 0.1, 0.5, np.nan])
    np.testing.assert_array_equal(usable_ceiling(ceiling, 0.1), np.float32([np.nan, np.nan, 0.1, 0.5, np.nan]))
    np.testing.assert_array_equal(usable_ceiling(ceiling, 0), np.float32([np.nan, 0.05, 0.1, 0.5, np.nan]))


def test_what_is_kept_of_statistics_makes_them_again(found):
    again = Statistics(**found.about(), **found.arrays())
    assert again.about() == found.about()
    for name in Statistics.ARRAYS:
        np.testing.assert_array_equal(getattr(again, name), getattr(found, name))


def test_regions_come_in_the_order_asked_for_and_those_of_other_voxels_have_none(found):
    asked = {"PPA": digests(REGIONS)["PPA"], "V1": digests(ANOTHER_V1)["V1"], "RSC": digests(REGIONS)["V1"]}
    np.testing.assert_array_equal(found.p_of(asked), [found.region_p[1], np.nan, np.nan])
    np.testing.assert_array_equal(found.rows_of("region_r", asked)[:, 0], found.region_r[:, 1])
    assert found.rows_of("region_r", asked).shape == (50, 3)
    assert np.isnan(found.rows_of("region_r", asked)[:, 1:]).all()
    np.testing.assert_array_equal(found.rows_of("region_r", digests(REGIONS)), found.region_r)


@pytest.mark.parametrize(
    ("regions", "numbers", "met"),
    [
        (REGIONS, (99, 4, 50), True),
        ({"PPA": PPA}, (99, 4, 50), True),
        (REGIONS, (0, 1, 50), True),
        (REGIONS, (99, 4, 0), True),
        (REGIONS, (98, 4, 50), False),
        (REGIONS, (99, 1, 50), False),
        (REGIONS, (99, 4, 49), False),
        (REGIONS, (0, 1, 49), False),
        (REGIONS, (98, 4, 0), False),
        (ANOTHER_V1, (99, 4, 50), False),
        (ANOTHER_V1, (0, 1, 0), True),
    ],
)
def test_statistics_are_made_again_only_where_something_asked_for_is_missing(found, regions, numbers, met):
    asked = StatisticsRequest(regions, *numbers)
    assert asked.met_by(found) == met
    assert asked.met_by(None) == (numbers == (0, 1, 0))
