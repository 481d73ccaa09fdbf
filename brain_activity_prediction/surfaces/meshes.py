"""Arrange flat and inflated meshes for drawing: the left hemisphere at the left, occipital poles in the middle.

fsaverage5 comes with nilearn. The full fsaverage and the subjects' own surfaces are read from NSD's FreeSurfer folder,
if it has their flat patches.

Letters: V vertices of both hemispheres, the left hemisphere first; P points of a drawing; F faces.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.storage.files import read_bytes, reading

FSAVERAGE = "fsaverage"
SIDES = {"lh": "left", "rh": "right"}
GAP_MM = 12
LONGEST_EDGE = 5  # longest edge of a flat face, in median edges; longer faces bridge a cut
LARGEST_FILE_BYTES = 2**26
# For each direction of view and hemisphere, the axes of the brain that point right and up in the drawing.
VIEWS = {
    "lateral": {"lh": ((0, -1, 0), (0, 0, 1)), "rh": ((0, 1, 0), (0, 0, 1))},
    "medial": {"lh": ((0, 1, 0), (0, 0, 1)), "rh": ((0, -1, 0), (0, 0, 1))},
    "ventral": {"lh": ((1, 0, 0), (0, -1, 0)), "rh": ((1, 0, 0), (0, -1, 0))},
    "posterior": {"lh": ((1, 0, 0), (0, 0, 1)), "rh": ((1, 0, 0), (0, 0, 1))},
}


@dataclass(frozen=True, eq=False)
class Arrangement:
    """A mesh of both hemispheres that is arranged on a plane.

    points  (P, 2) in mm, x to the right and y up
    depth   (P,) larger for points nearer to the viewer; equal for all points of a flat mesh
    faces   (F, 3) points of each triangle, in counterclockwise order
    vertex  (P,) vertex of each point; a vertex may have several points or none
    """

    points: np.ndarray
    depth: np.ndarray
    faces: np.ndarray
    vertex: np.ndarray
    n_vertices: int


def flat_patches(base_dir: Path, name: str = FSAVERAGE) -> dict[str, Path]:
    """Return the paths of a surface's flat patches in NSD's FreeSurfer folder, by hemisphere.

    name  fsaverage or a subject, such as subj01
    """
    return {side: _surf(base_dir, name) / f"{side}.full.flat.patch.3d" for side in SIDES}


def has_flat_surface(base_dir: Path, name: str = FSAVERAGE) -> bool:
    """Return whether a BASE_DIR has all files of a flat surface."""
    folder = _surf(base_dir, name)
    files = [*flat_patches(base_dir, name).values(), *(folder / f"{side}.inflated" for side in SIDES)]
    return all(path.is_file() for path in files) and all(_curvature_file(folder, side) for side in SIDES)


@lru_cache(maxsize=12)
def flat_surface(base_dir: Path | None = None, name: str = FSAVERAGE) -> Arrangement:
    """Return the flat fsaverage5 or, with a BASE_DIR, the flat surface of its patches."""
    parts = _patches(base_dir, name) if base_dir is not None else fsaverage5_meshes("flat")
    flat = {}
    for side, (points, faces) in parts.items():
        own = np.asarray(points, dtype=np.float64)[:, :2]
        used = np.unique(faces)  # vertices outside of all faces have no flat position
        edges = np.linalg.norm(own[faces] - own[np.roll(faces, 1, axis=1)], axis=-1)
        faces = faces[edges.max(axis=1) <= LONGEST_EDGE * np.median(edges)]
        shift = own[used, 0].max() + GAP_MM / 2 if side == "lh" else own[used, 0].min() - GAP_MM / 2
        flat[side] = (own - [shift, 0], np.zeros(len(own)), faces)
    return _joined([flat[side] for side in SIDES], {side: len(part[0]) for side, part in flat.items()})


@lru_cache(maxsize=8)
def views_of_fsaverage5(views: tuple[str, ...] = tuple(VIEWS)) -> Arrangement:
    """Return the inflated fsaverage5 from several VIEWS, in one row for each; the left hemisphere is at the left."""
    meshes = fsaverage5_meshes("inflated")
    parts, bottom = [], 0.0
    for view in views:
        row = []
        for side, (points, faces) in meshes.items():
            right, up = (np.asarray(axis, float) for axis in VIEWS[view][side])
            towards_viewer = np.cross(right, up)
            own = points @ np.stack([right, up, towards_viewer], axis=1)
            own[:, 0] -= own[:, 0].max() + GAP_MM / 2 if side == "lh" else own[:, 0].min() - GAP_MM / 2
            row.append((own, faces))
        top = max(own[:, 1].max() for own, _ in row)
        height = top - min(own[:, 1].min() for own, _ in row)
        for own, faces in row:
            own[:, 1] += bottom - top
            parts.append((own[:, :2], own[:, 2], _facing(own, faces)))
        bottom -= height + GAP_MM
    return _joined(parts, {side: len(points) for side, (points, _) in meshes.items()})


@lru_cache(maxsize=12)
def read_curvature(base_dir: Path | None = None, name: str = FSAVERAGE) -> np.ndarray:
    """Return the curvature (V,), positive in a sulcus: of fsaverage5 or, with a BASE_DIR, of the named surface."""
    from nilearn.datasets import load_fsaverage_data
    from nilearn.surface import load_surf_data

    if base_dir is None:
        parts = load_fsaverage_data("fsaverage5", data_type="curvature").data.parts
        return np.concatenate([parts[name] for name in SIDES.values()])
    values = []
    for side in SIDES:
        path = _curvature_file(_surf(base_dir, name), side)
        with reading(path):
            values.append(np.asarray(load_surf_data(path), dtype=np.float32))
    return np.concatenate(values)


def read_patch(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read a FreeSurfer patch: its vertices (n,) and their coordinates (n, 3).

    The file is big-endian. It holds the number -1, n, and for each vertex its number and three floats. The number is
    the index plus 1, and is negative at the border of the patch.
    """
    with reading(path):
        data = read_bytes(path, LARGEST_FILE_BYTES)
        mark, n = np.frombuffer(data, ">i4", 2)
        if mark != -1 or n < 1 or len(data) != 8 + 16 * n:
            raise ValueError("it is not a FreeSurfer patch")
        rows = np.frombuffer(data, np.dtype([("vertex", ">i4"), ("xyz", ">f4", 3)]), offset=8)
        vertices = np.abs(rows["vertex"].astype(np.int64)) - 1
        if vertices.min() < 0 or len(np.unique(vertices)) != n or not np.isfinite(rows["xyz"]).all():
            raise ValueError("its vertices are damaged")
    return vertices, rows["xyz"].astype(np.float64)


def _patches(base_dir: Path, name: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return points (V, 3) and faces of a flat surface: the faces whose corners are all in the patch."""
    from nibabel.freesurfer import read_geometry

    flat = {}
    for side, path in flat_patches(base_dir, name).items():
        whole = _surf(base_dir, name) / f"{side}.inflated"
        with reading(whole):
            points, faces = read_geometry(whole)
        vertices, coordinates = read_patch(path)
        if vertices.max() >= len(points):
            raise InputError(f"{path} has vertices that {whole} lacks: fetch both again")
        own, inside = np.zeros((len(points), 3)), np.zeros(len(points), dtype=bool)
        own[vertices], inside[vertices] = coordinates, True
        flat[side] = own, faces[inside[faces].all(axis=1)]
    return flat


def _surf(base_dir: Path, name: str) -> Path:
    return base_dir / "nsddata" / "freesurfer" / name / "surf"


def _curvature_file(folder: Path, side: str) -> Path | None:
    """Return FreeSurfer's file of the curvature, or NSD's copy of it as .mgz."""
    paths = (folder / f"{side}.curv", folder / f"{side}.curvature.mgz")
    return next((path for path in paths if path.is_file()), None)


def fsaverage5_meshes(kind: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return the points (V, 3), in mm, and faces of each hemisphere of fsaverage5: flat, inflated, pial, or sphere."""
    from nilearn.datasets import load_fsaverage

    parts = load_fsaverage("fsaverage5")[kind].parts
    return {side: (parts[name].coordinates, parts[name].faces) for side, name in SIDES.items()}


def _facing(points: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Return the faces in counterclockwise order, whose outer side is towards the viewer."""
    a, b, c = (points[faces[:, corner], :2] for corner in range(3))
    return faces[(b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0] > 0]


def _joined(parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]], sizes: Mapping[str, int]) -> Arrangement:
    """Join the points, depths and faces of hemispheres, which alternate between left and right.

    sizes  number of vertices of each hemisphere
    """
    first = [0, sizes["lh"]] * (len(parts) // 2)
    starts = np.cumsum([0, *(len(points) for points, _, _ in parts)])[:-1]
    return Arrangement(
        points=np.concatenate([points for points, _, _ in parts]),
        depth=np.concatenate([depth for _, depth, _ in parts]),
        faces=np.concatenate([faces + start for (_, _, faces), start in zip(parts, starts, strict=True)]),
        vertex=np.concatenate([np.arange(len(part[0])) + own for part, own in zip(parts, first, strict=True)]),
        n_vertices=sum(sizes.values()),
    )
