"""Representational geometries of a subject's brain regions: matrices with a value for each pair of images.

Letters: n images, R regions, V voxels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from brain_activity_prediction.datasets.valid_trials import too_many
from brain_activity_prediction.encoding.scaling import standardise
from brain_activity_prediction.encoding.subject_data import SubjectData
from brain_activity_prediction.rsa.similarity import geometries


@dataclass(frozen=True)
class Patterns:
    """One subject's responses to the images that all subjects saw."""

    test_ids: np.ndarray  # (n,)
    test_repeats: np.ndarray  # number of averaged trials: (n,), or (n, V) if it differs between voxels
    sessions: tuple[int, ...]
    digest: str  # digest of the responses
    responses: np.ndarray  # (n, V); NaN for a missing response, and for all responses of a voxel that is left out
    regions: dict[str, np.ndarray]  # masks (V,) by name, without voxels that are left out

    @classmethod
    def of(cls, subject_data: SubjectData, regions: Mapping[str, np.ndarray]) -> Patterns:
        """Return the patterns of a subject's responses to the test images.

        regions  masks (V,) by name
        """
        has_responses = np.isfinite(subject_data.test).any(axis=0)
        return cls(
            subject_data.test_ids,
            subject_data.test_repeats,
            subject_data.sessions,
            subject_data.digest,
            subject_data.test,
            {roi: mask & has_responses for roi, mask in regions.items()},
        )

    def common_ids(self, others: Sequence[Patterns]) -> np.ndarray:
        """Return the images (m,) for which enough voxels of each region have responses, in all of these subjects."""
        return self.test_ids[np.all([one._has_images() for one in (self, *others)], axis=0)]

    def _has_images(self) -> np.ndarray:
        missing = np.isnan(self.responses)
        return ~np.any([too_many(missing[:, mask].sum(axis=1), mask.sum()) for mask in self.regions.values()], axis=0)

    def brain(self, test_ids: np.ndarray, device: str) -> Brain:
        """Compute the geometries of all regions on the given images. A missing response becomes the voxel's mean."""
        rows = np.isin(self.test_ids, test_ids)
        found = geometries(zscored(_filled(self.responses[rows][:, mask]), device) for mask in self.regions.values())
        n_voxels = {roi: int(mask.sum()) for roi, mask in self.regions.items()}
        return Brain(test_ids, float(self.test_repeats[rows].mean()), self.sessions, self.digest, n_voxels, found)


def _filled(patterns: np.ndarray) -> np.ndarray:
    """Replace each NaN of patterns (n, k) by the mean of its column, in place."""
    some = np.flatnonzero(np.isnan(patterns.sum(axis=0)))
    patterns[:, some] = np.where(np.isnan(patterns[:, some]), np.nanmean(patterns[:, some], axis=0), patterns[:, some])
    return patterns


@dataclass(frozen=True)
class Brain:
    """The geometries of one subject's brain regions, on images that all subjects saw."""

    test_ids: np.ndarray
    repeats_mean: float  # mean number of trials of an image
    sessions: tuple[int, ...]
    digest: str  # digest of the responses
    n_voxels: dict[str, int]  # by region, without voxels that are left out
    geometries: dict[str, torch.Tensor]  # {measure: (R, n, n)}

    def like(self, other: Brain) -> dict[str, torch.Tensor]:
        """Return this brain's geometries in the order of another brain's regions; NaN for regions that it lacks."""
        mine = list(self.n_voxels)
        found = {}
        for measure, own in self.geometries.items():
            lacking = torch.full_like(own[0], torch.nan)
            found[measure] = torch.stack([own[mine.index(r)] if r in mine else lacking for r in other.n_voxels])
        return found


def zscored(patterns: np.ndarray, device: str) -> torch.Tensor:
    """Z-score the columns of patterns (n, k) over the images, and move them to the device."""
    return torch.from_numpy(standardise(patterns, patterns[:0])[0]).to(device)
