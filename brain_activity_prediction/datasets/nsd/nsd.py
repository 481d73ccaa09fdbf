"""Read the Natural Scenes Dataset through the interface of all datasets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from brain_activity_prediction.datasets.nsd.base import NSD, checked_ratio
from brain_activity_prediction.datasets.nsd.betas import read_session
from brain_activity_prediction.datasets.nsd.layout import NIFTI, VOLUMES, find_layout
from brain_activity_prediction.datasets.nsd.regions import ALL_FITTED, CORTEX, read_mask, read_regions, subject_grid
from brain_activity_prediction.datasets.nsd.surface import NSDSurface
from brain_activity_prediction.datasets.units import Voxels, read_map
from brain_activity_prediction.datasets.valid_trials import mark_invalid

__all__ = ["NSDSurface", "NSDVolumes", "find_nsd"]


class NSDVolumes(NSD[Voxels], spaces=VOLUMES):
    """NSD in volumes of 1.8 or 1 mm."""

    @property
    def description(self) -> str:
        return f"{self.layout} layout of NSD"

    def units(self, subject: int) -> Voxels:
        return Voxels(*read_mask(self, subject))

    def response_files(self, subject: int, sessions: Sequence[int]) -> list[Path]:
        betas = [self.betas(subject, session) for session in sessions]
        valid = [self.valid_voxels(subject, session) for session in sessions]
        return [self.design(), *self.mask_files(subject), *betas, *filter(None, valid)]

    def mask_files(self, subject: int) -> list[Path]:
        """Return the files from which the mask of fitted voxels is made."""
        files = []
        for name in self.mask:
            if name.endswith(NIFTI):
                files.append(Path(name))
            else:
                files += [self.nsdgeneral(subject)] if name in (ALL_FITTED, CORTEX) else self.roi(subject, name)
        return files

    def response_settings(self, subject: int) -> dict[str, Any]:
        return {"axes": subject_grid(self, subject).axes} | ({"mask": list(self.mask)} if self.variant else {})

    def read_session(self, subject: int, session: int, units: Voxels) -> np.ndarray:
        grid = subject_grid(self, subject)
        betas = read_session(self.betas(subject, session), units.mask, self._design.trials_per_session, grid)
        valid = self.valid_voxels(subject, session)
        return mark_invalid(betas, None if valid is None else read_map(valid, units.mask, grid) > 0)

    def regions(self, subject: int, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        return read_regions(self, subject, names)

    def check_region(self, subject: int, name: str) -> None:
        self.check_roi(subject, name)

    def ncsnr(self, subject: int, units: Voxels) -> np.ndarray:
        path = self.ncsnr_file(subject)
        return checked_ratio(read_map(path, units.mask, subject_grid(self, subject)), path)

    def check_ncsnr(self, subject: int) -> None:
        self.ncsnr_file(subject)


def find_nsd(base_dir: Path | str) -> NSDVolumes:
    """Find NSD under `base_dir`; raise InputError unless exactly one of its two layouts is found."""
    found = find_layout(base_dir)
    return NSDVolumes(found.layout, found.base_dir)
