"""Write and read HDF5 files in which a header with checksums precedes the data, so that every byte is protected.

HDF5's own checksums do not detect all damage: a block of zeros satisfies Fletcher-32, and names, shapes and addresses
have no checksum unless the newest format is chosen. A sealed file therefore begins with a user block, which HDF5 tools
skip. The block holds 16 hex digits of the SHA-256 of the rest of the block, then JSON, padded with zeros. The JSON
holds the sizes of the block and of the file, the SHA-256 of everything after the block, a description of the file, and
the position and SHA-256 of each piece of each dataset. Data are read from these positions without HDF5.

A dataset is one piece, or is cut into pieces along one axis: `cuts` is `{name: (axis, step)}`. Pieces are uncompressed
HDF5 chunks.
"""

import hashlib
import io
import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import h5py
import numpy as np

from brain_activity_prediction.storage.checked_json import checked
from brain_activity_prediction.storage.files import written_whole

DIGITS = 16
SMALLEST_BLOCK, LARGEST_BLOCK = 4096, 2**24
READ_BYTES = 16 * 2**20
DTYPE = re.compile(r"[<>][iuf][248]|\|[iu]1|\|S[1-9]\d{0,8}")  # numpy's `dtype.str`
Cuts = Mapping[str, tuple[int, int]]


@dataclass(frozen=True)
class Stored:
    """A dataset in a sealed file: its type and shape, and the offset and digest of each of its pieces."""

    dtype: str
    shape: tuple[int, ...]
    cut: tuple[int, ...]  # (axis, step): pieces are `step` long along `axis`
    pieces: list  # list of [offset, digest]; each entry is checked only when its piece is read

    @property
    def n_bytes(self) -> int:
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    @property
    def is_possible(self) -> bool:
        """Return whether type, shape and number of pieces are valid and consistent."""
        if not DTYPE.fullmatch(self.dtype) or not self.shape or min(self.shape) < 1 or len(self.cut) != 2:
            return False
        axis, step = self.cut
        return 0 <= axis < len(self.shape) and step > 0 and len(self.pieces) == -(-self.shape[axis] // step)

    def where(self, number: int) -> tuple[slice, ...]:
        """Return the index of the part of the array that a piece holds."""
        axis, step = self.cut
        stop = min((number + 1) * step, self.shape[axis])
        return (*map(slice, self.shape[:axis]), slice(number * step, stop), *map(slice, self.shape[axis + 1 :]))


@dataclass(frozen=True)
class Seal:
    """The header of a sealed file.

    block     size of the user block in bytes
    size      size of the file in bytes
    rest      digest of all bytes after the block
    about     description of the file
    datasets  datasets by name
    """

    block: int
    size: int
    rest: str
    about: dict[str, Any]
    datasets: dict[str, Stored]

    def check_axes(self, axes: Mapping[str, str], sizes: Mapping[str, int] | None = None) -> None:
        """Raise ValueError unless all datasets are expected numeric arrays whose axes have consistent sizes.

        axes   `{dataset: one letter for each axis}`, such as `{"image_ids": "n", "betas": "nV"}`
        sizes  `{letter: size}` of the axes whose size is known
        """
        known = dict(sizes or {})
        for name, stored in self.datasets.items():
            letters = axes.get(name)
            if (
                letters is None
                or len(letters) != len(stored.shape)
                or "S" in stored.dtype
                or any(known.setdefault(*axis) != axis[1] for axis in zip(letters, stored.shape, strict=True))
            ):
                raise ValueError(
                    f"it holds {name} {stored.shape} of {stored.dtype}, which this package does not expect"
                )


def write_sealed(path: Path, arrays: Mapping[str, np.ndarray], about: Mapping, cuts: Cuts | None = None) -> None:
    """Write a sealed file atomically: non-empty arrays by name, and their description `about`."""
    cuts = {name: (cuts or {}).get(name, (0, len(array))) for name, array in arrays.items()}
    with written_whole(path) as aside, _Writable(aside, "w+") as file:
        block = _block_size(arrays, about, cuts)
        datasets = _write_hdf5(file, block, arrays, about, cuts)
        size = file.seek(0, os.SEEK_END)
        file.raise_error()
        seal = Seal(block, size, _digest_of_rest(file, block), dict(about), datasets)
        text = json.dumps(asdict(seal), separators=(",", ":")).encode()
        assert len(text) + DIGITS <= block, "the block was reckoned too small"
        text = text.ljust(block - DIGITS, b"\0")
        file.seek(0)
        file.write(_digest(text).encode() + text)
        file.raise_error()


def read_seal(path: Path) -> Seal:
    """Read the header of a sealed file; raise ValueError if it is damaged or the file has another size."""
    with _opened(path) as file:
        return _read_seal(file)


def read_array(path: Path, name: str) -> np.ndarray:
    """Read a whole dataset of a sealed file; raise ValueError if it is damaged, KeyError if the name is unknown."""
    with _opened(path) as file:
        stored = _read_seal(file).datasets[name]
        array = np.empty(stored.shape, stored.dtype)
        for number in range(len(stored.pieces)):
            array[stored.where(number)] = _read_piece(file, name, stored, number)
    return array


def read_piece(path: Path, name: str, number: int) -> np.ndarray:
    """Read one piece of a dataset; the axis along which it is cut is kept. Raises the same errors as `read_array`."""
    with _opened(path) as file:
        return _read_piece(file, name, _read_seal(file).datasets[name], number)


def verify(path: Path) -> None:
    """Read every byte of a sealed file; raise ValueError if any byte has changed since the file was written."""
    with _opened(path) as file:
        seal = _read_seal(file)
        if _digest_of_rest(file, seal.block) != seal.rest:
            raise ValueError("its content does not match its checksum")


class _Writable(io.FileIO):
    """A file object for HDF5 that hides write errors, because HDF5 ends the whole process when a write fails."""

    error: OSError | None = None

    def write(self, content: Any) -> int:
        length = memoryview(content).nbytes
        try:
            written = 0
            while written < length and self.error is None:
                written += super().write(memoryview(content).cast("B")[written:])
        except OSError as error:
            self.error = error
        return length

    def raise_error(self) -> None:
        if self.error:
            raise self.error


def _write_hdf5(
    file: BinaryIO, block: int, arrays: Mapping[str, np.ndarray], about: Mapping, cuts: Cuts
) -> dict[str, Stored]:
    """Write the HDF5 content after the user block, and return the position of each piece."""
    datasets = {}
    with h5py.File(file, "w", userblock_size=block, libver="latest") as hdf5:
        hdf5.attrs["about"] = json.dumps(about)
        for name, array in arrays.items():
            axis, step = cuts[name]
            stored = Stored(array.dtype.str, array.shape, cuts[name], [])
            chunks = (*array.shape[:axis], step, *array.shape[axis + 1 :])
            dataset = hdf5.create_dataset(name, data=array, chunks=chunks, fletcher32=True)
            for number in range(-(-array.shape[axis] // step)):
                where = stored.where(number)
                info = dataset.id.get_chunk_info_by_coord(tuple(part.start or 0 for part in where))
                stored.pieces.append([info.byte_offset, _digest(np.ascontiguousarray(array[where]))])
            datasets[name] = stored
    return datasets


def _block_size(arrays: Mapping[str, np.ndarray], about: Mapping, cuts: Cuts) -> int:
    """Return the size of a user block that holds the header; HDF5 requires a power of two."""
    pieces = sum(array.shape[cuts[name][0]] // cuts[name][1] + 1 for name, array in arrays.items())
    needed = 512 + len(json.dumps(about)) + 40 * pieces + sum(200 + len(name) for name in arrays)
    return max(SMALLEST_BLOCK, 1 << needed.bit_length())


def _opened(path: Path) -> BinaryIO:
    if not os.path.isfile(path) and os.path.exists(path):
        raise ValueError("not a file")  # reading a pipe would wait forever
    return open(path, "rb")


def _read_seal(file: BinaryIO) -> Seal:
    content = file.read(SMALLEST_BLOCK)
    text = content[DIGITS:]
    block = re.match(rb'{"block":(\d{1,8}),', text)
    if block and len(content) < int(block[1]) <= LARGEST_BLOCK:
        text += file.read(int(block[1]) - len(content))
    if _digest(text).encode() != content[:DIGITS]:
        raise ValueError("its header does not match its checksum")
    seal, n_bytes = checked(json.loads(text.rstrip(b"\0")), Seal, "its header"), os.fstat(file.fileno()).st_size
    if seal.size != n_bytes:
        raise ValueError(f"it has {n_bytes} bytes, but was written with {seal.size}")
    for name, stored in seal.datasets.items():
        if not stored.is_possible or stored.n_bytes > n_bytes:
            raise ValueError(f"its header promises {stored.shape} of {stored.dtype} in pieces {stored.cut} as {name}")
    return seal


def _read_piece(file: BinaryIO, name: str, stored: Stored, number: int) -> np.ndarray:
    place = stored.pieces[number]
    if type(place) is not list or list(map(type, place)) != [int, str] or place[0] < 0:
        raise ValueError(f"its header says that piece {number} of {name} is at {place}")
    offset, digest = place
    shape = tuple(part.stop - (part.start or 0) for part in stored.where(number))
    piece = np.empty(shape, stored.dtype)
    file.seek(offset)
    n_read = cast(Any, file).readinto(piece.view(np.uint8).reshape(-1)) if piece.nbytes else 0
    if n_read != piece.nbytes or _digest(piece) != digest:
        raise ValueError(f"piece {number} of {name} does not match its checksum")
    return piece


def _digest_of_rest(file: BinaryIO, start: int) -> str:
    digest = hashlib.sha256()
    file.seek(start)
    while content := file.read(READ_BYTES):
        digest.update(content)
    return digest.hexdigest()[:DIGITS]


def _digest(content: Any) -> str:
    return hashlib.sha256(content).hexdigest()[:DIGITS]
