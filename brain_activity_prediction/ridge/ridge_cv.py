"""Ridge regression of many voxels on one set of features, each voxel with its own cross-validated alpha.

For every voxel v and alpha a of a grid, ridge minimises ||y_v - X w||^2 + a ||w||^2 on the images outside a
fold and is scored on the fold. The alpha with the best mean score over folds is refitted on all images. The
result is the same as if every alpha were fitted in every fold, but the computation takes far fewer operations:

1. One decomposition X = U diag(s)^(1/2) Q' in float64 is used for all folds and alphas (solver/leave_fold_out.py). If
   this takes fewer operations, each fold has its own decomposition instead (solver/refit_without_fold.py).
2. Residuals are computed at a few alphas, the nodes, and interpolated at the others (solver/alpha_interpolation.py).
3. The scores of all alphas follow from the moments of these residuals (scores.py).

Shapes: N images, D features, V voxels, A alphas, R = min(N, D), P nodes; n images of a fold, v voxels of a chunk.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from brain_activity_prediction.ridge import CRITERIA, RidgeInputError
from brain_activity_prediction.ridge.arrays import Values, as_tensor, check_batch, check_choice, matrices, sorted_grid
from brain_activity_prediction.ridge.solver.cross_validation import CrossValidation
from brain_activity_prediction.ridge.solver.decomposition import Decomposition, column_means, decompose
from brain_activity_prediction.ridge.solver.folds import check_fold_sizes, held_out_rows
from brain_activity_prediction.ridge.solver.responses import Responses
from brain_activity_prediction.ridge.solver.threads import full_float32_precision

DEFAULT_ALPHAS = np.logspace(1, 4, 60)
# Number of eigenvalues by which targets are divided in one step.
PANEL = 64
# Scores with a smaller relative difference count as equal.
ROUNDING = 1e-13


@dataclass(frozen=True)
class RidgeFit:
    """Ridge models of all voxels, fitted to all images at the cross-validated alpha of each voxel.

    All tensors are on the device of X.

    Attributes
    ----------
    alpha : (V,) chosen alpha, float64; NaN for a voxel whose responses are not all finite.
    alpha_index : (V,) index of alpha in the given grid, int64; -1 for such a voxel.
    cv_score : (V,) mean score over folds at this alpha, float64; NaN for such a voxel.
    scores : (A, V) mean score over folds of every alpha, in the order of the grid; None if not requested.
    feature_means, response_means : (D,) float64 and (V,), means over images; zeros without an intercept.
    loadings, shrunken_targets : X'U (D, R), and U'y_v / (s + alpha_v) (R, V). Their product is the matrix of
        coefficients.
    """

    alpha: torch.Tensor
    alpha_index: torch.Tensor
    cv_score: torch.Tensor
    scores: torch.Tensor | None
    feature_means: torch.Tensor = field(repr=False)
    response_means: torch.Tensor = field(repr=False)
    loadings: torch.Tensor = field(repr=False)
    shrunken_targets: torch.Tensor = field(repr=False)

    def predict(self, X: Values) -> torch.Tensor:
        """Return predictions (n, V) for X (n, D), without computing the coefficients.

        The rotated kernel X X_train'U, between the images of X and the training images, is computed in float64.
        """
        X = as_tensor(X, "X").to(self.loadings)
        if X.ndim != 2:
            raise RidgeInputError(f"X {tuple(X.shape)} is not (images, features): give a row for each image")
        if X.shape[1] != len(self.loadings):
            raise RidgeInputError(f"X has {X.shape[1]} features, but the ridge was fitted to {len(self.loadings)}")
        rotated = (X - self.feature_means) @ self.loadings
        return self._from_rotated(rotated).add_(self.response_means)

    def coefficients(self) -> torch.Tensor:
        """Return coefficients (D, V) of the features: X'U times U'y_v / (s + alpha_v)."""
        return self._from_rotated(self.loadings)

    def intercepts(self) -> torch.Tensor:
        """Return intercepts (V,): the mean response minus its prediction from the mean features."""
        return self.response_means - self._from_rotated(self.feature_means[None] @ self.loadings)[0]

    def _from_rotated(self, rotated: torch.Tensor) -> torch.Tensor:
        """Multiply `rotated` (n, R) by the shrunken targets in the precision of the responses; return (n, V)."""
        with full_float32_precision:
            product = rotated.to(self.shrunken_targets) @ self.shrunken_targets
        return product.to(self.response_means.dtype)


def ridge_cv(
    X: Values,
    Y: Values,
    alphas: npt.ArrayLike | None = None,
    *,
    folds: int | Iterable[npt.ArrayLike] = 5,
    criterion: str = "neg_mean_squared_error",
    per_voxel: bool = True,
    fit_intercept: bool = True,
    voxels_per_chunk: int | None = None,
    return_all_scores: bool = False,
    decomposition: Decomposition | None = None,
) -> RidgeFit:
    """Fit ridge to every voxel with the alpha that has the best cross-validated score.

    For voxel v it minimises ||y_v - X w||^2 + alpha_v ||w||^2. alpha_v has the best mean score over the held-out folds.
    If scores are equal, the larger alpha is chosen.

    Parameters
    ----------
    X : (N, D) features, standardised by the caller. Computation and results are on the device of X. No gradients
        are computed.
    Y : (N, V) responses; may stay on the CPU while X is on a GPU. A voxel whose responses are not all finite
        gets NaN. A constant voxel gets the largest alpha.
    alphas : (A,) positive penalties (default: DEFAULT_ALPHAS, 60 values from 10 to 10^4, as in the scripts).
    folds : a number of contiguous, unshuffled folds (as in scikit-learn's KFold), or a list of arrays with the
        rows to hold out, as `solver.folds.group_folds` returns them.
    criterion : "neg_mean_squared_error", "r2" or "correlation", computed on each fold and averaged over folds.
    per_voxel : if False, all voxels share the alpha with the best score averaged over voxels.
    fit_intercept : whether to fit an unpenalised constant, which equals centring features and responses on each
        training set. The scripts fit none, because their features and responses are already centred.
    voxels_per_chunk : number of voxels to process together, in multiples of 64. It does not change the results. By
        default, a chunk takes 0.4 of a GPU's free memory. On a CPU, the chunks of all of torch's threads together
        take 0.4 of the size of Y, but at least 5 and at most 12 MB.
    return_all_scores : whether to keep the scores of all alphas, 8 A V bytes.
    decomposition : the decomposition of X, if already computed. With an intercept, the columns of X must have mean
        0. `predict` then expects rows in the coordinates of its loadings.

    Float32 inputs are decomposed in float64 and then computed in float32, or in float64 if they are too
    ill-conditioned. Float64 inputs are computed in float64 throughout.

    Memory in bytes in addition to X and Y, with b = 4 or 8 bytes per number. The example is float32 with N 9000,
    D 5120, V 15724:

    - decomposition: 8 (N R + 5 R^2), of which 8 (N R + D R) are kept (1.4 GB, 0.6 GB);
    - rotated targets: b R V (0.3 GB); scores: 11 A V (0.01 GB);
    - a fold: b n (6 R + P n) (0.4 GB), or 40 R^2 + 8 n R + b R V if it is fitted again;
    - each voxel of a chunk: b n (2 P + 40) (0.5 MB).

    Raises RidgeInputError for inconsistent shapes, features that are not finite, an invalid grid or invalid folds,
    and folds of one image with any criterion but "neg_mean_squared_error".
    """
    X, Y = matrices(X, Y)
    check_choice(criterion, CRITERIA, "criterion")
    check_batch(voxels_per_chunk, "voxels_per_chunk")
    ascending, order = sorted_grid(DEFAULT_ALPHAS if alphas is None else alphas)
    held_out = held_out_rows(folds, len(X))
    check_fold_sizes(held_out, len(X), criterion, "criterion")
    cross_validation = CrossValidation(held_out, ascending, criterion, fit_intercept)
    feature_means = column_means(X) if fit_intercept else X.new_zeros(X.shape[1], dtype=torch.float64)
    response_means = column_means(Y).to(X) if fit_intercept else X.new_zeros(Y.shape[1])
    responses = Responses(Y, response_means, fit_intercept, voxels_per_chunk)
    with full_float32_precision:
        if decomposition is None:
            centred = X.to(torch.float64, copy=True).sub_(feature_means)
            decomposition = decompose(centred, float(ascending[0]))
            del centred
        else:
            feature_means = feature_means.new_zeros(len(decomposition.loadings))
        scores, targets = cross_validation.scores_and_targets(X, decomposition, responses)
    constant = (Y.amin(dim=0) == Y.amax(dim=0)).to(X.device)
    index = _best(scores, constant, per_voxel)
    valid = index >= 0
    cv_score = scores.gather(0, index.clamp(min=0)[None])[0].masked_fill(~valid, torch.nan)
    alpha = torch.from_numpy(ascending).to(X.device)[index].masked_fill(~valid, torch.nan)
    targets = targets[: decomposition.loadings.shape[1]]
    for rotated, eigenvalues in zip(targets.split(PANEL), decomposition.spectrum.split(PANEL), strict=True):
        rotated /= eigenvalues[:, None] + alpha
    position = torch.from_numpy(order).to(X.device)
    return RidgeFit(
        alpha=alpha,
        alpha_index=position[index].masked_fill(~valid, -1),
        cv_score=cv_score,
        scores=scores[position.argsort()] if return_all_scores else None,
        feature_means=feature_means,
        response_means=response_means,
        loadings=decomposition.loadings,
        shrunken_targets=targets,
    )


def _best(scores: torch.Tensor, constant: torch.Tensor, per_voxel: bool) -> torch.Tensor:
    """Return the row (V,) of the best score in each column, the last one in a tie; -1 if scores are not finite."""
    valid = scores.isfinite().all(dim=0)
    compared = scores if per_voxel else scores[:, valid].mean(dim=1, keepdim=True).expand_as(scores)
    last = len(scores) - 1
    best = compared.amax(dim=0)
    equals = compared >= best - ROUNDING * best.abs()
    index = last - equals.flip(0).to(torch.uint8).argmax(dim=0)
    return index.masked_fill(constant & per_voxel, last).masked_fill(~valid, -1)
