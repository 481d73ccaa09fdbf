"""Resample images with replacement; compute standard errors, intervals and p values from resampled scores.

Shapes: n images, V voxels, B resamples.
"""

from typing import Any

import numpy as np

ROUNDING = 1e-6  # correlations that differ by less count as equal: float32 transforms are exact to about 1e-7


def resamples(n_images: int, n_resamples: int, seed: int = 0) -> np.ndarray:
    """Draw how often each image occurs in each resample, (B, n) float32.

    The same number of images always gets the same resamples, and more resamples begin with the same ones. Results
    computed at different times can therefore be compared resample by resample.
    """
    drawn = np.random.default_rng(seed).integers(n_images, size=(n_resamples, n_images))
    cells = drawn + n_images * np.arange(n_resamples)[:, None]
    return np.bincount(cells.ravel(), minlength=drawn.size).reshape(drawn.shape).astype(np.float32)


def explained_variance(r: Any, n_images: Any) -> Any:
    """Compute r^2 (..., V) minus the amount that chance adds to it. The result is unbiased, so it can be negative.

    n_images  number of images that r was computed on, one number or (V,)
    """
    return r**2 - (1 - r**2) / (n_images - 2)


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
