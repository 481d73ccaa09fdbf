"""The scikit-learn face of `ridge.ridge_cv`: for pipelines, model selection, and where himalaya's RidgeCV stood."""

import warnings

import numpy as np
import torch
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.model_selection import check_cv
from sklearn.utils.validation import check_is_fitted, validate_data

from brain_activity_prediction.ridge import scores
from brain_activity_prediction.ridge.arrays import as_tensor, check_batch, check_choice, sorted_grid
from brain_activity_prediction.ridge.ridge_cv import DEFAULT_ALPHAS, ridge_cv
from brain_activity_prediction.ridge.solver.cross_validation import check_fold_sizes
from brain_activity_prediction.runtime.errors import InputError

# The grid of the alignment scripts.


class VoxelwiseRidgeCV(MultiOutputMixin, RegressorMixin, BaseEstimator):
    """Ridge regression with a cross-validated alpha for every target, or voxel.

    NumPy arrays give NumPy attributes and predictions, torch tensors give tensors on the device of X. Gradients are not
    computed.

    Parameters
    ----------
    alphas : array-like (A,), positive penalties; None takes 60 from 10 to 10,000, evenly spaced by logarithm. A warning
        says how many targets choose an end of the grid.
    cv : number of contiguous folds, a scikit-learn splitter, or an iterable of (train, test) rows, where
        every train is all the rows that its test is not.
    scoring : "neg_mean_squared_error", "r2" or "correlation", the score by which alpha is chosen.
    fit_intercept : whether features and targets are centred on each training set; else both should be
        already.
    alpha_per_target : False takes the one alpha with the best mean score over targets.
    targets_per_batch : how many targets are computed together; by default what memory allows.

    Attributes
    ----------
    best_alphas_ : (n_targets,) chosen alpha.
    cv_scores_ : (n_targets,) mean cross-validated score at that alpha.
    coef_ : (n_targets, n_features), or (n_features,) for y of one dimension.
    intercept_ : (n_targets,), or a number for y of one dimension; zero without fit_intercept.
    ridge_ : the fitted `ridge.RidgeFit`.
    """

    def __init__(
        self,
        alphas=None,
        *,
        cv=5,
        scoring="neg_mean_squared_error",
        fit_intercept=True,
        alpha_per_target=True,
        targets_per_batch=None,
    ):
        self.alphas = alphas
        self.cv = cv
        self.scoring = scoring
        self.fit_intercept = fit_intercept
        self.alpha_per_target = alpha_per_target
        self.targets_per_batch = targets_per_batch

    def fit(self, X, y, groups=None):
        """Choose the alphas, then fit all rows of X (n, n_features) and y (n, n_targets) or (n,).

        groups  labels (n,) of the rows for a splitter that goes by groups.
        """
        check_choice(self.scoring, scores.CRITERIA, "scoring")
        check_batch(self.targets_per_batch, "targets_per_batch")
        grid, _ = sorted_grid(DEFAULT_ALPHAS if self.alphas is None else self.alphas)
        X, y = self._validated(X, y)
        columns = y[:, None] if y.ndim == 1 else y
        held_out = _held_out_rows(self.cv, len(X), groups)
        check_fold_sizes(held_out, len(X), self.scoring, "scoring")
        self.ridge_ = ridge_cv(
            X,
            columns,
            grid,
            folds=held_out,
            criterion=self.scoring,
            per_voxel=self.alpha_per_target,
            fit_intercept=self.fit_intercept,
            voxels_per_chunk=self.targets_per_batch,
        )
        to_user = (lambda values: values) if torch.is_tensor(X) else torch.Tensor.numpy
        self.best_alphas_, self.cv_scores_ = to_user(self.ridge_.alpha), to_user(self.ridge_.cv_score)
        coefficients, intercepts = to_user(self.ridge_.coefficients().T), to_user(self.ridge_.intercepts())
        self.coef_ = coefficients[0] if y.ndim == 1 else coefficients
        self.intercept_ = intercepts[0] if y.ndim == 1 else intercepts
        _warn_of_edges(self.ridge_.alpha, grid)
        return self

    def predict(self, X):
        """Predictions (n, n_targets), or (n,) where y had one dimension."""
        check_is_fitted(self)
        checked = validate_data(self, _stand_in(X, "X"), dtype=[np.float64, np.float32], reset=False)
        predictions = self.ridge_.predict(X if torch.is_tensor(X) else checked)
        predictions = predictions[:, 0] if self.coef_.ndim == 1 else predictions
        return predictions if torch.is_tensor(X) else predictions.cpu().numpy()

    def score(self, X, y):
        """Mean over targets of R², one number: what scikit-learn's model selection compares."""
        return float(self.r2_per_target(X, y).mean())

    def r2_per_target(self, X, y):
        """R² of every target, (n_targets,); 0 for a constant target. himalaya's `score` gives this."""
        predictions = self.predict(X)
        y = y if torch.is_tensor(y) else np.asarray(y)
        if 1 in (y.ndim, predictions.ndim):  # to scikit-learn, (n,) and (n, 1) are one target
            y, predictions = (part[:, None] if part.ndim == 1 else part for part in (y, predictions))
        return scores.r2_score(y, predictions)

    def _validated(self, X, y):
        """X and y; arrays as scikit-learn converts them, tensors as they are, held to the same rules."""
        shown = _stand_in(X, "X"), _stand_in(y, "y")
        if torch.is_tensor(y) and not (as_finite := y.isfinite()).all():
            columns = as_finite.all(dim=0).reshape(-1)
            raise InputError(
                f"{int((~columns).sum())} of {len(columns)} targets in y have values that are not finite: leave them "
                "out, or use ridge_cv, which gives NaN for them alone"
            )
        checked = validate_data(
            self,
            *shown,
            dtype=[np.float64, np.float32],
            multi_output=True,
            y_numeric=True,
            ensure_min_samples=2,
        )
        return tuple(given if torch.is_tensor(given) else found for given, found in zip((X, y), checked, strict=True))


def _stand_in(values, name):
    """Zeros of a tensor's shape that take no memory, for scikit-learn to check; anything else as it is."""
    if not torch.is_tensor(values):
        return values
    return np.broadcast_to(np.zeros((), np.float32), tuple(as_tensor(values, name).shape))


def _warn_of_edges(alpha, grid):
    """Warn of targets that chose the smallest or largest of several alphas: a wider grid may score higher."""
    at_smallest, at_largest = int((alpha == grid[0]).sum()), int((alpha == grid[-1]).sum())
    if len(grid) > 1 and at_smallest + at_largest:
        warnings.warn(
            f"of {len(alpha)} targets {at_smallest} chose the smallest alpha, {grid[0]:g}, and {at_largest} the "
            f"largest, {grid[-1]:g}, which targets that nothing predicts take: if others do, widen alphas",
            stacklevel=3,
        )


def _held_out_rows(cv, n_rows, groups):
    """The test rows of every split; ValueError where a split does not train on all the others."""
    splits = check_cv(cv).split(np.empty((n_rows, 1)), groups=groups)
    held_out = []
    for number, split in enumerate(splits):
        train, test = (np.flatnonzero(rows) if np.asarray(rows).dtype == bool else rows for rows in split)
        if not np.array_equal(np.sort(np.concatenate([train, test])), np.arange(n_rows)):
            raise ValueError(
                f"split {number} of cv trains on {len(train)}, tests on {len(test)} of {n_rows} rows: take a "
                "splitter that trains on all rows that it does not test on, such as KFold or LeaveOneGroupOut"
            )
        held_out.append(test)
    return held_out
