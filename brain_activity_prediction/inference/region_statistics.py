"""Compute permutation tests and bootstraps of held-out predictions, for voxels and regions.

Shapes: n images, V voxels, R regions, B resamples, P permutations.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from brain_activity_prediction.inference.resampling import share_reaching

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class StatisticsHeader:
    """Header of a set of statistics: its regions, and its numbers of resamples and permutations."""

    regions: dict[str, str]  # {region: digest of its voxels}, in the order of the R regions
    n_permutations: int
    permutation_block: int
    normalised_by: str = ""  # digest of the ceiling of `region_r_normalised`
    n_images_not_permuted: int | None = None  # images after the last whole block; None in files of older versions


@dataclass(frozen=True, kw_only=True)
class Statistics(StatisticsHeader):
    """The statistics of one set of predictions; arrays are None if they were not requested."""

    p: np.ndarray | None = None  # (V,)
    region_p: np.ndarray | None = None  # (R,) p of each region's mean r
    region_r: np.ndarray | None = None  # (B, R) mean r in each resample of the images
    region_r_permuted: np.ndarray | None = None  # (P + 1, R) mean r: the observed one, then one per permutation
    region_r_normalised: np.ndarray | None = None  # (B, R) mean r / sqrt(ceiling) in each resample
    region_explained: np.ndarray | None = None  # (B, R) mean `explained_variance` in each resample

    ARRAYS = ("p", "region_p", "region_r", "region_r_permuted", "region_r_normalised", "region_explained")

    @property
    def n_resamples(self) -> int:
        return 0 if self.region_r is None else len(self.region_r)

    def arrays(self) -> dict[str, np.ndarray]:
        return {name: values for name in self.ARRAYS if (values := getattr(self, name)) is not None}

    def about(self) -> dict:
        """Return the fields of `StatisticsHeader`; `Statistics(**about, **arrays)` restores the statistics."""
        return {field.name: getattr(self, field.name) for field in fields(StatisticsHeader)}

    def p_of(self, regions: Mapping[str, str]) -> np.ndarray:
        """Return p (R,) of regions, given as by `digests`; NaN for regions without a test."""
        if self.region_p is None:
            return np.full(len(regions), np.nan)
        return np.append(self.region_p, np.nan)[self._columns(regions)]

    def rows_of(self, name: str, regions: Mapping[str, str]) -> np.ndarray | None:
        """Return the array with this name, (B or P + 1, R), for the given regions; None if it was not computed.

        A missing region is NaN.
        """
        rows = getattr(self, name)
        if rows is None:
            return None
        return np.pad(rows, ((0, 0), (0, 1)), constant_values=np.nan)[:, self._columns(regions)]

    def _columns(self, regions: Mapping[str, str]) -> list[int]:
        """Return the column of each region; regions that are missing or have other voxels get the number of columns."""
        places = {region: place for place, region in enumerate(self.regions.items())}
        return [places.get(region, len(places)) for region in regions.items()]


@dataclass(frozen=True)
class StatisticsRequest:
    """The statistics that a run requests. 0 permutations or resamples mean none.

    n_permutations is at most the number of different orders of the blocks (`permutations.n_different`).
    """

    regions: Mapping[str, np.ndarray]  # masks (V,) by name
    n_permutations: int
    permutation_block: int
    n_resamples: int
    ceiling: np.ndarray | None = None  # (V,) noise ceiling by which scores are divided; NaN for voxels left out
    explained_in: np.ndarray | None = None  # (V,) bool, voxels over which a region's explained variance is averaged

    @property
    def nothing(self) -> bool:
        return not self.n_permutations and not self.n_resamples

    @cached_property
    def digests(self) -> dict[str, str]:
        return digests(self.regions)

    def met_by(self, statistics: Statistics | None) -> bool:
        """Return whether existing statistics include all requested ones, for all regions."""
        if self.nothing or statistics is None:
            return self.nothing
        tested = (statistics.n_permutations, statistics.permutation_block) == (
            self.n_permutations,
            self.permutation_block,
        )
        tested &= self.permutation_block == 1 or statistics.n_images_not_permuted is not None
        resampled = statistics.n_resamples == self.n_resamples
        return (
            (tested or not self.n_permutations)
            and (resampled or not self.n_resamples)
            and self.digests.items() <= statistics.regions.items()
        )

    def compute(self, observed: torch.Tensor, predicted: torch.Tensor) -> Statistics | None:
        """Compute the requested statistics of predictions on the device of `observed`; None if none are requested.

        observed, predicted  (n, V)

        In a resample, a voxel is scored on the images for which it has a response. In a permutation, a missing response
        is replaced by the voxel's mean, so that all voxels share the permutations. The test remains exact.
        """
        from brain_activity_prediction.inference.bootstrap import bootstrap_region_r, bootstrap_regions
        from brain_activity_prediction.inference.missing_images import filled_with_mean
        from brain_activity_prediction.inference.significance import permuted

        if self.nothing:
            return None
        members = np.stack(list(self.regions.values()))
        computed: dict[str, Any] = dict.fromkeys(Statistics.ARRAYS)
        if self.n_permutations:
            filled = filled_with_mean(observed)
            computed["p"], computed["region_r_permuted"] = permuted(
                filled, predicted, members, self.n_permutations, self.permutation_block
            )
            computed["region_p"] = share_reaching(computed["region_r_permuted"])
            computed["n_images_not_permuted"] = len(observed) % self.permutation_block
        if self.n_resamples:
            counted = None if self.explained_in is None else members & self.explained_in
            computed["region_r"], computed["region_explained"] = bootstrap_regions(
                observed, predicted, members, self.n_resamples, counted=counted
            )
        if self.n_resamples and self.ceiling is not None:
            weights = np.where(np.isfinite(self.ceiling), members / np.sqrt(self.ceiling), 0)
            computed["region_r_normalised"] = bootstrap_region_r(observed, predicted, weights, self.n_resamples)
            computed["normalised_by"] = digest_of_ceiling(self.ceiling)
        return Statistics(self.digests, self.n_permutations, self.permutation_block, **computed)


def usable_ceiling(ceiling: np.ndarray, lowest: float) -> np.ndarray:
    """Return the ceiling (V,) float32 by which scores are divided; NaN if it is 0, unknown or below `lowest`."""
    ceiling = ceiling.astype(np.float32)
    return np.where((ceiling > 0) & (ceiling >= np.float32(lowest)), ceiling, np.float32(np.nan))


def digest_of_ceiling(ceiling: np.ndarray) -> str:
    """Return a digest that identifies a ceiling (V,)."""
    return hashlib.blake2b(ceiling.tobytes(), digest_size=4).hexdigest()


def digests(regions: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Return `{region: digest of its voxels}` from `{region: mask (V,)}`."""
    return {
        name: hashlib.blake2b(np.packbits(mask).tobytes(), digest_size=4).hexdigest() for name, mask in regions.items()
    }
