"""Batch files of hidden states: their names, headers and image ids, and an index of all batch files in a folder.

Shapes: F files, n images, L layers, W width.
"""

from __future__ import annotations

import hashlib
import os
import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from brain_activity_prediction.runtime.wording import count
from brain_activity_prediction.storage.checked_json import checked
from brain_activity_prediction.storage.sealed_hdf5 import Seal, Stored, read_seal

IDS, ANSWERS = "image_ids", "answers"
NAMED = "named"  # replaces the span of numbers in file names of batches with named images
A_LAYER = (1, 1)  # streams are cut along axis 1 into pieces of one layer
Streams = frozenset[str]
ImageId: TypeAlias = "int | str"  # NSD's numbers, from 1, or the names of another dataset


@dataclass(frozen=True)
class BatchHeader:
    """The header of a batch file."""

    image_ids: list[int | str]  # the image of each row: numbers for NSD, names for other datasets
    settings: dict[str, Any]
    digests: list[str] = field(default_factory=list)  # digest of each image's pixels; empty for NSD


@dataclass(frozen=True)
class BatchFile:
    """The header of a batch file, and its streams by name: arrays (n, L, W)."""

    header: BatchHeader
    streams: dict[str, Stored]
    has_answers: bool


def read_batch_file(path: Path) -> BatchFile:
    """Read the header of a batch file; raise ValueError if it is damaged or does not fit the schema."""
    seal = read_seal(path)
    header = checked(seal.about, BatchHeader, "its header")
    streams = {name: stored for name, stored in seal.datasets.items() if name not in (IDS, ANSWERS)}
    if problem := _problem(path.name, header, seal, streams):
        raise ValueError(problem)
    return BatchFile(header, streams, ANSWERS in seal.datasets)


def batch_names(folder: Path) -> list[str]:
    """Return the sorted names of the batch files in a folder; empty if the folder does not exist."""
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.name.startswith("batch_") and entry.name.endswith(".h5"))
    return []


def batch_name(image_ids: np.ndarray, streams: Iterable[str]) -> str:
    """Return the file name of a batch: the span of image numbers, and a digest of its image ids and streams."""
    named = image_ids.dtype.kind == "U"
    listed = "\n".join(image_ids).encode() if named else image_ids.tobytes()
    digest = hashlib.sha256(listed + repr(sorted(streams)).encode()).hexdigest()[:12]
    return f"batch_{NAMED if named else f'{image_ids.min():05d}-{image_ids.max():05d}'}_{digest}.h5"


def may_hold(name: str, image_ids: np.ndarray) -> bool:
    """Return whether a batch file may hold any of these images, judged by its name; raise ValueError for a bad name."""
    _, images, *_ = name.split("_")
    if images == NAMED or image_ids.dtype.kind == "U":
        return images == NAMED and image_ids.dtype.kind == "U"
    low, high = _span(images)
    return bool(((image_ids >= low) & (image_ids <= high)).any())


def _span(images: str) -> tuple[int, int]:
    low, _, high = images.partition("-")
    return int(low), int(high)


def _problem(name: str, header: BatchHeader, seal: Seal, streams: dict[str, Stored]) -> str | None:
    if bad := [stream for stream in streams if not re.fullmatch(r"\w+", stream)]:  # streams become file names
        return f"{min(bad)!r} is not the name of a stream"
    if any(len(stored.shape) != 3 for stored in streams.values()):
        return "one of its streams does not have the axes images x layers x width"
    if any(stored.cut != A_LAYER or "S" in stored.dtype for stored in streams.values()):
        return "one of its streams does not consist of numbers in pieces of one layer"
    if any(stored.shape[0] != len(header.image_ids) for stored in seal.datasets.values()):
        return f"one of its datasets does not have {count(len(header.image_ids), 'row')}, one for each image"
    if header.digests and len(header.digests) != len(header.image_ids):
        return f"it has {count(len(header.digests), 'digest')} for {count(len(header.image_ids), 'image')}"
    if ANSWERS in seal.datasets and "S" not in seal.datasets[ANSWERS].dtype:
        return "its answers are not text"
    if not _fits(name, header.image_ids, streams):
        return "its name and its header disagree about its images"
    return None


def _fits(name: str, image_ids: list[int | str], streams: Iterable[str]) -> bool:
    """Return whether a file's name fits its images; for numbered images, only the span is compared."""
    if not image_ids or len({type(image_id) for image_id in image_ids}) > 1:
        return False
    if isinstance(image_ids[0], str):
        return name == batch_name(np.array(image_ids), streams)
    return (min(image_ids), max(image_ids)) == _span(name.split("_")[1])


@dataclass(frozen=True)
class Contents:
    """An index of the batch files in a folder, in a few bytes for each image."""

    names: np.ndarray = field(default_factory=lambda: np.empty(0, "S1"))  # (F,) file names, ascending
    streams: Sequence[Streams] = ()  # names of the streams of each file
    ends: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))  # (F,) end of each file's part of `ids`
    ids: np.ndarray = field(default_factory=lambda: np.empty(0, np.int32))  # (n,) image ids, file by file

    def __iter__(self) -> Iterator[tuple[str, np.ndarray, Streams]]:
        """Yield the name, image ids and streams of each file."""
        for name, streams, start, end in zip(self.names, self.streams, self._starts(), self.ends, strict=True):
            yield os.fsdecode(name), self.ids[start:end], streams

    def ids_with(self, stream: str) -> np.ndarray:
        """Return the image ids in all files that have this stream; an id in several files is repeated."""
        has = np.array([stream in streams for streams in self.streams], dtype=bool)
        return self.ids[np.repeat(has, self.ends - self._starts())]

    def of(self, names: Sequence[str], read: Callable[[str], tuple[np.ndarray, Streams]]) -> Contents:
        """Return an index of the named files; read only the files that are not yet in this index."""
        now = np.sort(np.array(list(map(os.fsencode, names)), dtype=bytes))
        if np.array_equal(now, self.names):
            return self
        starts, places = self._starts(), np.searchsorted(self.names, now)
        streams, ends, numbers, named = [], array("q"), array("i"), []
        kinds: dict[Streams, Streams] = {}  # files with the same streams share one set, to save memory
        for name, place in zip(now, places, strict=True):
            if place < len(self.names) and self.names[place] == name:
                ids, held = self.ids[starts[place] : self.ends[place]], self.streams[place]
            else:
                ids, held = read(os.fsdecode(name))
            if isinstance(ids, np.ndarray) and ids.dtype.kind == "U":
                named.append(ids)
            else:
                numbers.frombytes(np.asarray(ids, dtype=np.int32).tobytes())
            ends.append((ends[-1] if ends else 0) + len(ids))
            streams.append(kinds.setdefault(held, held))
        if named and numbers:
            raise ValueError("some of its batches have numbered images, others have named images")
        return Contents(now, streams, np.array(ends), np.concatenate(named) if named else np.array(numbers))

    def _starts(self) -> np.ndarray:
        return np.concatenate([[0], self.ends[:-1]]) if len(self.ends) else self.ends


def as_ids(image_ids: Sequence[ImageId] | np.ndarray) -> np.ndarray:
    """Return image ids as an array (n,) of int64 or of str."""
    ids = np.asarray(image_ids)
    return ids if ids.dtype.kind == "U" else ids.astype(np.int64)


def claim_name(image_id: ImageId) -> str:
    """Return the name with which a process claims an image; it can be used as a file name."""
    if isinstance(image_id, str):
        return hashlib.blake2b(image_id.encode(), digest_size=12).hexdigest()
    return f"{image_id:05d}"
