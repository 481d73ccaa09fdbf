"""Read single-trial responses from open files, a few trials at a time, whatever the order of their axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.storage.grid import TOLERANCE_MM, Grid

SLAB_BYTES = 64 * 2**20  # memory for reading, in addition to the result


@dataclass(frozen=True)
class Stored:
    """The responses in an open file.

    shape         shape of one trial: (n_units,), or (X, Y, Z)
    read          function that returns the trials from a start to an end, (k, *shape)
    axes          shape of the array in the file, for messages
    grid          grid of a NIfTI file
    cifti         nibabel's axis of the units of a CIFTI file
    names         names of the units, if the file has them
    column_major  whether voxels are listed along the first axis first, as MATLAB does
    """

    n_trials: int
    shape: tuple[int, ...]
    read: Callable[[int, int], np.ndarray]
    axes: tuple[int, ...] = ()
    grid: Grid | None = None
    cifti: Any = None
    names: Sequence[str] | None = None
    column_major: bool = False


def one_after_another(runs: Sequence[Stored]) -> Stored:
    """Join several files into one sequence of trials, without reading them."""

    def read(start: int, stop: int) -> np.ndarray:
        parts, first = [], 0
        for run in runs:
            if start < first + run.n_trials and first < stop:
                parts.append(run.read(max(start - first, 0), min(stop - first, run.n_trials)))
            first += run.n_trials
        return np.concatenate(parts)

    return replace(runs[0], n_trials=sum(run.n_trials for run in runs), read=read)


def check_grid(grid: Grid, affine: np.ndarray) -> None:
    """Raise InputError if the affine in a file's header differs from `affine` (4, 4)."""
    if grid.has_affine and not np.allclose(grid.affine, affine, rtol=0, atol=TOLERANCE_MM):
        raise InputError(
            f"{grid.path} has {grid}, which differs from the subject's other files: resample all to one grid"
        )


def read_units(stored: Stored, mask: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Read some trials through a mask, (n_trials, n_units) float32; values that are not finite become NaN.

    mask  units to read: bool, in the shape of one trial
    rows  trials to read, ascending

    Memory holds the result and SLAB_BYTES.
    """
    responses = np.empty((len(rows), np.count_nonzero(mask)), dtype=np.float32)
    step = max(1, SLAB_BYTES // (8 * mask.size))
    for start in range(0, stored.n_trials, step):
        stop = min(start + step, stored.n_trials)
        first, last = np.searchsorted(rows, [start, stop])
        if first < last:
            with np.errstate(over="ignore"):  # a number too large for float32 becomes infinite, then NaN
                responses[first:last] = stored.read(start, stop)[rows[first:last] - start][:, mask]
    responses[~np.isfinite(responses)] = np.nan
    return responses
