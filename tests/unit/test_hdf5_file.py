import os
import resource
import zlib

import h5py
import numpy as np
import pytest

from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.storage import hdf5_file
from brain_activity_prediction.storage.hdf5_file import dataset, is_hdf5, open_hdf5, read_part, small_array


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file.hdf5"


def refused(path, said, name="numbers"):
    with pytest.raises(InputError, match=said) as error, open_hdf5(path) as file:
        dataset(file, name)
    assert str(path) in str(error.value)


def test_a_dataset_in_the_file_is_read(path):
    numbers = np.arange(24).reshape(4, 6)
    with h5py.File(path, "w") as file:
        file["numbers"] = numbers
        file.create_dataset("chunked", data=numbers, chunks=(1, 6), compression="gzip", fletcher32=True)
    with open_hdf5(path) as file:
        for name in ("numbers", "chunked"):
            np.testing.assert_array_equal(dataset(file, name), numbers)
            np.testing.assert_array_equal(small_array(file, name, 192), numbers)
            with pytest.raises(ValueError, match="more than 191 bytes"):
                small_array(file, name, 191)


def test_numbers_are_never_taken_from_other_files(path, tmp_path):
    """A dataset may name any file of the machine as the place of its numbers."""
    (tmp_path / "secret").write_bytes(b"private!")
    with h5py.File(tmp_path / "other.hdf5", "w") as file:
        file["numbers"] = np.arange(8)
    virtual = h5py.VirtualLayout((8,), "i8")
    virtual[:] = h5py.VirtualSource(tmp_path / "other.hdf5", "numbers", (8,))
    with h5py.File(path, "w") as file:
        file.create_dataset("external", (8,), "u1", external=[(str(tmp_path / "secret"), 0, 8)])
        file["linked"] = h5py.ExternalLink(str(tmp_path / "other.hdf5"), "numbers")
        file["soft"] = h5py.SoftLink("/external")
        file.create_virtual_dataset("virtual", virtual)
    for name in ("external", "virtual"):
        refused(path, f"the numbers of {name} are in other files", name)
    for name in ("linked", "soft"):
        refused(path, f"{name} is a link to another place", name)


def test_what_is_no_array_of_numbers_is_refused(path):
    with h5py.File(path, "w") as file:
        file.create_group("group")
        file["texts"] = ["a", "b"]
        file["compound"] = np.zeros(3, [("a", "i4"), ("b", "f4")])
        file["type"] = np.dtype("f8")
    for name in ("group", "texts", "compound", "type"):
        refused(path, f"{name} is no array of numbers", name)
    refused(path, "missing", "missing")


def test_chunks_that_need_gigabytes_are_refused_before_they_are_read(path, monkeypatch):
    with h5py.File(path, "w") as file:
        file.create_dataset("numbers", (10, 1000, 1000), "f8", chunks=(10, 1000, 1000), compression="gzip")
    with open_hdf5(path) as file:
        dataset(file, "numbers")
    monkeypatch.setattr(hdf5_file, "LARGEST_CHUNK_BYTES", 10**6)
    refused(path, "more than 1000000 bytes each")


def a_gigabyte_of_zeros():
    """A megabyte, which HDF5's own filter would inflate to a gigabyte in memory."""
    deflate = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    megabyte = deflate.compress(bytes(2**20)) + deflate.flush(zlib.Z_FULL_FLUSH)  # stands for itself, so it repeats
    checksum = (2**30 % 65521) << 16 | 1  # Adler-32 of zeros
    return b"\x78\xda" + megabyte * 2**10 + deflate.flush() + checksum.to_bytes(4, "big")


def test_a_chunk_stored_in_more_bytes_than_it_holds_is_refused_before_it_is_read(path):
    with h5py.File(path, "w") as file:
        made = file.create_dataset("numbers", (4, 1000), "i2", chunks=(2, 1000), compression="gzip")
        made.id.write_direct_chunk((2, 0), a_gigabyte_of_zeros())
    refused(path, "1 chunks of /numbers .* an impossible size")


@pytest.mark.parametrize("left_out", [0, 1], ids=["shuffled", "not shuffled"])
def test_a_chunk_that_inflates_to_gigabytes_is_refused_within_its_own_memory(path, left_out):
    bomb = a_gigabyte_of_zeros()
    with h5py.File(path, "w") as file:
        made = file.create_dataset("numbers", (4, 10**6), "i2", chunks=(2, 10**6), compression="gzip", shuffle=True)
        made[:2] = 7
        made.id.write_direct_chunk((2, 0), bomb, filter_mask=left_out)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with open_hdf5(path) as file:
        assert (read_part(dataset(file, "numbers"), slice(0, 2)) == 7).all()
        assert read_part(dataset(file, "numbers"), 1, slice(3, 5)).tolist() == [7, 7]
    for part in ((3,), (slice(0, 4),), ()):
        with pytest.raises(InputError, match="a chunk of /numbers inflates to more than"), open_hdf5(path) as file:
            read_part(dataset(file, "numbers"), *part)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB


def test_a_large_chunk_that_inflates_to_its_own_size_is_read(path):
    numbers = np.random.default_rng(0).integers(0, 2**15, (600, 1000), dtype="i2")
    with h5py.File(path, "w") as file:
        made = file.create_dataset("numbers", data=numbers, chunks=(300, 1000), compression="gzip", fletcher32=True)
        assert made.id.get_chunk_info(0).size * 1032 > hdf5_file.LARGEST_CHUNK_BYTES
    with open_hdf5(path) as file:
        np.testing.assert_array_equal(read_part(dataset(file, "numbers"), slice(250, 350)), numbers[250:350])


def test_a_large_lzf_chunk_and_a_filter_that_is_not_known_are_refused(path, monkeypatch):
    numbers = np.random.default_rng(0).integers(0, 9, (100, 100))
    with h5py.File(path, "w") as file:
        file.create_dataset("lzf", data=numbers, chunks=(100, 100), compression="lzf")
        file.create_dataset("scaled", data=numbers, chunks=(100, 100), scaleoffset=True)
    refused(path, "HDF5 filters .6.: only gzip, lzf, shuffle and fletcher32", "scaled")
    with open_hdf5(path) as file:
        np.testing.assert_array_equal(read_part(dataset(file, "lzf")), numbers)
    monkeypatch.setattr(hdf5_file, "LARGEST_CHUNK_BYTES", 10**5)
    with pytest.raises(InputError, match="LZF may inflate to gigabytes"), open_hdf5(path) as file:
        read_part(dataset(file, "lzf"))


def test_a_chunk_smaller_than_its_checksum_is_refused_and_does_not_end_the_process(path):
    """HDF5 2.0 reads before the chunk then, and is killed."""
    numbers = np.arange(64, dtype="i8")
    with h5py.File(path, "w") as file:
        file.create_dataset("numbers", data=numbers, chunks=(64,), fletcher32=True)
        chunk = file["numbers"].id.get_chunk_info(0)
    size = chunk.size.to_bytes(4, "little") + bytes(4)  # of the chunk in the index: size, filters that were left out
    content = path.read_bytes()
    assert content.count(size) == 1
    path.write_bytes(content.replace(size, (2).to_bytes(4, "little") + bytes(4)))
    refused(path, "1 chunks of /numbers are outside of the file")


def test_the_format_is_known_by_its_signature_behind_matlabs_header_too(path):
    for userblock in (0, 512):
        with h5py.File(path, "w", userblock_size=userblock) as file:
            file["numbers"] = np.arange(3)
        assert is_hdf5(path)
    path.write_bytes(b"")
    assert not is_hdf5(path)


def test_a_pipe_is_not_waited_for(path):
    os.mkfifo(path)
    with pytest.raises(InputError, match="not a file"), open_hdf5(path):
        pass
