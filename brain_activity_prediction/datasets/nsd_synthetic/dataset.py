"""NSD-synthetic: encoding models are trained on NSD's own sessions (the core) and tested on 284 synthetic images.

nsddata/experiments/nsdsynthetic/nsdsynthetic_expdesign.mat           masterordering: 744 trials, ids from 1
nsddata/experiments/nsdsynthetic/nsdsyntheticimageinformation.csv     class and subclass of each image
nsddata_stimuli/stimuli/nsdsynthetic/nsdsynthetic_stimuli.hdf5        images 1 to 220
nsddata_stimuli/stimuli/nsdsynthetic/nsdsynthetic_colorstimuli_subj01.hdf5   images 221 to 284 of one subject
nsddata_betas/ppdata/subj01/func1pt8mm/nsdsyntheticbetas_fithrf_GLMdenoise_RR/betas_nsdsynthetic.hdf5

The training images are those of NSD's own split. The encoding model is therefore the same as for NSD's test images.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from brain_activity_prediction.datasets.dataset import Dataset, Reading
from brain_activity_prediction.datasets.nsd.base import NSD
from brain_activity_prediction.datasets.nsd.design import Design
from brain_activity_prediction.datasets.nsd.layout import VERSIONS
from brain_activity_prediction.datasets.nsd.nsd import NSDSurface, NSDVolumes, find_nsd
from brain_activity_prediction.datasets.nsd_synthetic.design import image_ids, read_classes, read_synthetic_design
from brain_activity_prediction.datasets.nsd_synthetic.images import CORRECTED, SyntheticImages
from brain_activity_prediction.datasets.units import Units
from brain_activity_prediction.runtime.errors import InputError

PREFIX = "nsdsynthetic"  # first part of the names of folders with betas


class SyntheticSession(NSD):
    """The files of the synthetic session, read as session 1 of a separate NSD dataset."""

    def expected(
        self,
        kind: str,
        subject: int | None = None,
        session: int | None = None,
        name: str | None = None,
        side: str | None = None,
    ) -> list[Path]:
        paths = super().expected(kind, subject, session, name, side)
        return [path.with_name(path.name.replace("session01", "nsdsynthetic")) for path in paths]

    def _other_betas(self, of_subject: Path) -> str:
        return ""  # those of the core are not the synthetic session's

    def design(self) -> Path:
        return self.existing("NSD-synthetic design")

    @cached_property
    def _design(self) -> Design:
        return read_synthetic_design(self.design())


class SyntheticVolumes(SyntheticSession, NSDVolumes):
    """The synthetic session in volumes."""

    def betas_files(self, subject: int) -> Iterator[Path]:
        """Yield the core's betas, which define the grid of the mask."""
        version = self.version.removeprefix(PREFIX)
        return NSDVolumes(self.layout, self.base_dir, self.space, version, self.mask).betas_files(subject)


class SyntheticSurface(SyntheticSession, NSDSurface):
    """The synthetic session on a surface."""


class NSDSynthetic(Dataset[int, Units]):
    """NSD's core and NSD-synthetic; the synthetic session is numbered after the last session of the core.

    Noise ceilings are computed from the repeats of the synthetic images alone, because the variance of responses to
    them is not that of responses to photographs.
    """

    name = "nsd_synthetic"
    title = "NSD-synthetic"
    citation = "Gifford et al. (2025), arXiv 2503.06286; Allen et al. (2022), Nature Neuroscience 25, 116-126"
    terms = "those of NSD, naturalscenesdataset.org"
    trained_on = "nsd"
    has_named_masks = True
    ceilings_from_test_images = True

    def __init__(self, core: NSD, light: str | None = None):
        self.base_dir, self.core, self.light = core.base_dir, core, light or CORRECTED
        if core.layout != "official":
            raise InputError(f"{self.title} needs the official layout of NSD, but this is the {core.layout} layout")
        kind = SyntheticVolumes if isinstance(core, NSDVolumes) else SyntheticSurface
        self.synthetic = kind(core.layout, core.base_dir, core.space, f"{PREFIX}{core.version}", core.mask)

    @property
    def description(self) -> str:
        return f"{self.title}, trained on {self.core.description}"

    def reading(self, chosen: Reading) -> Dataset:
        if (chosen.betas or "b3") == next(iter(VERSIONS)):
            raise InputError(f"{self.title} has betas b2 and b3: choose one with --betas")
        core = self.core.reading(replace(chosen, light=None))
        assert isinstance(core, NSD)
        return NSDSynthetic(core, chosen.light or self.light)

    def reads(self) -> dict[str, Any]:
        return self.core.reads()

    @property
    def variant(self) -> str:
        return "_".join(filter(None, ["synthetic", self.core.variant]))

    def subjects(self) -> list[int]:
        return self.core.subjects()

    def session_of(self, subject: int) -> int:
        """Return the number of the synthetic session, which follows the sessions of the core."""
        return self.core.n_sessions_planned(subject) + 1

    def sessions(self, subject: int) -> list[int]:
        self.synthetic.sessions(subject)
        return [*self.core.sessions(subject), self.session_of(subject)]

    def n_sessions_planned(self, subject: int) -> int:
        return self.session_of(subject)

    def trial_ids(self, subject: int, sessions: Sequence[int]) -> np.ndarray:
        return np.concatenate(
            [self._part(subject, one).trial_ids(subject, [self._own(subject, one)]) for one in sessions]
        )

    def trials_run(self, subject: int) -> np.ndarray:
        return np.concatenate([self.core.trials_run(subject), self.synthetic.trial_ids(subject, [1])])

    def image_ids(self, subject: int) -> np.ndarray:
        return np.concatenate([self.core.image_ids(subject), image_ids(subject)])

    def image_ids_of_any(self, subjects: Iterable[int]) -> np.ndarray:
        """Return the ids of NSD's images planned for the subjects, and of their synthetic images."""
        subjects = list(subjects)
        own = [image_ids(subject) for subject in subjects]
        return np.unique(np.concatenate([self.core.image_ids_of_any(subjects), *own]))

    def open_images(self) -> SyntheticImages:
        coloured = {
            subject: path
            for subject in self.subjects()
            if (path := self.synthetic.expected("NSD-synthetic colour stimuli", subject)[0]).is_file()
        }
        common = self.synthetic.existing("NSD-synthetic stimuli")
        return SyntheticImages(self.core.open_images(), common, coloured, self.light)

    def units(self, subject: int) -> Units:
        return self.core.units(subject)

    def response_files(self, subject: int, sessions: Sequence[int]) -> list[Path]:
        files = []
        for one in sessions:
            files += self._part(subject, one).response_files(subject, [self._own(subject, one)])
        return list(dict.fromkeys(files))

    def response_settings(self, subject: int) -> dict[str, Any]:
        return self.core.response_settings(subject)

    def read_session(self, subject: int, session: int, units: Units) -> np.ndarray:
        return self._part(subject, session).read_session(subject, self._own(subject, session), units)

    def regions(self, subject: int, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        return self.core.regions(subject, names)

    def check_region(self, subject: int, name: str) -> None:
        self.core.check_region(subject, name)

    def test_images(self, subject: int) -> np.ndarray:
        return image_ids(subject)

    def excluded_images(self, subject: int) -> np.ndarray:
        """Return NSD's test images, which are not trained on either, so that the model is the same as NSD's."""
        return self.core.test_images(subject)

    def image_classes(self, subject: int) -> dict[str, Mapping[str, np.ndarray]]:
        classes = read_classes(self.synthetic.existing("NSD-synthetic classes"))
        ids = image_ids(subject)
        return {
            kind: {name: ids[np.array(names) == name] for name in dict.fromkeys(names)}
            for kind, names in classes.items()
        }

    def _part(self, subject: int, session: int) -> NSD:
        """Return the dataset that holds a session: the core or the synthetic one."""
        return self.synthetic if session == self.session_of(subject) else self.core

    def _own(self, subject: int, session: int) -> int:
        """Return the number that a session has in the dataset that `_part` returns."""
        return 1 if session == self.session_of(subject) else session


def find_nsd_synthetic(base_dir: Path) -> NSDSynthetic:
    """Find NSD and the synthetic session under `base_dir`; raise InputError if one of them is missing."""
    found = NSDSynthetic(find_nsd(base_dir))
    found.synthetic.design()
    return found
