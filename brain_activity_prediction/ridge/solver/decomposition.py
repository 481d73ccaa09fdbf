"""X = U diag(s)^(1/2) Q' in float64, from which every ridge fit of all images follows.

Shapes: N images, D features, R = min(N, D) eigenvalues.
"""

from dataclasses import dataclass

import torch

# a_min / s_max below which the eigenvalues of X'X, exact to 1e-15 s_max, no longer resolve the penalty.
SMALLEST_PENALTY = 1e-8
# Columns of a Gram matrix, and rows of features, that go through a product together.
PANEL = 256


@dataclass(frozen=True)
class Decomposition:
    """X = U diag(s)^(1/2) Q', in float64.

    Attributes
    ----------
    left : (N, R) the left singular vectors U; (N, R + 1) with the intercept's column last.
    spectrum : (R,) squared singular values s, ascending; (R + 1,) with the intercept's infinite one last.
    loadings : (D, R) X'U = Q diag(s)^(1/2); X_test X'U is the kernel of test and training images, rotated.
    """

    left: torch.Tensor
    spectrum: torch.Tensor
    loadings: torch.Tensor

    def with_intercept(self) -> "Decomposition":
        """Add the unpenalised column of the mean; the columns of X must have been centred."""
        n_images = len(self.left)
        mean = self.left.new_full((n_images, 1), n_images**-0.5)
        infinite = self.spectrum.new_full((1,), torch.inf)
        return Decomposition(torch.cat([self.left, mean], 1), torch.cat([self.spectrum, infinite]), self.loadings)


def decompose(X: torch.Tensor, smallest_alpha: float) -> Decomposition:
    """Decompose X (N, D), float64, which is overwritten: by the eigenvectors of X'X or XX', the smaller one.

    Singular values from X'X are the norms of the columns of XQ, more exact than the square roots of
    eigenvalues and never negative. Where the penalty is too small for a Gram matrix, smallest_alpha <
    SMALLEST_PENALTY * s_max, the singular value decomposition of X itself is taken.
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
    """Compute X'X (D, D) of X (N, D), lower triangle only: eigh reads no more, and it is half the operations."""
    n_features = X.shape[1]
    gram = X.new_zeros(n_features, n_features)
    for start in range(0, n_features, PANEL):
        stop = start + PANEL
        gram[start:, start:stop] = X[:, start:].T @ X[:, start:stop]
    return gram


def resolves(smallest_alpha: float, eigenvalues: torch.Tensor) -> bool:
    """Return whether ascending eigenvalues (R,) of a Gram matrix are exact enough for that penalty."""
    return bool(smallest_alpha >= SMALLEST_PENALTY * eigenvalues[-1])


def singular_values(X: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return thin U, diag(s)^(1/2) and Q of X; singular values, descending, at the level of rounding become zero."""
    left, singular, right_rows = torch.linalg.svd(X, full_matrices=False)
    return left, singular.where(singular > rounding(X) * singular[0], 0.0), right_rows.T


def rounding(X: torch.Tensor) -> float:
    return max(X.shape) * torch.finfo(X.dtype).eps


def column_means(X: torch.Tensor) -> torch.Tensor:
    """Compute means (D,) in float64 of the columns of X, exact for constant ones, so that centring leaves zeros."""
    return torch.where(X.amin(dim=0) == X.amax(dim=0), X[0], X.mean(dim=0, dtype=torch.float64))
