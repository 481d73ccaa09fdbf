"""Score voxels that lack responses to some images, each on the images for which it has a response.

A missing response is NaN. Voxels that lack the same images are scored together.

Shapes: n images, V voxels.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch

BLOCK_VOXELS = 2**14  # voxels that are scored at once; scores copy their input in float64, which takes memory


def present_images(observed: torch.Tensor, voxels: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Group `voxels` by the images for which they have responses; yield the images (m,) and voxels (k,) of each group.

    observed  (n, V) responses. Voxels without any response are left out.
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
    """Compute the score (V,) of predictions, for each voxel on the images for which it has a response.

    observed, predicted  (n, V)
    """
    blocks = zip(observed.split(BLOCK_VOXELS, dim=1), predicted.split(BLOCK_VOXELS, dim=1), strict=True)
    return torch.cat([_score_present(score, *block) for block in blocks])


def _score_present(
    score: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], observed: torch.Tensor, predicted: torch.Tensor
) -> torch.Tensor:
    scores = score(observed, predicted)
    for images, voxels in present_images(observed, scores.isnan().nonzero().flatten()):
        scores[voxels] = score(observed[images][:, voxels], predicted[images][:, voxels])
    return scores


def filled_with_mean(observed: torch.Tensor) -> torch.Tensor:
    """Return the responses (n, V) with missing ones replaced by the voxel's mean; a voxel without any stays NaN."""
    some = observed.sum(dim=0).isnan().nonzero().flatten()
    if not len(some):
        return observed
    filled = observed.clone()
    filled[:, some] = torch.where(observed[:, some].isnan(), observed[:, some].nanmean(dim=0), observed[:, some])
    return filled
