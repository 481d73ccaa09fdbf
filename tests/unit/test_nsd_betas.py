import tracemalloc

import h5py
import nibabel
import numpy as np
import pytest

from brain_activity_prediction.datasets.nsd import betas
from brain_activity_prediction.datasets.nsd.betas import read_session
from brain_activity_prediction.runtime.errors import InputError

SHAPE, N_TRIALS = (7, 5, 6), 40
HDF5_STORAGE = {
    "contiguous": {},
    "as NSD publishes it": {"chunks": (N_TRIALS, 1, 1, 1)},
    "a chunk a trial": {"chunks": (1, 6, 5, 7), "compression": "gzip"},
    "a chunk a few voxels": {"chunks": (N_TRIALS, 1, 1, 7), "compression": "gzip"},
}


@pytest.fixture
def mask():
    return np.random.default_rng(0).random(SHAPE) < 0.3


@pytest.fixture
def session():
    return np.random.default_rng(1).integers(-3000, 3000, (*SHAPE, N_TRIALS), dtype=np.int16)


def write(path, volumes, **storage):
    """volumes are (X, Y, Z, n_trials)."""
    if path.suffix == ".hdf5":
        with h5py.File(path, "w") as file:
            file.create_dataset("betas", data=volumes.T, **storage)
    else:
        nibabel.save(nibabel.Nifti1Image(volumes, np.eye(4)), path)
    return path


@pytest.mark.parametrize("slab_bytes", [1, 3000, 2**26])
@pytest.mark.parametrize("storage", [None, *HDF5_STORAGE])
def test_every_storage_gives_percent_signal_change_in_mask_order(
    session, mask, tmp_path, monkeypatch, storage, slab_bytes
):
    monkeypatch.setattr(betas, "SLAB_BYTES", slab_bytes)
    ending = ".hdf5" if storage else ".nii.gz"
    path = write(tmp_path / f"betas{ending}", session, **HDF5_STORAGE.get(storage, {}))
    read = read_session(path, mask, N_TRIALS)
    assert read.dtype == np.float32
    np.testing.assert_allclose(read, session[mask].T / 300, rtol=1e-6)


def test_integers_that_were_stored_as_floats_are_reported(session, mask, tmp_path, capsys):
    path = write(tmp_path / "betas.nii.gz", session.astype(np.float32))
    np.testing.assert_array_equal(read_session(path, mask, N_TRIALS), session[mask].T)
    assert "holds floats of over 30 % signal change in most voxels" in capsys.readouterr().err


@pytest.mark.parametrize("ending", [".nii.gz", ".hdf5"])
def test_floats_are_percent_signal_change_already(session, mask, tmp_path, ending, capsys):
    percent = (session / 300).astype(np.float32)
    path = write(tmp_path / f"betas{ending}", percent)
    assert np.array_equal(read_session(path, mask, N_TRIALS), percent[mask].T)
    assert not capsys.readouterr().err


def test_integers_that_the_nifti_header_scales_are_percent_signal_change_already(session, mask, tmp_path):
    image = nibabel.Nifti1Image(session / 300, np.eye(4))
    image.set_data_dtype(np.int16)  # nibabel then chooses a slope and an intercept
    nibabel.save(image, tmp_path / "betas.nii.gz")
    read = read_session(tmp_path / "betas.nii.gz", mask, N_TRIALS)
    np.testing.assert_allclose(read, session[mask].T / 300, atol=1e-3)


@pytest.mark.parametrize("storage", [None, *HDF5_STORAGE])
def test_memory_does_not_grow_to_the_size_of_the_session(tmp_path, monkeypatch, storage):
    shape, n_trials = (24, 24, 24), 300
    session = np.random.default_rng(2).integers(-99, 99, (*shape, n_trials), dtype=np.int16)
    mask = np.zeros(shape, dtype=bool)
    mask[10:14, 3, 5:9] = True
    chunks = {
        "as NSD publishes it": (n_trials, 1, 1, 1),
        "a chunk a trial": (1, *shape),
        "a chunk a few voxels": (n_trials, 1, 1, 24),
    }.get(storage)
    path = write(tmp_path / ("betas.hdf5" if storage else "betas.nii.gz"), session, chunks=chunks)
    monkeypatch.setattr(betas, "SLAB_BYTES", session.nbytes // 16)
    tracemalloc.start()
    read_session(path, mask, n_trials)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < session.nbytes / 3


@pytest.mark.parametrize("ending", [".nii.gz", ".hdf5"])
def test_a_session_that_does_not_fit_mask_or_design_is_refused(session, mask, tmp_path, ending):
    path = write(tmp_path / f"betas{ending}", session)
    with pytest.raises(InputError, match=r"betas\S+ has volumes of shape \(7, 5, 6\), but the mask has \(7, 5, 7\)"):
        read_session(path, np.ones((7, 5, 7), dtype=bool), N_TRIALS)
    with pytest.raises(InputError, match=r"betas\S+ holds 40 trials, but the design has 750"):
        read_session(path, mask, 750)


def test_an_hdf5_file_without_betas_is_named(mask, tmp_path):
    with h5py.File(tmp_path / "betas.hdf5", "w") as file:
        file["other"] = np.zeros(3)
    with pytest.raises(InputError, match=r"betas\.hdf5 holds no dataset 'betas'"):
        read_session(tmp_path / "betas.hdf5", mask, N_TRIALS)


@pytest.mark.parametrize("kept", [0, 0.5, 0.99])
@pytest.mark.parametrize("ending", [".nii.gz", ".hdf5"])
def test_a_truncated_session_gives_one_line(session, mask, tmp_path, ending, kept):
    path = write(tmp_path / f"betas{ending}", session)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(InputError, match=str(path)) as error:
        read_session(path, mask, N_TRIALS)
    assert "\n" not in str(error.value)


def test_of_betas_as_nsd_publishes_them_only_the_chunks_inside_the_mask_are_read(session, mask, tmp_path):
    path = write(tmp_path / "betas.hdf5", session, chunks=(N_TRIALS, 1, 1, 1))
    expected = read_session(path, mask, N_TRIALS)
    with h5py.File(path) as file:
        offsets = {
            voxel: file["betas"].id.get_chunk_info_by_coord((0, *map(int, voxel[::-1]))).byte_offset
            for voxel in map(tuple, np.argwhere(~mask))
        }
    content = bytearray(path.read_bytes())
    for offset in offsets.values():
        content[offset : offset + 2 * N_TRIALS] = b"\xff" * 2 * N_TRIALS
    path.write_bytes(content)
    np.testing.assert_array_equal(read_session(path, mask, N_TRIALS), expected)
    np.testing.assert_allclose(expected, session[mask].T / 300, rtol=1e-6)


@pytest.mark.parametrize("dtype", [">i2", "<f4", ">f4"])
def test_chunks_of_any_byte_order_and_type_are_read(session, mask, tmp_path, dtype):
    path = write(tmp_path / "betas.hdf5", session.astype(dtype), chunks=(N_TRIALS, 1, 1, 1))
    scale = 300 if "i" in dtype else 1
    np.testing.assert_allclose(read_session(path, mask, N_TRIALS), session[mask].T / scale, rtol=1e-6)


def test_a_chunk_that_was_never_written_holds_the_fill_value(mask, tmp_path):
    with h5py.File(tmp_path / "betas.hdf5", "w") as file:
        shape = (N_TRIALS, *SHAPE[::-1])
        betas = file.create_dataset("betas", shape, np.int16, chunks=(N_TRIALS, 1, 1, 1), fillvalue=600)
        voxel = np.argwhere(mask)[2]
        betas[:, *voxel[::-1]] = 300
    read = read_session(tmp_path / "betas.hdf5", mask, N_TRIALS)
    assert (read[:, 2] == 1).all()
    assert (np.delete(read, 2, axis=1) == 2).all()


def test_chunks_that_lie_beyond_the_file_are_one_line(session, mask, tmp_path):
    """Every place in the file that states where a chunk lies is made to state one beyond its end."""
    path = write(tmp_path / "betas.hdf5", session, chunks=(N_TRIALS, 1, 1, 1))
    voxel = np.argwhere(mask)[0]
    with h5py.File(path) as file:
        offset = file["betas"].id.get_chunk_info_by_coord((0, *map(int, voxel[::-1]))).byte_offset
    content = path.read_bytes()
    path.write_bytes(content.replace(offset.to_bytes(8, "little"), (2**40).to_bytes(8, "little")))
    with pytest.raises(InputError, match=r"cannot read .*betas\.hdf5 \(") as error:
        read_session(path, mask, N_TRIALS)
    assert "\n" not in str(error.value)
