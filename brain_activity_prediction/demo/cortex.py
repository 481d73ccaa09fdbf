"""Place the voxels of a simulated subject along a cortex: a small fsaverage5, bent differently for each subject.

Letters: V vertices of a hemisphere, N voxels. Spheres have a radius of 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.spatial import cKDTree

from brain_activity_prediction.demo.simulation import Region

VOXEL_MM = 1.8
SIZE = 0.5  # size of a simulated brain relative to fsaverage, so that few voxels of 1.8 mm cover it
STRETCH, BEND_MM, BEND_LENGTH_MM = 0.04, 3.0, 150.0  # differences between subjects, before scaling by SIZE
FITTED_MARGIN = 0.12  # largest distance of fitted voxels from a region, on the sphere
SAMPLED_MARGIN = 0.4  # largest distance of voxels from the place of a region, on the sphere
DEPTHS = (0, 0.5, 1)  # depths at which the grey matter is sampled, from the pial to the white surface
CORNERS = np.array([(i, j, 2 - i - j) for i in range(3) for j in range(3 - i)]) / 2  # weights of a triangle's samples
SIDES = {"lh": "left", "rh": "right"}
# The place of each region: a point of the white surface of fsaverage, or a line between two points. Coordinates are
# millimetres to the right, to the front and up, in the right hemisphere. The left hemisphere mirrors them.
CALCARINE = ((16, -100, -11), (20, -75, 8))
PLACES = dict.fromkeys(("V1v", "V1d", "V2v", "V2d", "V3v", "V3d"), CALCARINE) | {
    "hV4": ((31, -79, -12),),
    "OFA": ((41, -80, -13),),
    "FFA-1": ((42, -55, -19),),
    "EBA": ((45, -70, 1),),
    "PPA": ((28, -45, -12),),
    "RSC": ((10, -54, 18),),
}
BELOW, ABOVE = ("V1v", "V2v", "V3v"), ("V1d", "V2d", "V3d")  # regions below and above the line


@dataclass(frozen=True)
class Hemisphere:
    """The surfaces of one hemisphere. Each subject has its own order of vertices.

    fsaverage5  (V,) vertex of fsaverage5 that corresponds to each vertex
    meshes      {"white", "pial", "inflated": (V, 3)} in mm
    sphere      (V, 3) position on the sphere that all subjects share
    faces       (F, 3) vertices of each triangle
    """

    fsaverage5: np.ndarray
    meshes: dict[str, np.ndarray]
    sphere: np.ndarray
    faces: np.ndarray

    def at_depth(self, depth: float) -> np.ndarray:
        """Return the surface (V, 3) at a depth from 0, the pial surface, to 1, the white surface."""
        return (1 - depth) * self.meshes["pial"] + depth * self.meshes["white"]


@dataclass(frozen=True)
class Cortex:
    """The cortex of a subject.

    nsdgeneral       (X, Y, Z), -1 outside the cortex, 0 inside, 1 in fitted voxels
    region_of_voxel  (X, Y, Z), index of the region, or -1
    origin           (3,) centre of the first voxel in mm
    """

    hemispheres: dict[str, Hemisphere]
    nsdgeneral: np.ndarray
    region_of_voxel: np.ndarray
    origin: np.ndarray

    def voxel_coordinates(self, points: np.ndarray) -> np.ndarray:
        """Return the positions of points (V, 3) in voxels, counted from 1 as in NSD's transforms."""
        return (points - self.origin) / VOXEL_MM + 1


def simulate_cortex(regions: Sequence[Region], rng: np.random.Generator) -> Cortex:
    """Simulate the cortex of a subject: each region has the voxels nearest to its place, half in each hemisphere.

    The volume is the smallest that contains all fitted voxels and a margin of one voxel.
    """
    hemispheres = simulate_hemispheres(rng)
    voxels, sphere, side = grey_voxels(hemispheres, regions)
    region_of = np.full(len(voxels), -1)
    fitted = np.zeros(len(voxels), dtype=bool)
    for name in SIDES:
        own = np.flatnonzero(side == name)
        region_of[own] = _nearest_regions(sphere[own], name, regions)
        labelled = cKDTree(sphere[own][region_of[own] >= 0])
        fitted[own] = labelled.query(sphere[own])[0] <= FITTED_MARGIN
    first, last = voxels[fitted].min(axis=0) - 1, voxels[fitted].max(axis=0) + 1
    inside = ((voxels >= first) & (voxels <= last)).all(axis=1)
    places = tuple((voxels[inside] - first).T)
    nsdgeneral = np.full(last - first + 1, -1)
    region_of_voxel = np.full_like(nsdgeneral, -1)
    nsdgeneral[places], region_of_voxel[places] = fitted[inside], region_of[inside]
    return Cortex(hemispheres, nsdgeneral, region_of_voxel, first * VOXEL_MM)


def simulate_hemispheres(rng: np.random.Generator) -> dict[str, Hemisphere]:
    """Bend fsaverage5 smoothly, the same way on both sides, and shuffle its vertices."""
    stretch = np.eye(3) + rng.uniform(-STRETCH, STRETCH, (3, 3))
    phase = rng.uniform(0, 2 * np.pi, 3)

    def bent(points: np.ndarray) -> np.ndarray:
        waves = BEND_MM * np.sin(2 * np.pi * np.roll(points, 1, axis=1) / BEND_LENGTH_MM + phase)
        return SIZE * (points @ stretch + waves)

    hemispheres = {}
    for side in SIDES:
        fsaverage5 = _fsaverage5(side)
        order = rng.permutation(len(fsaverage5["sphere"]))
        hemispheres[side] = Hemisphere(
            fsaverage5=order,
            meshes={name: bent(fsaverage5[name])[order] for name in ("white", "pial", "inflated")},
            sphere=_on_sphere(fsaverage5["sphere"][order]),
            faces=np.argsort(order)[fsaverage5["faces"]],
        )
    return hemispheres


def grey_voxels(
    hemispheres: dict[str, Hemisphere], regions: Sequence[Region]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the voxels near the regions, (N, 3) integers, their positions on the sphere (N, 3), and hemispheres (N,).

    Position and hemisphere of a voxel are those of the grey-matter sample nearest to its centre.
    """
    points, spheres, sides = [], [], []
    for side, hemisphere in hemispheres.items():
        near = np.min([place_distance(hemisphere.sphere, side, one.label) for one in regions], axis=0) <= SAMPLED_MARGIN
        faces = hemisphere.faces[near[hemisphere.faces].all(axis=1)]
        for depth in DEPTHS:
            points.append(_samples(hemisphere.at_depth(depth), faces))
            spheres.append(_samples(hemisphere.sphere, faces))
            sides.append(np.full(len(points[-1]), side))
    places = np.concatenate(points) / VOXEL_MM
    voxels = np.rint(places).astype(int)
    order = np.lexsort((np.linalg.norm(places - voxels, axis=1), *voxels.T))  # by voxel, the nearest sample first
    first = order[np.diff(voxels[order], axis=0, prepend=-(10**6)).any(axis=1)]
    return voxels[first], _on_sphere(np.concatenate(spheres)[first]), np.concatenate(sides)[first]


@lru_cache(maxsize=2)
def _fsaverage5(side: str) -> dict[str, np.ndarray]:
    """Return the meshes (V, 3) of a hemisphere of fsaverage5, which comes with nilearn, and its faces (F, 3)."""
    from nilearn.datasets import load_fsaverage

    meshes = load_fsaverage("fsaverage5")
    kinds = {"white": "white_matter", "pial": "pial", "inflated": "inflated", "sphere": "sphere"}
    parts = {name: meshes[kind].parts[SIDES[side]] for name, kind in kinds.items()}
    return {name: part.coordinates.astype(float) for name, part in parts.items()} | {"faces": parts["sphere"].faces}


def place_distance(sphere: np.ndarray, side: str, label: str) -> np.ndarray:
    """Return the distance (N,) of points (N, 3) of the sphere from the place of a region.

    The distance is infinite for points on the other side of the region's line.
    """
    fsaverage5 = _fsaverage5(side)
    mirrored = np.array(PLACES[label]) * ([-1, 1, 1] if side == "lh" else 1)
    ends = _on_sphere(fsaverage5["sphere"][cKDTree(fsaverage5["white"]).query(mirrored)[1]])
    line = _on_sphere(np.linspace(ends[0], ends[-1], 50))
    distance = np.sqrt(2 - 2 * (sphere @ line.T).max(axis=1).clip(max=1))
    if label in (*BELOW, *ABOVE):
        upwards = np.cross(ends[0], ends[1])
        upwards *= np.sign(upwards[2])
        distance[(sphere @ upwards > 0) != (label in ABOVE)] = np.inf
    return distance


def _nearest_regions(sphere: np.ndarray, side: str, regions: Sequence[Region]) -> np.ndarray:
    """Return the index of the region of each voxel (N,), -1 for none; earlier regions choose their voxels first."""
    region_of = np.full(len(sphere), -1)
    for index, region in enumerate(regions):
        distance = np.where(region_of < 0, place_distance(sphere, side, region.label), np.inf)
        half = region.n_voxels // 2 if side == "lh" else (region.n_voxels + 1) // 2
        nearest = np.argsort(distance, kind="stable")[:half]
        assert np.isfinite(distance[nearest]).all(), f"{region.label} needs more voxels than there are"
        region_of[nearest] = index
    return region_of


def _samples(values: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Interpolate values (V, 3) of vertices at the sample points of each triangle."""
    return np.einsum("sc,fcx->sfx", CORNERS, values[faces]).reshape(-1, 3)


def _on_sphere(points: np.ndarray) -> np.ndarray:
    return points / np.linalg.norm(points, axis=-1, keepdims=True)
