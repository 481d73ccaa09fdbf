"""Read one session of single-trial betas through a mask, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from brain_activity_prediction.datasets.files.hdf5_chunks import read_chunks
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.storage.grid import Grid, on_grid
from brain_activity_prediction.storage.hdf5_file import dataset, open_hdf5, read_part
from brain_activity_prediction.storage.nifti import open_volumes

INTEGERS_PER_PERCENT = 300  # NSD stores percent signal change x 300 as int16
LARGEST_PERCENT = 30  # signal change above that of most voxels in any trial
SLAB_BYTES = 64 * 2**20  # memory for reading a session, in addition to the result


def read_session(path: Path, mask: np.ndarray, n_trials: int, grid: Grid | None = None) -> np.ndarray:
    """Read the betas of one session in the mask's voxels, in percent signal change.

    Returns an array (n_trials, n_voxels), float32, with columns ordered as `volume[mask]`. Accepts .nii.gz, volumes
    (X, Y, Z, n_trials), and .hdf5, dataset `betas` (n_trials, Z, Y, X). Integers are divided by 300; floats, and
    integers that the NIfTI header scales, are already percent signal change. The mask is on `grid`, to which NIfTI
    volumes in another orientation are converted. Without a grid, only the shapes are compared. This also holds for
    HDF5, which stores no affine. Memory holds the result and a slab of SLAB_BYTES, never the whole session.

    Raises InputError for a broken file, a grid that is not the mask's, or a wrong number of trials.
    """
    betas = np.empty((n_trials, np.count_nonzero(mask)), dtype=np.float32)
    if path.suffix == ".hdf5":
        stored_as_integers = _fill_from_hdf5(betas, path, mask)
    else:
        stored_as_integers = _fill_from_nifti(betas, path, mask, grid)
    if stored_as_integers:
        betas /= INTEGERS_PER_PERCENT
    elif len(betas) and np.count_nonzero(np.abs(betas[0]) > LARGEST_PERCENT) > betas.shape[1] / 2:
        log.warning(
            f"{path} holds floats of over {LARGEST_PERCENT} % signal change in most voxels: they seem to be NSD's "
            f"integers, {INTEGERS_PER_PERCENT} times percent. Scores do not depend on the scale"
        )
    return betas


def _fill_from_nifti(betas: np.ndarray, path: Path, mask: np.ndarray, grid: Grid | None) -> bool:
    with open_volumes(path) as volumes:
        grid = grid or volumes.grid
        shape = on_grid(np.broadcast_to(np.int8(0), volumes.shape), volumes.grid, grid).shape
        _check_shape(path, shape, mask, len(betas))
        step = max(1, SLAB_BYTES // (mask.size * volumes.numbers.dtype.itemsize))
        for start in range(0, len(betas), step):
            trials = slice(start, start + step)
            betas[trials] = on_grid(np.asarray(volumes.numbers[..., trials]), volumes.grid, grid)[mask].T
        return volumes.stored_as_integers


def _fill_from_hdf5(betas: np.ndarray, path: Path, mask: np.ndarray) -> bool:
    with open_hdf5(path) as file:
        if "betas" not in file:
            raise InputError(f"{path} holds no dataset 'betas'")
        volumes = dataset(file, "betas", check_chunks=False)
        _check_shape(path, volumes.shape[::-1], mask, len(betas))
        if _has_a_chunk_a_voxel(volumes):
            _fill_from_chunks(betas, volumes, mask)
            return volumes.dtype.kind in "iu"
        volumes = dataset(file, "betas")
        x, y, z = np.nonzero(mask)
        for trials, planes in _slabs(volumes):
            inside = (z >= planes.start) & (z < planes.stop)
            slab = read_part(volumes, trials, planes)
            betas[trials, inside] = slab[:, z[inside] - planes.start, y[inside], x[inside]]
        return volumes.dtype.kind in "iu"


def _has_a_chunk_a_voxel(volumes: h5py.Dataset) -> bool:
    """Return whether each chunk holds all trials of one voxel, unfiltered. NSD publishes its betas in this form."""
    return volumes.chunks == (len(volumes), 1, 1, 1) and not volumes.id.get_create_plist().get_nfilters()


def _fill_from_chunks(betas: np.ndarray, volumes: h5py.Dataset, mask: np.ndarray) -> None:
    """Read only the chunks of the mask's voxels, in the file's order (Z, Y, X)."""
    column = np.empty(mask.shape, dtype=int)
    column[mask] = np.arange(betas.shape[1])
    corners = np.pad(np.argwhere(mask.T), ((0, 0), (1, 0)))  # the first index of each chunk is trial 0
    columns = column.T[mask.T]
    step = max(1, SLAB_BYTES // 8 // (len(betas) * volumes.dtype.itemsize))
    for start in range(0, len(corners), step):
        some = slice(start, start + step)
        betas[:, columns[some]] = read_chunks(volumes, corners[some])[:, :, 0, 0, 0].T


def _slabs(volumes: h5py.Dataset) -> Iterator[tuple[slice, slice]]:
    """Yield slices of trials and slices of Z planes that together cover the dataset in slabs of SLAB_BYTES."""
    n_trials, n_planes = volumes.shape[:2]
    bytes_per_plane = volumes.dtype.itemsize * volumes.shape[2] * volumes.shape[3]
    trials = SLAB_BYTES // (n_planes * bytes_per_plane)
    if volumes.chunks is None or volumes.chunks[0] <= trials:
        step_trials, step_planes = max(1, trials), n_planes
    else:  # a chunk holds more trials than a slab: slabs of whole volumes would decompress each chunk many times
        step_trials, step_planes = n_trials, max(1, SLAB_BYTES // (n_trials * bytes_per_plane))
    for first_trial in range(0, n_trials, step_trials):
        for first_plane in range(0, n_planes, step_planes):
            trials = slice(first_trial, first_trial + step_trials)
            yield trials, slice(first_plane, first_plane + step_planes)


def _check_shape(path: Path, shape: tuple[int, ...], mask: np.ndarray, n_trials: int) -> None:
    """Raise InputError unless `shape`, (X, Y, Z, trials), fits the mask and the design."""
    if shape[:-1] != mask.shape:
        raise InputError(
            f"{path} has volumes of shape {shape[:-1]}, but the mask has {mask.shape}: one of them is another "
            "subject's, or not of 1.8 mm; fetch it again"
        )
    if shape[-1] != n_trials:
        raise InputError(
            f"{path} holds {shape[-1]} trials, but the design has {n_trials} trials a session: fetch it again"
        )
