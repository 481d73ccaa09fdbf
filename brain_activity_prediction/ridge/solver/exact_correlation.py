"""Compute the correlation of every alpha directly, for voxels for which the faster formulas are not exact enough.

This is slow, because each fold is fitted again and predicted at each alpha. The features of the fold are centred before
they are multiplied by the coefficients. If all images of a fold are identical, its predictions are therefore exactly
constant.

Shapes: N images, D features, n images of a fold, S singular values of the other images, V voxels, A alphas.
"""

import numpy as np
import torch

from brain_activity_prediction.ridge.arrays import Rows
from brain_activity_prediction.ridge.scores import correlation
from brain_activity_prediction.ridge.solver.decomposition import column_means, singular_values
from brain_activity_prediction.ridge.solver.responses import Responses

# Bound on the rounding error of a whole fit, relative to its largest terms.
ROUNDING = 32 * torch.finfo(torch.float64).eps


def exact_correlations(
    X: torch.Tensor, rows: Rows, alphas: np.ndarray, fit_intercept: bool, responses: Responses
) -> torch.Tensor:
    """Compute r (A, V) at every alpha for the fold `rows` of X (N, D), in float64; 0 for a constant prediction."""
    training = torch.ones(len(X), dtype=torch.bool, device=X.device)
    training[rows] = False
    others, fold = X[training].to(torch.float64), X[rows].to(torch.float64)
    fold = fold - column_means(fold)
    if fit_intercept:
        others = others - column_means(others)
    varying = others.any(dim=0)  # features that are constant outside the fold have weight zero
    n_voxels = len(responses.means)
    scores = others.new_zeros(len(alphas), n_voxels)
    if not varying.any() or not fold[:, varying].any():
        return scores
    left, singular, right = singular_values(others[:, varying])
    left, singular, right = (values[..., singular > 0] for values in (left, singular, right))
    fold = fold[:, varying] @ right
    for voxels in responses.chunks(8 * (len(others) + 4 * len(fold) + 2 * len(singular))):
        targets = responses.block(training.nonzero()[:, 0], voxels, torch.float64)
        observed = responses.block(rows, voxels, torch.float64)
        if fit_intercept:
            targets = targets - column_means(targets)
        size = torch.linalg.vector_norm(targets, dim=0)
        rotated = left.T @ targets
        for score, alpha in zip(scores, alphas, strict=True):
            # The errors of all coefficients, even those of small features, depend on the largest features.
            largest = torch.linalg.matrix_norm(fold * (singular[0] / (singular**2 + alpha)))
            predicted = fold @ (rotated * (singular / (singular**2 + alpha))[:, None])
            score[voxels] = correlation(observed, predicted, ROUNDING * largest * size)
    return scores
