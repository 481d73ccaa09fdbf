"""Held-out residuals of a fold at every node of alpha, as a handful of matrix products.

Shapes: N images, D features, V voxels, n images of one fold, R = min(N, D) eigenvalues, P nodes of alpha.

With the thin singular value decomposition X = U diag(s)^(1/2) Q', ridge at penalty p fits all images with
y_hat(p) = U h(p) U'y, where h(p) = s / (s + p). A fold that is held out needs no second fit: for every linear
smoother of this kind, the residual that the fold's rows U_k would have had without them is

    e_k(p) = (I - U_k h(p) U_k')^-1 (y_k - U_k h(p) U'y)

which is the leave-one-out formula, residual over one minus leverage, for a block of images. One decomposition
serves all folds and penalties. An unpenalised intercept is one more column 1/sqrt(N) of U, its eigenvalue
infinite.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch

from brain_activity_prediction.align_image_embeddings.alpha_interpolation import spectral_blocks

# 1 - leverage below which errors, magnified by its inverse, would be seen in a score.
SMALLEST_PIVOT = {torch.float32: 1e-2, torch.float64: 1e-7}
# a_min / s_max below which the eigenvalues of X'X, exact to 1e-15 s_max, no longer resolve the penalty.
SMALLEST_PENALTY = 1e-8
# How often, and on how many vectors, the power iteration for the largest leverage of a fold multiplies.
POWER_STEPS, POWER_VECTORS = 8, 8


class IllConditionedError(ArithmeticError):
    """The fold's images are fitted almost exactly: this precision or formula cannot tell their residuals."""


@dataclass(frozen=True)
class Decomposition:
    """X = U diag(s)^(1/2) Q', in float64.

    Attributes
    ----------
    left : (N, R) the left singular vectors U; (N, R + 1) with the intercept's column last.
    spectrum : (R,) squared singular values s; (R + 1,) with the intercept's infinite one last.
    loadings : (D, R) X'U = Q diag(s)^(1/2); X_test X'U is the kernel of test and training images, rotated.
    """

    left: torch.Tensor
    spectrum: torch.Tensor
    loadings: torch.Tensor

    def with_intercept(self):
        """The same with the unpenalised column of the mean; the columns of X must have been centred."""
        n_images = len(self.left)
        mean = self.left.new_full((n_images, 1), n_images**-0.5)
        infinite = self.spectrum.new_full((1,), torch.inf)
        return Decomposition(torch.cat([self.left, mean], 1), torch.cat([self.spectrum, infinite]), self.loadings)


def decompose(X, smallest_alpha):
    """Decompose X (N, D) in float64: by the eigenvectors of X'X or XX', whichever is smaller.

    Singular values from X'X are the norms of the columns of XQ, more exact than the square roots of
    eigenvalues and never negative. Where the penalty is too small for a Gram matrix, smallest_alpha <
    SMALLEST_PENALTY * s_max, the singular value decomposition of X itself is taken.
    """
    X = X.to(torch.float64)
    n_images, n_features = X.shape
    if n_features <= n_images:
        eigenvalues, right = torch.linalg.eigh(X.T @ X)
        left = X @ right
        singular = torch.linalg.vector_norm(left, dim=0)
        left /= singular.where(singular > 0, 1.0)
        loadings = right.mul_(singular)
        spectrum = singular**2
    else:
        eigenvalues, left = torch.linalg.eigh(X @ X.T)
        spectrum = eigenvalues.where(eigenvalues > _rounding(X) * eigenvalues[-1], 0.0)
        loadings = X.T @ left
    if smallest_alpha < SMALLEST_PENALTY * eigenvalues[-1]:
        left, singular, right = singular_values(X)
        spectrum, loadings = singular**2, right * singular
    return Decomposition(left, spectrum, loadings)


@dataclass(frozen=True)
class FoldOperator:
    """Turns the responses of a held-out fold and the rotated targets into residuals at every node of alpha.

    Attributes
    ----------
    n_rows : n.
    panels : per block of the spectrum, its columns and a matrix (r * n, B): n rows under each of r filters.
    mixing : (P, all r + 1), the nodes as combinations of the panels' outputs and, last, of the responses.
    left, solves : rows U_k (n, R) and inverses of I - U_k h(p) U_k' (P, n, n) where the targets are those of
        all images; None where they are those of the other images only.
    """

    n_rows: int
    panels: list
    mixing: torch.Tensor
    left: torch.Tensor | None = None
    solves: torch.Tensor | None = None

    def residuals(self, responses, targets):
        """Held-out residuals (P, v, n) of v voxels from responses (n, v) and rotated targets (R, v)."""
        in_sample = self.in_sample(responses, targets).transpose(1, 2)
        return in_sample if self.solves is None else torch.bmm(in_sample, self.solves)

    def predictions(self, responses, targets):
        """Held-out predictions (P, v, n), free of the cancellation in responses - residuals.

        z_k(p) = (I - U_k h(p) U_k')^-1 U_k h(p) (U'y - U_k'y_k): residuals of a response of zero, negated.
        """
        if self.left is not None:
            targets = targets - self.left.T @ responses
        return -self.residuals(torch.zeros_like(responses), targets)

    def in_sample(self, responses, targets):
        """responses - rows g(p) targets for every node p, (P, n, v)."""
        outputs = responses.new_empty(self.mixing.shape[1], *responses.shape)
        start = 0
        for columns, panel in self.panels:
            stop = start + len(panel) // self.n_rows
            torch.mm(panel, targets[columns], out=outputs[start:stop].view(len(panel), -1))
            start = stop
        outputs[-1] = responses
        return (self.mixing @ outputs.view(len(outputs), -1)).view(-1, *responses.shape)

    @property
    def bytes_per_voxel(self):
        """Working memory of `residuals` for one voxel: all panels, then at most three arrays of the nodes."""
        n_nodes, n_panels = self.mixing.shape
        return (n_panels + 3 * n_nodes) * self.n_rows * self.mixing.element_size()


def smallest_training_eigenvalue(decomposition, folds):
    """A low estimate of the smallest non-zero eigenvalue that the Gram matrix of any training set has.

    Of the kernel of fewer images than features, a training set has a principal submatrix, whose eigenvalues
    interlace: s_min. Otherwise X_train'X_train = S^(1/2) (I - U_k'U_k) S^(1/2) in the basis Q, which is at
    least s_min (1 - |U_k|^2). The norm comes from a power iteration, from below; the half allows for that.
    """
    left, spectrum = decomposition.left, decomposition.spectrum
    smallest = spectrum.amin()
    if left.shape[1] >= len(left):
        return float(smallest) / 2
    start = torch.linspace(0, POWER_VECTORS, left.shape[1] * POWER_VECTORS, device=left.device).square().cos()
    largest_leverage = 0.0
    for rows in folds:
        fold = left[rows].to(torch.float32)
        vectors = start.view(-1, POWER_VECTORS)
        for _ in range(POWER_STEPS):
            vectors = fold.T @ (fold @ torch.linalg.qr(vectors)[0])
        largest_leverage = max(largest_leverage, float(torch.linalg.matrix_norm(vectors, ord=2)))
    return float(smallest) * max(0.0, 1.0 - largest_leverage) / 2


def leave_fold_out(decomposition, blocks, nodes, rows, dtype):
    """The operator of the module's formula for a fold's images `rows`; its targets are U'Y of all images.

    blocks : of the spectrum, at these nodes. Raises IllConditionedError where one minus the leverage of an
    image, given the images before it, is below SMALLEST_PIVOT.
    """
    left = decomposition.left[rows]
    smallest_alpha = float(nodes[0])
    at_smallest_alpha = 1.0 - smallest_alpha / (decomposition.spectrum + smallest_alpha)
    operator = _filtered(left * at_smallest_alpha, blocks, dtype)
    left = left.to(dtype)
    identity = torch.eye(len(left), dtype=dtype, device=left.device)
    one_minus_leverage = operator.in_sample(identity, left.T)
    factors, failures = torch.linalg.cholesky_ex(one_minus_leverage)
    smallest_pivot = factors.diagonal(dim1=1, dim2=2).amin() ** 2
    if failures.any() or not smallest_pivot > SMALLEST_PIVOT[dtype]:
        raise IllConditionedError
    return replace(operator, left=left, solves=torch.cholesky_inverse(factors))


def refit_without_fold(X, nodes, rows, tolerance, fit_intercept):
    """A fold's operator from a float64 decomposition of the other images, their U (N - n, R) and rows.

    Nothing is divided by one minus a leverage: the slow, safe way where images nearly determine their own
    fit. X_train = U diag(s)^(1/2) Q' predicts X_fold Q diag(s)^(1/2) / (s + p) U'Y_train; U'Y_train are the
    targets.
    """
    training = torch.ones(len(X), dtype=torch.bool, device=X.device)
    training[rows] = False
    X_train, X_fold = X[training].to(torch.float64), X[rows].to(torch.float64)
    if fit_intercept:
        mean = column_means(X_train)
        X_train, X_fold = X_train - mean, X_fold - mean
    left, singular, right = singular_values(X_train)
    spectrum = singular**2
    at_smallest_alpha = (X_fold @ right) * (singular / (spectrum + float(nodes[0])))
    if fit_intercept:
        left = torch.cat([left, left.new_full((len(left), 1), len(left) ** -0.5)], dim=1)
        mean_of_targets = left.new_full((len(X_fold), 1), len(left) ** -0.5)
        at_smallest_alpha = torch.cat([at_smallest_alpha, mean_of_targets], dim=1)
        spectrum = torch.cat([spectrum, spectrum.new_full((1,), torch.inf)])
    blocks = spectral_blocks(spectrum.cpu().numpy(), nodes, tolerance)
    return _filtered(at_smallest_alpha, blocks, torch.float64), left, training.nonzero()[:, 0]


def singular_values(X):
    """Thin U, diag(s)^(1/2) and Q of X; singular values that are rounding alone become zero."""
    left, singular, right_rows = torch.linalg.svd(X, full_matrices=False)
    return left, singular.where(singular > _rounding(X) * singular[0], 0.0), right_rows.T


def _rounding(X):
    return max(X.shape) * torch.finfo(X.dtype).eps


def column_means(X):
    """Means (D,) in float64 of the columns of X, exact for constant ones: centring leaves zeros there."""
    return torch.where(X.amin(dim=0) == X.amax(dim=0), X[0], X.mean(dim=0, dtype=torch.float64))


def _filtered(rows, blocks, dtype):
    """The operator responses - rows g(p) targets, from rows (n, R) that stand at the smallest alpha."""
    panels = []
    for block in blocks:
        shapes = torch.from_numpy(block.shapes).to(rows)
        panel = rows[:, block.columns] * shapes[:, None, :]  # (r, n, B)
        panels.append((block.columns, panel.flatten(0, 1).to(dtype)))
    mixing = np.concatenate([-block.mixing for block in blocks], axis=1)
    mixing = np.pad(mixing, ((0, 0), (0, 1)), constant_values=1.0)
    return FoldOperator(len(rows), panels, torch.from_numpy(mixing).to(rows.device, dtype))
