"""Compute standard errors, intervals and p values from the resamples and permutations of a score."""

import numpy as np

ROUNDING = 1e-6  # correlations that differ by less count as equal: float32 transforms are exact to about 1e-7


def standard_error(replicates: np.ndarray) -> np.ndarray:
    """Compute a score's standard error: the SD over its resamples (B, ...)."""
    return replicates.std(axis=0, ddof=1, dtype=np.float64)


def interval(replicates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute the two ends of a score's 95 % percentile interval from its resamples (B, ...)."""
    low, high = np.quantile(replicates, [0.025, 0.975], axis=0, method="weibull")
    return low, high


def two_sided_p(replicates: np.ndarray) -> np.ndarray:
    """Compute the two-sided p of a difference: twice the share of its resamples (B, ...) on the other side of 0.

    The observed sample counts as one more resample, so that p is never below 2 / (B + 1). p is at most 0.05 if the 95 %
    percentile interval excludes 0; with 999 resamples, it is at most 0.05 only then.
    """
    fewer = np.minimum((replicates <= 0).sum(axis=0), (replicates >= 0).sum(axis=0))
    p = np.minimum(2 * (fewer + 1) / (len(replicates) + 1), 1)
    return np.where(np.isnan(replicates).any(axis=0), np.nan, p)


def share_reaching(permuted: np.ndarray) -> np.ndarray:
    """Compute the one-sided p of a score: the share of its permuted values that are at least as high.

    permuted  (P + 1, ...), the score itself first, then its permutations. p is NaN where the score is NaN.
    """
    return np.where(np.isnan(permuted[0]), np.nan, (permuted >= permuted[:1] - ROUNDING).mean(axis=0))
