"""Bootstrap over test images, which estimates how much a region's score varies between samples of test images.

The correlations of all resamples are computed by five matrix products with the number of draws of each image.

Shapes: n images, V voxels, B resamples, R regions.
"""

from collections.abc import Iterator

import numpy as np
import torch

from brain_activity_prediction.inference.missing_images import present_images
from brain_activity_prediction.inference.resampling import explained_variance, resamples
from brain_activity_prediction.ridge.scores import check_same_shape, standard_columns

VOXELS_PER_CHUNK = {"cpu": 512, "cuda": 8192}
CONSTANT = 1e-9  # a smaller product of variances is only rounding, because columns have variance 1 before resampling


def bootstrap_region_r(
    observed: torch.Tensor, predicted: torch.Tensor, members: np.ndarray, n_resamples: int, seed: int = 0
) -> np.ndarray:
    """Compute each region's mean r in every resample, (B, R): the first result of `bootstrap_regions`."""
    return bootstrap_regions(observed, predicted, members, n_resamples, seed)[0]


def bootstrap_regions(
    observed: torch.Tensor,
    predicted: torch.Tensor,
    members: np.ndarray,
    n_resamples: int,
    seed: int = 0,
    counted: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Compute each region's mean r and mean explained variance in every resample: two arrays (B, R), float32.

    The computation runs on the device of `observed`.

    observed, predicted  (n, V). A voxel is scored on the images for which it has a response. A voxel without responses
                         or predictions is left out of all regions. A constant voxel has r 0
    members              (R, V) bool, or factors for the r of each voxel, 0 outside the region, such as
                         1 / sqrt(ceiling) for normalised scores. A region without voxels gets NaN
    counted              (R, V) bool, the voxels of each region over which `explained_variance` is averaged, or None
    """
    check_same_shape(observed, predicted)
    counts = torch.from_numpy(resamples(len(observed), n_resamples, seed)).to(observed.device)
    there = torch.isfinite(observed).any(dim=0) * torch.isfinite(predicted).all(dim=0)
    weights = torch.from_numpy(members).to(observed.device, torch.float32) * there
    averaged = None if counted is None else torch.from_numpy(counted).to(weights) * there
    sums, explained = counts.new_zeros(2, n_resamples, len(weights))
    for images, voxels in _chunks(observed, (weights != 0).any(dim=0).nonzero().flatten()):
        x, y = (standard_columns(part[images][:, voxels]) for part in (observed, predicted))
        r = _resampled_r(x, y, _shares(counts, images))
        sums += r @ weights[:, voxels].T
        if averaged is not None:
            explained += explained_variance(r, len(x)) @ averaged[:, voxels].T
    means = (sums / (weights > 0).sum(dim=1)).cpu().numpy()
    return means, None if averaged is None else (explained / averaged.sum(dim=1)).cpu().numpy()


def _resampled_r(x: torch.Tensor, y: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """Compute r (B, V) of x and y (n, V each), with weight shares[b, i] for image i; 0 if x or y is constant."""
    mean_x, mean_y = shares @ x, shares @ y
    covariance = shares @ (x * y) - mean_x * mean_y
    variances = (shares @ x**2 - mean_x**2) * (shares @ y**2 - mean_y**2)
    return torch.where(variances > CONSTANT, covariance / variances.clamp(min=CONSTANT).sqrt(), 0)


def resampled_r2(observed: torch.Tensor, predicted: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """Compute R2 (B, V) of predictions (n, V), with weight shares[b, i] for image i; 0 if the response is constant.

    A voxel is scored on the images for which it has a response. Without any response, its R2 is NaN.
    """
    found = shares.new_full((len(shares), observed.shape[1]), torch.nan)
    for images, voxels in _chunks(observed, torch.arange(observed.shape[1], device=observed.device)):
        y, y_hat, of_images = observed[images][:, voxels], predicted[images][:, voxels], _shares(shares, images)
        centred = y - y.mean(dim=0)  # centre first, because with a large mean, rounding would hide that a variance is 0
        variance = of_images @ centred**2 - (of_images @ centred) ** 2
        lost = of_images @ (y - y_hat) ** 2 / variance.clamp(min=CONSTANT)
        found[:, voxels] = torch.where(variance > CONSTANT, 1 - lost, 0)
    return found


def _chunks(observed: torch.Tensor, voxels: torch.Tensor) -> Iterator[tuple[torch.Tensor | slice, torch.Tensor]]:
    """Yield sets of images, each with the voxels that have responses to exactly these images, in chunks of voxels."""
    size, whole = VOXELS_PER_CHUNK[observed.device.type], torch.isfinite(observed[:, voxels]).all(dim=0)
    yield from ((slice(None), part) for part in voxels[whole].split(size) if len(part))
    for images, alike in present_images(observed, voxels[~whole]):
        yield from ((images, part) for part in alike.split(size))


def _shares(weights: torch.Tensor, images: torch.Tensor | slice) -> torch.Tensor:
    """Select the weights (B, n) of some images (m,), and scale them to sum to 1 in each resample; return (B, m)."""
    of_images = weights[:, images]
    return of_images / of_images.sum(dim=1, keepdim=True)
