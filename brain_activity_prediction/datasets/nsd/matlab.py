"""Read numeric arrays of a MATLAB v5 file, and check every stated size against the file before using it.

`scipy.io.loadmat` trusts the sizes that a file states: a damaged file can end the process with a segmentation fault,
which no `except` catches. This reader accepts only what NSD's design file contains: real numeric arrays, compressed or
not. Source: MathWorks, "MAT-File Level 5 File Format".
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Container
from pathlib import Path

import numpy as np

from brain_activity_prediction.storage.files import read_bytes

LARGEST_BYTES = 2**26  # largest file, compressed or decompressed: over 50 times NSD's design
HEADER_BYTES = 128
NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
MATRIX, COMPRESSED = 14, 15
NUMERIC_CLASSES = range(6, 16)  # double, single, and the integers of 8 to 64 bits
COMPLEX = 0x0800


def read_arrays(path: Path, names: Container[str]) -> dict[str, np.ndarray]:
    """Read `{name: array}` for the given names that the file contains, in MATLAB's shape and the dtype on disk.

    Raises ValueError for a file in another format, a truncated file, and a name whose array is not numeric.
    """
    data = read_bytes(path, LARGEST_BYTES)
    order = {b"IM": "<", b"MI": ">"}.get(data[HEADER_BYTES - 2 : HEADER_BYTES])
    if order is None or struct.unpack_from(f"{order}H", data, HEADER_BYTES - 4)[0] != 0x0100:
        raise ValueError("no MATLAB v5 header")
    arrays, position, left = {}, HEADER_BYTES, LARGEST_BYTES
    while position < len(data):
        kind, content, position = _element(data, position, order)
        if kind == COMPRESSED:
            content = _inflated(content, left)
            left -= len(content)
            kind, content, _ = _element(content, 0, order)
        if kind == MATRIX:
            name, flags, shape, numbers_at = _array_header(content, order)
            if name in names:
                arrays[name] = _numbers(content, numbers_at, order, name, flags, shape)
    return arrays


def _element(data: bytes, position: int, order: str) -> tuple[int, bytes, int]:
    """Return the type code and bytes of the data element at `position`, and the position of the next element."""
    if position + 8 > len(data):
        raise ValueError("it ends within an element")
    kind, n_bytes = struct.unpack_from(f"{order}II", data, position)
    if kind >> 16:  # small elements store up to 4 bytes of data in the tag itself
        kind, n_bytes, start, after = kind & 0xFFFF, kind >> 16, position + 4, position + 8
        if n_bytes > 4:
            raise ValueError("a small element is larger than 4 bytes")
    else:
        start = position + 8
        after = start + n_bytes + (-n_bytes % 8 if kind != COMPRESSED else 0)
    if start + n_bytes > len(data):
        raise ValueError("an element is longer than the rest of the file")
    return kind, data[start : start + n_bytes], after


def _inflated(content: bytes, limit: int) -> bytes:
    inflate = zlib.decompressobj()
    data = inflate.decompress(content, limit + 1)
    if len(data) > limit:
        raise ValueError(f"it inflates to more than {LARGEST_BYTES} bytes")
    if not inflate.eof:  # zlib verifies its checksum only at the end
        raise ValueError("a compressed element is cut off")
    return data


def _array_header(content: bytes, order: str) -> tuple[str, int, tuple[int, ...], int]:
    """Return the name, flags and shape of an array, and the position of its numbers within `content`."""
    kind, flags, position = _element(content, 0, order)
    if kind != 6 or len(flags) != 8:
        raise ValueError("an array has no flags")
    kind, sizes, position = _element(content, position, order)
    if kind != 5 or len(sizes) < 8 or len(sizes) % 4:
        raise ValueError("an array has no sizes")
    _, name, position = _element(content, position, order)
    shape = struct.unpack(f"{order}{len(sizes) // 4}i", sizes)
    return name.decode("ascii", "replace"), struct.unpack_from(f"{order}I", flags)[0], shape, position


def _numbers(content: bytes, position: int, order: str, name: str, flags: int, shape: tuple[int, ...]) -> np.ndarray:
    if flags & 0xFF not in NUMERIC_CLASSES or flags & COMPLEX:
        raise ValueError(f"{name} is not an array of real numbers")
    kind, numbers, _ = _element(content, position, order)
    dtype = np.dtype(order + NUMBERS[kind]) if kind in NUMBERS else None
    if dtype is None or min(shape) < 0 or math.prod(shape) * dtype.itemsize != len(numbers):
        raise ValueError(f"the data of {name} do not fit its size, {' x '.join(map(str, shape))}")
    return np.frombuffer(numbers, dtype).astype(dtype.newbyteorder("=")).reshape(shape, order="F")
