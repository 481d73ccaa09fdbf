"""Chunks of a dataset are read exactly, in few requests, whatever the index of the file."""

import os

import h5py
import numpy as np
import pytest

from brain_activity_prediction.datasets.files.hdf5_chunks import read_chunks
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.storage.hdf5_file import open_hdf5

SHAPE, CHUNKS = (6, 20, 30, 9), (6, 1, 1, 1)  # 5,400 chunks: an index of three levels
VALUES = np.random.default_rng(0).integers(-999, 999, SHAPE).astype("<i2")
INDEXED = {
    "by the library's default": {},
    "in a newer format": {"libver": "latest"},
    "behind MATLAB's header": {"userblock_size": 512},
}


def write(path, dtype="<i2", **kind):
    with h5py.File(path, "w", **kind) as file:
        data = file.create_dataset("betas", SHAPE, dtype, chunks=CHUNKS, fillvalue=-7)
        data[:, :10] = VALUES[:, :10]
        data[:, 12:] = VALUES[:, 12:]  # chunks between were never written
        for number in range(40):
            data.attrs[f"note {number}"] = "x" * 500  # the object header continues elsewhere
    return np.where((np.arange(20) // 2 == 5)[:, None, None], -7, VALUES)


def some_corners(n=700):
    """Corners of different chunks, in any order."""
    places = np.random.default_rng(1).permutation(20 * 30 * 9)[:n]
    return np.pad(np.stack(np.unravel_index(places, SHAPE[1:]), axis=1), ((0, 0), (1, 0)))


def read(path, corners):
    with open_hdf5(path) as file:
        return read_chunks(file["betas"], corners)


@pytest.mark.parametrize("dtype", ["<i2", ">f4"])
@pytest.mark.parametrize("kind", INDEXED)
def test_chunks_are_read_exactly_in_any_order(kind, dtype, tmp_path):
    values, corners = write(tmp_path / "x.hdf5", dtype, **INDEXED[kind]), some_corners()
    found = read(tmp_path / "x.hdf5", corners)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found[..., 0, 0, 0], values[:, *corners[:, 1:].T].T)
    assert read(tmp_path / "x.hdf5", corners[:0]).shape == (0, *CHUNKS)


def test_neighbours_in_the_file_are_read_by_one_request(tmp_path, monkeypatch):
    write(tmp_path / "x.hdf5")
    requests, pread = [], os.pread
    monkeypatch.setattr(os, "pread", lambda *place: requests.append(place) or pread(*place))
    corners = np.argwhere(np.ones((1, 5, 30, 9)))
    assert len(read(tmp_path / "x.hdf5", corners)) == 1350
    assert len(requests) < 60, "1,350 chunks"


def test_a_dataset_without_any_chunk_has_its_fill_value(tmp_path):
    with h5py.File(tmp_path / "x.hdf5", "w") as file:
        file.create_dataset("betas", SHAPE, "<i2", chunks=CHUNKS, fillvalue=3)
    assert (read(tmp_path / "x.hdf5", some_corners(5)) == 3).all()


def spoilt(content, path):
    with h5py.File(path, "r") as file:
        last = max(file["betas"].id.get_chunk_info(place).byte_offset for place in (0, 100, 4000))
    node = content.rindex(b"TREE", 0, last)
    return {
        "truncated": content[:last],
        "no signature": content[:node] + b"TREX" + content[node + 4 :],
        "another level": content[: node + 5] + b"\x05" + content[node + 6 :],
        "too many entries": content[: node + 6] + b"\xff\xff" + content[node + 8 :],
        "a chunk of another size": content[: node + 24] + b"\x05" + content[node + 25 :],
        "a chunk elsewhere": content[: node + 24 + 8 + 40] + b"\xff" * 7 + content[node + 24 + 8 + 40 + 7 :],
        "corners out of order": content[: node + 24 + 16] + b"\x13" + content[node + 24 + 17 :],
        "corners beyond the shape": content[: node + 24 + 16] + b"\xff" * 8 + content[node + 24 + 24 :],
    }


SPOILS = {
    "truncated": "truncated file",
    "no signature": "the index of the chunks of /betas is broken",
    "another level": "the index of the chunks of /betas is broken",
    "too many entries": "the index of the chunks of /betas is broken",
    "a chunk of another size": "has 5 of 12 bytes",
    "a chunk elsewhere": "the chunks of /betas lie beyond the end of the file",
    "corners out of order": "the index of the chunks of /betas is out of order",
    "corners beyond the shape": "the index of the chunks of /betas leads out of it",
}


@pytest.mark.parametrize(("kind", "said"), SPOILS.items())
def test_a_damaged_index_is_refused_in_one_line(kind, said, tmp_path):
    path = tmp_path / "x.hdf5"
    write(path)
    path.write_bytes(spoilt(path.read_bytes(), path)[kind])
    with pytest.raises(InputError, match=f"cannot read {path} .*{said}") as error:
        read(path, np.argwhere(np.ones((1, 20, 30, 9))))
    assert "\n" not in str(error.value)
