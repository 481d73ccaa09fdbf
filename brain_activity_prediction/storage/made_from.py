"""Record which files a result was made from; the result is finished if these files are still the same.

The note is written last. Times of change are compared for equality only, so that neither a killed run nor a wrong clock
looks finished.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from brain_activity_prediction.runtime.errors import Damaged
from brain_activity_prediction.storage.checked_json import read_json
from brain_activity_prediction.storage.files import written_whole

NAME = "made_from.json"


@dataclass(frozen=True)
class Note:
    """The content of a note."""

    files: str  # as `state_of` gives it


def state_of(folder: Path, paths: Iterable[Path]) -> str:
    """Return a digest of the names, sizes and times of change of files in a folder."""
    states = []
    for path in sorted(paths):
        found = path.stat()
        states.append((path.relative_to(folder).as_posix(), found.st_size, found.st_mtime_ns))
    return hashlib.sha256(json.dumps(states).encode()).hexdigest()


def write_note(folder: Path, state: str) -> None:
    """Record what the results in a folder were made from."""
    with written_whole(folder / NAME) as path:
        path.write_text(json.dumps(asdict(Note(state))) + "\n")


def noted(folder: Path) -> str | None:
    """Return what the results in a folder were made from; None if they are unfinished or have no note."""
    if not (folder / NAME).is_file():
        return None
    try:
        return read_json(folder / NAME, Note, "it is written again").files
    except Damaged:
        return None
