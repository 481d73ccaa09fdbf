"""Find the files of responses: one for all subjects, one for each subject, or one for each session."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from brain_activity_prediction.datasets.own.response_files import ENDINGS
from brain_activity_prediction.datasets.own.trials import SESSION_NAME, Trials
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.storage.folders import Subject

SIDES = ("lh", "rh")
Files = Mapping[str, Path]  # one file under "", or those of both hemispheres under lh and rh


@dataclass(frozen=True)
class ResponseFiles:
    """The files of responses of an experiment, by subject and session; session None for a file of all sessions."""

    folder: Path
    trials: Trials
    of_all: Path | None  # responses.npy, or another ending: the trials of all subjects
    by_session: Mapping[tuple[str, int | None], Files]

    def has(self, subject: str, session: int) -> bool:
        return bool(self.of_all or self._key(subject, session) in self.by_session)

    def of(self, subject: str, session: int) -> Files:
        """Return the files with the responses of a session; raise InputError if they are missing."""
        if self.of_all:
            return {"": self.of_all}
        if not self.has(subject, session):
            raise InputError(
                f"subject {subject} has no responses of session {session}: expected "
                f"{self.folder / f'{subject}_{session}'}.EXT"
            )
        return self.by_session[self._key(subject, session)]

    def holds_all_sessions(self, subject: str, session: int) -> bool:
        return bool(self.of_all) or self._key(subject, session)[1] is None

    def rows_in_file(self, subject: str, session: int) -> np.ndarray:
        """Return the rows of a session's trials in its file, ascending."""
        rows = self.trials.rows(subject, session)
        if self.of_all:
            return rows
        if self.holds_all_sessions(subject, session):
            return np.searchsorted(self.trials.rows(subject), rows)
        return np.arange(rows.size)

    def n_trials_in_file(self, subject: str, session: int) -> int:
        """Return the number of trials that the file of a session holds."""
        if self.of_all:
            return self.trials.subjects.size
        return self.trials.rows(subject, None if self.holds_all_sessions(subject, session) else session).size

    def expected(self, subject: Subject) -> str:
        """Describe where a subject's responses may lie."""
        return f"{self.folder / str(subject)}.EXT or {subject}_SESSION.EXT, with EXT one of {' '.join(ENDINGS)}"

    def _key(self, subject: str, session: int) -> tuple[str, int | None]:
        return (subject, session) if (subject, session) in self.by_session else (subject, None)

    @cached_property
    def sides(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(side for files in self.by_session.values() for side in files))


def find_responses(base_dir: Path, trials: Trials) -> ResponseFiles:
    """Find the files of responses in a folder.

    Raises InputError if a session has two files, or files of one hemisphere alone.
    """
    folder = base_dir / "responses"
    whole = [path for path in sorted(base_dir.glob("responses.*")) if _ending(path) and path.is_file()]
    if len(whole) > 1:
        raise InputError(f"{base_dir} has {whole[0].name} and {whole[1].name}: keep one of them")
    subjects = set(trials.subjects.tolist())
    found: dict[tuple[str, int | None], dict[str, Path]] = {}
    for path in sorted(folder.glob("*")) if not whole else ():
        ending = _ending(path)
        if ending is None:
            continue
        stem = path.name[: -len(ending)]
        side = next((side for side in SIDES if stem.startswith(f"{side}.")), "")
        key = _subject_and_session(stem.removeprefix(f"{side}."), subjects)
        if key is None or (key[1] is not None and not trials.rows(*key).size):
            log.warning(f"{path} is not read: {trials.path.name} has no trials of this subject and session")
            continue
        of_key = found.setdefault(key, {})
        if side in of_key:
            raise InputError(f"{folder} has {of_key[side].name} and {path.name} for the same trials: keep one of them")
        of_key[side] = path
    for files in found.values():
        if ("" in files and len(files) > 1) or (set(files) & set(SIDES) and not set(files) >= set(SIDES)):
            names = " and ".join(path.name for path in files.values())
            raise InputError(f"{folder} has {names}: a surface has one file of lh. and one of rh.")
    return ResponseFiles(folder, trials, whole[0] if whole else None, found)


def _ending(path: Path) -> str | None:
    fitting = [ending for ending in ENDINGS if path.name.lower().endswith(ending)]
    return max(fitting, key=len, default=None)


def _subject_and_session(stem: str, subjects: set[str]) -> tuple[str, int | None] | None:
    """Return the subject and session in a file name without side and ending; None if no subject has this name."""
    if stem in subjects:
        return stem, None
    subject, _, session = stem.rpartition("_")
    match = SESSION_NAME.fullmatch(session)
    return (subject, int(match[1])) if subject in subjects and match else None
