"""Sample volumes at the vertices of a surface.

Scores exist only in the fitted voxels, a ribbon about two voxels thick. Their maps are interpolated over the voxels
that have a value. The weights form a sparse matrix, which is computed once for each subject. Volumes without holes are
interpolated cubically, as in NSD's MATLAB code. Labels are never averaged.

Letters: V vertices, N voxels of a mask in the order of `volume[mask]`, n maps.
"""

from collections.abc import Iterable

import numpy as np
from scipy.sparse import csr_array

ENOUGH = 0.5  # smallest total weight of voxels with values (1 for all neighbours) for which a vertex gets a value
ROUNDING = 1e-6
NEIGHBOURS = np.array(np.meshgrid((0, 1), (0, 1), (0, 1), indexing="ij")).reshape(3, -1).T  # (8, 3)
VERTICES_AT_ONCE = 2**16  # bounds the memory of cubic interpolation


def ribbon_weights(positions: Iterable[np.ndarray], mask: np.ndarray) -> csr_array:
    """Return the trilinear weights (V, N) of a mask's voxels at each vertex, averaged over the depths.

    positions  position of each vertex at each depth, (V, 3) in voxels from 0; NaN outside the volume
    mask       (X, Y, Z) bool

    The weights of a vertex add up to 1 if all neighbouring voxels at all depths are in the mask.
    """
    depths = list(positions)
    column = np.full(mask.size, -1)
    column[np.flatnonzero(mask)] = np.arange(np.count_nonzero(mask))
    rows, columns, weights = [], [], []
    for depth in depths:
        inside = np.flatnonzero(np.isfinite(depth).all(axis=1))
        first = np.minimum(np.floor(depth[inside]).astype(int), np.array(mask.shape) - 2).clip(0)
        fraction = depth[inside] - first
        for corner in NEIGHBOURS:
            weight = np.where(corner, fraction, 1 - fraction).prod(axis=1)
            voxels = np.minimum(first + corner, np.array(mask.shape) - 1)
            of_corner = column[np.ravel_multi_index(voxels.T, mask.shape)]
            used = (of_corner >= 0) & (weight > 0)
            rows.append(inside[used])
            columns.append(of_corner[used])
            weights.append(weight[used] / len(depths))
    entries = (np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns)))
    return csr_array(entries, shape=(len(depths[0]), np.count_nonzero(mask)))


def interpolated(weights: csr_array, values: np.ndarray) -> np.ndarray:
    """Average values (N,) or (N, n) over the finite voxels around each vertex: (V,) or (V, n) float32.

    A vertex is NaN if its finite voxels have less than half of the full weight.
    """
    finite = np.isfinite(values)
    same = finite.ndim == 1 or bool((finite == finite[:, :1]).all())  # all maps have a value in the same voxels
    known = finite[:, :1] if same and finite.ndim > 1 else finite
    weight = weights @ known.astype(np.float64)
    sums = weights @ np.where(finite, values, 0).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(weight >= ENOUGH - ROUNDING, sums / weight, np.nan).astype(np.float32)


def majority(weights: csr_array, values: np.ndarray) -> np.ndarray:
    """Return, for each vertex, the label with the largest weight among labels (N,): (V,) float64.

    Labels are not averaged, because layer 3 next to layer 30 would become layer 16. NaN voxels count as missing, and a
    vertex is NaN under the same condition as in `interpolated`. Of two labels with equal weights, the smaller one is
    returned.
    """
    finite = np.isfinite(values)
    distinct, code = np.unique(values[finite], return_inverse=True)
    n = np.count_nonzero(finite)
    of_value = csr_array((np.ones(n), (np.flatnonzero(finite), code)), shape=(len(values), max(len(distinct), 1)))
    votes = csr_array(weights @ of_value)
    votes.sort_indices()
    result = np.full(weights.shape[0], np.nan)
    rows = np.flatnonzero(np.diff(votes.indptr))
    if not len(rows):
        return result
    starts = votes.indptr[rows]
    most = np.repeat(np.maximum.reduceat(votes.data, starts), np.diff(votes.indptr)[rows])
    total = np.add.reduceat(votes.data, starts)
    places = np.where(votes.data >= most - ROUNDING, np.arange(votes.nnz), votes.nnz)
    winner = distinct[votes.indices[np.minimum.reduceat(places, starts)]]
    result[rows] = np.where(total >= ENOUGH - ROUNDING, winner, np.nan)
    return result


def cubic(volume: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Interpolate a volume (X, Y, Z) at positions (V, 3), in voxels from 0, with Catmull-Rom splines: (V,) float64.

    A vertex is NaN if it is outside the volume, or if any of its 64 neighbours is NaN. Neighbours beyond the edge are
    replaced by the outermost voxels.
    """
    result = np.full(len(positions), np.nan)
    inside = np.flatnonzero(np.isfinite(positions).all(axis=1))
    for start in range(0, len(inside), VERTICES_AT_ONCE):
        rows = inside[start : start + VERTICES_AT_ONCE]
        first = np.floor(positions[rows])
        taps = [
            (first[:, axis, None] + np.arange(-1, 3)).astype(int).clip(0, size - 1)
            for axis, size in enumerate(volume.shape)
        ]
        neighbours = volume[taps[0][:, :, None, None], taps[1][:, None, :, None], taps[2][:, None, None, :]]
        x, y, z = (catmull_rom(fraction) for fraction in (positions[rows] - first).T)
        result[rows] = np.einsum("vijk,vi,vj,vk->v", neighbours, x, y, z, optimize=True)
    return result


def catmull_rom(fraction: np.ndarray) -> np.ndarray:
    """Return the weights (V, 4) of the samples at -1, 0, 1 and 2 for positions (V,) between 0 and 1."""
    t = np.asarray(fraction, dtype=np.float64)
    weights = (-(t**3) + 2 * t**2 - t, 3 * t**3 - 5 * t**2 + 2, -3 * t**3 + 4 * t**2 + t, t**3 - t**2)
    return np.stack(weights, axis=-1) / 2


def cubic_over_depths(volume: np.ndarray, positions: Iterable[np.ndarray]) -> np.ndarray:
    """Return the mean (V,) of `cubic` over the depths; NaN if it is NaN at any depth."""
    return np.mean([cubic(volume, depth) for depth in positions], axis=0).astype(np.float32)
