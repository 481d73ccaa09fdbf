import h5py
import numpy as np
import pytest

from brain_activity_prediction.datasets.nsd.nsd import find_nsd
from brain_activity_prediction.datasets.nsd.stimuli import Stimuli
from brain_activity_prediction.runtime.errors import InputError


@pytest.fixture
def path(official_nsd):
    return find_nsd(official_nsd).stimuli()


def test_images_come_in_the_order_asked_for(path):
    with h5py.File(path) as file:
        brick = file["imgBrick"][()]
    with Stimuli(path) as stimuli:
        assert (stimuli.n_images, stimuli.image_size) == (len(brick), 24)
        pictures = stimuli.images([7, 1, 7, len(brick)])
    assert [picture.mode for picture in pictures] == ["RGB"] * 4
    assert np.array_equal(np.stack([np.asarray(picture) for picture in pictures]), brick[[6, 0, 6, -1]])


def test_other_images_of_the_same_size_are_another_setting(path, tmp_path):
    with h5py.File(path) as file:
        brick = file["imgBrick"][()]
    settings = []
    for number, (pictures, chunks) in enumerate(((brick, None), (brick, (1, 24, 24, 3)), (brick[::-1], None))):
        with h5py.File(tmp_path / f"{number}.hdf5", "w") as file:
            file.create_dataset("imgBrick", data=pictures, chunks=chunks, compression="gzip" if chunks else None)
        with Stimuli(tmp_path / f"{number}.hdf5") as stimuli:
            settings.append(stimuli.settings)
    assert settings[0] == settings[1]
    assert settings[0]["stimulus_pixels"] == settings[2]["stimulus_pixels"] == 24
    assert settings[0]["stimulus_images"] != settings[2]["stimulus_images"]


def test_an_image_that_is_not_in_the_file_is_refused(path):
    with Stimuli(path) as stimuli:
        with pytest.raises(InputError, match=r"lacks 1 of 2 images \(first: image 0\)"):
            stimuli.images([0, 1])
        with pytest.raises(InputError, match=rf"\(first: image {stimuli.n_images + 1}\)"):
            stimuli.images([stimuli.n_images, stimuli.n_images + 1])
        with pytest.raises(InputError, match=rf"\(first: image 73001\): it holds images 1 to {stimuli.n_images}"):
            stimuli.images([73001])


def test_a_file_that_is_damaged_at_one_image_is_named_when_that_image_is_read(tmp_path):
    path = tmp_path / "nsd_stimuli.hdf5"
    with h5py.File(path, "w") as file:
        brick = file.create_dataset("imgBrick", (3, 8, 8, 3), "uint8", chunks=(1, 8, 8, 3), fletcher32=True)
        brick[:] = 7
        second = brick.id.get_chunk_info(1).byte_offset
    content = bytearray(path.read_bytes())
    content[second] ^= 1
    path.write_bytes(content)
    with Stimuli(path) as stimuli:
        assert len(stimuli.images([1, 3])) == 2
        with pytest.raises(InputError, match=f"cannot read {path}"):
            stimuli.images([2])


def test_ids_may_be_whole_numbers_of_any_type(path):
    with Stimuli(path) as stimuli:
        pictures = [stimuli.images(ids) for ids in ([7, 2], np.array([7.0, 2.0]), np.array([7, 2], dtype=np.uint16))]
    assert pictures[0] == pictures[1] == pictures[2]


@pytest.mark.parametrize("content", [b"<!DOCTYPE html><html>Access denied\n</html>\n", b"", None])
def test_a_file_that_is_no_whole_hdf5_gives_one_line(path, tmp_path, content):
    broken = tmp_path / "nsd_stimuli.hdf5"
    broken.write_bytes(path.read_bytes()[:-1000] if content is None else content)
    with pytest.raises(InputError, match=str(broken)) as error:
        Stimuli(broken)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "shape", "dtype", "complaint"),
    [
        ("images", (5, 8, 8, 3), "uint8", "not NSD's stimulus file: it holds no dataset 'imgBrick'$"),
        ("imgBrick", (5, 8, 8, 3), "float32", "float32 instead of uint8"),
        ("imgBrick", (5, 3, 8, 8), "uint8", r"shape \(5, 3, 8, 8\)"),
        ("imgBrick", (5, 8, 9, 3), "uint8", r"shape \(5, 8, 9, 3\)"),
        ("imgBrick", (5, 8, 8, 4), "uint8", r"shape \(5, 8, 8, 4\)"),
        ("imgBrick", (5, 8, 8), "uint8", r"shape \(5, 8, 8\)"),
        ("imgBrick", (0, 8, 8, 3), "uint8", "instead of images of up to 4096 pixels"),
        ("imgBrick", (5, 0, 0, 3), "uint8", "instead of images of up to 4096 pixels"),
        ("imgBrick", (5, 4097, 4097, 3), "uint8", "instead of images of up to 4096 pixels"),
    ],
)
def test_another_hdf5_file_is_not_taken_for_the_images(tmp_path, name, shape, dtype, complaint):
    path = tmp_path / "nsd_stimuli.hdf5"
    with h5py.File(path, "w") as file:
        file.create_dataset(name, shape, dtype)
    with pytest.raises(InputError, match=complaint):
        Stimuli(path)
