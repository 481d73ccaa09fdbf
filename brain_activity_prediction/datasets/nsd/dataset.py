"""The Natural Scenes Dataset behind the interface of all datasets."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Generic

import numpy as np

from brain_activity_prediction.datasets.dataset import Dataset, Reading, U
from brain_activity_prediction.datasets.nsd.betas import read_session
from brain_activity_prediction.datasets.nsd.design import N_SUBJECTS, SESSIONS_RUN, Design, read_design
from brain_activity_prediction.datasets.nsd.layout import NIFTI, SURFACES, VERSIONS, VOLUMES, Layout, find_layout
from brain_activity_prediction.datasets.nsd.regions import ALL_FITTED, CORTEX, read_mask, read_regions, subject_grid
from brain_activity_prediction.datasets.nsd.stimuli import Stimuli
from brain_activity_prediction.datasets.units import Voxels, read_map
from brain_activity_prediction.datasets.valid_trials import mark_invalid
from brain_activity_prediction.runtime.errors import InputError


class NSD(Layout, Dataset[int, U], Generic[U]):
    """NSD in one of its two layouts; test images are those that all subjects see."""

    name = "nsd"
    title = "NSD"
    citation = "Allen et al. (2022), Nature Neuroscience 25, 116-126"

    def reading(self, chosen: Reading) -> Dataset:
        """Return NSD with other betas, another space or another mask; surfaces have their own class."""
        if chosen == Reading():
            return self
        space, betas = chosen.space or self.space, chosen.betas or "b3"
        if self.layout == "flat" and (space, betas) != (VOLUMES[0], "b3"):
            raise InputError("the flat layout of NSD has betas b3 at 1.8 mm alone: use NSD's own folders")
        kind: type[NSD] = NSDVolumes
        if space in SURFACES:
            from brain_activity_prediction.datasets.nsd.surface import NSDSurface

            kind = NSDSurface
        return kind(self.layout, self.base_dir, space, VERSIONS[betas], chosen.mask or self.mask)

    def reads(self) -> dict[str, Any]:
        betas = next(name for name, folder in VERSIONS.items() if folder == self.version)
        return {"betas": betas, "space": self.space, "mask": list(self.mask)}

    @property
    def variant(self) -> str:
        """Return a part of file names that tells choices of betas, space and mask apart; empty for the default."""
        chosen = (self.space, self.version, self.mask)
        if chosen == (Layout.space, Layout.version, Layout.mask):
            return ""
        return hashlib.blake2b(repr(chosen).encode(), digest_size=4).hexdigest()

    @cached_property
    def _design(self) -> Design:
        return read_design(self.design())

    def subjects(self) -> list[int]:
        return list(range(1, N_SUBJECTS + 1))

    def n_sessions_planned(self, subject: int) -> int:
        return min(self._design.n_sessions, SESSIONS_RUN[subject - 1])

    def trials_run(self, subject: int) -> np.ndarray:
        return self.trial_ids(subject, range(1, self.n_sessions_planned(subject) + 1))

    def trial_ids(self, subject: int, sessions: Sequence[int]) -> np.ndarray:
        return self._design.trial_ids(subject, sessions)

    def image_ids(self, subject: int) -> np.ndarray:
        """Return the images that a subject saw in the existing sessions; without sessions, all planned images."""
        if sessions := self._sessions_if_any(subject):
            return np.unique(self.trial_ids(subject, sessions))
        return self._design.image_ids(subject)

    def image_ids_of_any(self, subjects: Iterable[int]) -> np.ndarray:
        """Return all images planned for the subjects, so that hidden states do not depend on the sessions here."""
        return self._design.image_ids_of_any(subjects)

    def open_images(self) -> Stimuli:
        return Stimuli(self.stimuli())

    def test_images(self, subject: int) -> np.ndarray:
        return self._design.shared_ids


class NSDVolumes(NSD[Voxels]):
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
        """Return the files that the mask of fitted voxels is made from."""
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
        return read_map(self.ncsnr_file(subject), units.mask, subject_grid(self, subject))

    def check_ncsnr(self, subject: int) -> None:
        self.ncsnr_file(subject)


def find_nsd(base_dir: Path | str) -> NSDVolumes:
    """Find NSD under `base_dir`; raise InputError unless exactly one of its two layouts is there."""
    found = find_layout(base_dir)
    return NSDVolumes(found.layout, found.base_dir)
