"""Restrict a dataset of volumes to the voxels of a mask."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from brain_activity_prediction.datasets.dataset import Dataset, Images
from brain_activity_prediction.datasets.units import Units, Voxels
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.storage.folders import Subject
from brain_activity_prediction.storage.grid import Grid
from brain_activity_prediction.storage.nifti import read_volume_on


class MaskedDataset(Dataset[Subject, Voxels]):
    """A dataset restricted to the voxels where a NIfTI file is above 0; the file has the grid of the responses.

    A session is read whole before its voxels are selected.
    """

    def __init__(self, whole: Dataset[Subject, Units], path: Path):
        self.whole, self.path, self.base_dir = whole, path, whole.base_dir

    @property
    def name(self) -> str:  # type: ignore[override]
        return self.whole.name

    @property
    def title(self) -> str:  # type: ignore[override]
        return self.whole.title

    @property
    def citation(self) -> str:  # type: ignore[override]
        return self.whole.citation

    @property
    def terms(self) -> str:  # type: ignore[override]
        return self.whole.terms

    @property
    def description(self) -> str:
        return f"{self.whole.description} in {self.path.name}"

    def reads(self) -> dict[str, Any]:
        return {**self.whole.reads(), "mask": [str(self.path)]}

    @property
    def variant(self) -> str:
        own = hashlib.blake2b(str(self.path).encode(), digest_size=4).hexdigest()
        return "_".join(filter(None, [self.whole.variant, own]))

    def subjects(self) -> list[Subject]:
        return self.whole.subjects()

    def sessions(self, subject: Subject) -> list[int]:
        return self.whole.sessions(subject)

    def n_sessions_planned(self, subject: Subject) -> int:
        return self.whole.n_sessions_planned(subject)

    def trial_ids(self, subject: Subject, sessions: Sequence[int]) -> np.ndarray:
        return self.whole.trial_ids(subject, sessions)

    def image_ids(self, subject: Subject) -> np.ndarray:
        return self.whole.image_ids(subject)

    def image_ids_of_any(self, subjects: Iterable[Subject]) -> np.ndarray:
        return self.whole.image_ids_of_any(subjects)

    def trials_run(self, subject: Subject) -> np.ndarray:
        return self.whole.trials_run(subject)

    def open_images(self) -> Images:
        return self.whole.open_images()

    def units(self, subject: Subject) -> Voxels:
        units = self._voxels(subject)
        mask = np.zeros_like(units.mask)
        mask[units.mask] = self._kept(subject)
        return Voxels(mask, units.affine)

    def response_files(self, subject: Subject, sessions: Sequence[int]) -> list[Path]:
        return [*self.whole.response_files(subject, sessions), self.path]

    def response_settings(self, subject: Subject) -> dict[str, Any]:
        return self.whole.response_settings(subject)

    def read_session(self, subject: Subject, session: int, units: Voxels) -> np.ndarray:
        return self.whole.read_session(subject, session, self._voxels(subject))[:, self._kept(subject)]

    def regions(self, subject: Subject, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        kept = self._kept(subject)
        return {name: members[kept] for name, members in self.whole.regions(subject, names).items()}

    def test_images(self, subject: Subject) -> np.ndarray:
        return self.whole.test_images(subject)

    def excluded_images(self, subject: Subject) -> np.ndarray:
        return self.whole.excluded_images(subject)

    def split_names(self) -> Sequence[str]:
        return self.whole.split_names()

    def split(self, name: str, subject: Subject) -> tuple[np.ndarray, np.ndarray]:
        return self.whole.split(name, subject)

    def image_classes(self, subject: Subject) -> dict[str, Mapping[str, np.ndarray]]:
        return self.whole.image_classes(subject)

    def ncsnr(self, subject: Subject, units: Voxels) -> np.ndarray:
        return self.whole.ncsnr(subject, self._voxels(subject))[self._kept(subject)]

    def check_ncsnr(self, subject: Subject) -> None:
        self.whole.check_ncsnr(subject)

    def ncsnr_files(self, subject: Subject) -> Sequence[Path]:
        return self.whole.ncsnr_files(subject)

    @cache  # noqa: B019, one dataset lives as long as its process
    def _voxels(self, subject: Subject) -> Voxels:
        """Return all voxels of the dataset; raise InputError if its units are not voxels."""
        units = self.whole.units(subject)
        if not isinstance(units, Voxels):
            raise InputError(f"--mask {self.path}: subject {subject} of {self.title} has no volumes: leave out --mask")
        return units

    @cache  # noqa: B019
    def _kept(self, subject: Subject) -> np.ndarray:
        """Return whether each of the dataset's voxels is in the mask, (n_voxels,) bool."""
        units = self._voxels(subject)
        marked = read_volume_on(self.path, Grid(self.path, units.mask.shape, units.affine))[units.mask] > 0
        if not marked.any():
            raise InputError(f"--mask {self.path} marks no voxel of subject {subject} with a response")
        return marked
