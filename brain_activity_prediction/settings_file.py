"""What changes the numbers in a folder, recorded there as `settings.json`, so that nothing else is ever mixed in."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from brain_activity_prediction.files import read_bytes, reading, written_whole

NAME, CHECKSUM = "settings.json", "checksum"
LARGEST_BYTES = 2**20


def recorded_settings(folder: Path, remedy: str) -> dict | None:
    """The settings recorded in a folder; None where there are none yet. `Damaged` if altered since."""
    path = folder / NAME
    if not path.exists():
        return None
    with reading(path, remedy):
        settings = dict(json.loads(read_bytes(path, LARGEST_BYTES)))
        if settings.pop(CHECKSUM, None) != _checksum(settings):
            raise ValueError("it is not what was recorded")
        return settings


def record_settings(folder: Path, settings: Mapping, first: bool = False) -> None:
    """Writes `settings.json` with a checksum, in place of what was there; with `first` FileExistsError where one is."""
    with written_whole(folder / NAME, first) as path:
        recorded = {**settings, CHECKSUM: _checksum(settings)}
        path.write_text(json.dumps(recorded, indent=2, sort_keys=True) + "\n")


def fingerprint(settings: Mapping) -> str:
    """Eight hexadecimal digits that tell settings from any others."""
    return hashlib.blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=4).hexdigest()


def first_difference(known: Mapping, wanted: Mapping) -> str | None:
    """`name = value, this run has value` of the first setting that differs; those only one side has do not clash."""
    wanted = json.loads(json.dumps(wanted))  # tuples become lists, as they do in the file
    for name in sorted(known.keys() & wanted.keys()):
        if known[name] != wanted[name]:
            return f"{name} = {known[name]}, this run has {wanted[name]}"
    return None


def _checksum(settings: Mapping) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
