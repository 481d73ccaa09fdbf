"""Resample images with replacement, and adjust explained variance for few images.

Shapes: n images, V voxels, B resamples.
"""

from typing import Any

import numpy as np


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
