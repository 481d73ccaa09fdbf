"""A lab's own experiment: a folder with `images/`, `trials.csv`, and responses as analysis programs write them.

images/                      picture files
trials.csv                   a row for each trial: subject, session, image
responses.npy                (trials, units), rows in the order of trials.csv; or instead files in responses/:
responses/SUBJECT.EXT        all sessions of a subject, or SUBJECT_SESSION.EXT for one, or BIDS names with ses-, run-
                             and hemi-; names begin with lh. or rh. for surfaces
masks/SUBJECT.nii.gz         voxels to fit, for volumes (or mask.nii.gz for all subjects)
regions/SUBJECT/             see `regions`
ncsnr/SUBJECT.EXT, ceilings_N/SUBJECT.EXT   see `ncsnr`
split.csv                    image, split: train, test or exclude
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from brain_activity_prediction.datasets.dataset import Dataset
from brain_activity_prediction.datasets.files.image_files import ImageFiles
from brain_activity_prediction.datasets.files.picture_names import find_files
from brain_activity_prediction.datasets.own import regions
from brain_activity_prediction.datasets.own.ncsnr import OwnCeilings, ceiling_files, own_ceilings
from brain_activity_prediction.datasets.own.response_files import open_runs
from brain_activity_prediction.datasets.own.responses import ResponseFiles, find_responses
from brain_activity_prediction.datasets.own.split import NAMES, read_split
from brain_activity_prediction.datasets.own.stored import Stored, check_grid, read_units
from brain_activity_prediction.datasets.own.trials import Trials, read_trials
from brain_activity_prediction.datasets.own.units import listed_order, mask_path, units_of
from brain_activity_prediction.datasets.own.unread import tell_unread
from brain_activity_prediction.datasets.units import Units, Vertices, Voxels
from brain_activity_prediction.datasets.valid_trials import mark_invalid
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.storage.folders import Subject


class OwnDataset(Dataset[Subject, Units]):
    """An experiment in the folder `base_dir`, whose files the module's docstring lists."""

    name = "own"
    title = "your own experiment"
    citation = "your own"
    terms = "your own"

    def __init__(self, base_dir: Path):
        self.base_dir = base_dir
        self._units: dict[Subject, Units] = {}  # units of the subjects whose files were opened

    @property
    def description(self) -> str:
        return f"{self.title} in {self.base_dir.name}"

    @cached_property
    def trials(self) -> Trials:
        return read_trials(self.base_dir)

    @cached_property
    def files(self) -> ResponseFiles:
        return find_responses(self.base_dir, self.trials)

    def subjects(self) -> list[Subject]:
        return [as_subject(name) for name in dict.fromkeys(self.trials.subjects.tolist())]

    def n_sessions_planned(self, subject: Subject) -> int:
        return len(np.unique(self.trials.sessions[self.trials.rows(str(subject))]))

    def sessions(self, subject: Subject) -> list[int]:
        planned = np.unique(self.trials.sessions[self.trials.rows(str(subject))]).tolist()
        found = [session for session in planned if self.files.has(str(subject), session)]
        if not found:
            raise InputError(f"subject {subject} has no responses: expected {self.files.expected(str(subject))}")
        return found

    def trial_ids(self, subject: Subject, sessions: Sequence[int]) -> np.ndarray:
        rows = [self.trials.rows(str(subject), session) for session in sessions]
        for session, own in zip(sessions, rows, strict=True):
            if not own.size:
                raise InputError(f"{self.trials.path} has no trials of subject {subject} in session {session}")
        return self.trials.images[np.concatenate(rows)]

    def image_ids(self, subject: Subject) -> np.ndarray:
        """Return the images of all trials, including trials whose responses are still missing."""
        return np.unique(self.trials.images[self.trials.rows(str(subject))])

    def open_images(self) -> ImageFiles:
        folder = self.base_dir / "images"
        return ImageFiles(find_files(folder, np.unique(self.trials.images).tolist()), folder)

    def units(self, subject: Subject) -> Units:
        if subject not in self._units:
            self._units[subject] = units_of(self.base_dir, self.files, str(subject), self.sessions(subject)[0])
        return self._units[subject]

    def response_files(self, subject: Subject, sessions: Sequence[int]) -> list[Path]:
        files = [
            path for session in sessions for runs in self.files.of(str(subject), session).values() for path in runs
        ]
        extra = [*(self.base_dir / name for name in NAMES), mask_path(self.base_dir, str(subject))]
        return [self.trials.path, *dict.fromkeys(files), *(path for path in extra if path and path.is_file())]

    def read_session(self, subject: Subject, session: int, units: Units) -> np.ndarray:
        """Read the trials of a session, in the order of the table of trials."""
        name = str(subject)
        parts = []
        for side, paths in self.files.of(name, session).items():
            with open_runs(paths) as stored:
                rows = self.files.rows_in_file(name, session)
                self.files.check_trials(paths[0], stored, name, session)
                if stored.grid and isinstance(units, Voxels):
                    check_grid(stored.grid, units.affine)
                mask = units.masks[side] if isinstance(units, Vertices) else mask_of(units, stored)
                if stored.shape != mask.shape:
                    raise InputError(
                        f"{paths[0]} has {stored.shape} values per trial, but {mask.shape} are expected: check whether "
                        "the file or the mask belongs to another subject"
                    )
                responses = read_units(stored, mask, rows)
                if stored.column_major and isinstance(units, Voxels) and mask.ndim == 1:
                    responses = responses[:, listed_order(units.mask)]
                parts.append(responses)
        responses = np.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]
        return mark_invalid(responses) if isinstance(units, Voxels) else responses

    def regions(self, subject: Subject, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        known = {f"{prefix}{name}" for name, _ in self.trials.parts for prefix in ("", "sub-")}
        for path in sorted((self.base_dir / "regions").glob("[!.]*")):
            if path.is_dir() and path.name not in known:
                tell_unread(path, f"{self.trials.path.name} has no subject of this name")
        return regions.read_regions(self.base_dir, str(subject), self.units(subject), names)

    def ncsnr(self, subject: Subject, units: Units) -> np.ndarray:
        """Return the ncsnr (n_units,) from the experiment's own files; noise ceilings are converted to ncsnr."""
        return own_ceilings(self.base_dir, str(subject), units, self._names).read(units)

    def ncsnr_files(self, subject: Subject) -> Sequence[Path]:
        return [*found.files.values()] if (found := self.ceilings(subject)) else []

    def ceilings(self, subject: Subject) -> OwnCeilings | None:
        """Return the experiment's own noise ceilings of a subject; None if it has none."""
        return ceiling_files(self.base_dir, str(subject), self._names)

    @cached_property
    def _names(self) -> list[str]:
        return np.unique(self.trials.subjects).tolist()

    @cached_property
    def _split(self) -> Mapping[str, np.ndarray]:
        return read_split(self.base_dir, np.unique(self.trials.images))

    def test_images(self, subject: Subject) -> np.ndarray:
        return self._split["test"]

    def excluded_images(self, subject: Subject) -> np.ndarray:
        return self._split["exclude"]


def find_own(base_dir: Path | str) -> OwnDataset:
    """Return the experiment in a folder; raise InputError unless it has a table of trials."""
    dataset = OwnDataset(Path(base_dir))
    dataset.trials  # noqa: B018, raises if the table is missing or wrong
    return dataset


def as_subject(name: str) -> Subject:
    """Return a subject as the command line reads it: an int if the name is a number without leading zeros."""
    return int(name) if name.isdecimal() and (name == "0" or name[0] != "0") else name


def mask_of(units: Units, stored: Stored) -> np.ndarray:
    """Return whether each value of a trial is a unit, bool; for a list of values, all are."""
    if isinstance(units, Voxels) and len(stored.shape) == 3:
        return units.mask
    return np.ones(units.n, dtype=bool)
