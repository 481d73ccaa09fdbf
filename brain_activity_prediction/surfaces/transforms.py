"""Read NSD's transforms between a subject's volumes and cortical surfaces.

The file `A-to-B` holds, for each vertex of the surface B, its position in the volume A, as 1-based voxel coordinates in
the axis order of NSD's files. Headers are not used, because NSD's functional volumes and surfaces do not share
millimetre coordinates. See cvnlab/nsddatapaper and the NSD data manual.

V is the number of vertices of one hemisphere of the subject's own surface.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.storage.files import reading

HEMISPHERES = ("lh", "rh")
DEPTHS = ("layerB1", "layerB2", "layerB3")  # 25, 50 and 75 % of the way from the pial to the white surface
VOLUMES = {"func1pt8mm": "func1pt8", "func1mm": "func1pt0"}  # NSD's spaces, by their names in the transforms
SPACE = "func1pt8mm"  # of scores by default
N_FSAVERAGE = 163842  # vertices of a hemisphere of fsaverage
LARGEST_FILE_BYTES = 2**27  # NSD's largest transform of a hemisphere has 3 MB
FLOAT32_INTEGERS = 2**24  # float32 holds every whole number up to this one


@dataclass(frozen=True)
class Hemisphere:
    """The transforms of one hemisphere.

    coordinates  {depth: (V, 3) float64}, positions in a functional volume in voxels from 0; NaN for vertices outside
    nearest      the subject's vertex, from 0, nearest to each vertex of fsaverage, (163842,) int64; None without a file
    """

    name: str
    coordinates: dict[str, np.ndarray]
    nearest: np.ndarray | None

    @property
    def n_vertices(self) -> int:
        return len(next(iter(self.coordinates.values())))


def transforms_folder(base_dir: Path, subject: int) -> Path:
    """Return the folder in which NSD publishes the transforms of a subject."""
    return base_dir / "nsddata" / "ppdata" / f"subj{subject:02d}" / "transforms"


def coordinate_files(folder: Path, hemisphere: str, space: str = SPACE) -> dict[str, Path]:
    """Return the path of each depth's coordinates in the functional volume of one of NSD's spaces."""
    return {depth: folder / f"{hemisphere}.{VOLUMES[space]}-to-{depth}.mgz" for depth in DEPTHS}


def fsaverage_file(folder: Path, hemisphere: str) -> Path:
    """Return the path of the vertex indices with which values are moved from the subject's surface to fsaverage."""
    return folder / f"{hemisphere}.white-to-fsaverage.mgz"


def missing_files(folder: Path, fsaverage: bool = True, space: str = SPACE) -> list[Path]:
    """Return the missing files of transforms from a space; with `fsaverage`, including those to fsaverage."""
    needed = [path for hemisphere in HEMISPHERES for path in coordinate_files(folder, hemisphere, space).values()]
    return [path for path in needed if not path.is_file()] + (missing_index_files(folder) if fsaverage else [])


def missing_index_files(folder: Path) -> list[Path]:
    """Return the missing files of vertex indices to fsaverage."""
    needed = [fsaverage_file(folder, hemisphere) for hemisphere in HEMISPHERES]
    return [path for path in needed if not path.is_file()]


def read_hemisphere(folder: Path, name: str, shape: tuple[int, ...], space: str = SPACE) -> Hemisphere:
    """Read the transforms of one hemisphere.

    name   lh or rh
    shape  (X, Y, Z) of the functional volume of `space`
    """
    files = coordinate_files(folder, name, space)
    coordinates = {depth: read_coordinates(path, shape) for depth, path in files.items()}
    numbers = {depth: len(values) for depth, values in coordinates.items()}
    if len(set(numbers.values())) > 1:
        raise InputError(
            f"the transforms {name}.{VOLUMES[space]}-to-* in {folder} have {numbers} vertices: fetch them again"
        )
    path = fsaverage_file(folder, name)
    nearest = read_indices(path, numbers[DEPTHS[0]]) if path.is_file() else None
    return Hemisphere(name, coordinates, nearest)


def read_coordinates(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Read the positions (V, 3) of vertices in a volume (X, Y, Z), in voxels from 0.

    A vertex is NaN if it is outside the volume: if a coordinate is below 1 or above the number of voxels. NSD marks
    such vertices with 9999, but some files were rescaled or interpolated afterwards and hold other large numbers.
    """
    values = _read_mgh(path)
    if values.ndim < 2 or values.shape[-1] != 3 or values.size != 3 * len(values):
        raise InputError(f"{path} has shape {values.shape} instead of (V, 1, 1, 3): it is not a transform to a surface")
    values = values.reshape(-1, 3).astype(np.float64)
    inside = ((values >= 1) & (values <= shape)).all(axis=1)  # False for NaN
    if not inside.any():
        raise InputError(f"{path} has no vertex inside a volume of {shape} voxels: fetch the transforms of its subject")
    return np.where(inside[:, None], values - 1, np.nan)


def read_indices(path: Path, n_vertices: int) -> np.ndarray:
    """Read the subject's vertex nearest to each vertex of fsaverage, counted from 0, (163842,) int64.

    The file counts from 1 and stores float32. Raises InputError for numbers that are not a vertex of the subject.
    """
    values = _read_mgh(path).ravel().astype(np.float64)
    if len(values) != N_FSAVERAGE:
        raise InputError(f"{path} has {len(values)} vertices, but fsaverage has {N_FSAVERAGE}: fetch it again")
    wrong = ~((values >= 1) & (values <= min(n_vertices, FLOAT32_INTEGERS)) & (values == np.rint(values)))
    if wrong.any():
        raise InputError(
            f"{path} holds {values[wrong][0]:g}, which is not a vertex from 1 to {n_vertices}: fetch the transforms of "
            "this subject again"
        )
    return values.astype(np.int64) - 1


def _read_mgh(path: Path) -> np.ndarray:
    """Read the array of a .mgz file to its last byte, so that the checksum is verified."""
    from nibabel.freesurfer import MGHImage

    with reading(path):
        with gzip.open(path) as file:
            data = file.read(LARGEST_FILE_BYTES + 1)
        if len(data) > LARGEST_FILE_BYTES:
            raise ValueError(f"it is larger than {LARGEST_FILE_BYTES} bytes")
        return np.asarray(MGHImage.from_bytes(data).dataobj)
