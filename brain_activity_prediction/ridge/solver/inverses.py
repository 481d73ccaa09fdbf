"""Inverses of positive definite matrices, in place.

Shapes: P matrices of n rows, their halves A, B and C in [[A, B'], [B, C]].
"""

import torch

from brain_activity_prediction.ridge.solver.threads import spread

# Rows up to which a GPU inverts matrices as a batch of their Cholesky factors.
LEAF = 128


def invert(matrices: torch.Tensor) -> float:
    """Replace positive definite matrices (P, n, n), both triangles given, by their inverses; return the smallest pivot.

    A pivot is the square of a diagonal entry of the Cholesky factor: the remainder of a row's own square given the rows
    before it. It is NaN or zero if a matrix is not positive definite, and its inverse is then useless.
    """
    pivots = matrices.new_zeros(len(matrices))

    def by_cholesky(number: int) -> None:  # one matrix after the other: less memory
        pivots[number] = _by_cholesky(matrices[number])

    if matrices.device.type == "cpu":
        spread(by_cholesky, range(len(matrices)), matrices.device)
    else:
        pivots = _by_halves(matrices)
    return float(pivots.amin())


def _by_halves(matrices: torch.Tensor) -> torch.Tensor:
    """Return the smallest pivots (P,). A GPU factorises single matrices at a tenth of the rate of its products.

    With S = C - B A^-1 B', the pivots of A and S are those of the whole, and the inverse is [[A^-1 + F'S^-1 F, .],
    [-S^-1 F, S^-1]], F = B A^-1.
    """
    n_rows = matrices.shape[1]
    if n_rows <= LEAF:
        return _by_cholesky(matrices)
    half = n_rows // 2
    first, last, between = matrices[:, :half, :half], matrices[:, half:, half:], matrices[:, half:, :half]
    pivots = _by_halves(first)
    explained = between @ first
    last.baddbmm_(explained, between.mT, alpha=-1)
    pivots = torch.minimum(pivots, _by_halves(last))
    torch.bmm(last, explained, out=between)
    first.baddbmm_(explained.mT, between)
    between.neg_()
    matrices[:, :half, half:] = between.mT
    return pivots


def _by_cholesky(matrices: torch.Tensor) -> torch.Tensor:
    factors, failures = torch.linalg.cholesky_ex(matrices)
    failed, diagonals = failures > 0, factors.diagonal(dim1=-2, dim2=-1)
    pivots = (diagonals.amin(dim=-1) ** 2).masked_fill(failed, 0.0)
    diagonals.masked_fill_(failed[..., None], 1.0)  # the inverse of a factor with a zero there is refused
    matrices.copy_(torch.cholesky_inverse(factors))
    return pivots
