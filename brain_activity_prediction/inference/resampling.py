"""Resample images with replacement; compute standard errors, intervals and p values from resampled scores.

Shapes: n images, V voxels, B resamples.
"""

from typing import Any

import numpy as np

ROUNDING = 1e-6  # correlations with a smaller difference count as equal; float32 transforms have errors of about 1e-7


def resamples(n_images: int, n_resamples: int, seed: int = 0) -> np.ndarray:
    """Draw how often each image occurs in each resample, (B, n) float32.

    The resamples depend only on the number of images, and a larger set of resamples begins with the smaller one.
    Therefore results of different runs can be compared resample by resample.
    """
    drawn = np.random.default_rng(seed).integers(n_images, size=(n_resamples, n_images))
    cells = drawn + n_images * np.arange(n_resamples)[:, None]
    return np.bincount(cells.ravel(), minlength=drawn.size).reshape(drawn.shape).astype(np.float32)


def explained_variance(r: Any, n_images: Any) -> Any:
    """Compute r^2 (..., V) minus its expected value by chance. The result is unbiased and can therefore be negative.

    n_images  number of images of each r: one number, or (V,)
    """
    return r**2 - (1 - r**2) / (n_images - 2)


def standard_error(replicates: np.ndarray) -> np.ndarray:
    """Compute a score's standard error: the SD over its resamples (B, ...)."""
    return replicates.std(axis=0, ddof=1, dtype=np.float64)


def interval(replicates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute the lower and upper end of a score's 95 % percentile interval from its resamples (B, ...)."""
    low, high = np.quantile(replicates, [0.025, 0.975], axis=0, method="weibull")
    return low, high


def two_sided_p(replicates: np.ndarray) -> np.ndarray:
    """Compute the two-sided p of a difference: twice the smaller share of resamples (B, ...) on one side of 0.

    The observed sample counts as one more resample, so that p is at least 2 / (B + 1). If the 95 % percentile interval
    excludes 0, p is at most 0.05. With 999 resamples, the reverse is true, too.
    """
    fewer = np.minimum((replicates <= 0).sum(axis=0), (replicates >= 0).sum(axis=0))
    p = np.minimum(2 * (fewer + 1) / (len(replicates) + 1), 1)
    return np.where(np.isnan(replicates).any(axis=0), np.nan, p)


def share_reaching(permuted: np.ndarray) -> np.ndarray:
    """Compute the one-sided p of a score: the share of permuted scores that are at least as high.

    permuted  (P + 1, ...): the observed score, then one score per permutation. p is NaN if the score is NaN.
    """
    return np.where(np.isnan(permuted[0]), np.nan, (permuted >= permuted[:1] - ROUNDING).mean(axis=0))
