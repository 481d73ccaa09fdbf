"""Interpolate ridge fits in alpha: fits at about fourteen alphas, the nodes, determine the fits at sixty.

A ridge fit depends on alpha only through 1 / (s + alpha), where s >= 0 are the eigenvalues of the Gram matrix. This is
a smooth function of s and alpha, so its numerical rank is small: for alphas in [a, b] the k-th singular value is below
4 exp(-k pi^2 / log(16 b / a)) times the first (Beckermann & Townsend 2017, "On the singular values of matrices with
displacement structure"). This is used twice:

- over all s >= 0, the filters of all alphas are combinations of those of a few alphas, the nodes (`alpha_nodes`);
- over a block of neighbouring eigenvalues, the filters of the nodes are combinations of even fewer functions
  (`spectral_blocks`).

Letters: A alphas, P nodes, R eigenvalues, B eigenvalues of a block, r the rank of a block.
"""

import functools
import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.linalg

# Cost of writing a panel of predictions and combining it into the nodes, in units of a block's eigenvalues.
PANEL_OVERHEAD = 100
# Number of blocks into which a spectrum is cut before neighbours are joined.
FINEST_CUT = 16


@dataclass(frozen=True)
class AlphaNodes:
    """The alphas at which ridge is computed, and the weights that interpolate all other alphas.

    Attributes
    ----------
    nodes : float64 array (P,), a subset of the grid; the first one is its smallest alpha.
    weights : float64 array (P, A). Each column sums to one, and for every s >= 0
        | sum_i weights[i, a] / (s + nodes[i]) - 1 / (s + alphas[a]) | <= tolerance / (s + min(alphas)).
    """

    nodes: np.ndarray
    weights: np.ndarray


def alpha_nodes(
    alphas: np.ndarray, tolerance: float, smallest_eigenvalue: float = 0.0, relative: bool = False
) -> AlphaNodes:
    """Choose nodes from an ascending grid of positive alphas (A,), and compute the weights for all alphas.

    The error is bounded for s >= smallest_eigenvalue. If this eigenvalue is large, fewer nodes are needed.

    With `relative`, the error at an alpha stays below tolerance / (s + alpha) instead of tolerance / (s + a_min). A
    correlation needs this: predictions shrink as alpha grows, but their correlation does not.

    The complement of the filter g_a(s) = (s + a_min) / (s + a), 1 - g_a(s) = (a - a_min) / (s + a), is sampled over s.
    A QR decomposition with column pivoting picks the nodes, and its triangular factor gives the least-squares weights.
    The complement of a_min is zero, so that any weight of a_min is valid. It is set so that the weights sum to one.
    Then residuals are interpolated like predictions, and the interpolation is exact for s -> infinity, the eigenvalue
    of an unpenalised intercept.
    """
    smallest, others = alphas[0], alphas[1:]
    lowest = max(smallest_eigenvalue, smallest * 1e-5)
    s = np.geomspace(lowest, max(lowest, alphas[-1]) * 1e4, 400)[:, None]
    complement = (others - smallest) / (s + others)  # (samples, A - 1)
    triangle, order = scipy.linalg.qr(complement, mode="r", pivoting=True)
    allowed = tolerance * (s + smallest) / (s + others) if relative else np.full_like(complement, tolerance)

    def weights_of(rank: int) -> np.ndarray:
        in_pivot_order = scipy.linalg.solve_triangular(triangle[:rank, :rank], triangle[:rank])
        weights = np.empty_like(in_pivot_order)
        weights[:, order] = in_pivot_order
        return weights

    # The largest error is computed only if the mean error of this rank is small enough.
    mean_error = np.abs(triangle.diagonal()) / np.sqrt(len(s))
    rank = int(np.count_nonzero(np.minimum.accumulate(mean_error) > tolerance))
    weights = weights_of(rank)
    while rank < len(others) and (np.abs(complement[:, order[:rank]] @ weights - complement) > allowed).any():
        rank += 1
        weights = weights_of(rank)
    weights = np.pad(weights, ((0, 0), (1, 0)))
    weights = np.vstack([1.0 - weights.sum(axis=0), weights])
    return AlphaNodes(nodes=np.concatenate([[smallest], others[order[:rank]]]), weights=weights)


@dataclass(frozen=True)
class SpectralBlock:
    """A block of neighbouring eigenvalues, and the filters g of all nodes on it in a factorised form.

    columns : positions of the eigenvalues. g (P, B) = `mixing` (P, r) times `shapes` (r, B).
    """

    columns: slice
    mixing: np.ndarray
    shapes: np.ndarray


def shrinkage(s: npt.ArrayLike, nodes: npt.ArrayLike, smallest: float) -> np.ndarray:
    """Compute g_p(s) = (s + a_min) / (s + p): the ridge filter of a node divided by that of the smallest alpha.

    Returns (P, R), from 0 to 1. It is 1 for an infinite eigenvalue, which represents the unpenalised intercept.
    """
    s, nodes = np.asarray(s, dtype=np.float64)[None, :], np.asarray(nodes, dtype=np.float64)[:, None]
    finite = np.where(np.isinf(s), 0.0, s)
    return np.where(np.isinf(s), 1.0, (finite + smallest) / (finite + nodes))


def spectral_blocks(s: np.ndarray, nodes: np.ndarray, tolerance: float) -> list[SpectralBlock]:
    """Cut a sorted spectrum s (R,) into blocks, on which filters of low rank are exact to `tolerance`.

    A wide block has a high rank, but many narrow blocks have more panels to combine. The number of operations is the
    sum over blocks of r * (B + PANEL_OVERHEAD). The spectrum is first cut into equal narrow blocks. Then the pair of
    neighbours that saves most operations is joined, again and again, until no pair saves any.
    """
    filters = shrinkage(s, nodes, nodes[0])

    @functools.cache
    def block(start: int, stop: int) -> SpectralBlock:
        return _block(filters, slice(start, stop), tolerance)

    def operations(start: int, stop: int) -> int:
        return len(block(start, stop).shapes) * (stop - start + PANEL_OVERHEAD)

    edges = np.linspace(0, len(s), min(FINEST_CUT, len(s)) + 1).round().astype(int).tolist()
    while len(edges) > 2:
        neighbours = zip(edges, edges[1:], edges[2:], strict=False)
        saved = [operations(a, b) + operations(b, c) - operations(a, c) for a, b, c in neighbours]
        if max(saved) <= 0:
            break
        del edges[saved.index(max(saved)) + 1]
    return [block(start, stop) for start, stop in itertools.pairwise(edges)]


def _block(filters: np.ndarray, columns: slice, tolerance: float) -> SpectralBlock:
    values = filters[:, columns]
    left, singular, right = np.linalg.svd(values, full_matrices=False)
    left = left * singular
    # The largest error is computed only if the mean error of this rank is small enough.
    error = np.sqrt(np.cumsum(singular[::-1] ** 2)[::-1] / values.size)
    rank = max(1, int(np.count_nonzero(error > tolerance)))
    while rank < len(singular) and np.abs(left[:, :rank] @ right[:rank] - values).max() > tolerance:
        rank += 1
    return SpectralBlock(columns, left[:, :rank], right[:rank])
