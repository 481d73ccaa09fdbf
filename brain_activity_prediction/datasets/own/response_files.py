"""Read single-trial responses from the files that analysis programs write, a few trials at a time.

Every reader gives an array of trials first, whatever the order of the axes in the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from brain_activity_prediction.datasets.files.mgh import open_mgh
from brain_activity_prediction.datasets.files.npy import open_npy
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.storage.files import reading
from brain_activity_prediction.storage.grid import Grid
from brain_activity_prediction.storage.hdf5_file import dataset, open_hdf5, read_part
from brain_activity_prediction.storage.nifti import open_volumes

ENDINGS = (".npy", ".h5", ".hdf5", ".nii.gz", ".nii", ".dscalar.nii", ".func.gii", ".gii", ".mgz", ".mgh", ".mat")
SLAB_BYTES = 64 * 2**20  # memory for reading, in addition to the result
TRIALS_FIRST, TRIALS_LAST, TRIALS_FIRST_REVERSED = "first", "last", "first, other axes reversed"
# Names of datasets in HDF5 files, in order of preference, with the order of their axes. GLMsingle writes `betasmd` from
# Python; MATLAB's `modelmd` has its axes in reverse order for a reader in C order.
HDF5_NAMES = {"responses": TRIALS_FIRST, "betasmd": TRIALS_LAST, "modelmd": TRIALS_FIRST_REVERSED}
PICKLED = (
    "it is a pickle, which runs code when it is read: where you trust it, convert it with "
    "python -c \"import h5py, numpy as np; r = np.load('TYPED_FITHRF_GLMDENOISE_RR.npy', allow_pickle"
    "=True).item(); "
    "h5py.File('SUBJECT_1.h5', 'w')['betasmd'] = r['betasmd']\""
)


@dataclass(frozen=True)
class Stored:
    """The responses in an open file.

    shape  of one trial: (n_units,), or (X, Y, Z)
    read   function that returns the trials from a start to an end, (k, *shape)
    column_major  whether a program that counts voxels along the first axis first, as MATLAB does, listed the units
    """

    n_trials: int
    shape: tuple[int, ...]
    read: Callable[[int, int], np.ndarray]
    grid: Grid | None = None  # of a NIfTI file
    brain_models: Any = None  # nibabel's axis of a CIFTI file
    column_major: bool = False


@contextmanager
def open_responses(path: Path) -> Iterator[Stored]:
    """Open a file of responses; raise InputError for an unknown kind or a damaged file."""
    name = path.name.lower()
    if name.endswith(".npy"):
        yield _npy(path)
    elif name.endswith((".h5", ".hdf5", ".mat")):
        with open_hdf5(path) as file:
            yield _hdf5(path, file)
    elif name.endswith(".dscalar.nii"):
        yield _cifti(path)
    elif name.endswith((".nii", ".nii.gz")):
        with open_volumes(path) as volumes:
            if len(volumes.shape) != 4:
                raise InputError(f"{path} has shape {volumes.shape}: responses are (X, Y, Z, trials)")
            yield Stored(
                volumes.shape[3],
                volumes.shape[:3],
                lambda start, stop: np.moveaxis(np.asarray(volumes.numbers[..., start:stop]), -1, 0),
                volumes.grid,
            )
    elif name.endswith(".gii"):
        yield _gifti(path)
    elif name.endswith((".mgz", ".mgh")):
        with open_mgh(path) as numbers:
            yield _mgh(path, numbers)
    else:
        raise InputError(f"{path} is no file of responses: {', '.join(ENDINGS)} are read")


def read_units(stored: Stored, mask: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Read some trials in the units of a mask, (n_trials, n_units) float32; memory holds the result and a slab.

    mask  bool, of the shape of one trial
    rows  the trials to read, ascending
    """
    responses = np.empty((len(rows), np.count_nonzero(mask)), dtype=np.float32)
    step = max(1, SLAB_BYTES // (8 * mask.size))
    for start in range(0, stored.n_trials, step):
        stop = min(start + step, stored.n_trials)
        first, last = np.searchsorted(rows, [start, stop])
        if first < last:
            with np.errstate(over="ignore"):  # a number beyond float32 becomes infinite, and missing
                responses[first:last] = stored.read(start, stop)[rows[first:last] - start][:, mask]
    responses[~np.isfinite(responses)] = np.nan
    return responses


def _npy(path: Path) -> Stored:
    array = open_npy(path, (2, 4), PICKLED)
    if array.ndim == 4:
        return Stored(array.shape[3], array.shape[:3], lambda start, stop: np.moveaxis(array[..., start:stop], -1, 0))
    return Stored(len(array), array.shape[1:], lambda start, stop: array[start:stop])


def _hdf5(path: Path, file: Any) -> Stored:
    name = next((name for name in HDF5_NAMES if name in file), None)
    if name is None:
        there = ", ".join(list(file)[:10]) or "nothing"
        raise InputError(f"{path} holds {there}: responses are a dataset {' or '.join(HDF5_NAMES)}")
    data, order = dataset(file, name), HDF5_NAMES[name]
    if data.ndim not in (2, 4):
        raise InputError(f"{path} holds {name} of shape {data.shape}: responses are (trials, units) or volumes")
    if order == TRIALS_LAST:
        n, shape = data.shape[-1], data.shape[:-1]

        def read(start: int, stop: int) -> np.ndarray:
            whole = tuple(slice(None) for _ in shape)
            return np.moveaxis(read_part(data, *whole, slice(start, stop)), -1, 0)
    else:
        n, shape = len(data), data.shape[1:]
        shape = shape[::-1] if order == TRIALS_FIRST_REVERSED else shape

        def read(start: int, stop: int) -> np.ndarray:
            part = read_part(data, slice(start, stop))
            return part.transpose(0, *range(data.ndim - 1, 0, -1)) if order == TRIALS_FIRST_REVERSED else part

    return replace(_without_single_axes(n, shape, read), column_major=order == TRIALS_FIRST_REVERSED)


def _without_single_axes(n: int, shape: tuple[int, ...], read: Callable[[int, int], np.ndarray]) -> Stored:
    """Drop the axes of length 1 that GLMsingle and MGH give to lists of vertices: (V, 1, 1) becomes (V,)."""
    if len(shape) == 3 and shape[1:] == (1, 1):
        return Stored(n, shape[:1], lambda start, stop: read(start, stop)[:, :, 0, 0])
    return Stored(n, shape, read)


def _gifti(path: Path) -> Stored:
    with reading(path):
        arrays = [array.data for array in nibabel.gifti.GiftiImage.from_filename(path).darrays]
        if not arrays or any(array.ndim != 1 or len(array) != len(arrays[0]) for array in arrays):
            raise ValueError("its arrays are not one value for each vertex")
    trials = np.stack(arrays)
    return Stored(len(trials), trials.shape[1:], lambda start, stop: trials[start:stop])


def _mgh(path: Path, numbers: Any) -> Stored:
    shape = (*numbers.shape, 1)[:4]

    def read(start: int, stop: int) -> np.ndarray:
        part = numbers[..., start:stop] if len(numbers.shape) == 4 else numbers
        return np.moveaxis(np.asarray(part).reshape(*shape[:3], -1), -1, 0)

    return _without_single_axes(shape[3], tuple(shape[:3]), read)


def _cifti(path: Path) -> Stored:
    with reading(path):
        image = nibabel.load(path)
        if not isinstance(image, nibabel.Cifti2Image) or image.ndim != 2:
            raise ValueError("it is no CIFTI file of scalars")
        brain_models = image.header.get_axis(1)

    def read(start: int, stop: int) -> np.ndarray:
        with reading(path):
            return np.asarray(image.dataobj[start:stop])

    return Stored(image.shape[0], image.shape[1:], read, brain_models=brain_models)
