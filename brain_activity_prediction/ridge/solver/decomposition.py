"""Decompose features as X = U diag(s)^(1/2) Q' in float64, from which a ridge fit at any penalty is computed.

Shapes: N images, D features, R = min(N, D) eigenvalues.
"""

from dataclasses import dataclass

import torch

# Smallest a_min / s_max for which the eigenvalues of X'X are exact enough. Their errors are about 1e-15 s_max.
SMALLEST_PENALTY = 1e-8
# Columns of a Gram matrix, and rows of features, that are multiplied in one step.
PANEL = 256


@dataclass(frozen=True)
class Decomposition:
    """The decomposition X = U diag(s)^(1/2) Q' of features, in float64.

    Attributes
    ----------
    left : (N, R) the left singular vectors U; with an intercept (N, R + 1), where the last column is the intercept's.
    spectrum : (R,) squared singular values s, ascending; with an intercept (R + 1,), where the last value is infinite.
    loadings : (D, R) X'U = Q diag(s)^(1/2); X_test X'U is the kernel of test and training images, rotated.
    """

    left: torch.Tensor
    spectrum: torch.Tensor
    loadings: torch.Tensor

    def with_intercept(self) -> "Decomposition":
        """Return the decomposition with an unpenalised column for the intercept; the columns of X must be centred."""
        n_images = len(self.left)
        mean = self.left.new_full((n_images, 1), n_images**-0.5)
        infinite = self.spectrum.new_full((1,), torch.inf)
        return Decomposition(torch.cat([self.left, mean], 1), torch.cat([self.spectrum, infinite]), self.loadings)


def decompose(X: torch.Tensor, smallest_alpha: float) -> Decomposition:
    """Decompose X (N, D), float64, by the eigenvectors of X'X or XX', whichever is smaller; overwrites X.

    Singular values from X'X are computed as the norms of the columns of XQ, which are never negative and more exact
    than the square roots of eigenvalues. If the penalty is too small for a Gram matrix, smallest_alpha <
    SMALLEST_PENALTY * s_max, the singular value decomposition of X itself is used.
    """
    n_images, n_features = X.shape
    tall = n_features <= n_images
    eigenvalues, vectors = torch.linalg.eigh(lower_gram(X if tall else X.T))
    if not resolves(smallest_alpha, eigenvalues):
        left, singular, right = singular_values(X)
        return Decomposition(left.flip(1), singular.flip(0) ** 2, (right * singular).flip(1))
    if not tall:
        spectrum = eigenvalues.where(eigenvalues > rounding(X) * eigenvalues[-1], 0.0)
        return Decomposition(vectors, spectrum, X.T @ vectors)
    for rows in X.split(PANEL):
        rows.copy_(rows @ vectors)
    singular = torch.linalg.vector_norm(X, dim=0)
    X /= singular.where(singular > 0, 1.0)
    return Decomposition(X, singular**2, vectors.mul_(singular))


def lower_gram(X: torch.Tensor) -> torch.Tensor:
    """Compute the lower triangle of X'X (D, D) from X (N, D). torch's eigh reads only this half."""
    n_features = X.shape[1]
    gram = X.new_zeros(n_features, n_features)
    for start in range(0, n_features, PANEL):
        stop = start + PANEL
        gram[start:, start:stop] = X[:, start:].T @ X[:, start:stop]
    return gram


def resolves(smallest_alpha: float, eigenvalues: torch.Tensor) -> bool:
    """Return whether the ascending eigenvalues (R,) of a Gram matrix are exact enough for this penalty."""
    return bool(smallest_alpha >= SMALLEST_PENALTY * eigenvalues[-1])


def singular_values(X: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return thin U, diag(s)^(1/2) and Q of X, in descending order; singular values at rounding level become zero."""
    left, singular, right_rows = torch.linalg.svd(X, full_matrices=False)
    return left, singular.where(singular > rounding(X) * singular[0], 0.0), right_rows.T


def rounding(X: torch.Tensor) -> float:
    return max(X.shape) * torch.finfo(X.dtype).eps


def column_means(X: torch.Tensor) -> torch.Tensor:
    """Compute the means (D,) of the columns of X in float64. They are exact for constant columns, which centre to 0."""
    return torch.where(X.amin(dim=0) == X.amax(dim=0), X[0], X.mean(dim=0, dtype=torch.float64))
