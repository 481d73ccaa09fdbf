"""Find out what the columns of an experiment's responses are: voxels, vertices, grayordinates or rows of a table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from nibabel.cifti2 import ParcelsAxis

from brain_activity_prediction.datasets.files.tables import read_table
from brain_activity_prediction.datasets.own.file_names import SIDES, part_of
from brain_activity_prediction.datasets.own.response_files import open_runs
from brain_activity_prediction.datasets.own.responses import ResponseFiles
from brain_activity_prediction.datasets.own.stored import Stored
from brain_activity_prediction.datasets.units import Grayordinates, Parcels, Rows, Units, Vertices, Voxels
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.storage.nifti import read_volume, read_volume_on

NIFTI = (".nii.gz", ".nii")


def units_of(base_dir: Path, files: ResponseFiles, subject: str, session: int) -> Units:
    """Return the units of a subject's responses, from the files of one session.

    Raises InputError if they do not hold as many trials as the table.
    """
    of_session = files.of(subject, session)
    masks = {}
    for side, (path, *_) in of_session.items():
        with open_runs(of_session[side]) as stored:
            files.check_trials(path, stored, subject, session)
            if not side:
                return _units_of_file(base_dir, subject, path, stored)
            if len(stored.shape) != 1:
                raise InputError(f"{path} holds volumes: lh. and rh. name the files of surfaces")
            masks[side] = np.ones(stored.shape, dtype=bool)
    return Vertices({side: masks[side] for side in SIDES})


def _units_of_file(base_dir: Path, subject: str, path: Path, stored: Stored) -> Units:
    if len(stored.shape) == 3:
        return _voxels(base_dir, subject, path, stored)
    if path.name.lower().endswith((".gii", ".mgz", ".mgh")):
        raise InputError(f"{path} is a surface: name its hemisphere in front, lh.{path.name} or rh.{path.name}")
    if stored.cifti is not None:
        return Parcels(stored.cifti) if isinstance(stored.cifti, ParcelsAxis) else Grayordinates(stored.cifti)
    if (found := mask_path(base_dir, subject)) is not None:
        return _listed_voxels(found, path, stored)
    if len(stored.axes) == 3 and stored.names:
        log.info(
            f"{path} of shape {stored.axes} is read as trials x channels x times, each channel at each time as a unit; "
            "repetitions of an image would be trials of their own"
        )
    return Rows(stored.names or _names(base_dir, subject, stored.shape[0]))


def _voxels(base_dir: Path, subject: str, path: Path, stored: Stored) -> Voxels:
    """Return the voxels of a mask; without a mask, those that are finite and not 0 in the first trial."""
    found = mask_path(base_dir, subject)
    if found is not None:
        if stored.grid is None:
            volume, grid = read_volume(found)
        else:
            volume, grid = read_volume_on(found, stored.grid), stored.grid
        if volume.shape != stored.shape:
            raise InputError(f"{found} has shape {volume.shape}, but {path} has {stored.shape}")
        return Voxels(_marked(found, volume), grid.affine)
    expected = base_dir / "masks" / f"{subject}.nii.gz"
    if stored.grid is None:
        raise InputError(f"{path} holds volumes without an affine: put a mask of the same grid at {expected}")
    first = stored.read(0, 1)[0]
    mask = np.isfinite(first) & (first != 0)
    log.info(f"subject {subject}: no mask at {expected}, so all {mask.sum():,} voxels with a response are fitted")
    return Voxels(mask, stored.grid.affine)


def _listed_voxels(of_mask: Path, path: Path, stored: Stored) -> Voxels:
    """Return the voxels of a mask whose responses are a list, as GLMsingle gives them for data of a mask."""
    volume, grid = read_volume(of_mask)
    mask = _marked(of_mask, volume)
    if (n := np.count_nonzero(mask)) != stored.shape[0]:
        raise InputError(
            f"{of_mask} marks {n:,} voxels, but {path} has {stored.shape[0]:,} responses a trial: give the mask of "
            "these responses, or remove it if they are not of voxels"
        )
    return Voxels(mask, grid.affine)


def listed_order(mask: np.ndarray) -> np.ndarray:
    """Return where a list along the first axis first has each voxel of `volume[mask]`, (n_voxels,)."""
    numbers = np.zeros(mask.shape, dtype=int)
    numbers.T[mask.T] = np.arange(np.count_nonzero(mask))
    return numbers[mask]


def _marked(path: Path, volume: np.ndarray) -> np.ndarray:
    mask = np.isfinite(volume) & (volume > 0)
    if not mask.any():
        raise InputError(f"{path} marks no voxel with a number above 0")
    return mask


def mask_path(base_dir: Path, subject: str) -> Path | None:
    """Return the mask of a subject, named as it is or as in BIDS, or else that of all subjects; None without one.

    Raises InputError if a subject has two.
    """
    folder = base_dir / "masks"
    named = [path for path in sorted(folder.glob("[!.]*")) if path.name.endswith(NIFTI)]
    own = [path for path in named if part_of(path.name.removesuffix(".gz").removesuffix(".nii"), [subject])]
    if len(own) > 1:
        raise InputError(f"{folder} has {own[0].name} and {own[1].name} for subject {subject}: keep one of them")
    return next((path for path in (*own, *(base_dir / f"mask{ending}" for ending in NIFTI)) if path.is_file()), None)


def _names(base_dir: Path, subject: str, n: int) -> list[str]:
    """Return the names of units: the first column of units/SUBJECT.csv or units.csv, or else numbers from 0."""
    for path in (base_dir / "units" / f"{subject}.csv", base_dir / "units.csv"):
        if path.is_file():
            names = [row[0] for _, row in read_table(path)[1]]
            if len(names) != n:
                raise InputError(f"{path} names {len(names)} units, but there are {n} columns of responses")
            return names
    return [str(number) for number in range(n)]
