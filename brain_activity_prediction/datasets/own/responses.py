"""Find the files of responses: one for all subjects, one for each subject, or one for each session."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from brain_activity_prediction.datasets.own.file_names import SIDES, Part, part_of
from brain_activity_prediction.datasets.own.other_kinds import of_other_kind
from brain_activity_prediction.datasets.own.response_files import ENDINGS
from brain_activity_prediction.datasets.own.stored import Stored
from brain_activity_prediction.datasets.own.trials import Trials
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.storage.folders import Subject

Files = Mapping[str, tuple[Path, ...]]  # files of the runs by hemisphere, lh and rh; under "" if not a surface


@dataclass(frozen=True)
class ResponseFiles:
    """The files of responses of an experiment, by subject and session; the session is None for a file of all."""

    folder: Path
    trials: Trials
    of_all: Path | None  # responses.npy (or another ending) with the trials of all subjects
    by_session: Mapping[tuple[str, int | None], Files]
    unread: Sequence[str] = ()  # messages about files that are not read, with the reason

    def has(self, subject: str, session: int) -> bool:
        return bool(self.of_all or self._key(subject, session) in self.by_session)

    def of(self, subject: str, session: int) -> Files:
        """Return the files with the responses of a session; raise InputError if they are missing."""
        if self.of_all:
            return {"": (self.of_all,)}
        if not self.has(subject, session):
            raise InputError(
                f"subject {subject} has no responses of session {session}: expected "
                f"{self.folder / f'{subject}_{session}'}.EXT"
            )
        return self.by_session[self._key(subject, session)]

    def holds_all_sessions(self, subject: str, session: int) -> bool:
        return bool(self.of_all) or self._key(subject, session)[1] is None

    def rows_in_file(self, subject: str, session: int) -> np.ndarray:
        """Return the rows (from 0, ascending) of a session's trials within the file that holds them."""
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

    def check_trials(self, path: Path, stored: Stored, subject: str, session: int) -> None:
        """Raise InputError unless a session's file, or its runs together, hold as many trials as the table."""
        planned = self.n_trials_in_file(subject, session)
        if stored.n_trials == planned:
            return
        of = "all subjects" if self.of_all else f"subject {subject}"
        when = "" if self.holds_all_sessions(subject, session) else f", session {session}"
        expected = f"{self.trials.path.name} has {planned} of {of}{when}"
        raise InputError(f"{path} holds {stored.n_trials} trials, but {expected}: {_remedy(stored.axes, planned)}")

    def expected(self, subject: Subject) -> str:
        """Return the possible paths of a subject's responses, as text for a message."""
        endings = " ".join(ENDINGS)
        unread = f"; {self.unread[0]}" if self.unread else ""
        return f"{self.folder / str(subject)}.EXT or {subject}_SESSION.EXT, with EXT one of {endings}{unread}"

    def _key(self, subject: str, session: int) -> tuple[str, int | None]:
        return (subject, session) if (subject, session) in self.by_session else (subject, None)

    @cached_property
    def sides(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(side for files in self.by_session.values() for side in files))


def _remedy(axes: tuple[int, ...], n_trials: int) -> str:
    """Return advice for an array with the wrong number of trials, guessed from its axes."""
    if len(axes) == 2 and axes[1] == n_trials:
        return "trials seem to be the second axis: transpose the array"
    order = "and list the repetitions of each image one after another in trials.csv"
    if len(axes) > 2 and axes[0] * axes[1] == n_trials:
        return f"its axes {axes} seem to be images x repetitions x units: store array.reshape({n_trials}, -1), {order}"
    if len(axes) == 3 and axes[1] * axes[2] == n_trials:
        return f"its axes {axes} seem to be units x images x repetitions: store array.reshape({axes[0]}, -1).T, {order}"
    if len(axes) > 3 and axes[0] == n_trials:
        return (
            f"its axes {axes} are read as X, Y, Z, trials: store array.reshape({n_trials}, -1), or, if the second axis "
            f"is repetitions, array.reshape({n_trials * axes[1]}, -1), with each image {axes[1]} times in trials.csv"
        )
    if n_trials in axes:
        return f"trials seem to be axis {axes.index(n_trials) + 1} of its axes {axes}: move it to the front"
    return "leave out the trials without responses, or make the file again"


def find_responses(base_dir: Path, trials: Trials) -> ResponseFiles:
    """Find the files of responses in a folder; warn of each file that is not read, with the reason.

    Raises InputError if two files hold the same trials, or if a surface has files of only one hemisphere.
    """
    folder, on_top = base_dir / "responses", sorted(base_dir.glob("responses.*"))
    whole = [path for path in on_top if path.is_file() and _ending(path)]
    if len(whole) > 1:
        raise InputError(f"{base_dir} has {whole[0].name} and {whole[1].name}: keep one of them")
    found: dict[tuple[str, int | None], dict[str, dict[int | None, Path]]] = {}
    unread = []
    for path in [*on_top, *_files(folder, trials)]:
        part = _part(path, trials)
        if path in whole:
            continue
        if whole or part is None:
            why = f"{whole[0].name} holds all trials" if whole else _why_unread(path, trials)
            unread += [f"{path} is not read: {why}"] if why else []
            continue
        runs = found.setdefault((part.subject, part.session), {}).setdefault(part.side, {})
        if part.run in runs or (runs and None in {*runs, part.run}):
            _refuse_two(folder, runs.get(part.run) or next(iter(runs.values())), path)
        runs[part.run] = path
    in_order = {
        key: {side: tuple(runs[run] for run in sorted(runs, key=lambda run: run or 0)) for side, runs in files.items()}
        for key, files in found.items()
    }
    _check_parts(folder, in_order)
    for line in unread:
        log.warning(line)
    return ResponseFiles(folder, trials, whole[0] if whole else None, in_order, unread)


def _files(folder: Path, trials: Trials) -> Iterator[Path]:
    """Yield the files in a folder, and the files with trials in its subfolders; a subfolder without any is yielded."""
    for path in sorted(folder.glob("[!.]*")):
        nested = [one for one in sorted(path.rglob("[!.]*")) if _part(one, trials)] if path.is_dir() else []
        yield from nested or [path]


def _check_parts(folder: Path, parts: Mapping[tuple[str, int | None], Files]) -> None:
    """Raise InputError for a session that is also in a file of all sessions, and for files of only one hemisphere."""
    for (subject, session), files in parts.items():
        if session is not None and (subject, None) in parts:
            (one, *_), (other, *_) = next(iter(parts[subject, None].values())), next(iter(files.values()))
            _refuse_two(folder, one, other)
        if ("" in files and len(files) > 1) or (set(files) & set(SIDES) and not set(files) >= set(SIDES)):
            names = " and ".join(path.name for runs in files.values() for path in runs)
            raise InputError(f"{folder} has {names}: a surface needs one file for lh. and one for rh.")


def _refuse_two(folder: Path, one: Path, other: Path) -> None:
    raise InputError(f"{folder} has {one.name} and {other.name} for the same trials: keep one of them")


def _ending(path: Path) -> str:
    """Return the ending of a file of responses; empty for a file of another kind."""
    return max((ending for ending in ENDINGS if path.name.lower().endswith(ending)), key=len, default="")


def _part(path: Path, trials: Trials) -> Part | None:
    """Return which trials a file holds, by its name; None if the table of trials has none of them."""
    ending = _ending(path)
    if not ending or not path.is_file():
        return None
    part = part_of(path.name[: -len(ending)], {subject for subject, _ in trials.parts})
    return part if part and (part.subject, part.session) in trials.parts else None


def _why_unread(path: Path, trials: Trials) -> str | None:
    """Return the reason why a file is not read; None for a file that cannot hold responses."""
    if not _ending(path) or path.is_dir():
        return of_other_kind(path)
    example = f"{trials.subjects[0]}_1{_ending(path)}"
    return (
        f"{trials.path.name} has no trials of this subject and session; name files like {example}, like "
        f"{example.replace('_1', '_ses-01_run-1')} for a run, or as in BIDS"
    )
