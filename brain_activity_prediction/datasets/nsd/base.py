"""Common part of volumes and surfaces of NSD: the design, the images and the choice of betas, space and mask."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Generic

import numpy as np

from brain_activity_prediction.datasets.dataset import Dataset, Reading, U
from brain_activity_prediction.datasets.nsd.design import N_SUBJECTS, SESSIONS_RUN, Design, read_design
from brain_activity_prediction.datasets.nsd.layout import VERSIONS, VOLUMES, Layout
from brain_activity_prediction.datasets.nsd.stimuli import Stimuli
from brain_activity_prediction.runtime.errors import InputError

LARGEST_RATIO = 10  # an ncsnr of 10 means that the noise ceiling of a single trial is 99 %


class NSD(Layout, Dataset[int, U], Generic[U]):
    """NSD in one of its two layouts; test images are those that all subjects see."""

    name = "nsd"
    title = "NSD"
    has_named_masks = True
    kind_of_space: ClassVar[dict[str, type[NSD]]] = {}  # filled by the subclasses

    def __init_subclass__(cls, spaces: Sequence[str] = ()) -> None:
        NSD.kind_of_space |= dict.fromkeys(spaces, cls)

    citation = "Allen et al. (2022), Nature Neuroscience 25, 116-126"
    terms = "naturalscenesdataset.org; neither responses nor pictures are to be passed on"

    def reading(self, chosen: Reading) -> Dataset:
        """Return NSD with other betas, another space or another mask; surfaces have their own class."""
        if chosen.light:
            raise InputError(f"{self.title} has one kind of pixels: leave out --light")
        if chosen == Reading():
            return self
        space, betas = chosen.space or self.space, chosen.betas or "b3"
        if self.layout == "flat" and (space, betas) != (VOLUMES[0], "b3"):
            raise InputError("the flat layout of NSD has only betas b3 at 1.8 mm: use the official layout for others")
        return NSD.kind_of_space[space](self.layout, self.base_dir, space, VERSIONS[betas], chosen.mask or self.mask)

    def reads(self) -> dict[str, Any]:
        betas = next(name for name, folder in VERSIONS.items() if folder == self.version)
        return {"betas": betas, "space": self.space, "mask": list(self.mask)}

    @property
    def variant(self) -> str:
        """Return a part of file names that identifies betas, space and mask; empty for the default."""
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
        """Return all images planned for the subjects, so that hidden states do not depend on existing sessions."""
        return self._design.image_ids_of_any(subjects)

    def open_images(self) -> Stimuli:
        return Stimuli(self.stimuli())

    def test_images(self, subject: int) -> np.ndarray:
        return self._design.shared_ids


def checked_ratio(ncsnr: np.ndarray, path: Path) -> np.ndarray:
    """Return NSD's ncsnr; raise InputError for values of another kind, such as noise ceilings in percent."""
    if (largest := np.nanmax(ncsnr, initial=0)) > LARGEST_RATIO:
        raise InputError(
            f"{path} holds values up to {largest:.3g}, as a noise ceiling in percent does; the ratio ncsnr is below 2 "
            "in most voxels: fetch NSD's own"
        )
    return ncsnr
