"""Single-trial responses in open files, whatever the order of their axes: read a few trials at a time."""

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

    shape         of one trial: (n_units,), or (X, Y, Z)
    read          function that returns the trials from a start to an end, (k, *shape)
    axes          shape of the array in the file, for messages
    grid          of a NIfTI file
    cifti         nibabel's axis of the units of a CIFTI file
    names         of units, where the file states them
    column_major  whether a program that counts voxels along the first axis first, as MATLAB does, listed the units
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
    """Return several files as if they were one; their trials follow each other."""

    def read(start: int, stop: int) -> np.ndarray:
        parts, first = [], 0
        for run in runs:
            if start < first + run.n_trials and first < stop:
                parts.append(run.read(max(start - first, 0), min(stop - first, run.n_trials)))
            first += run.n_trials
        return np.concatenate(parts)

    return replace(runs[0], n_trials=sum(run.n_trials for run in runs), read=read)


def check_grid(grid: Grid, affine: np.ndarray) -> None:
    """Raise InputError if a file's header states other voxels than those of an affine (4, 4)."""
    if grid.has_affine and not np.allclose(grid.affine, affine, rtol=0, atol=TOLERANCE_MM):
        raise InputError(
            f"{grid.path} has {grid}, but other files of the subject have other voxels: resample all to one grid"
        )


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
