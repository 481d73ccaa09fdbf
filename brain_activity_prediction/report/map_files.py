"""Find and read maps of scores in both forms: one volume, or a file for each hemisphere.

The path of a map is always that of the volume, STREAM_KIND.nii.gz. If the map is on a surface, its files are
lh.STREAM_KIND.func.gii and rh.STREAM_KIND.func.gii instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import nibabel
import numpy as np

from brain_activity_prediction.datasets.files.surfaces.gifti import open_gifti
from brain_activity_prediction.datasets.units import HEMISPHERES as STRUCTURES
from brain_activity_prediction.datasets.units import write_surface_map
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.storage.files import reading
from brain_activity_prediction.storage.grid import Grid
from brain_activity_prediction.storage.nifti import read_grid
from brain_activity_prediction.surfaces.transforms import HEMISPHERES

ENDING, OF_SIDE = ".nii.gz", ".func.gii"
REMEDY = "delete it and run align_model.py again, which writes it"


def map_paths(folder: Path, pattern: str) -> list[Path]:
    """Return the paths of the maps whose names fit a pattern, sorted."""
    left = f"{HEMISPHERES[0]}."
    surfaces = (path.name.removeprefix(left).removesuffix(OF_SIDE) for path in folder.glob(f"{left}{pattern}{OF_SIDE}"))
    return sorted({*folder.glob(f"{pattern}{ENDING}"), *(folder / f"{name}{ENDING}" for name in surfaces)})


def side_files(path: Path) -> dict[str, Path]:
    """Return the files of a map on a surface, by hemisphere."""
    stem = path.name.removesuffix(ENDING)
    return {side: path.with_name(f"{side}.{stem}{OF_SIDE}") for side in HEMISPHERES}


def is_written(path: Path) -> bool:
    """Return whether a map exists, as a volume or on a surface."""
    return path.exists() or all(file.exists() for file in side_files(path).values())


def read_sides(path: Path) -> dict[str, np.ndarray] | None:
    """Read a map on a surface, (n_vertices,) or (n_vertices, n) by hemisphere; None if a file does not exist."""
    files = side_files(path)
    if not all(file.exists() for file in files.values()):
        return None
    found = {}
    for side, file in files.items():
        with reading(file, REMEDY):
            values = np.stack([one.data for one in open_gifti(file).darrays], axis=1, dtype=np.float64)
            found[side] = values[:, 0] if values.shape[1] == 1 else values
    return found


def read_both_sides(path: Path) -> dict[str, np.ndarray]:
    """Read a map on a surface; raise InputError if a hemisphere has no file."""
    if (sides := read_sides(path)) is None:
        missing = next(file for file in side_files(path).values() if not file.exists())
        raise InputError(f"{missing} does not exist: run align_model.py again, which writes it")
    return sides


def write_sides(path: Path, sides: Mapping[str, np.ndarray]) -> None:
    """Write a map on a surface, (V,) of each hemisphere, to the files of a path."""
    for side, file in side_files(path).items():
        file.parent.mkdir(parents=True, exist_ok=True)
        write_surface_map(file, sides[side], STRUCTURES[side])


def read_volume(path: Path) -> tuple[np.ndarray, Grid]:
    """Read a map in a volume, (X, Y, Z), and its grid."""
    with reading(path, REMEDY):
        image = nibabel.load(path)
        return np.asarray(image.dataobj, dtype=np.float32).reshape(image.shape[:3]), read_grid(path)


def read_values(path: Path) -> np.ndarray:
    """Read the values of a map in either form as one flat array, NaN where it has no value."""
    if (sides := read_sides(path)) is not None:
        return np.concatenate([*sides.values()])
    with reading(path, REMEDY):
        return np.asarray(nibabel.load(path).dataobj, dtype=np.float32).ravel()
