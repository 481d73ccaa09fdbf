"""How often chance predicts as well: held-out predictions against responses whose images were permuted.

n images, V voxels, P permutations, R regions.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

VOXELS_PER_CHUNK = 512  # 1000 images of them fit into a cache


def permutation_p(
    observed: torch.Tensor,
    predicted: torch.Tensor,
    regions: Mapping[str, np.ndarray],
    n_permutations: int,
    seed: int = 0,
) -> tuple[torch.Tensor, dict[str, float]]:
    """p (V,) of each voxel's r, and of the mean r of each region's voxels, by name; both on the device of `observed`.

    One-sided: the share of permutations of the images whose r is as high or higher, the identity counted as one of
    them, so that no p is below 1 / (n_permutations + 1) (Phipson & Smyth 2010). All voxels share the permutations,
    which keeps the correlation of a region's voxels in the distribution of its mean.

    observed, predicted  (n, V). A voxel with NaN gets NaN and counts in no region, a constant one r 0 and p 1
    regions              masks (V,) by name; those without a voxel that counts get NaN
    """
    valid = (torch.isfinite(observed) & torch.isfinite(predicted)).all(dim=0)
    observed, predicted = (_unit_columns(torch.where(valid, part, 0)) for part in (observed, predicted))
    members = torch.from_numpy(np.stack(list(regions.values()), axis=1)).to(valid.device) & valid[:, None]
    members = members.to(observed)  # (V, R)
    rng = np.random.default_rng(seed)
    orders = np.stack([np.arange(len(observed)), *(rng.permutation(len(observed)) for _ in range(n_permutations))])
    orders = torch.from_numpy(orders).to(valid.device)  # the identity, then the permutations

    p = torch.empty(len(valid), dtype=torch.float64, device=valid.device)
    region_r = observed.new_zeros(len(orders), len(regions))  # sums over voxels, compared with each other only
    for start in range(0, len(valid), VOXELS_PER_CHUNK):
        voxels = slice(start, start + VOXELS_PER_CHUNK)
        responses, predictions = observed[:, voxels].contiguous(), predicted[:, voxels].contiguous()
        r = torch.stack([(responses * predictions[order]).sum(dim=0) for order in orders])  # (1 + P, voxels)
        p[voxels] = _share_as_high(r)
        region_r += r @ members[voxels]
    p[~valid] = torch.nan
    region_p = _share_as_high(region_r).masked_fill(~members.any(dim=0), torch.nan)
    return p, dict(zip(regions, region_p.tolist(), strict=True))


def _unit_columns(values: torch.Tensor) -> torch.Tensor:
    """Columns centred and brought to length 1, float32, so that r is a sum of products; constant ones become 0."""
    constant = (values == values[0]).all(dim=0)
    centred = values.to(torch.float64) - values.mean(dim=0, dtype=torch.float64)
    return (centred / centred.norm(dim=0)).masked_fill(constant, 0).to(torch.float32)


def _share_as_high(r: torch.Tensor) -> torch.Tensor:
    """The share of the rows of r (1 + P, k) that are at least the first, the first included, (k,) float64."""
    return (r >= r[0]).to(torch.float64).mean(dim=0)
