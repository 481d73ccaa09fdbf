"""How far a region's score would move with other test images: correlations on images drawn anew with replacement.

The correlations of all resamples are five matrix products with the counts of how often each image was drawn.
n images, V voxels, B resamples, R regions.
"""

from __future__ import annotations

import numpy as np
import torch

from brain_activity_prediction.align_image_embeddings.scores import standard_columns

VOXELS_PER_CHUNK = {"cpu": 512, "cuda": 8192}
CONSTANT = 1e-9  # a product of variances below this is rounding: columns have variance 1 before they are resampled


def resamples(n_images: int, n_resamples: int, seed: int = 0) -> np.ndarray:
    """How often each image is drawn in each resample, (B, n) float32.

    The same images always meet the same resamples, the first of many being those of few: what was computed at different
    times can be compared resample by resample.
    """
    drawn = np.random.default_rng(seed).integers(n_images, size=(n_resamples, n_images))
    cells = drawn + n_images * np.arange(n_resamples)[:, None]
    return np.bincount(cells.ravel(), minlength=drawn.size).reshape(drawn.shape).astype(np.float32)


def bootstrap_region_r(
    observed: torch.Tensor, predicted: torch.Tensor, members: np.ndarray, n_resamples: int, seed: int = 0
) -> np.ndarray:
    """Mean r over each region's voxels in every resample of the images, (B, R) float32; on the device of `observed`.

    observed, predicted  (n, V); a voxel with NaN counts in no region, a constant one has r 0
    members              (R, V) bool, or what the r of each voxel is multiplied by, 0 for those outside the region, as
                         1 / sqrt(ceiling) for normalised scores; a region without a voxel that counts gets NaN
    """
    valid = (torch.isfinite(observed) & torch.isfinite(predicted)).all(dim=0)
    members = torch.from_numpy(members).to(valid.device, torch.float32) * valid
    counts = torch.from_numpy(resamples(len(observed), n_resamples, seed)).to(valid.device) / len(observed)
    sums = counts.new_zeros(n_resamples, len(members))
    voxels_per_chunk = VOXELS_PER_CHUNK[valid.device.type]
    for start in range(0, len(valid), voxels_per_chunk):
        chunk = slice(start, start + voxels_per_chunk)
        pair = (torch.where(valid[chunk], part[:, chunk], 0) for part in (observed, predicted))
        sums += _resampled_r(*map(standard_columns, pair), counts) @ members[:, chunk].T
    return (sums / (members > 0).sum(dim=1)).cpu().numpy()


def _resampled_r(x: torch.Tensor, y: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """r (B, V) of x with y (n, V) when image i has the weight shares[b, i]; 0 where either is constant."""
    mean_x, mean_y = shares @ x, shares @ y
    covariance = shares @ (x * y) - mean_x * mean_y
    variances = (shares @ x**2 - mean_x**2) * (shares @ y**2 - mean_y**2)
    return torch.where(variances > CONSTANT, covariance / variances.clamp(min=CONSTANT).sqrt(), 0)


def resampled_r2(observed: torch.Tensor, predicted: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """R2 (B, V) of predictions (n, V) when image i has the weight shares[b, i]; 0 where the response is constant."""
    pieces = []
    voxels_per_chunk = VOXELS_PER_CHUNK[observed.device.type]
    for start in range(0, observed.shape[1], voxels_per_chunk):
        y, y_hat = (part[:, start : start + voxels_per_chunk] for part in (observed, predicted))
        centred = y - y.mean(dim=0)  # far from 0 a variance of 0 would be lost in rounding
        variance = shares @ centred**2 - (shares @ centred) ** 2
        lost = shares @ (y - y_hat) ** 2 / variance.clamp(min=CONSTANT)
        pieces.append(torch.where(variance > CONSTANT, 1 - lost, 0))
    return torch.cat(pieces, dim=1)
