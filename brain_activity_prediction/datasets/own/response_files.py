"""Read single-trial responses from the files that analysis programs write, a few trials at a time.

Every reader returns arrays with trials as the first axis, whatever the order of axes in the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import nibabel
import numpy as np

from brain_activity_prediction.datasets.files.cifti import open_cifti
from brain_activity_prediction.datasets.files.npy import open_npy
from brain_activity_prediction.datasets.files.surfaces.gifti import open_gifti
from brain_activity_prediction.datasets.files.surfaces.mgh import open_mgh
from brain_activity_prediction.datasets.files.tables import read_table
from brain_activity_prediction.datasets.own.other_kinds import READ, of_matlab_5, of_other_names, pickled
from brain_activity_prediction.datasets.own.stored import Stored, check_grid, one_after_another
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.storage.files import reading
from brain_activity_prediction.storage.hdf5_file import check_written, dataset, is_hdf5, open_hdf5, read_part
from brain_activity_prediction.storage.nifti import open_volumes

CIFTI = (".dscalar.nii", ".dtseries.nii", ".pscalar.nii", ".ptseries.nii")
TABLES = (".csv", ".tsv")
MISSING = {"", "n/a", "NA", "nan", "NaN"}  # cells of a table without a response
ENDINGS = (".npy", ".h5", ".hdf5", ".mat", ".nii.gz", ".nii", *CIFTI, ".func.gii", ".gii", ".mgz", ".mgh", *TABLES)


@contextmanager
def open_responses(path: Path) -> Iterator[Stored]:
    """Open a file of responses; raise InputError for an unknown kind or a damaged file."""
    name = path.name.lower()
    if name.endswith(".npy"):
        yield _npy(path)
    elif name.endswith((".h5", ".hdf5", ".mat")):
        if name.endswith(".mat") and path.is_file() and not is_hdf5(path):
            raise InputError(f"{path} is not read: {of_matlab_5(path)}")
        with open_hdf5(path) as file:
            yield _hdf5(path, file)
    elif name.endswith(CIFTI):
        yield _cifti(path)
    elif name.endswith(TABLES):
        yield _table(path)
    elif name.endswith((".nii", ".nii.gz")):
        with open_volumes(path) as volumes:
            if len(volumes.shape) != 4:
                raise InputError(
                    f"{path} has shape {volumes.shape}, but responses have (X, Y, Z, trials): join files of single "
                    "trials into one with nibabel.concat_images"
                )
            yield Stored(
                volumes.shape[3],
                volumes.shape[:3],
                lambda start, stop: np.moveaxis(np.asarray(volumes.numbers[..., start:stop]), -1, 0),
                volumes.shape,
                volumes.grid,
            )
    elif name.endswith(".gii"):
        yield _gifti(path)
    elif name.endswith((".mgz", ".mgh")):
        with open_mgh(path) as numbers:
            yield _mgh(path, numbers)
    else:
        raise InputError(f"{path} is not a file of responses: supported endings are {', '.join(ENDINGS)}")


@contextmanager
def open_runs(paths: Sequence[Path]) -> Iterator[Stored]:
    """Open files of responses, one for each run, as if they were one file with the trials of all runs.

    Raises InputError if the units or the grid of a run differ from those of the first run.
    """
    with ExitStack() as opened:
        runs = [opened.enter_context(open_responses(path)) for path in paths]
        for path, run in zip(paths[1:], runs[1:], strict=True):
            if run.shape != runs[0].shape:
                raise InputError(f"{path} has {run.shape} values per trial, but {paths[0].name} has {runs[0].shape}")
            if run.grid and runs[0].grid:
                check_grid(run.grid, runs[0].grid.affine)
        yield runs[0] if len(runs) == 1 else one_after_another(runs)


def _npy(path: Path) -> Stored:
    array = open_npy(path, (2, 3, 4), pickled)
    if array.ndim == 4:
        return Stored(
            array.shape[3],
            array.shape[:3],
            lambda start, stop: np.moveaxis(array[..., start:stop], -1, 0),
            array.shape,
        )
    return _trials_first(array.shape, lambda start, stop: array[start:stop])


def _trials_first(axes: tuple[int, ...], read: Callable[[int, int], np.ndarray]) -> Stored:
    """Describe an array whose first axis is trials; of three axes, each channel at each time becomes one unit.

    axes  shape of the array: trials x units, trials x channels x times, or trials x X x Y x Z
    read  function that reads the trials from a start to an end
    """
    if len(axes) != 3:
        return Stored(axes[0], axes[1:], read, axes)
    names = [f"channel {channel} time {time}" for channel in range(axes[1]) for time in range(axes[2])]
    return Stored(
        axes[0], (len(names),), lambda start, stop: read(start, stop).reshape(-1, len(names)), axes, names=names
    )


def _hdf5(path: Path, file: Any) -> Stored:
    name = next((name for name in READ if file.get(name, getclass=True) is h5py.Dataset), None)
    if name is None:
        raise InputError(f"{path} is not read: {of_other_names(path, file)}")
    data = dataset(file, name)
    check_written(data)
    if data.ndim not in ((2, 3, 4) if name == "responses" else (2, 4)):
        raise InputError(f"{path} holds {name} of shape {data.shape}: responses are (trials, units) or volumes")
    if name == "responses":
        return _trials_first(data.shape, lambda start, stop: read_part(data, slice(start, stop)))
    if name == "betasmd":  # GLMsingle's result in Python, whose last axis is trials

        def read(start: int, stop: int) -> np.ndarray:
            whole = tuple(slice(None) for _ in data.shape[:-1])
            return np.moveaxis(read_part(data, *whole, slice(start, stop)), -1, 0)

        return _without_single_axes(Stored(data.shape[-1], data.shape[:-1], read, data.shape))
    # GLMsingle's modelmd in MATLAB. MATLAB stores arrays in column-major order, so h5py shows the axes in reverse.
    stored = Stored(
        len(data),
        data.shape[:0:-1],
        lambda start, stop: read_part(data, slice(start, stop)).transpose(0, *range(data.ndim - 1, 0, -1)),
        data.shape,
        column_major=True,
    )
    return _without_single_axes(stored)


def _without_single_axes(stored: Stored) -> Stored:
    """Drop the axes of length 1 that GLMsingle and MGH give to lists of vertices: (V, 1, 1) becomes (V,)."""
    if stored.shape[1:] != (1, 1):
        return stored
    return replace(stored, shape=stored.shape[:1], read=lambda start, stop: stored.read(start, stop)[:, :, 0, 0])


def _gifti(path: Path) -> Stored:
    with reading(path):
        arrays = [array.data for array in open_gifti(path).darrays]
        if any(array.ndim != 1 or len(array) != len(arrays[0]) for array in arrays):
            raise ValueError("its arrays do not have one value for each vertex")
    trials = np.stack(arrays)
    return Stored(len(trials), trials.shape[1:], lambda start, stop: trials[start:stop], trials.shape)


def _mgh(path: Path, numbers: Any) -> Stored:
    shape = (*numbers.shape, 1)[:4]

    def read(start: int, stop: int) -> np.ndarray:
        part = numbers[..., start:stop] if len(numbers.shape) == 4 else numbers
        return np.moveaxis(np.asarray(part).reshape(*shape[:3], -1), -1, 0)

    return _without_single_axes(Stored(shape[3], shape[:3], read, shape))


def _cifti(path: Path) -> Stored:
    with reading(path):
        image, (_, axis) = open_cifti(path)
        if not isinstance(axis, nibabel.cifti2.BrainModelAxis | nibabel.cifti2.ParcelsAxis):
            raise ValueError("its second axis holds neither grayordinates nor parcels")

    def read(start: int, stop: int) -> np.ndarray:
        with reading(path):
            return np.asarray(image.dataobj[start:stop])

    return Stored(image.shape[0], image.shape[1:], read, image.shape, cifti=axis)


def _table(path: Path) -> Stored:
    """Read a table with a row for each trial and a column for each unit, below a row with the names of the units."""
    names, rows = read_table(path)
    with reading(path, "write a row for each trial and a column for each unit, below a line with their names"):
        if "" in names or len(set(names)) < len(names):
            raise ValueError("its first line leaves a column without a name, or uses a name twice")
        trials = np.empty((len(rows), len(names)), dtype=np.float32)
        for trial, (line, row) in zip(trials, rows, strict=True):
            if len(row) != len(names):
                raise ValueError(f"line {line} has {len(row)} cells, but the first line has {len(names)}")
            try:
                trial[:] = [np.nan if cell in MISSING else float(cell) for cell in row]
            except ValueError as error:
                raise ValueError(f"line {line}: {error}") from None
    return Stored(len(trials), trials.shape[1:], lambda start, stop: trials[start:stop], trials.shape, names=names)
