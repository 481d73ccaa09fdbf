"""Which images a subject's regions find alike: their geometries, on the images that all subjects saw.

n images, R regions, V voxels.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from brain_activity_prediction.datasets.nsd.layout import Layout
from brain_activity_prediction.datasets.nsd.valid_trials import too_many
from brain_activity_prediction.encoding.subject_data import standardise, targets_asked_for, tell_data_used
from brain_activity_prediction.rsa.similarity import geometries


@dataclass(frozen=True)
class Patterns:
    """One subject's responses to the images that all subjects saw."""

    test_ids: np.ndarray  # (n,)
    test_repeats: np.ndarray  # (n,) trials averaged, or (n, V) where a voxel lacks some
    sessions: tuple[int, ...]
    digest: str  # of the responses
    responses: np.ndarray  # (n, V), NaN where an image is missing for a voxel, and throughout a voxel that is left out
    regions: dict[str, np.ndarray]  # masks (V,) by name, without voxels that are left out

    @classmethod
    def read(cls, subject: int, layout: Layout, regions: dict[str, np.ndarray], arguments: argparse.Namespace):
        """The responses that the flags ask for; `regions` are masks (V,) by name."""
        targets = targets_asked_for(arguments, layout, subject)
        tell_data_used(targets, subject)  # here, since subjects of other sessions may be refused for it
        there = np.isfinite(targets.test).any(axis=0)
        members = {roi: mask & there for roi, mask in regions.items()}
        images = targets.test_ids, targets.test_repeats
        return cls(*images, targets.sessions, targets.digest, targets.test, members)

    def common_ids(self, others: Sequence[Patterns]) -> np.ndarray:
        """The images (m,) that no region of these subjects lacks in too many of its voxels, see `valid_trials`."""
        return self.test_ids[np.all([one._has_images() for one in (self, *others)], axis=0)]

    def _has_images(self) -> np.ndarray:
        missing = np.isnan(self.responses)
        return ~np.any([too_many(missing[:, mask].sum(axis=1), mask.sum()) for mask in self.regions.values()], axis=0)

    def brain(self, test_ids: np.ndarray, device: str) -> Brain:
        """The geometries of all regions on some of the images; a response that a voxel lacks is the voxel's mean."""
        rows = np.isin(self.test_ids, test_ids)
        found = geometries(zscored(_filled(self.responses[rows][:, mask]), device) for mask in self.regions.values())
        n_voxels = {roi: int(mask.sum()) for roi, mask in self.regions.items()}
        return Brain(test_ids, float(self.test_repeats[rows].mean()), self.sessions, self.digest, n_voxels, found)


def _filled(patterns: np.ndarray) -> np.ndarray:
    """Patterns (n, k) with each NaN replaced by the mean of its column, in place."""
    some = np.flatnonzero(np.isnan(patterns.sum(axis=0)))
    patterns[:, some] = np.where(np.isnan(patterns[:, some]), np.nanmean(patterns[:, some], axis=0), patterns[:, some])
    return patterns


@dataclass(frozen=True)
class Brain:
    """The geometries of one subject's regions, on images that all subjects saw."""

    test_ids: np.ndarray
    repeats_mean: float  # trials of an image
    sessions: tuple[int, ...]
    digest: str  # of the responses
    n_voxels: dict[str, int]  # by region, without voxels that are left out
    geometries: dict[str, torch.Tensor]  # {measure: (R, n, n)}

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
