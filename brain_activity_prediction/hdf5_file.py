"""HDF5 files that may be damaged or made to harm, opened so that what is read lies in the file and fits into memory.

HDF5 believes what a file states: a dataset may take its numbers from any other file of this machine, a chunk may claim
any size, and one smaller than its own checksum ends the process with a segmentation fault.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from brain_activity_prediction.files import reading

if TYPE_CHECKING:
    import h5py
    import numpy as np

SIGNATURE = b"\x89HDF\r\n\x1a\n"
USER_BLOCKS = (0, 512)  # where HDF5 may begin; MATLAB's own header takes the first 512 bytes
LARGEST_CHUNK_BYTES = 2**28
CHECKSUM_BYTES = 4


def is_hdf5(path: Path) -> bool:
    """Whether a file begins as HDF5 does, whatever follows."""
    with path.open("rb") as file:
        return any(file.seek(start) == start and file.read(len(SIGNATURE)) == SIGNATURE for start in USER_BLOCKS)


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """The file, read-only; whatever goes wrong in the block is an InputError that names it and the remedy."""
    import h5py

    with reading(path):
        if not path.is_file():  # a pipe would be waited for, for ever
            raise ValueError("not a file")
        with h5py.File(path, "r", locking=False) as file:
            yield file


def dataset(file: h5py.File, name: str) -> h5py.Dataset:
    """A dataset of numbers, or of texts of fixed length, that lies in the file itself; ValueError otherwise."""
    import h5py

    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f"{name} is a link to another place")
    found = file[name]
    if not isinstance(found, h5py.Dataset) or found.dtype.kind not in "iufS":
        raise ValueError(f"{name} is no array of numbers")
    if found.external or found.is_virtual:
        raise ValueError(f"the numbers of {name} lie in other files")
    if found.chunks:
        _check_chunks(found, file)
    return found


def small_array(file: h5py.File, name: str, largest_bytes: int) -> np.ndarray:
    """All of a dataset that is small when it is what its name says."""
    found = dataset(file, name)
    if math.prod(found.shape) * found.dtype.itemsize > largest_bytes:
        raise ValueError(f"{name} has the shape {found.shape}, more than {largest_bytes} bytes")
    return found[()]


def _check_chunks(found: h5py.Dataset, file: h5py.File) -> None:
    if math.prod(found.chunks) * found.dtype.itemsize > LARGEST_CHUNK_BYTES:
        raise ValueError(f"{found.name} is in chunks of {found.chunks}, more than {LARGEST_CHUNK_BYTES} bytes each")
    n_bytes, wrong = file.id.get_filesize(), []
    smallest = CHECKSUM_BYTES if found.fletcher32 else 0

    def check(chunk) -> None:
        if chunk.size < smallest or chunk.byte_offset + chunk.size > n_bytes:
            wrong.append(chunk)

    found.id.chunk_iter(check)
    if wrong:
        raise ValueError(f"{len(wrong)} chunks of {found.name} do not lie within the file")
