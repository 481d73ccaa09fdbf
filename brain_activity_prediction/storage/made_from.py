"""Which files a result was made from, noted beside it as the last thing: it is finished where they are still the same.

Times of change are compared for equality only, so that neither a killed run nor a clock that is wrong passes for more.
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
    """A digest of names, sizes and times of change of files in a folder."""
    states = []
    for path in sorted(paths):
        found = path.stat()
        states.append((path.relative_to(folder).as_posix(), found.st_size, found.st_mtime_ns))
    return hashlib.sha256(json.dumps(states).encode()).hexdigest()


def write_note(folder: Path, state: str) -> None:
    """Notes what the results in a folder were made from."""
    with written_whole(folder / NAME) as path:
        path.write_text(json.dumps(asdict(Note(state))) + "\n")


def noted(folder: Path) -> str | None:
    """What the results in a folder were made from; None where they are not finished, or nothing is known."""
    if not (folder / NAME).is_file():
        return None
    try:
        return read_json(folder / NAME, Note, "it is written again").files
    except Damaged:
        return None
