"""Read the trials of an experiment: which subject saw which image, in which session."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from brain_activity_prediction.datasets.files.tables import one_of, read_table
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.runtime.wording import did_you_mean

NAMES = ("trials.csv", "trials.tsv")
SUBJECT, SESSION, IMAGE = "subject", "session", "image"
SUBJECT_NAME = re.compile(r"\w[\w.+-]{0,99}")
SESSION_NAME = re.compile(r"(?:ses-?)?0*([1-9][0-9]{0,3})(?:\.0)?")  # pandas writes 1.0 if a session is missing
NO_IMAGE = {"", "n/a", "nan", "NaN", "NA", "None"}


@dataclass(frozen=True)
class Trials:
    """The trials of all subjects, in the order of the table.

    All arrays are (n_trials,). `subjects` and `images` are text, `sessions` count from 1, and `lines` are the line
    numbers in the file.
    """

    path: Path
    subjects: np.ndarray
    sessions: np.ndarray
    images: np.ndarray
    lines: np.ndarray

    @cached_property
    def parts(self) -> frozenset[tuple[str, int | None]]:
        """All pairs (subject, session), and for each subject the pair (subject, None) for all sessions."""
        pairs = set(zip(self.subjects.tolist(), self.sessions.tolist(), strict=True))
        return frozenset(pairs | {(subject, None) for subject, _ in pairs})

    def rows(self, subject: str, session: int | None = None) -> np.ndarray:
        """Return the rows (from 0, ascending) of a subject's trials, in one session or by default in all."""
        of_subject = self.subjects == subject
        return np.flatnonzero(of_subject if session is None else of_subject & (self.sessions == session))


def read_trials(folder: Path) -> Trials:
    """Read trials.csv or trials.tsv; without a column `session`, all trials are of session 1.

    Raises InputError that names the line of a wrong row.
    """
    path = one_of(folder, NAMES)
    if path is None:
        raise InputError(f"{folder} has no {NAMES[0]}: write a table with the columns {SUBJECT}, {SESSION} and {IMAGE}")
    header, rows = read_table(path)
    for name in (SUBJECT, SESSION, IMAGE):
        if header.count(name) > 1:
            raise InputError(f"{path} has {header.count(name)} columns {name}: keep one of them")
    for name in (SUBJECT, IMAGE):
        if name not in header:
            there = ", ".join(header)[:100] or "none"
            raise InputError(f"{path} has no column {name}{did_you_mean(name, header)}: it has {there}")
    if not rows:
        raise InputError(f"{path} has no trials")
    columns = {name: header.index(name) for name in (SUBJECT, SESSION, IMAGE) if name in header}
    found = [_trial(path, line, row, columns) for line, row in rows]
    _check_subjects(path, dict.fromkeys(subject for subject, _, _ in found))
    _check_onsets(path, header, rows, found)
    subjects, sessions, images = (np.array(column) for column in zip(*found, strict=True))
    return Trials(path, subjects, sessions, images, np.array([line for line, _ in rows]))


def _trial(path: Path, line: int, row: list[str], columns: dict[str, int]) -> tuple[str, int, str]:
    if len(row) <= max(columns.values()):
        raise InputError(f"{path}, line {line}, has {len(row)} cells, fewer than the columns need")
    cells = {name: row[place].strip() for name, place in columns.items()}
    session = SESSION_NAME.fullmatch(cells.get(SESSION, "1"))
    if not SUBJECT_NAME.fullmatch(cells[SUBJECT]):
        raise InputError(f"{path}, line {line}: {cells[SUBJECT][:60]!r} is not the name of a subject, such as sub-03")
    if session is None:
        raise InputError(f"{path}, line {line}: {cells[SESSION][:60]!r} is not a session, such as 1 or ses-01")
    if cells[IMAGE] in NO_IMAGE:
        raise InputError(f"{path}, line {line}, names no image: delete the lines of trials without an image")
    return cells[SUBJECT], int(session[1]), cells[IMAGE]


def _check_subjects(path: Path, subjects: Iterable[str]) -> None:
    """Raise InputError if one subject has two names, such as sub-01 and 1."""
    names: dict[str, str] = {}
    for subject in subjects:
        other = names.setdefault(subject.removeprefix("sub-").lstrip("0"), subject)
        if other != subject:
            raise InputError(f"{path} names subjects {other} and {subject}: give each subject one name")


def _check_onsets(path: Path, header: list[str], rows: list[tuple[int, list[str]]], trials: list) -> None:
    """Warn of the first line whose onset is earlier than that of the line before, if the table has run and onset."""
    if not {"run", "onset"} <= set(header):
        return
    run, onset = header.index("run"), header.index("onset")
    before: tuple = ()
    for (line, row), (subject, session, _) in zip(rows, trials, strict=True):
        try:
            now = (subject, session, row[run], float(row[onset]))
        except (ValueError, IndexError):
            return
        if before and now[:3] == before[:3] and now[3] < before[3]:
            log.warning(
                f"{path}, line {line}: the onset is earlier than in the line before. Lines must have the order of the "
                "responses, and most programs order them by onset"
            )
            return
        before = now
