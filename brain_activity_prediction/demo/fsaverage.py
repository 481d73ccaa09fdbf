"""Refine the sphere of fsaverage5, which comes with nilearn, to that of the full fsaverage."""

from functools import lru_cache

import numpy as np
from scipy.spatial import cKDTree


@lru_cache(maxsize=1)
def nearest_of_fsaverage5() -> np.ndarray:
    """Return the vertex of fsaverage5 nearest to each vertex of fsaverage, (163842,); equal for both hemispheres."""
    from nilearn.datasets import load_fsaverage

    sphere = load_fsaverage("fsaverage5")["sphere"].parts["left"]
    points, faces = sphere.coordinates.astype(float), sphere.faces
    for _ in range(2):  # fsaverage6, fsaverage
        points, faces = refined(points, faces)
    return cKDTree(sphere.coordinates).query(points)[1]


def refined(points: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Split each triangle of a sphere into four, with vertices and faces in FreeSurfer's order.

    points  (n_vertices, 3)
    faces   (n_faces, 3)

    The new vertices are the midpoints of the edges, numbered in the order in which the edges occur in the faces.
    """
    edges = np.sort(faces[:, [[0, 2], [1, 2], [0, 1]]], axis=2)  # (F, 3, 2)
    unique, first, which = np.unique(edges.reshape(-1, 2), axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    midpoints = points[unique[order]].sum(axis=1)
    midpoints *= np.linalg.norm(points[0]) / np.linalg.norm(midpoints, axis=1, keepdims=True)
    a, b, c = faces.T
    ac, bc, ab = (len(points) + np.argsort(order)[which.reshape(-1, 3)]).T
    inner = np.stack([ac, bc, c, ab, bc, ac, ab, b, bc], axis=1).reshape(-1, 3)
    return np.concatenate([points, midpoints]), np.concatenate([np.stack([a, ab, ac], axis=1), inner])
