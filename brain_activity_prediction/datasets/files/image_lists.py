"""Read lists of images that users write: one id in each line."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np

from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.runtime.wording import count, did_you_mean, no_such_path
from brain_activity_prediction.storage.files import read_bytes, reading

LARGEST_BYTES = 2**24  # the names of 100,000 images take under 10 MB
MOST_DIGITS = 12
REMEDY = "write one image in each line, as text in UTF-8"


def read_image_list(path: Path, flag: str, seen: np.ndarray) -> np.ndarray:
    """Read image ids, one in each line, and return the ids of images that the subject saw, ascending.

    If the subject did not see all images, a message gives their number, and the first unseen image with its line.
    Raises InputError for an entry that is not an id (with its line), if the subject saw none of the images, and for
    numbers that seem to count from 0.
    """
    if not path.is_file():
        raise InputError(f"{flag} {no_such_path(path)}")
    with reading(path, REMEDY):
        lines = read_bytes(path, LARGEST_BYTES).decode("utf-8-sig").splitlines()
    entries = {number: line.strip() for number, line in enumerate(lines, 1) if line.strip()}
    named = seen.dtype.kind == "U"
    if not named:
        for number, entry in entries.items():
            if not entry.isdecimal() or len(entry) > MOST_DIGITS:
                raise InputError(f"{path}, line {number}: {entry[:60]!r} is not an image number: {REMEDY}")
    ids = np.array([*entries.values()], dtype=str) if named else np.array([*map(int, entries.values())], dtype=np.int64)
    listed, first = np.unique(ids, return_index=True)
    is_seen = np.isin(listed, seen)
    if not named:
        _check_base(path, listed, seen)
    if is_seen.all() and listed.size:
        return listed
    unseen = _first_unseen(entries, list(entries)[first[~is_seen].min()], seen) if listed.size else ""
    if not is_seen.any():
        raise InputError(f"{path} lists {count(listed.size, 'image')}, none of which the subject saw{unseen}: {REMEDY}")
    _tell_unseen(path, flag, f"the subject saw {is_seen.sum():,} of {count(listed.size, 'image')}", unseen, named)
    return listed[is_seen]


def _first_unseen(entries: Mapping[int, str], line: int, seen: np.ndarray) -> str:
    near = did_you_mean(entries[line], seen) if seen.dtype.kind == "U" else ""
    return f"; first {entries[line][:60]}{near} in line {line}"


def _check_base(path: Path, listed: np.ndarray, seen: np.ndarray) -> None:
    """Raise InputError if the listed numbers seem to count from 0, because the subject saw more of number + 1."""
    n_seen, n_shifted = np.isin(listed, seen).sum(), np.isin(listed + 1, seen).sum()
    if n_shifted > max(2 * n_seen, listed.size / 2):
        raise InputError(
            f"{path} seems to count images from 0: the subject saw {n_seen} of {count(listed.size, 'image')}, but "
            f"{n_shifted} after adding 1 to each number. Ids count from 1: add 1 to each"
        )
    if listed.size and listed[0] == 0:
        raise InputError(f"{path} lists image 0, but ids count from 1")


@cache  # reports each file once, even if the split is made again
def _tell_unseen(path: Path, flag: str, how_many: str, unseen: str, named: bool) -> None:
    tell = log.warning if named else log.info  # a number may be another subject's image; a name may be misspelt
    tell(f"{flag} {path}: {how_many}; only these are used{unseen}")
