"""Read HDF5 files that may be damaged or malicious: all data must come from the file itself and fit into memory.

The HDF5 library trusts a file: a dataset may read its numbers from any other file of this machine, a chunk may state
any size or inflate to a thousand times its size, and a chunk smaller than its checksum ends the process with a
segmentation fault.
"""

import math
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from brain_activity_prediction.storage.files import reading

SIGNATURE = b"\x89HDF\r\n\x1a\n"
USER_BLOCKS = (0, 512)  # bytes before the HDF5 content; MATLAB puts its own header of 512 bytes there
LARGEST_CHUNK_BYTES = 2**28
CHECKSUM_BYTES = 4
# The supported filters, with the largest ratio of their output to the stored chunk: deflate expands a byte to at most
# 1032 bytes, LZF three bytes to 264.
DEFLATE, SHUFFLE, FLETCHER32, LZF = 1, 2, 3, 32000
GROWTH = {DEFLATE: 1032, SHUFFLE: 1, FLETCHER32: 1, LZF: 88}


def is_hdf5(path: Path) -> bool:
    """Return whether a file begins with the signature of HDF5."""
    with path.open("rb") as file:
        return any(file.seek(start) == start and file.read(len(SIGNATURE)) == SIGNATURE for start in USER_BLOCKS)


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open a file read-only; any error in the block becomes an InputError that names the file and the remedy."""
    with reading(path):
        if not path.is_file():  # reading a pipe would wait forever
            raise ValueError("not a file")
        with h5py.File(path, "r", locking=False) as file:
            yield file


def dataset(file: h5py.File, name: str, check_chunks: bool = True) -> h5py.Dataset:
    """Return a dataset; raise ValueError unless it holds numbers or fixed-length text, stored in the file itself.

    check_chunks  whether to check the position of each chunk, which takes seconds for NSD's betas; `hdf5_chunks` does
                  not need this
    """
    data = _own_dataset(file, name)
    if data.dtype.kind not in "iufS":
        raise ValueError(f"{name} is no array of numbers")
    if data.chunks:
        _filters(data)
    if data.chunks and check_chunks:
        _check_chunks(data, file)
    return data


def check_written(data: h5py.Dataset) -> None:
    """Raise ValueError if a part of a `dataset` was never written, because its program was stopped; it reads as 0."""
    if data.chunks:
        n = math.prod(-(-size // step) for size, step in zip(data.shape, data.chunks, strict=True))
        if n_missing := n - data.id.get_num_chunks():
            raise ValueError(f"{n_missing:,} of the {n:,} chunks of {data.name} were never written: make it again")
    elif data.size and not data.id.get_storage_size():
        raise ValueError(f"{data.name} was never written: make it again")


def dataset_of_files(file: h5py.File, name: str) -> h5py.Dataset:
    """Return a dataset (n,) of which each element has the bytes of a file, such as a JPEG; else raise ValueError."""
    data = _own_dataset(file, name)
    if data.ndim != 1 or h5py.check_vlen_dtype(data.dtype) != "uint8":
        raise ValueError(f"{name} is not a list of files")
    return data


def _own_dataset(file: h5py.File, name: str) -> h5py.Dataset:
    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f"{name} is a link to another place")
    data = file[name]
    if not isinstance(data, h5py.Dataset):
        raise ValueError(f"{name} is no array of numbers")
    if data.external or data.is_virtual:
        raise ValueError(f"the numbers of {name} are in other files")
    return data


def read_part(data: h5py.Dataset, *part: slice | int) -> np.ndarray:
    """Read `data[part]` of a `dataset`; raise ValueError if a chunk inflates to more than its full size.

    part  for each of the leading axes, an index or a slice with step 1; all other axes are read whole
    """
    if data.chunks and _may_inflate(data):
        spans = [
            range(n)[one] if isinstance(one, slice) else range(one, one + 1)
            for n, one in zip(data.shape, part, strict=False)
        ]
        spans += map(range, data.shape[len(part) :])
        if all(spans):
            for chunk in data.iter_chunks(tuple(slice(span.start, span.stop) for span in spans)):
                _check_inflated(
                    data, [edge.start // step * step for edge, step in zip(chunk, data.chunks, strict=True)]
                )
    return data[part]


def small_array(file: h5py.File, name: str, largest_bytes: int) -> np.ndarray:
    """Read a whole dataset; raise ValueError if it is larger than `largest_bytes`."""
    data = dataset(file, name)
    if math.prod(data.shape) * data.dtype.itemsize > largest_bytes:
        raise ValueError(f"{name} has the shape {data.shape}, which takes more than {largest_bytes} bytes")
    return read_part(data)


def _filters(data: h5py.Dataset) -> list[int]:
    """Return the filters of a dataset's chunks; raise ValueError for an unsupported or repeated filter."""
    properties = data.id.get_create_plist()
    filters = [properties.get_filter(number)[0] for number in range(properties.get_nfilters())]
    if not GROWTH.keys() >= set(filters) or len(set(filters)) < len(filters):
        raise ValueError(
            f"{data.name} is stored with the HDF5 filters {filters}: only gzip, lzf, shuffle and fletcher32 are read, "
            "each of them once; rewrite it, for instance with h5repack -f GZIP=4"
        )
    return filters


def _largest_stored(data: h5py.Dataset) -> int:
    """Return the largest possible stored size of a chunk; zlib enlarges incompressible data by up to a thousandth."""
    n_bytes = math.prod(data.chunks) * data.dtype.itemsize
    return n_bytes + n_bytes // 1000 + 64


def _may_inflate(data: h5py.Dataset) -> bool:
    """Return whether a stored chunk of this dataset could inflate to more than LARGEST_CHUNK_BYTES."""
    growth = max((GROWTH[one] for one in _filters(data)), default=1)
    return growth > 1 and _largest_stored(data) * growth > LARGEST_CHUNK_BYTES


def _check_inflated(data: h5py.Dataset, corner: Sequence[int]) -> None:
    """Raise ValueError if the chunk at `corner` inflates to more than its full size, without using that memory."""
    filters, stored = _filters(data), data.id.get_chunk_info_by_coord(tuple(corner)).size
    if stored * max(GROWTH[one] for one in filters) <= LARGEST_CHUNK_BYTES:
        return
    if LZF in filters:
        raise ValueError(f"a chunk of {data.name} takes {stored} bytes, which LZF may inflate to gigabytes")
    largest = _largest_stored(data)
    left_out, content = data.id.read_direct_chunk(tuple(corner))
    deflated = not left_out >> filters.index(DEFLATE) & 1
    if deflated and len(zlib.decompressobj().decompress(content, largest + 1)) > largest:
        raise ValueError(f"a chunk of {data.name} inflates to more than its {largest} bytes")


def _check_chunks(data: h5py.Dataset, file: h5py.File) -> None:
    if math.prod(data.chunks) * data.dtype.itemsize > LARGEST_CHUNK_BYTES:
        raise ValueError(f"{data.name} is in chunks of {data.chunks}, more than {LARGEST_CHUNK_BYTES} bytes each")
    n_bytes, largest, wrong = file.id.get_filesize(), _largest_stored(data), []
    smallest = CHECKSUM_BYTES if data.fletcher32 else 0

    def check(chunk: Any) -> None:
        if not smallest <= chunk.size <= largest or chunk.byte_offset + chunk.size > n_bytes:
            wrong.append(chunk)

    data.id.chunk_iter(check)
    if wrong:
        raise ValueError(f"{len(wrong)} chunks of {data.name} are outside of the file, or have an impossible size")
