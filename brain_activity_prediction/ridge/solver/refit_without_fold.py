"""Compute held-out residuals of a fold from a fit to the other images, with one decomposition for each fold.

Shapes: N images, n images of the fold, R eigenvalues of all images, S eigenvalues of the other images, m coordinates, V
voxels, P nodes.

Let X = U diag(s)^(1/2) Q'. Z = U diag(s)^(1/2) are the features in the basis Q, and Z_k those of the fold. The Gram
matrix of the other images is diag(s) - Z_k'Z_k = E diag(t) E'. With W = diag(s)^(1/2) E diag(t + a_min)^(-1/2), the
prediction of ridge at penalty p for the fold is

    z_k(p) = F g(p) c,   F = U_k W,   c = W'(U'y - U_k'y_k) = W'U'y - F'y_k,   g(p) = (t + a_min) / (t + p)

where c are the whitened targets of the other images. Unlike the leave-one-out formula, this solves no system per node.

A score depends on the n images only through inner products. Let [1 F] = O [. T], with O orthonormal (n, m) and T zero
below its subdiagonal. Then |y_k - z_k|^2 is |O'y_k - T g c|^2 plus the part outside O, |y_k|^2 - |O'y_k|^2. If a fold
has more images than features, this is less work, and half of T is zero.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from brain_activity_prediction.ridge.arrays import Rows
from brain_activity_prediction.ridge.scores import HeldOut
from brain_activity_prediction.ridge.solver.alpha_interpolation import SpectralBlock
from brain_activity_prediction.ridge.solver.decomposition import (
    Decomposition,
    column_means,
    lower_gram,
    resolves,
    singular_values,
)
from brain_activity_prediction.ridge.solver.filtered_rows import FilteredRows
from brain_activity_prediction.ridge.solver.leave_fold_out import IllConditionedError
from brain_activity_prediction.ridge.solver.responses import Responses
from brain_activity_prediction.ridge.solver.workspace import Workspace

# Largest accepted squared factor by which whitened targets magnify rounding errors of U'y: 1 / (1 - leverage) at a_min.
LARGEST_MAGNIFICATION = {torch.float32: 1e2, torch.float64: 1e7}


@dataclass(frozen=True)
class TrainingFit:
    """A ridge fit to the images outside a fold, in float64.

    Attributes
    ----------
    spectrum : (S,) the eigenvalues t, descending; with an intercept, the first one is infinite.
    rows : (n, S) the matrix F.
    target_errors : (S,) the norms of the columns of W, by which rounding errors of U'y are multiplied in c.
    """

    spectrum: torch.Tensor
    rows: torch.Tensor
    target_errors: torch.Tensor


@dataclass(frozen=True)
class RefitWithoutFold:
    """Operator for the held-out residuals or predictions of a fold at every node, in m coordinates.

    Its targets are c.

    Attributes
    ----------
    filtered : T (m, S) with the filters of the nodes.
    basis : O (n, m).
    magnification : (P,) the norm of F g(p) diag(target_errors), which magnifies rounding errors of the targets.
    """

    filtered: FilteredRows
    basis: torch.Tensor
    magnification: torch.Tensor

    def residuals(self, responses: torch.Tensor, targets: torch.Tensor, workspace: Workspace) -> HeldOut:
        """Compute the residuals of v voxels from responses (n, v) and whitened targets (S, v), in the workspace."""
        reached = responses.T @ self.basis
        outside: torch.Tensor | float = 0.0
        if len(responses) > self.basis.shape[1]:
            outside = (_squared_norm(responses, 0) - _squared_norm(reached, 1)).clamp_(min=0)
        return HeldOut(self.filtered.residuals(reached, targets, workspace), reached, outside)

    def predictions(self, responses: torch.Tensor, targets: torch.Tensor, workspace: Workspace) -> HeldOut:
        """Compute centred predictions, which leave out the first coordinate, the mean."""
        reached = responses.T @ self.basis
        predictions = self.filtered.residuals(torch.zeros_like(reached), targets, workspace).neg_()
        return HeldOut(predictions[:, :, 1:], reached[:, 1:])

    @property
    def bytes_per_voxel(self) -> int:
        """Return the working memory for one voxel in bytes."""
        return (self.filtered.values_per_voxel + sum(self.basis.shape)) * self.basis.element_size()


def fit_without_fold(
    decomposition: Decomposition, rows: Rows, smallest_alpha: float, fit_intercept: bool
) -> tuple[TrainingFit, torch.Tensor]:
    """Fit the other images by the eigenvectors of their Gram matrix; return the fit (F and t), and W (R, S).

    There must be at least R other images. Their Gram matrix is that of all images minus the part of the fold.

    With an intercept, the columns of the features Z have mean 0. The features are centred on the mean mu of the other
    images, which is minus the sum of Z_k, divided by N - n. Therefore (N - n) mu'mu is subtracted from the Gram matrix,
    too. W gets a last row for the intercept's column of U, and a first column for the mean among the whitened targets.

    Raises IllConditionedError if the penalty is too small for the Gram matrix.
    """
    n_images, scale = len(decomposition.left), decomposition.spectrum.sqrt()
    left = decomposition.left[rows]
    n_others = n_images - len(left)
    lost = left * scale
    if fit_intercept:
        mean = -lost.sum(dim=0, keepdim=True) / n_others
        lost = torch.cat([lost, n_others**0.5 * mean])
    gram = lower_gram(lost).neg_()
    gram.diagonal().add_(decomposition.spectrum)
    eigenvalues, vectors = torch.linalg.eigh(gram)
    if not resolves(smallest_alpha, eigenvalues):
        raise IllConditionedError
    spectrum, whitening = eigenvalues.flip(0).clamp_(min=0), vectors.flip(1)
    whitening /= (spectrum + smallest_alpha).sqrt()
    of_mean = mean @ whitening if fit_intercept else None
    whitening *= scale[:, None]
    fold = left @ whitening
    if fit_intercept:
        last = torch.cat([whitening.new_tensor([[(n_images / n_others) ** 0.5]]), -(n_images**0.5) * of_mean], 1)
        whitening = torch.cat([torch.nn.functional.pad(whitening, (1, 0)), last])
        spectrum, fold = _with_constant(spectrum, fold - of_mean, n_others)
    return TrainingFit(spectrum, fold, torch.linalg.vector_norm(whitening, dim=0)), whitening


def safe_fit_without_fold(
    X: torch.Tensor, rows: Rows, smallest_alpha: float, fit_intercept: bool
) -> tuple[TrainingFit, torch.Tensor, torch.Tensor]:
    """Fit the other images by a singular value decomposition of their features, which is slow but exact.

    Returns the fit (F and t), the left singular vectors (N - n, S), and the rows of the other images. Here c are the
    left singular vectors times the responses of these rows. Therefore F includes the factor (t / (t + a_min))^(1/2).
    """
    training = torch.ones(len(X), dtype=torch.bool, device=X.device)
    training[rows] = False
    others, fold = X[training].to(torch.float64), X[rows].to(torch.float64)
    if fit_intercept:
        mean = column_means(others)
        others, fold = others - mean, fold - mean
    left, singular, right = singular_values(others)
    spectrum = singular**2
    fold = (fold @ right) * (singular / (spectrum + smallest_alpha))
    if fit_intercept:
        left = torch.cat([left.new_full((len(left), 1), len(left) ** -0.5), left], dim=1)
        spectrum, fold = _with_constant(spectrum, fold, len(left))
    return TrainingFit(spectrum, fold, torch.ones_like(spectrum)), left, training.nonzero()[:, 0]


def whitened_targets(
    fit: TrainingFit, whitening: torch.Tensor, targets: torch.Tensor, responses: Responses, rows: Rows
) -> torch.Tensor:
    """Compute the whitened targets c (S, V) = W'U'Y - F'Y_k from U'Y (R, V), in the precision of U'Y.

    Raises IllConditionedError if W would magnify rounding errors of U'Y too much.
    """
    if not _squared_norm(whitening, 0).amax() < LARGEST_MAGNIFICATION[targets.dtype]:
        raise IllConditionedError
    whitened = whitening.to(targets.dtype).T @ targets
    fold = fit.rows.to(targets.dtype)
    for voxels in responses.chunks(2 * sum(fold.shape) * fold.element_size()):
        whitened[:, voxels].addmm_(fold.T, responses.block(rows, voxels, targets.dtype), alpha=-1)
    return whitened


def refit_without_fold(fit: TrainingFit, blocks: Sequence[SpectralBlock], dtype: torch.dtype) -> RefitWithoutFold:
    """Return the operator of a training fit in the given precision.

    blocks  blocks of the fit's spectrum
    """
    with_mean = torch.nn.functional.pad(fit.rows, (1, 0), value=1.0)
    basis, triangle = torch.linalg.qr(with_mean)
    errors = torch.linalg.vector_norm(fit.rows, dim=0) * fit.target_errors
    filters = np.concatenate([block.mixing @ block.shapes for block in blocks], axis=1)
    magnification = torch.linalg.vector_norm(torch.from_numpy(filters).to(errors) * errors, dim=1)
    return RefitWithoutFold(FilteredRows.of(triangle[:, 1:], blocks, dtype, below=1), basis.to(dtype), magnification)


def _with_constant(spectrum: torch.Tensor, rows: torch.Tensor, n_others: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Insert the unpenalised column for the mean of the other images at the front."""
    constant = rows.new_full((len(rows), 1), n_others**-0.5)
    return torch.cat([spectrum.new_full((1,), torch.inf), spectrum]), torch.cat([constant, rows], dim=1)


def _squared_norm(values: torch.Tensor, dim: int) -> torch.Tensor:
    return torch.linalg.vector_norm(values, dim=dim, dtype=torch.float64) ** 2
