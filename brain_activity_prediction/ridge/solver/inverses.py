"""Invert positive definite matrices in place.

Shapes: P matrices of n rows. A, B and C are the blocks of a matrix [[A, B'], [B, C]].
"""

import torch

from brain_activity_prediction.ridge.solver.threads import spread

# Largest number of rows of matrices that a GPU inverts as one batch of Cholesky factors.
LEAF = 128


def invert(matrices: torch.Tensor) -> float:
    """Replace positive definite matrices (P, n, n) by their inverses, in place, and return the smallest pivot.

    A pivot is the square of a diagonal entry of the Cholesky factor. If a matrix is not positive definite, the smallest
    pivot is NaN or zero, and the inverse is invalid. Both triangles of the matrices must be given.
    """
    pivots = matrices.new_zeros(len(matrices))

    def by_cholesky(number: int) -> None:  # one matrix after the other, which needs less memory
        pivots[number] = _by_cholesky(matrices[number])

    if matrices.device.type == "cpu":
        spread(by_cholesky, range(len(matrices)), matrices.device)
    else:
        pivots = _by_halves(matrices)
    return float(pivots.amin())


def _by_halves(matrices: torch.Tensor) -> torch.Tensor:
    """Invert matrices by blocks on a GPU, on which products are ten times as fast as factorising single matrices.

    With S = C - B A^-1 B', the pivots of A and of S are the pivots of the whole matrix. The inverse is
    [[A^-1 + F'S^-1 F, .], [-S^-1 F, S^-1]] with F = B A^-1. Returns the smallest pivots (P,).
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
    diagonals.masked_fill_(failed[..., None], 1.0)  # torch refuses to invert a factor with a zero on its diagonal
    matrices.copy_(torch.cholesky_inverse(factors))
    return pivots
