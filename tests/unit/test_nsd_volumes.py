import gzip
import struct

import nibabel
import numpy as np
import pytest

from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.storage import nifti
from brain_activity_prediction.storage.nifti import open_volumes, read_volume


@pytest.fixture
def path(tmp_path):
    numbers = np.random.default_rng(0).integers(-1, 7, (6, 50, 4), dtype=np.int16)
    nibabel.save(nibabel.Nifti1Image(numbers, np.diag([1.8, 1.8, 1.8, 1])), tmp_path / "roi.nii.gz")
    return tmp_path / "roi.nii.gz"


def test_a_volume_is_what_nibabel_reads(path):
    image = nibabel.load(path)
    numbers, grid = read_volume(path)
    np.testing.assert_array_equal(numbers, np.asarray(image.dataobj))
    np.testing.assert_array_equal(grid.affine, image.affine)


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_both_versions_of_nifti_are_read_compressed_or_not(tmp_path, kind, ending):
    numbers = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    nibabel.save(kind(numbers, np.eye(4)), tmp_path / f"map{ending}")
    np.testing.assert_array_equal(read_volume(tmp_path / f"map{ending}")[0], numbers)


def test_no_changed_byte_of_a_compressed_file_goes_unseen(path):
    """nibabel stops at the last number, before the checksum of it all."""
    whole, before = path.read_bytes(), read_volume(path)[0]
    refused = 0
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        try:
            np.testing.assert_array_equal(
                read_volume(path)[0], before
            )  # the changed bytes, such as a date, hold no voxel
        except InputError:
            refused += 1
    assert refused > len(whole) - 20


@pytest.mark.parametrize("kept", [5, 100, -9, -4, -1])
def test_a_file_cut_short_is_named_with_the_remedy(path, kept):
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match=rf"cannot read {path} .*fetch it again") as refused:
        read_volume(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("at", "layout", "values", "said"),
    [
        (42, "<3h", (32767, 32767, 32767), "larger than any of NSD's"),
        (108, "<f", (3e9,), r"\(its numbers begin at byte 3000000000\)"),
        (108, "<f", (-1e6,), "too low"),
        (70, "<h", (128,), "its numbers are"),
        (280, "<f", (np.nan,), "affine is not finite"),
        (42, "<h", (5,), "has more bytes after its last volume"),
        (0, "<i", (0,), r"\(no NIfTI header\)"),
        (40, "<h", (768,), r"\(its header has 768 axes\)"),  # not to be taken for 3 in the other byte order
    ],
)
def test_a_header_that_promises_nonsense_is_refused(path, monkeypatch, at, layout, values, said):
    monkeypatch.setattr(nifti, "LARGEST_OVERHANG", 360)
    content = bytearray(gzip.decompress(path.read_bytes()))
    struct.pack_into(layout, content, at, *values)
    path.write_bytes(gzip.compress(bytes(content), 1))
    with pytest.raises(InputError, match=said):
        read_volume(path)


@pytest.mark.parametrize("offset", [0, 332, 348])
def test_numbers_within_the_header_are_refused_and_just_after_it_read(path, offset):
    """In a header of NIfTI's other kind, whose numbers are in a file of their own, nibabel takes any place."""
    content = bytearray(gzip.decompress(path.read_bytes()))
    struct.pack_into("<f", content, 108, offset)
    content[344:348] = b"ni1\0"
    path.write_bytes(gzip.compress(bytes(content), 1))
    if offset == 348:
        assert read_volume(path)[0].shape == (6, 50, 4)
    else:
        with pytest.raises(InputError, match=rf"begin at byte {offset}\)"):
            read_volume(path)


def test_a_flaw_that_is_mended_is_not_spoken_of_and_the_longest_header_is_read(path, monkeypatch, caplog):
    before = read_volume(path)[0]
    content = bytearray(gzip.decompress(path.read_bytes()))
    struct.pack_into("<f", content, 80, -1.8)  # the size of a voxel
    path.write_bytes(gzip.compress(bytes(content), 1))
    monkeypatch.setattr(nifti, "LARGEST_OVERHANG", 352)
    np.testing.assert_array_equal(read_volume(path)[0], before)
    assert caplog.records == []


def test_a_small_file_that_inflates_to_gigabytes_is_refused_before_it_does(tmp_path):
    """10 MB of zeros stand for the 16 GB that the header promises: enough to see that no more is read."""
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.float64)
    header.set_data_shape((2000, 1000, 1000))
    header["vox_offset"] = 352
    (tmp_path / "bomb.nii.gz").write_bytes(gzip.compress(header.binaryblock + bytes(4 + 10**7), 9))
    with pytest.raises(InputError, match="larger than any of NSD's"):
        read_volume(tmp_path / "bomb.nii.gz")


def test_several_volumes_are_no_mask(tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.zeros((2, 3, 4, 5), np.int16), np.eye(4)), tmp_path / "betas.nii.gz")
    with pytest.raises(InputError, match=r"has shape \(2, 3, 4, 5\) instead of one volume"):
        read_volume(tmp_path / "betas.nii.gz")


@pytest.mark.parametrize("more", [(1,), (1, 1)])
def test_axes_of_length_1_after_the_third_are_left_out(tmp_path, more):
    numbers = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    nibabel.save(nibabel.Nifti1Image(numbers.reshape(2, 3, 4, *more), np.eye(4)), tmp_path / "map.nii.gz")
    np.testing.assert_array_equal(read_volume(tmp_path / "map.nii.gz")[0], numbers)


def test_integers_are_known_from_scaled_integers_and_floats(tmp_path):
    image = nibabel.Nifti1Image(np.linspace(-1, 1, 24).reshape(2, 3, 4), np.eye(4))
    image.set_data_dtype(np.int16)  # nibabel then chooses a slope and an intercept
    nibabel.save(image, tmp_path / "scaled.nii.gz")
    nibabel.save(nibabel.Nifti1Image(np.zeros((2, 3, 4), np.int16), np.eye(4)), tmp_path / "integers.nii.gz")
    for name, are_integers in (("scaled", False), ("integers", True)):
        with open_volumes(tmp_path / f"{name}.nii.gz") as read:
            assert read.stored_as_integers == are_integers
