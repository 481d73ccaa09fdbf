"""Units of responses (voxels of a volume, vertices of a surface, rows of a table), and maps with a value for each."""

from __future__ import annotations

import csv
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import nibabel
import numpy as np

from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.storage.files import written_whole
from brain_activity_prediction.storage.grid import Grid
from brain_activity_prediction.storage.nifti import read_volume_on

SCANNER = 1  # NIfTI's code for scanner-based coordinates
HEMISPHERES = {"lh": "CortexLeft", "rh": "CortexRight"}  # the structures' names in GIFTI


class Units(ABC):
    """Units of responses, in the order of the columns of response arrays."""

    noun: str = "voxel"

    @property
    def nouns(self) -> str:
        return f"{self.noun}s"

    @property
    @abstractmethod
    def n(self) -> int:
        """Return the number of units."""

    @abstractmethod
    def where(self, number: int) -> str:
        """Return the place of a unit (numbered from 0) as text for messages."""

    @abstractmethod
    def write_map(self, stem: Path, values: np.ndarray) -> None:
        """Write values (n,) or (n, k) as files whose names begin with `stem`."""

    @abstractmethod
    def remove_map(self, stem: Path) -> None:
        """Remove the files that `write_map` wrote."""


@dataclass(frozen=True, eq=False)
class Voxels(Units):
    """Voxels of a volume, ordered as `volume[mask]`; maps are NIfTI files with the volume's affine.

    affine  (4, 4), maps voxel indices to millimetres
    """

    mask: np.ndarray  # (X, Y, Z) bool
    affine: np.ndarray

    @cached_property
    def n(self) -> int:
        return int(np.count_nonzero(self.mask))

    def where(self, number: int) -> str:
        return f"voxel {tuple(map(int, np.argwhere(self.mask)[number]))}"

    def write_map(self, stem: Path, values: np.ndarray) -> None:
        write_map(_with_ending(stem, ".nii.gz"), values, self.mask, self.affine)

    def remove_map(self, stem: Path) -> None:
        _with_ending(stem, ".nii.gz").unlink(missing_ok=True)


@dataclass(frozen=True, eq=False)
class Vertices(Units):
    """Vertices of a subject's two cortical surfaces, the left hemisphere first; maps are GIFTI files.

    masks  for lh and rh, (n_vertices,) bool: True for the vertices of the mesh that have responses
    """

    masks: Mapping[str, np.ndarray]
    noun = "vertex"
    nouns = "vertices"

    @cached_property
    def n(self) -> int:
        return sum(int(np.count_nonzero(mask)) for mask in self.masks.values())

    def where(self, number: int) -> str:
        for side, mask in self.masks.items():
            inside = np.flatnonzero(mask)
            if number < inside.size:
                return f"{side} vertex {inside[number]}"
            number -= inside.size
        raise IndexError(number)

    def write_map(self, stem: Path, values: np.ndarray) -> None:
        first = 0
        for side, mask in self.masks.items():
            inside = int(np.count_nonzero(mask))
            full = np.full((*mask.shape, *np.shape(values)[1:]), np.nan, dtype=np.float32)
            full[mask] = values[first : first + inside]
            write_surface_map(self._path(stem, side), full, HEMISPHERES[side])
            first += inside

    def remove_map(self, stem: Path) -> None:
        for side in self.masks:
            self._path(stem, side).unlink(missing_ok=True)

    @staticmethod
    def _path(stem: Path, side: str) -> Path:
        return stem.with_name(f"{side}.{stem.name}.func.gii")


@dataclass(frozen=True, eq=False)
class Grayordinates(Units):
    """Vertices and voxels of a CIFTI file; maps are CIFTI files of scalars.

    axis  nibabel's axis of the units in the file
    """

    axis: nibabel.cifti2.BrainModelAxis | nibabel.cifti2.ParcelsAxis
    noun = "grayordinate"
    ending = ".dscalar.nii"

    @property
    def n(self) -> int:
        return len(self.axis)

    def where(self, number: int) -> str:
        _, index, structure = self.axis[number]
        return f"grayordinate {number} ({structure}, {index})"

    def write_map(self, stem: Path, values: np.ndarray) -> None:
        columns = np.asarray(values, dtype=np.float32).reshape(self.n, -1).T
        names = nibabel.cifti2.ScalarAxis([f"{stem.name}_{number}" for number in range(len(columns))])
        with written_whole(_with_ending(stem, self.ending)) as aside:
            nibabel.save(nibabel.Cifti2Image(columns, (names, self.axis)), aside)

    def remove_map(self, stem: Path) -> None:
        _with_ending(stem, self.ending).unlink(missing_ok=True)


@dataclass(frozen=True, eq=False)
class Parcels(Grayordinates):
    """Parcels of a CIFTI file; maps are CIFTI files of a value for each parcel."""

    noun = "parcel"
    ending = ".pscalar.nii"

    def where(self, number: int) -> str:
        return f"parcel {self.axis.name[number]}"


@dataclass(frozen=True, eq=False)
class Rows(Units):
    """Named neurons, channels or parcels; maps are CSV files with a row for each unit."""

    names: Sequence[str]
    noun = "unit"

    @property
    def n(self) -> int:
        return len(self.names)

    def where(self, number: int) -> str:
        return f"unit {self.names[number]}"

    def write_map(self, stem: Path, values: np.ndarray) -> None:
        values = np.asarray(values).reshape(self.n, -1)
        columns = ["value"] if values.shape[1] == 1 else [f"value_{k}" for k in range(values.shape[1])]
        with written_whole(_with_ending(stem, ".csv")) as aside, open(aside, "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["unit", *columns])
            for name, row in zip(self.names, values, strict=True):
                writer.writerow([name, *("" if np.isnan(value) else f"{value:.7g}" for value in row)])

    def remove_map(self, stem: Path) -> None:
        _with_ending(stem, ".csv").unlink(missing_ok=True)


def write_map(path: Path, values: np.ndarray, mask: np.ndarray, affine: np.ndarray) -> None:
    """Write one value for each voxel of a mask as a float32 NIfTI volume, with NaN outside the mask.

    Values (n_voxels,) become one volume, values (n_voxels, n) become n volumes. Viewers differ in whether they use the
    sform or the qform, so both are set to the affine, in millimetres and marked as scanner space.
    """
    volume = np.full((*mask.shape, *np.shape(values)[1:]), np.nan, dtype=np.float32)
    volume[mask] = values
    image = nibabel.Nifti1Image(volume, affine)
    image.set_sform(affine, SCANNER)
    image.set_qform(affine, SCANNER)
    image.header.set_xyzt_units("mm")
    with written_whole(path) as aside:
        nibabel.save(image, aside)


def read_map(path: Path, mask: np.ndarray, grid: Grid) -> np.ndarray:
    """Read the values (n_voxels,) of a NIfTI volume in a mask's voxels; the inverse of `write_map`.

    grid  the grid of the mask
    """
    if mask.shape != grid.shape:
        raise InputError(f"the mask has shape {mask.shape}, but {grid.path} has {grid}: give the mask of its subject")
    return read_volume_on(path, grid)[mask]


def write_surface_map(path: Path, values: np.ndarray, structure: str) -> None:
    """Write values (n_vertices,) or (n_vertices, k) of one hemisphere as a GIFTI file of float32 arrays.

    structure  GIFTI's name of the hemisphere, such as CortexLeft
    """
    columns = np.asarray(values, dtype=np.float32).reshape(len(values), -1).T
    arrays = [nibabel.gifti.GiftiDataArray(column, "NIFTI_INTENT_NONE", "NIFTI_TYPE_FLOAT32") for column in columns]
    meta = nibabel.gifti.GiftiMetaData({"AnatomicalStructurePrimary": structure})
    with written_whole(path) as aside:
        nibabel.save(nibabel.gifti.GiftiImage(darrays=arrays, meta=meta), aside)


def _with_ending(stem: Path, ending: str) -> Path:
    return stem.with_name(stem.name + ending)
