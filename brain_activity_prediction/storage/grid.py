"""Voxel grids: all volumes of a subject must have the same shape and affine before they are matched by index."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from nibabel import aff2axcodes
from nibabel.affines import voxel_sizes
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform

from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.messages import log

_folders_reported: set[Path] = set()  # folders whose files without an affine were already reported
TOLERANCE_MM = 1e-3  # largest difference between the entries of two equal affines
PUBLISHED_AXES = "RAS"  # axes of NSD's volumes: right, anterior, superior


@dataclass(frozen=True, eq=False)
class Grid:
    """The voxel grid of a file: shape (X, Y, Z) and affine (4, 4) from voxel indices to millimetres."""

    path: Path
    shape: tuple[int, ...]
    affine: np.ndarray
    has_affine: bool = True  # False if the header states no affine; `affine` is then nibabel's default

    @property
    def axes(self) -> str:
        """Return the direction of each axis, such as RAS: right, anterior, superior."""
        return "".join(code or "?" for code in aff2axcodes(self.affine))

    def reoriented(self, orientation: np.ndarray) -> "Grid":
        """Return the grid with its axes in another order and direction.

        orientation  orientation in the form of nibabel, (3, 2)
        """
        shape = tuple(self.shape[axis] for axis in np.argsort(orientation[:, 0]))
        return replace(self, shape=shape, affine=self.affine @ inv_ornt_aff(orientation, self.shape))

    def along(self, axes: str) -> "Grid":
        """Return the grid of the same voxels with these axes, such as RAS; without an affine, it stays unchanged."""
        change = _change(self.affine, axcodes2ornt(axes))
        return self.reoriented(change) if self.has_affine and np.isfinite(change).all() else self

    def __str__(self) -> str:
        if not self.has_affine:
            return f"{self.shape} voxels without an affine"
        sizes, origin = (" x ".join(f"{mm:.5g}" for mm in voxel_sizes(self.affine)), self.affine[:3, 3])
        return f"{self.shape} voxels of {sizes} mm, axes {self.axes}, origin {' '.join(f'{mm:.5g}' for mm in origin)}"


def on_grid(numbers: np.ndarray, own: Grid, reference: Grid) -> np.ndarray:
    """Return a view of an array (X, Y, Z, ...) on the grid `own` in the voxel order of the grid `reference`.

    If one of the files has no affine, voxels are matched by index, provided that the shapes are equal; this is reported
    once for each folder. Raises InputError if the two grids have different voxels.
    """
    if own.has_affine and reference.has_affine:
        if _same(own, reference):
            return numbers
        change = _change(own.affine, io_orientation(reference.affine))
        if np.isfinite(change).all() and _same(own.reoriented(change), reference):
            return apply_orientation(numbers, change)
    elif own.shape == reference.shape:
        if own.path != reference.path:
            _report_matched_by_index(*((own, reference) if not own.has_affine else (reference, own)))
        return numbers
    raise InputError(
        f"{own.path} has {own}, but {reference.path} has {reference}: replace the one that is of another subject "
        "or resolution"
    )


def _same(one: Grid, other: Grid) -> bool:
    return one.shape == other.shape and np.allclose(one.affine, other.affine, rtol=0, atol=TOLERANCE_MM)


def _change(affine: np.ndarray, orientation: np.ndarray) -> np.ndarray:
    """Return the transform from axes (4, 4) to an orientation (3, 2); NaN for an axis without direction."""
    own = io_orientation(affine)
    if not (np.isfinite(own).all() and np.isfinite(orientation).all()):
        return np.full((3, 2), np.nan)
    return ornt_transform(own, orientation)


def _report_matched_by_index(lacking: Grid, other: Grid) -> None:
    if (folder := lacking.path.parent) in _folders_reported:
        return
    _folders_reported.add(folder)
    log.warning(
        f"{lacking.path} states no affine (its sform and qform codes are 0). The voxels of this file, and of "
        f"similar files in its folder, are assumed to have the order of {other.path}"
    )
