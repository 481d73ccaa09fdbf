"""What is asked of held-out predictions beyond their scores, and what came of it: permutation test and bootstrap.

n images, V voxels, R regions, B resamples.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Statistics:
    """The statistics of one set of predictions; arrays are None where they were not asked for."""

    regions: dict[str, str]  # name: digest of its voxels, in the order of R
    n_permutations: int
    permutation_block: int
    p: np.ndarray | None  # (V,)
    region_p: np.ndarray | None  # (R,) of the mean r
    region_r: np.ndarray | None  # (B, R) mean r in each resample of the images

    ARRAYS = ("p", "region_p", "region_r")

    @property
    def n_resamples(self) -> int:
        return 0 if self.region_r is None else len(self.region_r)

    def arrays(self) -> dict[str, np.ndarray]:
        return {name: values for name in self.ARRAYS if (values := getattr(self, name)) is not None}

    def about(self) -> dict:
        """What is kept beside the arrays; `Statistics(**about, **arrays)` is the same again."""
        names = ("regions", "n_permutations", "permutation_block")
        return {name: getattr(self, name) for name in names}

    def p_of(self, regions: Mapping[str, str]) -> np.ndarray:
        """p (R,) of these regions, given as `digests` gives them, NaN for those that were not tested."""
        if self.region_p is None:
            return np.full(len(regions), np.nan)
        return np.append(self.region_p, np.nan)[self._columns(regions)]

    def r_of(self, regions: Mapping[str, str]) -> np.ndarray | None:
        """Resampled mean r (B, R) of these regions, NaN for those that were not resampled; None where none were."""
        if self.region_r is None:
            return None
        return np.pad(self.region_r, ((0, 0), (0, 1)), constant_values=np.nan)[:, self._columns(regions)]

    def _columns(self, regions: Mapping[str, str]) -> list[int]:
        """Where each region stands; one beyond the last for those that are not there or have other voxels now."""
        places = {region: place for place, region in enumerate(self.regions.items())}
        return [places.get(region, len(places)) for region in regions.items()]


@dataclass(frozen=True)
class Asked:
    """What a run asks for; 0 permutations or resamples are none."""

    regions: Mapping[str, np.ndarray]  # masks (V,) by name
    n_permutations: int
    permutation_block: int
    n_resamples: int

    @property
    def nothing(self) -> bool:
        return not self.n_permutations and not self.n_resamples

    @cached_property
    def digests(self) -> dict[str, str]:
        return digests(self.regions)

    def met_by(self, found: Statistics | None) -> bool:
        """Whether statistics hold what is asked for, of all regions; they may hold more."""
        if self.nothing or found is None:
            return self.nothing
        tested = (found.n_permutations, found.permutation_block) == (self.n_permutations, self.permutation_block)
        resampled = found.n_resamples == self.n_resamples
        return (
            (tested or not self.n_permutations)
            and (resampled or not self.n_resamples)
            and self.digests.items() <= found.regions.items()
        )

    def of(self, observed: torch.Tensor, predicted: torch.Tensor) -> Statistics | None:
        """The statistics of predictions (n, V), computed where `observed` (n, V) is; None where none are asked for."""
        from brain_activity_prediction.align_image_embeddings.bootstrap import bootstrap_region_r
        from brain_activity_prediction.align_image_embeddings.significance import permutation_p

        if self.nothing:
            return None
        members = np.stack(list(self.regions.values()))
        p, region_p, region_r = None, None, None
        if self.n_permutations:
            p, region_p = permutation_p(observed, predicted, members, self.n_permutations, self.permutation_block)
        if self.n_resamples:
            region_r = bootstrap_region_r(observed, predicted, members, self.n_resamples)
        return Statistics(self.digests, self.n_permutations, self.permutation_block, p, region_p, region_r)


def digests(regions: Mapping[str, np.ndarray]) -> dict[str, str]:
    """What tells each region's voxels, a mask (V,), from any others, by name."""
    return {
        name: hashlib.blake2b(np.packbits(mask).tobytes(), digest_size=4).hexdigest() for name, mask in regions.items()
    }
