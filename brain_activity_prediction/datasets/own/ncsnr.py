"""Read the ncsnr that a lab estimated itself, from `ncsnr/`: one value for each unit.

Files have the names and kinds of files of responses, with a single trial: SUBJECT.nii.gz (X, Y, Z), lh.SUBJECT.mgz and
rh.SUBJECT.mgz, SUBJECT.dscalar.nii, SUBJECT.csv with one row below the names of units, or SUBJECT.npy (n_units,).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from brain_activity_prediction.datasets.files.npy import open_npy
from brain_activity_prediction.datasets.nsd.base import LARGEST_RATIO
from brain_activity_prediction.datasets.own.file_names import SIDES, part_of
from brain_activity_prediction.datasets.own.response_files import ENDINGS, open_responses
from brain_activity_prediction.datasets.own.units import NIFTI
from brain_activity_prediction.datasets.units import Grayordinates, Parcels, Rows, Units, Vertices, Voxels
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.storage.grid import Grid
from brain_activity_prediction.storage.nifti import read_volume_on

FOLDER = "ncsnr"


def read_ncsnr(base_dir: Path, subject: str, units: Units) -> np.ndarray:
    """Return the ratio (n_units,) of signal SD to noise SD of a single trial; NaN where it is not known.

    Raises InputError if there is no file, or one with other units or with values that cannot be such a ratio.
    """
    sides, files = (SIDES if isinstance(units, Vertices) else ("",)), ncsnr_files(base_dir, subject)
    for side in sides:
        if side not in files:
            expected = base_dir / FOLDER / f"{f'{side}.' if side else ''}{subject}.EXT"
            raise InputError(
                f"subject {subject} has no ncsnr at {expected}, one value for each {units.noun} in a kind of file that "
                "responses may have: leave out --ncsnr to compute it from repeats"
            )
    return np.concatenate([_checked(files[side], _values(files[side], units, side)) for side in sides])


def ncsnr_files(base_dir: Path, subject: str) -> dict[str, Path]:
    """Return the files of a subject by hemisphere, "" without one; raise InputError if there are two for the same."""
    found: dict[str, Path] = {}
    for path in sorted((base_dir / FOLDER).glob("[!.]*")):
        ending = max((one for one in ENDINGS if path.name.lower().endswith(one)), key=len, default="")
        part = part_of(path.name[: -len(ending)], [subject]) if ending else None
        if part is not None:
            if part.side in found:
                raise InputError(f"{path} and {found[part.side].name} are both of subject {subject}: keep one of them")
            found[part.side] = path
    return found


def _values(path: Path, units: Units, side: str) -> np.ndarray:
    """Read the values of one file in the order of the units."""
    if isinstance(units, Voxels) and path.name.endswith(NIFTI):
        grid = Grid(Path("the grid of the responses"), units.mask.shape, units.affine)
        return read_volume_on(path, grid)[units.mask]
    n = units.masks[side].size if isinstance(units, Vertices) else units.n
    if path.name.lower().endswith(".npy"):
        values = np.asarray(open_npy(path, (1, 2)), dtype=np.float64).reshape(-1)
    else:
        with open_responses(path) as stored:
            if stored.n_trials != 1:
                raise InputError(f"{path} holds {stored.n_trials} maps: ncsnr is one value for each {units.noun}")
            if isinstance(units, Grayordinates | Parcels) and stored.cifti is not None and stored.cifti != units.axis:
                raise InputError(f"{path} has other {units.noun}s than the responses")
            values = np.asarray(stored.read(0, 1), dtype=np.float64).reshape(-1)
            if values.size == n and stored.names and isinstance(units, Rows):
                values = values[_order(path, stored.names, units.names)]
    if values.size != n:
        raise InputError(f"{path} has {values.size:,} values, but the responses have {n:,} {units.noun}s")
    return values[units.masks[side]] if isinstance(units, Vertices) else values


def _order(path: Path, names: Sequence[str], expected: Sequence[str]) -> np.ndarray:
    """Return where a table has each unit of the responses, by name; units without names of their own keep its order."""
    if [*expected] == [str(number) for number in range(len(expected))]:
        return np.arange(len(names))
    places = {name: place for place, name in enumerate(names)}
    if missing := [name for name in expected if name not in places]:
        raise InputError(f"{path} has no column for {missing[0]}, a unit of the responses")
    return np.array([places[name] for name in expected])


def _checked(path: Path, values: np.ndarray) -> np.ndarray:
    """Return the values, NaN for those that are not finite; raise InputError if they are no ratios of SDs."""
    known = np.where(np.isfinite(values), values, np.nan)
    low, high = np.nanmin(known, initial=0), np.nanmax(known, initial=0)
    if low < 0 or high > LARGEST_RATIO:
        raise InputError(
            f"{path} holds values from {low:.3g} to {high:.3g}: ncsnr, the SD of the signal over that of the "
            "noise, is 0 or more and rarely above 2. A ceiling C of a single trial, 0 to 1, gives sqrt(C / (1 - C))"
        )
    return known
