"""Compute the mean held-out score of every alpha and voxel.

This module chooses the precision and the method. `leave_fold_out` and `refit_without_fold` implement the two methods.

Shapes: N images, D features, V voxels, A alphas, R = min(N, D), P nodes; n images of a fold, v voxels of a chunk.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch

from brain_activity_prediction.ridge.arrays import Rows
from brain_activity_prediction.ridge.scores import fold_correlations, fold_scores
from brain_activity_prediction.ridge.solver.alpha_interpolation import (
    AlphaNodes,
    SpectralBlock,
    alpha_nodes,
    spectral_blocks,
)
from brain_activity_prediction.ridge.solver.decomposition import Decomposition
from brain_activity_prediction.ridge.solver.exact_correlation import exact_correlations
from brain_activity_prediction.ridge.solver.leave_fold_out import (
    IllConditionedError,
    LeaveFoldOut,
    leave_fold_out,
    smallest_training_eigenvalue,
)
from brain_activity_prediction.ridge.solver.refit_without_fold import (
    RefitWithoutFold,
    TrainingFit,
    fit_without_fold,
    refit_without_fold,
    safe_fit_without_fold,
    whitened_targets,
)
from brain_activity_prediction.ridge.solver.responses import Responses
from brain_activity_prediction.ridge.solver.threads import one_thread, spread
from brain_activity_prediction.ridge.solver.workspace import Workspace

# Bounds on the errors of the interpolations in alpha, relative to a prediction at the smallest alpha. The error of
# BLOCK_TOLERANCE, for blocks of the spectrum, is magnified if 1 - leverage is small.
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-8}
BLOCK_TOLERANCE = {torch.float32: 3e-6, torch.float64: 1e-13}
# Largest a_max / a_min for which float32 predictions at the largest alpha are exact enough for a correlation.
WIDEST_FLOAT32_GRID = 2000
# Mean correlations that differ by less than this, but are not equal, are compared again in a higher precision.
CHOICE_MARGIN = {torch.float32: 3e-6, torch.float64: 1e-11}
# Cost of a float64 eigendecomposition (R, R) and its products, divided by R^3, in units of one operation of a float32
# matrix product. The value for "cuda" was measured on an H200 at R = 1280, where the choice of a method depends on it.
# It is 80 at R = 5120, and higher on a GPU with few float64 units.
DECOMPOSITION = {"cpu": 30, "cuda": 370}

# A fold consists of its rows, its operator, the weights (P, A) of its nodes, and the targets of the operator.
Fold: TypeAlias = tuple[Rows, LeaveFoldOut | RefitWithoutFold, np.ndarray, torch.Tensor]


@dataclass(frozen=True)
class CrossValidation:
    """The parts that define the score of an alpha: held-out rows, ascending alphas (A,), criterion and intercept."""

    folds: list[Rows]
    alphas: np.ndarray
    criterion: str
    fit_intercept: bool

    def scores_and_targets(
        self, X: torch.Tensor, decomposition: Decomposition, responses: Responses
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute the mean scores (A, V) of all alphas, and U'Y (R, V), in the fastest precision that the data allow.

        The method is the leave-one-out formula or one fit for each fold, whichever takes fewer operations. If both are
        too ill-conditioned, each fold is fitted from X itself. If rounding makes the scores of some voxels doubtful,
        these voxels are scored again in the next precision, and finally by `_exact`.
        """
        whole = decomposition.with_intercept() if self.fit_intercept else decomposition
        scores, targets = None, torch.empty(0)
        voxels = torch.arange(len(responses.means), device=responses.means.device)
        for dtype in self._precisions(X.dtype):
            part = responses if scores is None else responses.of(voxels)
            rotated = part.rotated(whole.left, dtype)
            try:
                part_scores, doubtful = self._mean(self._operators(whole, decomposition, rotated, part), part)
            except IllConditionedError:
                continue
            if scores is None:
                scores, targets = part_scores, rotated
            else:
                scores[:, voxels] = part_scores
            voxels = voxels[doubtful]
            if not len(voxels):
                return scores, targets
        if scores is None:
            targets = responses.rotated(decomposition.left, torch.float64)
            if self.criterion != "correlation":
                return self._mean(self._safe_refits(X, responses), responses)[0], targets
            scores = X.new_empty(len(self.alphas), len(voxels), dtype=torch.float64)
        scores[:, voxels] = self._exact(X, responses.of(voxels))
        return scores, targets

    def _precisions(self, dtype: torch.dtype) -> tuple[torch.dtype, ...]:
        """List the precisions to try, the fastest first.

        For a correlation, predictions at a_max must be exact, too, although they are up to a_max / a_min times smaller.
        """
        wide = self.criterion == "correlation" and self.alphas[-1] / self.alphas[0] > WIDEST_FLOAT32_GRID
        return (torch.float64,) if wide or dtype == torch.float64 else (torch.float32, torch.float64)

    def _interpolation(
        self, spectrum: torch.Tensor, smallest_eigenvalue: float, dtype: torch.dtype
    ) -> tuple[AlphaNodes, list[SpectralBlock]]:
        """Return the nodes of the interpolation in alpha, and the blocks of a spectrum, in one precision."""
        with one_thread:
            nodes = alpha_nodes(self.alphas, TOLERANCE[dtype], smallest_eigenvalue, self.criterion == "correlation")
            return nodes, spectral_blocks(spectrum.cpu().numpy(), nodes.nodes, BLOCK_TOLERANCE[dtype])

    def _operators(
        self, whole: Decomposition, decomposition: Decomposition, targets: torch.Tensor, responses: Responses
    ) -> Iterator[Fold]:
        """Yield every `Fold`, by the method that takes fewer operations."""
        with one_thread:
            smallest = smallest_training_eigenvalue(whole, self.folds)
        nodes, blocks = self._interpolation(whole.spectrum, smallest, targets.dtype)
        fits_again = self._refits_cost_less(decomposition, targets.shape[1], nodes, blocks)
        for rows in self.folds:
            if fits_again:
                yield self._refit_without(rows, decomposition, targets, responses)
            else:
                yield rows, leave_fold_out(whole, blocks, nodes.nodes, rows, targets.dtype), nodes.weights, targets

    def _refit_without(
        self, rows: Rows, decomposition: Decomposition, targets: torch.Tensor, responses: Responses
    ) -> Fold:
        fit, whitening = fit_without_fold(decomposition, rows, self.alphas[0], self.fit_intercept)
        whitened = whitened_targets(fit, whitening, targets, responses, rows)
        return rows, *self._refit(fit, targets.dtype), whitened

    def _exact(self, X: torch.Tensor, responses: Responses) -> torch.Tensor:
        """Compute the mean correlations (A, V) directly: slower, but without the rounding of the faster formulas."""
        total = X.new_zeros(len(self.alphas), len(responses.means), dtype=torch.float64)
        for rows in self.folds:
            total += exact_correlations(X, rows, self.alphas, self.fit_intercept, responses)
        return total / len(self.folds)

    def _safe_refits(self, X: torch.Tensor, responses: Responses) -> Iterator[Fold]:
        for rows in self.folds:
            fit, left, others = safe_fit_without_fold(X, rows, self.alphas[0], self.fit_intercept)
            yield rows, *self._refit(fit, torch.float64), responses.rotated(left, torch.float64, others)

    def _refit(self, fit: TrainingFit, dtype: torch.dtype) -> tuple[RefitWithoutFold, np.ndarray]:
        nodes, blocks = self._interpolation(fit.spectrum, float(fit.spectrum[-1]), dtype)
        return refit_without_fold(fit, blocks, dtype), nodes.weights

    def _refits_cost_less(
        self, decomposition: Decomposition, n_voxels: int, nodes: AlphaNodes, blocks: list[SpectralBlock]
    ) -> bool:
        """Return whether one decomposition for each fold takes fewer operations than the leave-one-out formula.

        Number of multiply-adds per voxel and fold, with n images, P nodes and r ranks per block:

            leave-one-out    r n R  in-sample residuals,  P n^2  their solves
            refit            n R + R^2  whitened targets,  n m + r (m R - m^2 / 2)  residuals, m = min(n, R)

        In addition, each fold needs 2 r n^2 R + P n^3 operations for the operator of the leave-one-out formula, or
        DECOMPOSITION R^3 for the eigenvectors of a refit.
        """
        left = decomposition.left
        n, R = len(left) // len(self.folds), left.shape[1]
        if len(left) - max(len(left[rows]) for rows in self.folds) < R:
            return False
        m, P, r = min(n, R), len(nodes.nodes), sum(block.shapes.size for block in blocks) / R
        saved = r * n * R + P * n**2 - (n * R + R**2 + n * m + r * (m * R - m**2 / 2))
        extra = DECOMPOSITION[left.device.type] * R**3 - 2 * r * n**2 * R - P * n**3
        return 2 * n_voxels * saved > extra

    def _mean(self, operators: Iterator[Fold], responses: Responses) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the scores (A, V), averaged over folds, and a mask (V,) of the voxels whose scores are in doubt."""
        device, n_voxels = responses.means.device, len(responses.means)
        scores = torch.zeros(len(self.alphas), n_voxels, dtype=torch.float64, device=device)
        doubtful = torch.zeros(n_voxels, dtype=torch.bool, device=device)
        workspace = Workspace()
        for fold in operators:
            self._add(scores, doubtful, fold, responses, workspace)
            dtype = fold[-1].dtype
            del fold  # free this operator before the next one is made
        scores.div_(len(self.folds))
        if self.criterion == "correlation":
            best = scores.amax(dim=0)
            doubtful |= ((scores < best) & (scores >= best - CHOICE_MARGIN[dtype])).any(dim=0)
        return scores, doubtful

    def _add(
        self, scores: torch.Tensor, doubtful: torch.Tensor, fold: Fold, responses: Responses, workspace: Workspace
    ) -> None:
        """Add the scores (A, V) of a fold to `scores`, in place, and mark voxels whose correlations are in doubt."""
        rows, operator, node_weights, targets = fold
        weights = torch.from_numpy(node_weights).to(targets.device)  # (P, A)

        def add(voxels: slice) -> None:
            block = responses.block(rows, voxels, targets.dtype)  # (n, v)
            residuals = operator.residuals(block, targets[:, voxels], workspace)  # at the P nodes
            scores[:, voxels] += fold_scores(residuals, block, weights, self.criterion)

        def add_correlations(voxels: slice) -> None:
            block = responses.block(rows, voxels, targets.dtype)  # (n, v)
            predictions = operator.predictions(block, targets[:, voxels], workspace)  # at the P nodes
            largest = magnification[:, None] * responses.sizes[voxels]  # (A, v)
            r, in_doubt = fold_correlations(predictions, block, weights, largest)
            scores[:, voxels] += r
            doubtful[voxels] |= in_doubt

        if self.criterion == "correlation":
            magnification = weights.abs().T @ operator.magnification  # (A,)
        chosen = add_correlations if self.criterion == "correlation" else add
        spread(chosen, responses.chunks(operator.bytes_per_voxel), targets.device)
