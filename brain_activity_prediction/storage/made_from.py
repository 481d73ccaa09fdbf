"""Record in a note the files from which a result was made; the result is up to date while these files stay the same.

The note is written last, so that a killed run leaves no note. Times of change are only compared for equality, because
clocks may be wrong.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from brain_activity_prediction.runtime.errors import Damaged
from brain_activity_prediction.storage.checked_json import read_json, write_json

NAME = "made_from.json"


@dataclass(frozen=True)
class Note:
    """The content of the note that records the input files of a result."""

    files: str  # digest from `state_of`


def state_of(folder: Path, paths: Iterable[Path]) -> str:
    """Return a digest of the names, sizes and times of change of files in a folder."""
    states = []
    for path in sorted(paths):
        found = path.stat()
        states.append((path.relative_to(folder).as_posix(), found.st_size, found.st_mtime_ns))
    return hashlib.sha256(json.dumps(states).encode()).hexdigest()


def write_note(folder: Path, state: str) -> None:
    """Record the digest of the files from which the results in a folder were made."""
    write_json(folder / NAME, Note(state))


def noted(folder: Path) -> str | None:
    """Return the digest of the files from which the results in a folder were made; None without a valid note."""
    if not (folder / NAME).is_file():
        return None
    try:
        return read_json(folder / NAME, Note, "it is written again").files
    except Damaged:
        return None
