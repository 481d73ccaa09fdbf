"""Find the units of an experiment's responses: voxels, vertices, grayordinates, parcels or named columns."""

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

    Raises InputError if the files do not hold as many trials as the table of trials.
    """
    of_session = files.of(subject, session)
    masks = {}
    for side, (path, *_) in of_session.items():
        with open_runs(of_session[side]) as stored:
            files.check_trials(path, stored, subject, session)
            if not side:
                return _units_of_file(base_dir, subject, path, stored)
            if len(stored.shape) != 1:
                raise InputError(f"{path} holds volumes, but lh. and rh. are for surfaces: rename it without them")
            masks[side] = np.ones(stored.shape, dtype=bool)
    return Vertices({side: masks[side] for side in SIDES})


def _units_of_file(base_dir: Path, subject: str, path: Path, stored: Stored) -> Units:
    if len(stored.shape) == 3:
        return _voxels(base_dir, subject, path, stored)
    if path.name.lower().endswith((".gii", ".mgz", ".mgh")):
        raise InputError(f"{path} is a surface: put its hemisphere before the name, lh.{path.name} or rh.{path.name}")
    if stored.cifti is not None:
        return Parcels(stored.cifti) if isinstance(stored.cifti, ParcelsAxis) else Grayordinates(stored.cifti)
    if (found := mask_path(base_dir, subject)) is not None:
        return _listed_voxels(found, path, stored)
    if len(stored.axes) == 3 and stored.names:
        log.info(
            f"{path} of shape {stored.axes} is read as trials x channels x times; each channel at each time is one "
            "unit. If one axis is repetitions of an image, store each repetition as a trial instead"
        )
    return Rows(stored.names or _names(base_dir, subject, stored.shape[0]))


def _voxels(base_dir: Path, subject: str, path: Path, stored: Stored) -> Voxels:
    """Return the voxels of the mask; without a mask, the voxels that are finite and not 0 in the first trial."""
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
    """Return the voxels of a mask for responses stored as a list of its voxels, as GLMsingle writes masked data."""
    volume, grid = read_volume(of_mask)
    mask = _marked(of_mask, volume)
    if (n := np.count_nonzero(mask)) != stored.shape[0]:
        raise InputError(
            f"{of_mask} marks {n:,} voxels, but {path} has {stored.shape[0]:,} responses per trial: use the mask "
            "that these responses were read with, or remove it if they are not voxels"
        )
    return Voxels(mask, grid.affine)


def listed_order(mask: np.ndarray) -> np.ndarray:
    """Return the place (n_voxels,) of each voxel of `volume[mask]` in a list that counts along the first axis first."""
    numbers = np.zeros(mask.shape, dtype=int)
    numbers.T[mask.T] = np.arange(np.count_nonzero(mask))
    return numbers[mask]


def _marked(path: Path, volume: np.ndarray) -> np.ndarray:
    mask = np.isfinite(volume) & (volume > 0)
    if not mask.any():
        raise InputError(f"{path} marks no voxel with a number above 0")
    return mask


def mask_path(base_dir: Path, subject: str) -> Path | None:
    """Return the file of a subject's mask, or else of the mask for all subjects; None if neither exists.

    Its name is the subject's or a BIDS name. Raises InputError if a subject has two masks.
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
