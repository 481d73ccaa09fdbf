"""Compute statistics over a few subjects: mean, standard error, and two tests.

With S subjects, Student's t has S - 1 degrees of freedom and assumes normally distributed scores, which four subjects
are too few to check. The sign-flip test assumes only symmetry about 0 and is exact, but its p is at least 1 / 2^S
one-sided and 2 / 2^S two-sided. With four subjects this is 1/16 and 1/8, so that it cannot be significant at 0.05.

Shapes: S subjects, k scores.
"""

from itertools import product

import numpy as np
from scipy.stats import t as student


def mean_and_error(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute the mean over subjects, (k,), of finite scores (S, k), and its standard error; NaN for one subject."""
    known = np.isfinite(scores)
    n = known.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(known, scores, 0).sum(axis=0) / n
        squares = np.square(np.where(known, scores - mean, 0)).sum(axis=0)
        return mean, np.sqrt(np.where(n > 1, squares / (n - 1), np.nan) / n)


def t_test_p(scores: np.ndarray, two_sided: bool) -> np.ndarray:
    """Compute p (k,) of a t test of scores (S, k) against 0. The one-sided alternative is a mean above 0.

    p is NaN with one subject, and if all scores are equal.
    """
    mean, error = mean_and_error(scores)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(error > 0, mean / error, np.nan)
    freedom = max(len(scores) - 1, 1)
    return 2 * student.sf(np.abs(t), freedom) if two_sided else student.sf(t, freedom)


def sign_flip_p(scores: np.ndarray, two_sided: bool) -> np.ndarray:
    """Compute p (k,) of the sign-flip test: the share of all 2^S choices of signs whose mean is at least as large.

    Two-sided, it is the share whose mean is at least as far from 0.
    """
    signs = np.array(list(product((1, -1), repeat=len(scores))))  # the first choice keeps all signs
    means = signs @ scores / len(scores)
    means = np.abs(means) if two_sided else means
    return (means >= means[0] - 1e-12).mean(axis=0)
