"""Ridge as a scikit-learn estimator: `ridge_cv` with a cross-validated alpha for every target."""

from typing import Any, Self

import numpy.typing as npt
import torch

from brain_activity_prediction.ridge.arrays import Array, Values
from brain_activity_prediction.ridge.regressor import VoxelwiseRegressor, as_given, warn_of_edges
from brain_activity_prediction.ridge.ridge_cv import RidgeFit, ridge_cv


class VoxelwiseRidgeCV(VoxelwiseRegressor):
    """Ridge regression with a cross-validated alpha for every target (voxel).

    For target v it minimises ||y_v - X w||^2 + alpha_v ||w||^2. alpha_v is the value of a grid with the best mean score
    over held-out folds. If X and y are NumPy arrays, attributes and predictions are NumPy arrays; if they are torch
    tensors, these are tensors on the device of X. Gradients are not computed.

    Parameters
    ----------
    alphas : array-like (A,), positive penalties. None means 60 values from 10 to 10,000, evenly spaced by logarithm. A
        warning counts the targets that choose an end of the grid.
    cv : number of contiguous folds, a scikit-learn splitter, or an iterable of (train, test) rows. Each split must
        train on all rows that it does not test on.
    scoring : "neg_mean_squared_error", "r2" or "correlation", the score by which alpha is chosen.
    fit_intercept : whether to centre features and targets on each training set. If False, pass centred features and
        targets.
    alpha_per_target : if False, all targets share the alpha with the best mean score over targets.
    targets_per_batch : number of targets that are computed together; by default as many as fit into memory.

    Attributes
    ----------
    best_alphas_ : (n_targets,) chosen alpha.
    cv_scores_ : (n_targets,) mean cross-validated score at this alpha.
    coef_ : (n_targets, n_features), or (n_features,) if y has one dimension.
    intercept_ : (n_targets,), or a number if y has one dimension; zero without fit_intercept.
    ridge_ : the fitted `ridge_cv.RidgeFit`.

    Examples
    --------
    >>> import numpy as np
    >>> features = np.random.default_rng(0).standard_normal((60, 5))
    >>> responses = 3 * features @ np.ones((5, 2)) + np.random.default_rng(1).standard_normal((60, 2))
    >>> model = VoxelwiseRidgeCV(alphas=np.logspace(-1, 3, 9)).fit(features[:40], responses[:40])
    >>> model.predict(features[40:]).shape
    (20, 2)
    >>> bool((model.r2_per_target(features[40:], responses[40:]) > 0.9).all())
    True
    """

    best_alphas_: Array
    cv_scores_: Array
    ridge_: RidgeFit

    def __init__(
        self,
        alphas: npt.ArrayLike | None = None,
        *,
        cv: Any = 5,
        scoring: str = "neg_mean_squared_error",
        fit_intercept: bool = True,
        alpha_per_target: bool = True,
        targets_per_batch: int | None = None,
    ) -> None:
        self.alphas = alphas
        self.cv = cv
        self.scoring = scoring
        self.fit_intercept = fit_intercept
        self.alpha_per_target = alpha_per_target
        self.targets_per_batch = targets_per_batch

    def fit(self, X: Values, y: Values, groups: Any = None) -> Self:
        """Choose the alphas, then fit all rows of X (n, n_features) and y (n, n_targets) or (n,).

        groups  (n,) label of each row, for a `cv` that splits by groups
        """
        features, targets, grid, held_out = self._checked(X, y, groups)
        self.ridge_ = ridge_cv(
            features,
            targets[:, None] if targets.ndim == 1 else targets,
            grid,
            folds=held_out,
            criterion=self.scoring,
            per_voxel=self.alpha_per_target,
            fit_intercept=self.fit_intercept,
            voxels_per_chunk=self.targets_per_batch,
        )
        self.best_alphas_, self.cv_scores_ = as_given(X, self.ridge_.alpha), as_given(X, self.ridge_.cv_score)
        coefficients, intercepts = as_given(X, self.ridge_.coefficients().T), as_given(X, self.ridge_.intercepts())
        self._set_coefficients(coefficients, intercepts, of_one=targets.ndim == 1)
        warn_of_edges(self.ridge_.alpha, grid)
        return self

    def _predicted(self, X: torch.Tensor) -> torch.Tensor:
        return self.ridge_.predict(X)
