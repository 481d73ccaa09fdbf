"""Score voxels that lack responses to some images: each voxel is scored on the images that it has.

A missing response is NaN. Voxels that lack the same images, such as those without valid data in the same session, are
scored together. n images, V voxels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch


def present_images(observed: torch.Tensor, voxels: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield images (m,), and those of the `voxels` (k,) that have responses to exactly these images.

    Voxels without any response are left out; observed is (n, V).
    """
    there = torch.isfinite(observed[:, voxels]).cpu().numpy()
    patterns, of_voxel = np.unique(there, axis=1, return_inverse=True)
    for number, pattern in enumerate(patterns.T):
        if pattern.any():
            images = torch.from_numpy(np.flatnonzero(pattern)).to(observed.device)
            yield images, voxels[torch.from_numpy(np.flatnonzero(of_voxel == number)).to(voxels.device)]


def score_present(
    score: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], observed: torch.Tensor, predicted: torch.Tensor
) -> torch.Tensor:
    """Compute the score (V,) of predictions (n, V), for each voxel on the images that it has a response (n, V) to."""
    scores = score(observed, predicted)
    for images, voxels in present_images(observed, scores.isnan().nonzero().flatten()):
        scores[voxels] = score(observed[images][:, voxels], predicted[images][:, voxels])
    return scores


def filled_with_mean(observed: torch.Tensor) -> torch.Tensor:
    """Return the responses (n, V) with missing ones replaced by the voxel's mean; NaN if all are missing."""
    some = observed.sum(dim=0).isnan().nonzero().flatten()
    if not len(some):
        return observed
    filled = observed.clone()
    filled[:, some] = torch.where(observed[:, some].isnan(), observed[:, some].nanmean(dim=0), observed[:, some])
    return filled
