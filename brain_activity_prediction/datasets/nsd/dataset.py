"""The Natural Scenes Dataset behind the interface of all datasets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from brain_activity_prediction.datasets.dataset import Dataset
from brain_activity_prediction.datasets.nsd.betas import read_session
from brain_activity_prediction.datasets.nsd.design import N_SUBJECTS, SESSIONS_RUN, Design, read_design
from brain_activity_prediction.datasets.nsd.layout import Layout, find_layout
from brain_activity_prediction.datasets.nsd.regions import read_mask, region_masks, subject_grid
from brain_activity_prediction.datasets.nsd.stimuli import Stimuli
from brain_activity_prediction.datasets.units import Voxels, read_map
from brain_activity_prediction.datasets.valid_trials import mark_invalid


class NSD(Layout, Dataset[int, Voxels]):
    """NSD in one of its two layouts; units are the voxels of nsdgeneral, test images those that all subjects see."""

    name = "nsd"
    title = "NSD"
    citation = "Allen et al. (2022), Nature Neuroscience 25, 116-126"

    @property
    def description(self) -> str:
        return f"{self.layout} layout of NSD"

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

    def units(self, subject: int) -> Voxels:
        return Voxels(*read_mask(self, subject))

    def response_files(self, subject: int, sessions: Sequence[int]) -> list[Path]:
        betas = [self.betas(subject, session) for session in sessions]
        valid = [self.valid_voxels(subject, session) for session in sessions]
        return [self.design(), self.nsdgeneral(subject), *betas, *filter(None, valid)]

    def response_settings(self, subject: int) -> dict[str, Any]:
        return {"axes": subject_grid(self, subject).axes}

    def read_session(self, subject: int, session: int, units: Voxels) -> np.ndarray:
        grid = subject_grid(self, subject)
        betas = read_session(self.betas(subject, session), units.mask, self._design.trials_per_session, grid)
        valid = self.valid_voxels(subject, session)
        return mark_invalid(betas, None if valid is None else read_map(valid, units.mask, grid) > 0)

    def regions(self, subject: int, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        return region_masks(self, subject, self.units(subject).mask, names)

    def check_region(self, subject: int, name: str) -> None:
        self.check_roi(subject, name)

    def test_images(self, subject: int) -> np.ndarray:
        return self._design.shared_ids

    def ncsnr(self, subject: int, units: Voxels) -> np.ndarray:
        return read_map(self.ncsnr_file(subject), units.mask, subject_grid(self, subject))

    def check_ncsnr(self, subject: int) -> None:
        self.ncsnr_file(subject)


def find_nsd(base_dir: Path | str) -> NSD:
    """Find NSD under `base_dir`; raise InputError unless exactly one of its two layouts is there."""
    found = find_layout(base_dir)
    return NSD(found.layout, found.base_dir)
