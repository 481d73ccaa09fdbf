"""Standard errors, intervals and p values from the resamples and permutations of a score."""

import numpy as np

ROUNDING = 1e-6  # correlations that differ by less are equal: those of float32 transforms are good to about 1e-7


def standard_error(replicates: np.ndarray) -> np.ndarray:
    """Compute the SD over the resamples (B, ...) of a score."""
    return replicates.std(axis=0, ddof=1, dtype=np.float64)


def interval(replicates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute the ends of the 95 % percentile interval of a score, from its resamples (B, ...)."""
    low, high = np.quantile(replicates, [0.025, 0.975], axis=0, method="weibull")
    return low, high


def two_sided_p(replicates: np.ndarray) -> np.ndarray:
    """Compute p that a difference is 0: twice the share of its resamples (B, ...) beyond 0, plus the sample itself.

    It is at most 0.05 if the 95 % percentile interval excludes 0 (with 999 resamples, exactly then), and never below
    2 / (B + 1).
    """
    fewer = np.minimum((replicates <= 0).sum(axis=0), (replicates >= 0).sum(axis=0))
    p = np.minimum(2 * (fewer + 1) / (len(replicates) + 1), 1)
    return np.where(np.isnan(replicates).any(axis=0), np.nan, p)


def share_reaching(permuted: np.ndarray) -> np.ndarray:
    """Compute the one-sided p of a score: the share of its permutations (P + 1, ...), itself the first, at or above it.

    NaN where the score is NaN.
    """
    return np.where(np.isnan(permuted[0]), np.nan, (permuted >= permuted[:1] - ROUNDING).mean(axis=0))
