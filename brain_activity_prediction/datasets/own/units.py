"""Find out what the columns of an experiment's responses are: voxels, vertices, grayordinates or rows of a table."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

from brain_activity_prediction.datasets.own.response_files import Stored, open_responses
from brain_activity_prediction.datasets.own.responses import SIDES, ResponseFiles
from brain_activity_prediction.datasets.units import Grayordinates, Rows, Units, Vertices, Voxels
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.storage.files import read_bytes, reading
from brain_activity_prediction.storage.nifti import read_volume, read_volume_on

LARGEST_BYTES = 2**26


def units_of(base_dir: Path, files: ResponseFiles, subject: str, session: int) -> Units:
    """Return the units of a subject's responses, from the files of one session."""
    of_session = files.of(subject, session)
    if set(of_session) == set(SIDES):
        masks = {}
        for side in SIDES:
            with open_responses(of_session[side]) as stored:
                if len(stored.shape) != 1:
                    raise InputError(f"{of_session[side]} holds volumes: lh. and rh. name the files of surfaces")
                masks[side] = np.ones(stored.shape, dtype=bool)
        return Vertices(masks)
    (path,) = of_session.values()
    with open_responses(path) as stored:
        if len(stored.shape) == 3:
            return _voxels(base_dir, subject, path, stored)
        if path.name.lower().endswith((".gii", ".mgz", ".mgh")):
            raise InputError(f"{path} is a surface: name its hemisphere in front, lh.{path.name} or rh.{path.name}")
        if stored.brain_models is not None:
            return Grayordinates(stored.brain_models)
        return Rows(_names(base_dir, subject, stored.shape[0]))


def _voxels(base_dir: Path, subject: str, path: Path, stored: Stored) -> Voxels:
    """Return the voxels of a mask; without a mask, those that are finite and not 0 in the first trial."""
    places = [base_dir / "masks" / f"{subject}.nii.gz", base_dir / "mask.nii.gz"]
    mask_path = next((place for place in places if place.is_file()), None)
    if mask_path is not None:
        if stored.grid is None:
            volume, grid = read_volume(mask_path)
        else:
            volume, grid = read_volume_on(mask_path, stored.grid), stored.grid
        if volume.shape != stored.shape:
            raise InputError(f"{mask_path} has shape {volume.shape}, but {path} has {stored.shape}")
        mask = np.isfinite(volume) & (volume > 0)
        if not mask.any():
            raise InputError(f"{mask_path} marks no voxel with a number above 0")
        return Voxels(mask, grid.affine)
    if stored.grid is None:
        raise InputError(f"{path} holds volumes without an affine: put a mask of the same grid at {places[0]}")
    first = stored.read(0, 1)[0]
    mask = np.isfinite(first) & (first != 0)
    log.info(f"subject {subject}: no mask at {places[0]}, so all {mask.sum():,} voxels with a response are fitted")
    return Voxels(mask, stored.grid.affine)


def _names(base_dir: Path, subject: str, n: int) -> list[str]:
    """Return the names of units: the first column of units/SUBJECT.csv or units.csv, or else numbers from 0."""
    for path in (base_dir / "units" / f"{subject}.csv", base_dir / "units.csv"):
        if path.is_file():
            with reading(path):
                text = read_bytes(path, LARGEST_BYTES).decode("utf-8-sig")
                names = [row[0] for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row][1:]
            if len(names) != n:
                raise InputError(f"{path} names {len(names)} units, but there are {n} columns of responses")
            return names
    return [str(number) for number in range(n)]
