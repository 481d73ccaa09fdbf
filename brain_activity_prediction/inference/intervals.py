"""What resamples and permutations of a score say of it: its error, an interval, whether it or a difference is 0."""

import numpy as np

ROUNDING = 1e-6  # correlations that differ by less are equal: those of float32 transforms are good to about 1e-7


def standard_error(replicates: np.ndarray) -> np.ndarray:
    """SD over the resamples (B, ...) of a score."""
    return replicates.std(axis=0, ddof=1, dtype=np.float64)


def interval(replicates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ends of the percentile interval of 95 % of a score, from its resamples (B, ...)."""
    low, high = np.quantile(replicates, [0.025, 0.975], axis=0, method="weibull")
    return low, high


def two_sided_p(replicates: np.ndarray) -> np.ndarray:
    """p that a difference is 0, from its resamples (B, ...): twice the share of them beyond 0, the sample counted once.

    It is at most 0.05 where the percentile interval of 95 % leaves 0 out (with 999 resamples exactly there), and never
    below 2 / (B + 1).
    """
    fewer = np.minimum((replicates <= 0).sum(axis=0), (replicates >= 0).sum(axis=0))
    p = np.minimum(2 * (fewer + 1) / (len(replicates) + 1), 1)
    return np.where(np.isnan(replicates).any(axis=0), np.nan, p)


def share_reaching(permuted: np.ndarray) -> np.ndarray:
    """One-sided p of a score: the share of its permutations (P + 1, ...), itself the first, that are as high or higher.

    NaN where the score is.
    """
    return np.where(np.isnan(permuted[0]), np.nan, (permuted >= permuted[:1] - ROUNDING).mean(axis=0))
