"""Read the noise ceilings that a lab estimated itself: one value for each unit.

ncsnr/       ratios of signal SD to noise SD of a single trial
ceilings_N/  noise ceilings in percent, or from 0 to 1, of means over N trials

Names and formats are those of files of responses with a single trial: SUBJECT.nii.gz (X, Y, Z), lh.SUBJECT.mgz and
rh.SUBJECT.mgz, SUBJECT.dscalar.nii, SUBJECT.csv with one row below the names of units, SUBJECT.npy (n_units,) or
(X, Y, Z), or SUBJECT.mat with an array `noiseceiling` or `ncsnr`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from brain_activity_prediction.datasets.files.named_arrays import named_array
from brain_activity_prediction.datasets.files.npy import open_npy
from brain_activity_prediction.datasets.nsd.base import LARGEST_RATIO
from brain_activity_prediction.datasets.own.file_names import SIDES, part_of
from brain_activity_prediction.datasets.own.response_files import ENDINGS, open_responses
from brain_activity_prediction.datasets.own.units import NIFTI, listed_order
from brain_activity_prediction.datasets.own.unread import tell_unread
from brain_activity_prediction.datasets.units import Grayordinates, Parcels, Rows, Units, Vertices, Voxels
from brain_activity_prediction.inference.noise_ceiling import ncsnr_of_ceiling
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.storage.grid import Grid
from brain_activity_prediction.storage.nifti import read_volume_on

RATIOS, CEILINGS = "ncsnr", re.compile(r"ceilings_([1-9]\d{0,3})")
PERCENT = 100


@dataclass(frozen=True)
class OwnCeilings:
    """The files of a subject's noise ceilings by hemisphere; under "" if the units are not vertices.

    n_trials  number of trials in the means to which the ceilings apply; None if the files hold ncsnr instead
    """

    files: Mapping[str, Path]
    n_trials: int | None

    def read(self, units: Units) -> np.ndarray:
        """Return the ratio (n_units,) of signal SD to noise SD of a single trial; NaN where it is not known.

        Raises InputError for a file with other units, or with values of another kind.
        """
        sides = SIDES if isinstance(units, Vertices) else ("",)
        values = np.concatenate([_numbers(self.files[side], units, side) for side in sides])
        values, path = np.where(np.isfinite(values), values, np.nan), self.files[sides[0]]
        known = values[np.isfinite(values)]
        if known.size > 1 and np.isin(known, (0, 1)).all():
            raise InputError(f"{path} holds only 0 and 1, so it seems to be a mask instead of {self._title}")
        if self.n_trials is None:
            return _checked_ratios(path, values)
        return ncsnr_of_ceiling(np.maximum(_as_fractions(path, values), 0), self.n_trials)

    def __str__(self) -> str:
        names = " and ".join(f"{path.parent.name}/{path.name}" for path in self.files.values())
        return f"{names} ({self._title})"

    @property
    def _title(self) -> str:
        of = "single trials" if self.n_trials == 1 else f"means over {self.n_trials} trials"
        return "ratios ncsnr" if self.n_trials is None else f"noise ceilings of {of}"


def own_ceilings(base_dir: Path, subject: str, units: Units, subjects: Collection[str]) -> OwnCeilings:
    """Return the files of a subject; raise InputError if files are missing, or if two are for the same units."""
    found = ceiling_files(base_dir, subject, subjects) or OwnCeilings({}, None)
    for side in SIDES if isinstance(units, Vertices) else ("",):
        if side not in found.files:
            folder = next((path.parent for path in found.files.values()), base_dir / RATIOS)
            expected = folder / f"{f'{side}.' if side else ''}{subject}.EXT"
            raise InputError(
                f"subject {subject} has no ncsnr at {expected}: write one value for each {units.noun} in a format of "
                "files of responses (noise ceilings of means over N trials go into ceilings_N/), or leave out --ncsnr "
                "to compute it from repeats"
            )
    return found


def ceiling_files(base_dir: Path, subject: str, subjects: Collection[str]) -> OwnCeilings | None:
    """Return the files of a subject, or None if there are none; raise InputError if two are for the same units.

    A warning names each file that belongs to no subject.
    """
    found: dict[str, Path] = {}
    for path in _files(base_dir):
        ending = max((one for one in ENDINGS if path.name.lower().endswith(one)), key=len, default="")
        part = part_of(path.name[: -len(ending)], subjects) if ending else None
        if not ending:
            tell_unread(path, f"supported endings are {', '.join(ENDINGS)}")
        elif part is None:
            tell_unread(path, "trials.csv has no subject of this name")
        elif part.session or part.run:
            tell_unread(path, f"noise ceilings are of all sessions: name it {part.subject}{ending}")
        elif part.subject == subject:
            if part.side in found or (found and next(iter(found.values())).parent != path.parent):
                other = found.get(part.side) or next(iter(found.values()))
                raise InputError(f"{path} and {other} are both of subject {subject}: keep one of them")
            found[part.side] = path
    if not found:
        return None
    number = CEILINGS.fullmatch(next(iter(found.values())).parent.name)
    return OwnCeilings(found, int(number[1]) if number else None)


def _files(base_dir: Path) -> Iterator[Path]:
    for folder in sorted(base_dir.glob("ceilings*")):
        if folder.is_dir() and not CEILINGS.fullmatch(folder.name):
            raise InputError(
                f"the name of {folder} lacks a number of trials: name it ceilings_3 for noise ceilings of means over 3 "
                "trials, or ceilings_1 for those of single trials"
            )
        yield from sorted(folder.glob("[!.]*"))
    yield from sorted((base_dir / RATIOS).glob("[!.]*"))


def _numbers(path: Path, units: Units, side: str) -> np.ndarray:
    """Read the values of one file, in the order of the units."""
    if isinstance(units, Voxels) and path.name.endswith(NIFTI):
        grid = Grid(Path("the grid of the responses"), units.mask.shape, units.affine)
        return read_volume_on(path, grid)[units.mask].astype(np.float64)
    n = units.masks[side].size if isinstance(units, Vertices) else units.n
    if (named := _named(path)) is not None:
        if isinstance(units, Voxels) and (*named.shape, 1) == units.mask.shape:
            named = named[..., None]  # MATLAB drops a last axis of length 1
        values = _of_units(named, units)
        if isinstance(units, Voxels) and named.shape != units.mask.shape and values.size == n and _is_matlab(path):
            values = values[listed_order(units.mask)]
    elif path.name.lower().endswith(".npy"):
        values = np.asarray(open_npy(path, (1, 2, 3)))
        if values.dtype.kind == "b":
            raise InputError(f"{path} holds booleans, so it seems to be a mask")
        values = _of_units(values, units)
    else:
        with open_responses(path) as stored:
            if stored.n_trials != 1:
                raise InputError(f"{path} holds {stored.n_trials} maps, but ncsnr is one value for each {units.noun}")
            if isinstance(units, Grayordinates | Parcels) and stored.cifti is not None and stored.cifti != units.axis:
                raise InputError(f"{path} has other {units.nouns} than the responses")
            values = _of_units(np.asarray(stored.read(0, 1))[0], units)
            if values.size == n and stored.names and isinstance(units, Rows):
                values = values[_order(path, stored.names, units.names)]
    if values.size != n:
        raise InputError(f"{path} has {values.size:,} values, but the responses have {n:,} {units.nouns}")
    return values[units.masks[side]] if isinstance(units, Vertices) else values


def _named(path: Path) -> np.ndarray | None:
    """Return the array of a MATLAB or HDF5 file that has the name of GLMsingle's examples; None without one."""
    name = "ncsnr" if path.parent.name == RATIOS else "noiseceiling"
    found = named_array(path, name) if path.name.lower().endswith((".mat", ".h5", ".hdf5")) else None
    if found is None and _is_matlab(path):
        raise InputError(f"{path} has no array {name}: save({path.name!r}, {name!r}) in MATLAB writes it")
    return found


def _is_matlab(path: Path) -> bool:
    return path.name.lower().endswith(".mat")


def _of_units(values: np.ndarray, units: Units) -> np.ndarray:
    """Return the values of the fitted voxels if `values` is a volume, otherwise all values."""
    if isinstance(units, Voxels) and values.shape == units.mask.shape:
        values = values[units.mask]
    return values.reshape(-1).astype(np.float64)


def _order(path: Path, names: Sequence[str], expected: Sequence[str]) -> np.ndarray:
    """Return the column of each unit of the responses in a table, found by name; unnamed units are in its order."""
    if [*expected] == [str(number) for number in range(len(expected))]:
        return np.arange(len(names))
    places = {name: place for place, name in enumerate(names)}
    if missing := [name for name in expected if name not in places]:
        raise InputError(f"{path} has no column {missing[0]}, but the responses have this unit")
    return np.array([places[name] for name in expected])


def _checked_ratios(path: Path, values: np.ndarray) -> np.ndarray:
    low, high = np.nanmin(values, initial=0), np.nanmax(values, initial=0)
    if low < 0 or high > LARGEST_RATIO:
        raise InputError(
            f"{path} holds values from {low:.3g} to {high:.3g}. ncsnr is the SD of the signal divided by that of the "
            "noise: at least 0, rarely above 2. Noise ceilings of means over N trials belong in ceilings_N/"
        )
    return values


def _as_fractions(path: Path, values: np.ndarray) -> np.ndarray:
    """Return noise ceilings as fractions; if any value is above 1, they are in percent."""
    low, high = np.nanmin(values, initial=0), np.nanmax(values, initial=0)
    if high > PERCENT or low < -PERCENT:
        raise InputError(f"{path} holds values from {low:.3g} to {high:.3g}; noise ceilings are 0 to 1, or percent")
    return values / PERCENT if high > 1 else values
