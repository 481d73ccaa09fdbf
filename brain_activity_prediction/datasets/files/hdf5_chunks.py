"""Read many chunks of an HDF5 dataset fast, by one request for chunks that are neighbours in the file.

The HDF5 library looks up and reads one chunk at a time. For NSD's betas, this is a request of 1.5 kB for each voxel.
This module therefore reads the index of the chunks itself if it is a B-tree of version 1, which the library writes by
default (HDF5 File Format Specification, sections III.A.1 and IV.A.2.i). Files with another index are left to the
library.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import h5py

LAYOUT, CONTINUATION = 8, 16  # types of messages in an object header
MOST_BLOCKS = 16  # largest number of blocks of an object header
LARGEST_BLOCK = 2**16  # bytes
MOST_ENTRIES = 64  # entries of a node if the superblock has version 0; later versions state their own number
LARGEST_GAP, LARGEST_RUN = 2**16, 2**22  # bytes between chunks that are read and dropped; bytes read at once
ABSENT = np.iinfo(np.uint64).max  # offset of a chunk that was never written


def read_chunks(data: h5py.Dataset, corners: np.ndarray) -> np.ndarray:
    """Read some chunks of a dataset without filters; return them as (k, *chunks).

    corners  indices of the first element of each chunk, (k, n_axes)

    Raises ValueError for a chunk of the wrong size, OSError for one beyond the end of the file.
    """
    chunks = np.empty((len(corners), *data.chunks), dtype=data.dtype)
    content = chunks.reshape(len(corners), math.prod(data.chunks)).view(np.uint8)
    offsets = _offsets(data, corners)
    if offsets is None:
        for chunk, corner in zip(content, corners.tolist(), strict=True):
            _read_by_library(data, corner, chunk)
        return chunks
    for place in np.flatnonzero(offsets == ABSENT):
        content[place] = _fill_values(data, corners[place])
    file, size = data.file.id.get_vfd_handle(), content.shape[1]
    for places, starts in _runs(offsets, size):
        first, n_bytes = int(starts[0]), int(starts[-1] - starts[0]) + size
        run = np.frombuffer(os.pread(file, n_bytes, first), dtype=np.uint8)
        if len(run) != n_bytes:
            raise OSError(f"the chunks of {data.name} lie beyond the end of the file")
        for place, start in zip(places.tolist(), (starts - starts[0]).tolist(), strict=True):
            content[place] = run[start : start + size]
    return chunks


def _read_by_library(data: h5py.Dataset, corner: Sequence[int], chunk: np.ndarray) -> None:
    """Read one chunk with the HDF5 library into `chunk`, an array of its bytes."""
    try:
        _, content = data.id.read_direct_chunk(corner, out=chunk)
    except RuntimeError:  # the chunk was never written
        chunk[:] = _fill_values(data, corner)
        return
    if len(content) != len(chunk):
        raise ValueError(f"the chunk of {data.name} at {tuple(corner)} has {len(content)} of {len(chunk)} bytes")


def _fill_values(data: h5py.Dataset, corner: Sequence[int]) -> np.ndarray:
    """Return the bytes of a chunk that was never written, which holds the dataset's fill value."""
    part = tuple(slice(edge, edge + step) for edge, step in zip(corner, data.chunks, strict=True))
    return data[part].reshape(-1).view(np.uint8)


def _runs(offsets: np.ndarray, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield groups of chunks that are read at once: their indices in `offsets`, and their offsets, ascending."""
    order = np.argsort(offsets, kind="stable")
    order = order[: np.searchsorted(offsets[order], ABSENT)]
    if not order.size:
        return
    starts = offsets[order]
    far = np.diff(starts) > size + LARGEST_GAP
    far |= np.diff(starts // LARGEST_RUN) > 0
    cuts = np.flatnonzero(far) + 1
    yield from zip(np.split(order, cuts), np.split(starts, cuts), strict=True)


def _offsets(data: h5py.Dataset, corners: np.ndarray) -> np.ndarray | None:
    """Return the offset (k,) of each chunk in the file, ABSENT if never written; None if the index is no B-tree."""
    root = _root(data)
    if root is None:
        return None
    wanted, place_of_corner = np.unique(_numbers(data, corners), return_inverse=True)
    offsets = np.full(wanted.size, ABSENT)
    if root == ABSENT:  # no chunk was ever written
        return offsets[place_of_corner]
    numbers, entries = _leaves(data, root, wanted)
    _, places, rows = np.intersect1d(wanted, numbers, assume_unique=True, return_indices=True)
    size = math.prod(data.chunks) * data.dtype.itemsize
    for one in entries[rows][entries[rows]["size"] != size]:
        where = tuple(one["corner"][:-1].tolist())
        raise ValueError(f"the chunk of {data.name} at {where} has {one['size']} of {size} bytes")
    offsets[places] = entries[rows]["child"]
    return offsets[place_of_corner]


def _leaves(data: h5py.Dataset, root: int, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the chunk numbers, ascending, and the entries of all leaves that may hold the wanted chunks.

    root    address of the B-tree's root, where the search begins
    wanted  numbers of the wanted chunks, ascending
    """
    nodes, above = np.array([root], dtype=np.uint64), None
    while True:
        entries, level = _entries(data, nodes, above)
        numbers = _numbers(data, entries["corner"][:, :-1])
        if not (np.diff(numbers) > 0).all():
            raise ValueError(f"the index of the chunks of {data.name} is out of order")
        if level == 0:
            return numbers, entries
        first = np.searchsorted(wanted, numbers)  # an entry covers the chunks from its number up to the next entry's
        nodes, above = entries["child"][first < np.append(first[1:], wanted.size)], level
        if not nodes.size:
            return numbers[:0], entries[:0]


def _numbers(data: h5py.Dataset, corners: np.ndarray) -> np.ndarray:
    """Return the number (k,) of each chunk, counted along the last axis first, which is the order of the index."""
    if (corners >= np.array(data.shape, dtype=corners.dtype)).any():
        raise ValueError(f"the index of the chunks of {data.name} leads out of it")
    in_chunks = corners.astype(np.int64) // data.chunks
    counts = -(-np.array(data.shape) // data.chunks)
    return np.ravel_multi_index(tuple(in_chunks.T), tuple(counts))


def _entries(data: h5py.Dataset, nodes: np.ndarray, above: int | None) -> tuple[np.ndarray, int]:
    """Read the nodes at these addresses; return all of their entries, and the level of the nodes (0 for leaves).

    nodes  addresses of nodes of one level
    above  level of their parents; None for the root
    """
    entry = [("size", "<u4"), ("filters", "<u4"), ("corner", "<u8", data.ndim + 1), ("child", "<u8")]
    head = [("signature", "S4"), ("type", "u1"), ("level", "u1"), ("n", "<u2"), ("siblings", "<u8", 2)]
    node = np.dtype([*head, ("entries", entry, MOST_ENTRIES)])
    file = data.file.id.get_vfd_handle()
    read = b"".join(os.pread(file, node.itemsize, address) for address in nodes.tolist())
    if len(read) != node.itemsize * len(nodes):
        raise ValueError(f"the index of the chunks of {data.name} lies beyond the end of the file")
    found = np.frombuffer(read, dtype=node)
    level = int(found["level"][0])
    right = (found["signature"] == b"TREE") & (found["type"] == 1) & (found["level"] == level)
    right &= found["n"] <= MOST_ENTRIES
    if not right.all() or (above is not None and level != above - 1):
        raise ValueError(f"the index of the chunks of {data.name} is broken")
    return found["entries"][np.arange(MOST_ENTRIES) < found["n"][:, None]], level


def _root(data: h5py.Dataset) -> int | None:
    """Return the address of the B-tree, from the dataset's object header; None if the index is no B-tree.

    The address is ABSENT before the first chunk is written.
    """
    if data.file.driver != "sec2":  # other drivers give no file descriptor
        return None
    file = data.file.id.get_vfd_handle()
    superblock = os.pread(file, 15, 0)
    if superblock[:9] != b"\x89HDF\r\n\x1a\n\0" or superblock[13:] != b"\x08\x08":  # sizes of offsets and lengths
        return None
    address = data.file.id.links.get_info(data.name.encode()).u  # h5py.h5o.get_info would read the whole index
    version, _, _, _, n_bytes = struct.unpack("<BBHII", os.pread(file, 12, address))
    if version != 1:
        return None
    blocks = [(address + 16, n_bytes)]
    for start, n_bytes in blocks:  # the loop appends the continuation blocks that it finds
        if n_bytes > LARGEST_BLOCK or len(blocks) > MOST_BLOCKS:
            return None
        block, place = os.pread(file, n_bytes, start), 0
        while place + 8 <= len(block):
            kind, length = struct.unpack_from("<HH", block, place)
            message, place = block[place + 8 : place + 8 + length], place + 8 + length
            if kind == LAYOUT and len(message) >= 11:
                version, storage, _, root = struct.unpack_from("<BBBQ", message)
                return root if (version, storage) == (3, 2) else None
            if kind == CONTINUATION and len(message) >= 16:
                blocks.append(struct.unpack_from("<QQ", message))
    return None
