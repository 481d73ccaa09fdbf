"""Which images a subject's regions find alike: their geometries, on the images that all subjects saw.

n images, R regions, V voxels.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
import torch

from brain_activity_prediction.align_image_embeddings.inputs.targets import standardise, targets_asked_for
from brain_activity_prediction.align_image_embeddings.stats.representational_similarity import geometries
from brain_activity_prediction.nsd.layout import Layout


@dataclass(frozen=True)
class Brain:
    """The geometries of one subject's regions, on the images that all subjects saw."""

    test_ids: np.ndarray
    sessions: tuple[int, ...]
    digest: str  # of the responses
    n_voxels: dict[str, int]  # by region, without voxels that hold NaN
    geometries: dict[str, torch.Tensor]  # {measure: (R, n, n)}

    @classmethod
    def of(cls, subject: int, layout: Layout, regions: dict[str, np.ndarray], arguments: argparse.Namespace) -> Brain:
        """That of the responses that the flags ask for; `regions` are masks (V,) by name."""
        targets = targets_asked_for(arguments, layout, subject)
        valid = np.isfinite(targets.test).all(axis=0)
        members = {roi: mask & valid for roi, mask in regions.items()}
        found = geometries(zscored(targets.test[:, mask], arguments.gpu_id) for mask in members.values())
        n_voxels = {roi: int(mask.sum()) for roi, mask in members.items()}
        return cls(targets.test_ids, targets.sessions, targets.digest, n_voxels, found)

    def like(self, other: Brain) -> dict[str, torch.Tensor]:
        """The geometries of another brain's regions in this one, NaN where it has no such region."""
        mine = list(self.n_voxels)
        found = {}
        for measure, own in self.geometries.items():
            lacking = torch.full_like(own[0], torch.nan)
            found[measure] = torch.stack([own[mine.index(r)] if r in mine else lacking for r in other.n_voxels])
        return found


def zscored(patterns: np.ndarray, device: str) -> torch.Tensor:
    """Patterns (n, k) with each column at mean 0 and SD 1 over the images, on the device."""
    return torch.from_numpy(standardise(patterns, patterns[:0])[0]).to(device)
