import numpy as np

from brain_activity_prediction.inference.false_discovery import adjusted


def test_q_is_the_smallest_rate_at_which_a_p_and_all_below_it_pass():
    """By hand: n p / rank of 0.01, 0.02, 0.03, 0.6 is 0.04, 0.04, 0.04, 0.6."""
    np.testing.assert_allclose(adjusted(np.array([0.6, 0.02, 0.01, 0.03])), [0.6, 0.04, 0.04, 0.04])


def test_what_was_not_tested_does_not_count_as_a_test():
    q = adjusted(np.array([np.nan, 0.02, np.nan, 0.5]))
    np.testing.assert_allclose(q, [np.nan, 0.04, np.nan, 0.5])
    assert np.isnan(adjusted(np.full(3, np.nan))).all()
