"""Convert values of vertices to pixels of a picture.

Letters: H rows and W columns of pixels, from the top left; V vertices; F faces.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from brain_activity_prediction.surfaces.meshes import Arrangement

ROUNDING = 1e-9


@dataclass(frozen=True)
class Raster:
    """The triangle that each pixel shows.

    corners  (H, W, 3) vertices of the triangle, the nearest to the pixel first; -1 outside the mesh
    weights  (H, W, 3) barycentric weights of these vertices
    extent   (left, right, bottom, top) of the picture in mm
    """

    corners: np.ndarray
    weights: np.ndarray
    extent: tuple[float, float, float, float]

    @property
    def inside(self) -> np.ndarray:
        """Return a mask (H, W) of the pixels that show the mesh."""
        return self.corners[..., 0] >= 0

    def interpolated(self, values: np.ndarray) -> np.ndarray:
        """Return pixels (H, W) from values (V,), linear in a triangle; if a corner is NaN, of the nearest vertex."""
        of_corners = np.asarray(values, dtype=np.float64)[self.corners]
        mixed = (of_corners * self.weights).sum(axis=-1)
        return np.where(self.inside, np.where(np.isfinite(mixed), mixed, of_corners[..., 0]), np.nan)

    def nearest(self, values: np.ndarray) -> np.ndarray:
        """Return the pixels (H, W) of values (V,), each of the nearest vertex; NaN outside."""
        return np.where(self.inside, np.asarray(values, dtype=np.float64)[self.corners[..., 0]], np.nan)

    def shows(self, members: np.ndarray) -> np.ndarray:
        """Return a mask (H, W) of the pixels whose nearest vertex is in a region, (V,) bool."""
        return members[self.corners[..., 0]] & self.inside


@lru_cache(maxsize=12)
def cached_raster(arrangement: Arrangement, width: int) -> Raster:
    """Return `rasterise` of an arrangement, computed once for all maps of a report."""
    return rasterise(arrangement, width)


def rasterise(arrangement: Arrangement, width: int) -> Raster:
    """Find the triangle at the centre of each pixel of a picture that is `width` pixels wide."""
    used = np.zeros(len(arrangement.points), dtype=bool)
    used[arrangement.faces] = True
    low, high = arrangement.points[used].min(axis=0), arrangement.points[used].max(axis=0)
    size = (high[0] - low[0]) / width
    height = int(np.ceil((high[1] - low[1]) / size))
    # Pixel (row, column) has its centre at (column, row), with rows downwards.
    places = (arrangement.points - [low[0], high[1]]) / [size, -size] - 0.5
    corners = places[arrangement.faces]  # (F, 3, 2)
    first = np.ceil(corners.min(axis=1)).astype(int).clip(0, [width - 1, height - 1])
    last = np.floor(corners.max(axis=1)).astype(int).clip(-1, [width - 1, height - 1])
    across, down = (last - first + 1).clip(0).T
    face = np.repeat(np.arange(len(corners)), across * down)
    number = np.arange(len(face)) - np.repeat(np.cumsum(across * down) - across * down, across * down)
    column, row = first[face, 0] + number % across[face], first[face, 1] + number // across[face]
    weights = _barycentric(corners[face], np.stack([column, row], axis=1).astype(float))
    hit = np.flatnonzero((weights >= -ROUNDING).all(axis=1))
    depth = (arrangement.depth[arrangement.faces[face[hit]]] * weights[hit]).sum(axis=1)
    hit = hit[np.argsort(depth, kind="stable")]  # the nearest to the viewer comes last and overwrites others
    shown = np.full(width * height, -1)
    shown[row[hit] * width + column[hit]] = hit
    seen = np.flatnonzero(shown >= 0)
    hit = shown[seen]
    order = np.argsort(-weights[hit], axis=1, kind="stable")
    vertices = arrangement.vertex[arrangement.faces[face[hit]]]
    pixels = np.full((height * width, 3), -1, dtype=np.int32)
    shares = np.zeros((height * width, 3), dtype=np.float32)
    pixels[seen] = np.take_along_axis(vertices, order, axis=1)
    shares[seen] = np.take_along_axis(weights[hit], order, axis=1)
    extent = (low[0], low[0] + size * width, high[1] - size * height, high[1])
    return Raster(pixels.reshape(height, width, 3), shares.reshape(height, width, 3), tuple(map(float, extent)))


def _barycentric(corners: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return the weights (n, 3) of triangles' corners (n, 3, 2) at points (n, 2); NaN for triangles without area."""
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        area = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
        of_b = ((points - a)[:, 0] * (c - a)[:, 1] - (points - a)[:, 1] * (c - a)[:, 0]) / area
        of_c = ((b - a)[:, 0] * (points - a)[:, 1] - (b - a)[:, 1] * (points - a)[:, 0]) / area
    return np.stack([1 - of_b - of_c, of_b, of_c], axis=1)
