"""Read FreeSurfer's .annot files: a colour for each vertex, and a table with the region of each colour.

nibabel's reader trusts the counts in a file, and looks up regions by their position in the table. If the table has
gaps, these positions differ from the file's own numbers.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.runtime.wording import count
from brain_activity_prediction.storage.files import read_bytes, reading

LARGEST_BYTES = 2**26  # a surface of 300,000 vertices takes 2.4 MB
VERSION_2 = -2  # written where files of version 1 have the number of their regions
SMALLEST_REGION = 4 * 5  # bytes: the length of its name, and its colour


def read_annot(path: Path) -> tuple[np.ndarray, dict[int, str]]:
    """Return the number of each vertex's region (n_vertices,), 0 for no region, and the name of each number from 1.

    Raises InputError for a damaged file, and for two regions with the same colour.
    """
    with reading(path):
        content = _Content(read_bytes(path, LARGEST_BYTES))
        vertices, colours = content.numbers(2 * content.count(4 * 2)).reshape(-1, 2).T
        of_vertices = np.zeros_like(colours)
        if not np.isin(vertices, np.arange(len(vertices))).all():
            raise ValueError("it has vertex numbers above its number of vertices")
        of_vertices[vertices] = colours
        labels, names = np.zeros_like(colours), dict[int, str]()
        for number, (name, colour) in enumerate(_table(content), 1):
            inside = of_vertices == (colour or -1)  # 0 is no region
            if (labels[inside] > 0).any():
                raise ValueError(f"{names[labels[inside][0]]!r} and {name!r} have the same colour, which must differ")
            labels[inside], names[number] = number, name
    if n_unknown := np.count_nonzero(of_vertices[labels == 0]):
        _tell_unknown(path, n_unknown)
    return labels, names


@cache  # warns once for each file, even if it is read again
def _tell_unknown(path: Path, n: int) -> None:
    log.warning(f"{path}: {count(n, 'vertex', 'vertices')} in no region, because the table does not have their colour")


class _Content:
    """The bytes of a file: big-endian integers of 4 bytes and texts, read from front to back."""

    def __init__(self, content: bytes):
        self.content, self.place = content, 0

    def read(self, n: int) -> bytes:
        if not 0 <= n <= (left := len(self.content) - self.place):
            raise ValueError(f"{n:,} bytes should follow byte {self.place:,}, but it has {left:,} more")
        self.place += n
        return self.content[self.place - n : self.place]

    def numbers(self, n: int) -> np.ndarray:
        return np.frombuffer(self.read(4 * n), dtype=">i4").astype(np.int64)

    def number(self) -> int:
        return int(self.numbers(1)[0])

    def text(self) -> str:
        return self.read(self.number()).split(b"\0")[0].decode(errors="replace")

    def count(self, n_bytes: int) -> int:
        """Read the number of entries that follow, each of which has at least `n_bytes`."""
        n, left = self.number(), len(self.content) - self.place
        if not 0 <= n * n_bytes <= left:
            raise ValueError(f"it states {n:,} entries, but has {left:,} bytes for them")
        return n


def _table(content: _Content) -> list[tuple[str, int]]:
    """Read the name of each region, and its colour as one number: red, green and blue in the lowest three bytes."""
    if not content.number():
        raise ValueError("it has no table of regions")
    start = content.place
    version = content.number()
    if version > 0:
        content.place = start
        n = content.count(SMALLEST_REGION)
        content.text()  # the table's own file
    elif version == VERSION_2:
        content.number()  # one more than the largest index
        content.text()
        n = content.count(4 + SMALLEST_REGION)
    else:
        raise ValueError(f"its table has the unknown version {-version}")
    regions = []
    for _ in range(n):
        if version == VERSION_2:
            content.number()  # the index
        name = content.text()
        red, green, blue, _ = content.numbers(4)
        regions.append((name, int(red + (green << 8) + (blue << 16))))
    return regions
