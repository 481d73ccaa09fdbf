"""Transfer the volumes of any dataset to a subject's meshes, if both have the same coordinates in millimetres."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from nibabel.affines import apply_affine

from brain_activity_prediction.datasets.files.surfaces.gifti import open_gifti
from brain_activity_prediction.report.cortex.subject_surface import CorticalVoxels, SubjectSurface, weights_at
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.storage.files import reading
from brain_activity_prediction.storage.folders import Subject
from brain_activity_prediction.storage.grid import PUBLISHED_AXES
from brain_activity_prediction.storage.nifti import read_grid
from brain_activity_prediction.surfaces.transforms import HEMISPHERES

DEPTHS = (0.25, 0.5, 0.75)  # from 0, the first mesh of a hemisphere, to 1, the second; as NSD's three layers


def read_mesh_surface(subject: Subject, volume: Path, meshes: Sequence[Path]) -> SubjectSurface:
    """Return a `SubjectSurface` from the voxels of a subject's volumes to the vertices of its meshes.

    volume  one of the volumes, whose header must have an affine
    meshes  left and right mesh, which are sampled; or left and right pial, then left and right white mesh, between
            which the volume is sampled at DEPTHS

    Vertices outside the volume are NaN. Raises InputError if a whole hemisphere is outside, or if the sides are
    swapped.
    """
    grid = read_grid(volume)
    if not grid.has_affine:
        raise InputError(
            f"{volume} has no affine, so its voxels cannot be located on a mesh: write an affine into its header"
        )
    points = [_points(path) for path in meshes]
    left, right = (own[:, 0].mean() for own in points[:2])
    if left >= right:
        raise InputError(f"{meshes[0]} is right of {meshes[1]}: give the left mesh before the right one")
    published = grid.along(PUBLISHED_AXES)
    positions = {}
    for turn, side in enumerate(HEMISPHERES):
        outer, inner = points[turn], points[turn - 2]  # the same mesh if each hemisphere has only one
        if len(outer) != len(inner):
            raise InputError(
                f"{meshes[turn]} and {meshes[turn - 2]} have different vertices: give one subject's meshes"
            )
        depths = DEPTHS if len(meshes) > len(HEMISPHERES) else (0.0,)
        at = {f"{depth:.0%}": outer + depth * (inner - outer) for depth in depths}
        positions[side] = {name: _in_voxels(own, published.affine, published.shape) for name, own in at.items()}
        if all(np.isnan(own).all() for own in positions[side].values()):
            raise InputError(
                f"no vertex of {meshes[turn]} is inside {volume}: give meshes in the coordinates (mm) of its affine"
            )
    voxels = CorticalVoxels(grid, np.ones(grid.shape, dtype=bool))
    return SubjectSurface(subject, voxels, positions, weights_at(voxels, positions), dict.fromkeys(HEMISPHERES))


def _points(path: Path) -> np.ndarray:
    """Read the points (V, 3) of a mesh in scanner coordinates; nilearn adds the offset in a FreeSurfer file."""
    from nilearn.surface import load_surf_mesh

    with reading(path, "give a mesh as .surf.gii, or FreeSurfer's white or pial"):
        mesh = _of_gifti(path) if path.name.endswith((".gii", ".gii.gz")) else path
        return np.asarray(load_surf_mesh(mesh).coordinates, dtype=np.float64)


def _of_gifti(path: Path) -> list[np.ndarray]:
    """Return the points (V, 3) and faces (F, 3) of a mesh in GIFTI."""
    image, mesh = open_gifti(path), []
    for kind in ("POINTSET", "TRIANGLE"):
        if not (arrays := image.get_arrays_from_intent(f"NIFTI_INTENT_{kind}")):
            raise ValueError(f"it holds no array of NIFTI_INTENT_{kind}")
        mesh.append(arrays[0].data)
    return mesh


def _in_voxels(points: np.ndarray, affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Convert points (V, 3) from mm to voxels from 0; NaN beyond the centres of the outermost voxels."""
    positions = apply_affine(np.linalg.inv(affine), points)
    inside = ((positions >= 0) & (positions <= np.array(shape) - 1)).all(axis=1)
    return np.where(inside[:, None], positions, np.nan)
