"""The size that a header states is compared with the file before memory is taken for it."""

import gzip
import struct

import h5py
import nibabel
import numpy as np
import pytest
from nibabel.cifti2 import BrainModelAxis, Cifti2Image, LabelAxis, ScalarAxis

from brain_activity_prediction.datasets.find import find_dataset
from brain_activity_prediction.runtime.errors import InputError

N_TRIALS, N_UNITS = 4, 6
HUGE = 2**31 - 1


@pytest.fixture
def folder(tmp_path):
    rows = [f"sub-01,image_{number}.png" for number in range(N_TRIALS)]
    (tmp_path / "trials.csv").write_text("\n".join(["subject,image", *rows]))
    for name in ("responses", "regions"):
        (tmp_path / name).mkdir()
    return tmp_path


def grayordinates(folder):
    axis = BrainModelAxis.from_mask(np.ones(N_UNITS, bool), name="CORTEX_LEFT")
    image = Cifti2Image(np.ones((N_TRIALS, N_UNITS), np.float32), (ScalarAxis(list("abcd")), axis))
    nibabel.save(image, path := folder / "responses/sub-01.dscalar.nii")
    return path, axis


def of_size(path, n_rows, n_columns):
    """Let the header of a CIFTI file state another size of its matrix."""
    content = bytearray(path.read_bytes())
    content[56:72] = struct.pack("<2q", n_rows, n_columns)
    path.write_bytes(content)


def surface(folder, ending, shape=(N_UNITS, 1, 1, N_TRIALS)):
    """Write both hemispheres as FreeSurfer does, of N_UNITS vertices, with a header that states a shape."""
    content = struct.pack(">7i", 1, *shape, 3, 0).ljust(284, b"\0") + bytes(4 * N_UNITS * N_TRIALS)
    for side in ("lh", "rh"):
        path = folder / f"responses/{side}.sub-01.{ending}"
        path.write_bytes(gzip.compress(content) if ending == "mgz" else content)


@pytest.mark.parametrize("ending", ["mgh", "mgz"])
def test_a_surface_is_read_if_its_file_has_room_for_it_and_refused_otherwise(ending, folder):
    surface(folder, ending)
    assert find_dataset(folder).units("sub-01").n == 2 * N_UNITS
    for shape in ((HUGE, 1, 1, N_TRIALS), (N_UNITS, 1, 1, HUGE), (10**5, 1, 1, N_TRIALS), (-N_UNITS, 1, 1, N_TRIALS)):
        surface(folder, ending, shape)
        with pytest.raises(InputError, match=rf"lh.sub-01.{ending} \(its header states the shape \[{shape[0]}, 1, 1, "):
            find_dataset(folder).units("sub-01")


@pytest.mark.parametrize("size", [(N_TRIALS, 2**33), (2**33, N_UNITS), (N_TRIALS, N_UNITS - 1)])
def test_grayordinates_of_another_number_than_their_axes_are_refused(size, folder):
    path, _ = grayordinates(folder)
    of_size(path, *size)
    with pytest.raises(InputError, match=rf"its matrix is \({size[0]}, {size[1]}\), but its axes describe \(4, 6\)"):
        find_dataset(folder).units("sub-01")


def test_labels_of_another_number_than_their_axes_are_refused(folder):
    _, axis = grayordinates(folder)
    names, path = LabelAxis(["atlas"], {0: ("???", (0, 0, 0, 0))}), folder / "regions/atlas.dlabel.nii"
    nibabel.save(Cifti2Image(np.zeros((1, N_UNITS), np.float32), (names, axis)), path)
    of_size(path, 1, 2**33)
    with pytest.raises(InputError, match=r"atlas.dlabel.nii \(its matrix is \(1, 8589934592\), but its axes describe"):
        find_dataset(folder).regions("sub-01")


def test_hdf5_of_a_program_that_was_stopped_is_refused(folder):
    """Parts that were never written read as 0, and may be larger than any memory."""
    path = folder / "responses/sub-01.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("responses", (N_TRIALS, N_UNITS), "f4", chunks=(1, N_UNITS))[:3] = 1
    with pytest.raises(InputError, match="1 of the 4 chunks of /responses were never written: make it again"):
        find_dataset(folder).units("sub-01")
    with h5py.File(path, "w") as file:
        file.create_dataset("responses", (N_TRIALS, 2**33), "f4")
    with pytest.raises(InputError, match="/responses was never written: make it again"):
        find_dataset(folder).units("sub-01")
    with h5py.File(path, "w") as file:
        file.create_dataset("responses", data=np.ones((N_TRIALS, N_UNITS), "f4"), chunks=(3, 4), compression="gzip")
    assert find_dataset(folder).units("sub-01").n == N_UNITS
