"""Index the batch files in a folder, in a few bytes for each image.

Shapes: F files, n images in all files together.
"""

import os
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

Streams = frozenset[str]


@dataclass(frozen=True)
class Contents:
    names: np.ndarray = field(default_factory=lambda: np.empty(0, "S1"))  # (F,) file names, ascending
    streams: Sequence[Streams] = ()  # the streams of each file
    ends: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))  # (F,) end of each file's part of `ids`
    ids: np.ndarray = field(default_factory=lambda: np.empty(0, np.int32))  # (n,) image ids, file by file

    def __iter__(self) -> Iterator[tuple[str, np.ndarray, Streams]]:
        """Yield the name, image ids and streams of each file."""
        for name, streams, start, end in zip(self.names, self.streams, self._starts(), self.ends, strict=True):
            yield os.fsdecode(name), self.ids[start:end], streams

    def ids_with(self, stream: str) -> np.ndarray:
        """Return the image ids in all files that have a stream; an id in several files is repeated."""
        has = np.array([stream in streams for streams in self.streams], dtype=bool)
        return self.ids[np.repeat(has, self.ends - self._starts())]

    def of(self, names: Sequence[str], read: Callable[[str], tuple[np.ndarray, Streams]]) -> "Contents":
        """Return an index of the named files; read only the files that are not yet in this index."""
        now = np.sort(np.array(list(map(os.fsencode, names)), dtype=bytes))
        if np.array_equal(now, self.names):
            return self
        starts, places = self._starts(), np.searchsorted(self.names, now)
        streams, ends, numbers, named = [], array("q"), array("i"), []
        kinds: dict[Streams, Streams] = {}  # each set of streams is stored once, however many files have it
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
            raise ValueError("its batches have images by number and by name")
        return Contents(now, streams, np.array(ends), np.concatenate(named) if named else np.array(numbers))

    def _starts(self) -> np.ndarray:
        return np.concatenate([[0], self.ends[:-1]]) if len(self.ends) else self.ends
