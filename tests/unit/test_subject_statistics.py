"""What a few subjects say together: means, errors, and the two tests that so few allow."""

import numpy as np
import pytest
from scipy.stats import ttest_1samp, ttest_rel

from brain_activity_prediction.inference.subject_statistics import mean_and_error, sign_flip_p, t_test_p

RNG = np.random.default_rng(0)


def test_four_subjects_have_three_degrees_of_freedom_and_sign_flips_of_1_in_16():
    scores = RNG.normal(1, 1, (4, 500))
    np.testing.assert_allclose(t_test_p(scores, two_sided=True), ttest_1samp(scores, 0).pvalue)
    other = RNG.normal(1, 1, (4, 500))
    np.testing.assert_allclose(t_test_p(scores - other, two_sided=True), ttest_rel(scores, other).pvalue)
    assert sign_flip_p(np.abs(scores), two_sided=False) == pytest.approx(1 / 16)
    assert sign_flip_p(np.abs(scores), two_sided=True) == pytest.approx(2 / 16)
    np.testing.assert_allclose(mean_and_error(scores)[1], scores.std(axis=0, ddof=1) / 2)


@pytest.mark.parametrize("two_sided", [False, True])
@pytest.mark.parametrize("test", [t_test_p, sign_flip_p])
def test_subjects_without_an_effect_are_significant_at_the_nominal_rate(test, two_sided):
    p = test(RNG.standard_normal((4, 4000)), two_sided)
    for rate in (1 / 8, 1 / 4, 1 / 2):
        assert abs((p <= rate + 1e-9).mean() - rate) < 4 * np.sqrt(rate * (1 - rate) / 4000)


def test_one_subject_has_a_mean_and_no_error():
    scores = np.array([[0.3, 0.4]])
    mean, error = mean_and_error(scores)
    np.testing.assert_array_equal(mean, scores[0])
    assert np.isnan(error).all()
    assert np.isnan(t_test_p(scores, two_sided=False)).all()


def test_a_subject_without_a_score_counts_neither_in_the_mean_nor_in_its_error():
    mean, error = mean_and_error(np.array([[0.3, np.nan, np.nan], [0.5, 0.2, np.nan], [0.7, 0.4, np.nan]]))
    np.testing.assert_allclose(mean, [0.5, 0.3, np.nan])
    np.testing.assert_allclose(error, [0.2 / np.sqrt(3), 0.1, np.nan])


@pytest.mark.parametrize("two_sided", [False, True])
def test_two_subjects_have_one_degree_of_freedom_and_equal_scores_no_p(two_sided):
    scores = np.array([[0.3, 0.5, -0.4], [0.4, 0.5, -0.1]])
    p = t_test_p(scores, two_sided)
    expected = ttest_1samp(scores[:, [0, 2]], 0, alternative="two-sided" if two_sided else "greater").pvalue
    np.testing.assert_allclose(p[[0, 2]], expected)
    assert np.isnan(p[1])


def test_flipped_signs_count_from_a_mean_of_0_on_either_side():
    scores = np.array([[0.1, -0.3, 0.0], [0.3, -0.1, 0.0]])
    np.testing.assert_array_equal(sign_flip_p(scores, two_sided=False), [1 / 4, 1, 1])
    np.testing.assert_array_equal(sign_flip_p(scores, two_sided=True), [2 / 4, 2 / 4, 1])
