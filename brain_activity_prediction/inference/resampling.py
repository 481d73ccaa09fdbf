"""Images drawn anew with replacement, and the variance that a correlation on few images explains.

n images, V voxels, B resamples.
"""

import numpy as np


def resamples(n_images: int, n_resamples: int, seed: int = 0) -> np.ndarray:
    """How often each image is drawn in each resample, (B, n) float32.

    The same images always meet the same resamples, the first of many being those of few: what was computed at different
    times can be compared resample by resample.
    """
    drawn = np.random.default_rng(seed).integers(n_images, size=(n_resamples, n_images))
    cells = drawn + n_images * np.arange(n_resamples)[:, None]
    return np.bincount(cells.ravel(), minlength=drawn.size).reshape(drawn.shape).astype(np.float32)


def explained_variance(r, n_images):
    """r^2 (..., V) less what chance adds to it on n_images, a number or (V,): right on average, so below 0 at times."""
    return r**2 - (1 - r**2) / (n_images - 2)
