import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from brain_activity_prediction.datasets.nsd import matlab
from brain_activity_prediction.datasets.nsd.matlab import read_arrays

DTYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64")


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (4, 5), (2, 3, 4), (0, 3)])
def test_arrays_of_every_type_and_shape_are_what_scipy_reads(tmp_path, shape, compressed):
    numbers = np.random.default_rng(0).integers(0, 99, shape)
    written = {f"of_{dtype}": numbers.astype(dtype) for dtype in DTYPES}
    savemat(tmp_path / "arrays.mat", written, do_compression=compressed)
    known, read = loadmat(tmp_path / "arrays.mat"), read_arrays(tmp_path / "arrays.mat", list(written))
    assert set(read) == set(written)
    for name, array in read.items():
        np.testing.assert_array_equal(array, known[name])


def element(kind, content, order="<"):
    return struct.pack(f"{order}II", kind, len(content)) + content + bytes(-len(content) % 8)


def array(name, shape, kind, content, order="<", array_class=6, flags=0):
    parts = [
        element(6, struct.pack(f"{order}II", array_class | flags, 0), order),
        element(5, struct.pack(f"{order}{len(shape)}i", *shape), order),
        element(1, name, order),
        element(kind, content, order),
    ]
    return element(14, b"".join(parts), order)


def save(path, *elements, order="<"):
    header = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack(f"{order}H", 0x0100)
    path.write_bytes(header + (b"IM" if order == "<" else b"MI") + b"".join(elements))
    return path


@pytest.mark.parametrize("order", "<>")
def test_doubles_packed_into_fewer_bytes_are_read_in_either_byte_order(tmp_path, order):
    path = save(tmp_path / "x.mat", array(b"x", (2, 2), 4, struct.pack(f"{order}4H", 1, 2, 3, 770), order), order=order)
    read = read_arrays(path, ["x"])["x"]
    np.testing.assert_array_equal(read, [[1, 3], [2, 770]])
    assert read.dtype == np.uint16
    assert read.dtype.isnative


def test_what_was_not_asked_for_may_be_of_any_kind(tmp_path):
    savemat(tmp_path / "mixed.mat", {"text": "abc", "x": np.eye(2), "cells": np.array([1, "a"], dtype=object)})
    assert list(read_arrays(tmp_path / "mixed.mat", ["x"])) == ["x"]
    with pytest.raises(ValueError, match="text is not an array of real numbers"):
        read_arrays(tmp_path / "mixed.mat", ["text"])


NUMBERS = struct.pack("<4d", 1, 2, 3, 4)
FLAGS, SIZES = element(6, struct.pack("<II", 6, 0)), element(5, struct.pack("<2i", 2, 2))


@pytest.mark.parametrize(
    ("elements", "said"),
    [
        ([array(b"x", (2, 3), 9, NUMBERS)], "do not fit its size, 2 x 3"),
        ([array(b"x", (2**30, 2**30), 9, NUMBERS)], "do not fit"),
        ([array(b"x", (-2, -2), 9, NUMBERS)], "do not fit"),
        ([array(b"x", (2, 2), 77, NUMBERS)], "do not fit"),
        ([array(b"x", (2, 2), 9, NUMBERS, flags=0x0800)], "not an array of real numbers"),
        ([array(b"x", (2, 2), 9, NUMBERS)[:-8]], "longer than the rest of the file"),
        ([struct.pack("<II", 14, 2**31)], "longer than the rest of the file"),
        ([b"\0\0\0"], "^it ends within an element$"),
        ([struct.pack("<I5x", 5 << 16 | 1)], "^a small element is larger than 4 bytes$"),
        ([element(14, SIZES)], "^an array has no flags$"),
        ([element(14, element(6, bytes(4)) + SIZES)], "^an array has no flags$"),
        ([element(14, FLAGS + FLAGS)], "^an array has no sizes$"),
        ([element(14, FLAGS + element(5, bytes(4)))], "^an array has no sizes$"),
        ([element(14, FLAGS + element(5, bytes(10)))], "^an array has no sizes$"),
        ([element(15, zlib.compress(array(b"x", (2, 2), 9, NUMBERS)))[:-16]], "longer than the rest of the file"),
        ([element(15, zlib.compress(array(b"x", (2, 2), 9, NUMBERS))[:-1])], "^a compressed element is cut off$"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(tmp_path, elements, said):
    with pytest.raises(ValueError, match=said):
        read_arrays(save(tmp_path / "x.mat", *elements), ["x"])


@pytest.mark.parametrize("header", [bytes(128), b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\2IM"])
def test_what_is_no_matlab_v5_file_is_refused(tmp_path, header):
    (tmp_path / "x.mat").write_bytes(header + array(b"x", (2, 2), 9, NUMBERS))
    with pytest.raises(ValueError, match=r"^no MATLAB v5 header$"):
        read_arrays(tmp_path / "x.mat", ["x"])


def test_arrays_that_inflate_beyond_it_together_are_refused_too(tmp_path, monkeypatch):
    content = zlib.compress(array(b"x", (1, 100), 9, bytes(800)))
    one = struct.pack("<II", 15, len(content)) + content
    path = save(tmp_path / "bomb.mat", one, one)
    assert list(read_arrays(path, ["x"])) == ["x"]
    monkeypatch.setattr(matlab, "LARGEST_BYTES", 1600)
    with pytest.raises(ValueError, match="inflates to more than 1600 bytes"):
        read_arrays(path, ["x"])


def test_a_name_of_other_characters_is_only_not_one_that_is_asked_for(tmp_path):
    path = save(tmp_path / "x.mat", array(b"\xe4", (2, 2), 9, NUMBERS), array(b"x", (2, 2), 9, NUMBERS))
    assert list(read_arrays(path, ["x"])) == ["x"]


def test_what_inflates_beyond_any_design_file_is_refused_before_it_is_inflated(tmp_path, monkeypatch):
    content = array(b"x", (1, 2**20), 9, bytes(2**23))
    bomb = zlib.compress(content)
    path = save(tmp_path / "bomb.mat", struct.pack("<II", 15, len(bomb)) + bomb)
    monkeypatch.setattr(matlab, "LARGEST_BYTES", len(content))
    assert read_arrays(path, ["x"])["x"].size == 2**20
    monkeypatch.setattr(matlab, "LARGEST_BYTES", 2**17)
    tracemalloc.start()
    with pytest.raises(ValueError, match="inflates to more than 131072 bytes"):
        read_arrays(path, ["x"])
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_a_changed_byte_in_a_compressed_array_is_noticed(tmp_path):
    savemat(tmp_path / "x.mat", {"x": np.arange(500.0)[None] ** 2}, do_compression=True)
    whole = (tmp_path / "x.mat").read_bytes()
    for place in range(200, len(whole), 3):
        (tmp_path / "x.mat").write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises((ValueError, zlib.error)):
            read_arrays(tmp_path / "x.mat", ["x"])


def test_other_things_beside_arrays_are_passed_over(tmp_path):
    path = save(tmp_path / "x.mat", element(9, NUMBERS), array(b"x", (2, 2), 9, NUMBERS), element(1, b"text"))
    np.testing.assert_array_equal(read_arrays(path, ["x"])["x"], [[1, 3], [2, 4]])
