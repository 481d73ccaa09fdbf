"""No damage to a stored file passes: every byte of small files is flipped, and they are cut everywhere."""

import hashlib
import json
import os

import h5py
import numpy as np
import pytest

from brain_activity_prediction.runtime.errors import DiskFull, InputError
from brain_activity_prediction.storage.files import reading
from brain_activity_prediction.storage.sealed_hdf5 import (
    DIGITS,
    read_array,
    read_piece,
    read_seal,
    verify,
    write_sealed,
)

STATES = np.random.default_rng(0).standard_normal((3, 4, 5)).astype(np.float16)
ARRAYS = {"image_ids": np.array([4, 1, 9]), "language": STATES, "answers": np.array([b"a cat", b"", "東京".encode()])}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "batch.h5"
    write_sealed(path, ARRAYS, {"image_ids": [4, 1, 9]}, {"language": (1, 1)})
    return path


def intact(path):
    """Whether a file gives all that was written, exactly; InputError where it notices damage."""
    with reading(path):
        same = all(np.array_equal(read_array(path, name), array) for name, array in ARRAYS.items())
        pieces = [read_piece(path, "language", layer)[:, 0] for layer in range(STATES.shape[1])]
        return same and np.array_equal(np.stack(pieces, axis=1), STATES)


def test_arrays_come_back_whole_and_piece_by_piece(path):
    assert intact(path)
    verify(path)
    assert read_seal(path).about == {"image_ids": [4, 1, 9]}


def test_any_hdf5_tool_reads_the_same(path):
    with h5py.File(path) as file:
        for name, array in ARRAYS.items():
            np.testing.assert_array_equal(file[name][:], array)


@pytest.mark.exhaustive
def test_every_flipped_byte_is_noticed_or_was_none_that_is_read(path):
    n_bytes, n_noticed = path.stat().st_size, 0
    with path.open("r+b", buffering=0) as file:
        for position in range(n_bytes):
            (byte,) = os.pread(file.fileno(), 1, position)
            os.pwrite(file.fileno(), bytes([byte ^ 1 << position % 8]), position)
            with pytest.raises(ValueError, match="checksum"):
                verify(path)
            try:
                assert intact(path), f"byte {position} was flipped and read as right"
            except InputError:
                n_noticed += 1
            os.pwrite(file.fileno(), bytes([byte]), position)
    assert intact(path)
    assert n_noticed >= read_seal(path).block + STATES.nbytes


def test_a_file_that_is_cut_anywhere_is_noticed_at_the_first_look(path):
    for keep in reversed(range(path.stat().st_size)):
        os.truncate(path, keep)
        with pytest.raises(ValueError, match=r"checksum|bytes"):
            read_seal(path)


def test_a_file_that_goes_on_after_its_end_is_noticed(path):
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(ValueError, match="bytes, but was written with"):
        read_seal(path)


@pytest.mark.parametrize("where", ["a layer", "the header", "all"])
def test_zeros_in_place_of_data_are_noticed_though_hdf5_takes_them(path, where):
    with h5py.File(path) as file:
        chunk = file["language"].id.get_chunk_info_by_coord((0, 2, 0))
    start, stop = {"a layer": (chunk.byte_offset, chunk.byte_offset + chunk.size), "the header": (0, 4096)}.get(
        where, (0, path.stat().st_size)
    )
    content = bytearray(path.read_bytes())
    content[start:stop] = bytes(stop - start)
    path.write_bytes(content)
    if where == "a layer":
        with h5py.File(path) as file:
            assert not file["language"][:, 2].any()
    with pytest.raises(InputError, match=path.name):
        intact(path)


def test_two_layers_that_changed_places_are_noticed(path):
    with h5py.File(path) as file:
        first, second = (file["language"].id.get_chunk_info_by_coord((0, layer, 0)) for layer in (0, 1))
    content = bytearray(path.read_bytes())
    a, b = (slice(chunk.byte_offset, chunk.byte_offset + chunk.size) for chunk in (first, second))
    content[a], content[b] = content[b], content[a]
    path.write_bytes(content)
    with pytest.raises(ValueError, match="piece 0 of language"):
        read_piece(path, "language", 0)


def test_a_large_array_is_cut_into_pieces_along_its_rows(tmp_path):
    rows = np.arange(70, dtype=np.float32).reshape(10, 7)
    write_sealed(tmp_path / "rows.h5", {"rows": rows}, {}, {"rows": (0, 4)})
    np.testing.assert_array_equal(read_array(tmp_path / "rows.h5", "rows"), rows)
    np.testing.assert_array_equal(read_piece(tmp_path / "rows.h5", "rows", 2), rows[8:])


def test_a_header_larger_than_its_smallest_block_is_read(tmp_path):
    many = {f"stream_{number}": np.full((2, 40, 3), number, np.float16) for number in range(9)}
    write_sealed(tmp_path / "many.h5", many, {"text": "x" * 5000}, dict.fromkeys(many, (1, 1)))
    assert read_seal(tmp_path / "many.h5").block > 4096
    for number in range(9):
        assert (read_piece(tmp_path / "many.h5", f"stream_{number}", 39) == number).all()
    verify(tmp_path / "many.h5")


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="not a file"):
        read_seal(tmp_path / "pipe")


def sealed_anew(path, change):
    """Changes a file's header, `change(header)`, and gives it the checksum of what it is then."""
    content, block = path.read_bytes(), read_seal(path).block
    header = json.loads(content[DIGITS:block].rstrip(b"\0"))
    text = json.dumps(change(header), separators=(",", ":")).encode().ljust(block - DIGITS, b"\0")
    path.write_bytes(hashlib.sha256(text).hexdigest()[:DIGITS].encode() + text + content[block:])


def with_dataset(**changes):
    return lambda header: header | {"datasets": {"x": header["datasets"]["x"] | changes}}


HOSTILE_HEADERS = {
    "objects": (with_dataset(dtype="|O8"), "its header promises"),
    "a structure": (with_dataset(dtype="i4,f4"), "its header promises"),
    "more rows than there is room for": (with_dataset(shape=[6000, 5]), "its header promises"),
    "negative sizes": (with_dataset(shape=[-6, -5]), "its header promises"),
    "no size": (with_dataset(shape=[]), "its header promises"),
    "sizes as text": (with_dataset(shape=["6", 5]), "'shape'.* is \"6\", not int"),
    "a size of true": (with_dataset(shape=[6, True]), "'shape'.* is true, not int"),
    "a number as the type": (with_dataset(dtype=7), "'dtype' is 7, not str"),
    "no pieces, so that nothing would be read": (with_dataset(pieces=[]), "its header promises"),
    "a piece too few": (with_dataset(cut=[0, 3]), "its header promises"),
    "pieces of nothing": (with_dataset(cut=[0, 0]), "its header promises"),
    "pieces along an axis that is not there": (with_dataset(cut=[2, 5]), "its header promises"),
    "half a cut": (with_dataset(cut=[0]), "its header promises"),
    "a piece that is a number": (with_dataset(pieces=[3]), "piece 0 of x"),
    "a piece before the file": (with_dataset(pieces=[[-1, "0" * 16]]), "piece 0 of x"),
    "a piece at no number": (with_dataset(pieces=[["0", "0" * 16]]), "piece 0 of x"),
    "a field that is not known": (with_dataset(module="os"), "'module' is unknown"),
    "a field that is missing": (lambda header: {"block": 4096, "size": header["size"]}, "'rest' is missing"),
    "datasets in a list": (lambda header: header | {"datasets": []}, "'datasets' is \\[\\], not dict"),
    "what it is about as text": (lambda header: header | {"about": "x"}, "'about' is \"x\", not dict"),
    "a list": (lambda header: [header], "its header is .*, not dict"),
}


@pytest.mark.parametrize(("change", "said"), HOSTILE_HEADERS.values(), ids=HOSTILE_HEADERS)
def test_a_header_of_other_types_or_sizes_is_damaged_though_its_checksum_fits(tmp_path, change, said):
    path = tmp_path / "batch.h5"
    write_sealed(path, {"x": np.zeros((6, 5), np.float32)}, {})
    sealed_anew(path, change)
    with pytest.raises(ValueError, match=said):
        read_array(path, "x")


def test_a_disk_that_fills_up_is_said_and_nothing_is_left(small_disk):
    with pytest.raises(DiskFull, match="free some space"):
        write_sealed(small_disk / "batch.h5", {"x": np.zeros((6, 10**6), np.float32)}, {})
    assert list(small_disk.iterdir()) == []
