"""Base class of the scikit-learn estimators: conversion of X and y, prediction, scores."""

import warnings
from abc import ABC, abstractmethod
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.model_selection import check_cv
from sklearn.utils.validation import check_is_fitted, validate_data

from brain_activity_prediction.ridge import CRITERIA, RidgeInputError, scores
from brain_activity_prediction.ridge.arrays import Array, Values, as_tensor, check_batch, check_choice, sorted_grid
from brain_activity_prediction.ridge.ridge_cv import DEFAULT_ALPHAS
from brain_activity_prediction.ridge.solver.folds import check_fold_sizes


class VoxelwiseRegressor(MultiOutputMixin, RegressorMixin, BaseEstimator, ABC):
    """A linear regressor of many targets, for NumPy arrays and torch tensors.

    If X and y are NumPy arrays, attributes and predictions are NumPy arrays; if they are torch tensors, these are
    tensors on the device of X.

    Attributes
    ----------
    coef_ : (n_targets, n_features), or (n_features,) if y has one dimension.
    intercept_ : (n_targets,), or a number if y has one dimension.
    """

    alphas: npt.ArrayLike | None
    cv: Any
    scoring: str
    targets_per_batch: int | None
    coef_: Array
    intercept_: Any

    def predict(self, X: Values) -> Array:
        """Predict targets from X (n, n_features): `X @ coef_.T + intercept_`.

        Returns (n, n_targets), or (n,) if the fitted y had one dimension.
        """
        check_is_fitted(self)
        checked = validate_data(self, _stand_in(X, "X"), dtype=[np.float64, np.float32], reset=False)
        predictions = self._predicted(as_tensor(X if torch.is_tensor(X) else checked, "X"))
        predictions = predictions[:, 0] if self.coef_.ndim == 1 else predictions
        return predictions if torch.is_tensor(X) else predictions.cpu().numpy()

    def score(self, X: Values, y: Values) -> float:
        """Return the mean R² over targets. scikit-learn's model selection uses this score."""
        return float(self.r2_per_target(X, y).mean())

    def r2_per_target(self, X: Values, y: Values) -> Array:
        """Return R² = 1 - SSE / SST of every target, (n_targets,), as in himalaya's `score`; 0 for a constant one."""
        predictions, y = self.predict(X), y if isinstance(y, torch.Tensor) else np.asarray(y)
        if 1 in (y.ndim, predictions.ndim):  # scikit-learn treats (n,) and (n, 1) as one target
            y, predictions = (part[:, None] if part.ndim == 1 else part for part in (y, predictions))
        return scores.r2_score(y, predictions)  # type: ignore[type-var]  # as_tensor takes one of each

    @abstractmethod
    def _predicted(self, X: torch.Tensor) -> torch.Tensor:
        """Return predictions (n, n_targets) for checked X."""

    def _checked(self, X: Values, y: Values, groups: Any) -> tuple[Any, Any, np.ndarray, list[np.ndarray]]:
        """Check parameters, X and y; return X, y, the ascending grid of alphas, and the test rows of every split."""
        check_choice(self.scoring, CRITERIA, "scoring")
        check_batch(self.targets_per_batch, "targets_per_batch")
        grid, _ = sorted_grid(DEFAULT_ALPHAS if self.alphas is None else self.alphas)
        features, targets = self._validated(X, y)
        held_out = held_out_by(self.cv, len(features), groups)
        check_fold_sizes(held_out, len(features), self.scoring, "scoring")
        return features, targets, grid, held_out

    def _set_coefficients(self, coefficients: torch.Tensor, intercepts: torch.Tensor, of_one: bool) -> Self:
        """Set `coef_` (n_targets, n_features) and `intercept_` (n_targets,); `of_one` drops the first axis."""
        self.coef_ = coefficients[0] if of_one else coefficients
        self.intercept_ = intercepts[0] if of_one else intercepts
        return self

    def _validated(self, X: Values, y: Values) -> tuple[Any, Any]:
        """Validate X and y by scikit-learn's rules; return converted arrays, and tensors unchanged."""
        shown = _stand_in(X, "X"), _stand_in(y, "y")
        if isinstance(y, torch.Tensor) and not (as_finite := y.isfinite()).all():
            columns = as_finite.all(dim=0).reshape(-1)
            raise RidgeInputError(
                f"{int((~columns).sum())} of {len(columns)} targets in y have values that are not finite: leave them "
                "out, or use ridge_cv, which returns NaN for these targets"
            )
        checked_X, checked_y = validate_data(
            self,
            *shown,
            dtype=[np.float64, np.float32],
            multi_output=True,
            y_numeric=True,
            ensure_min_samples=2,
        )
        return X if torch.is_tensor(X) else checked_X, y if torch.is_tensor(y) else checked_y


def as_given(X: Values, values: torch.Tensor) -> Any:
    """Return a result in the type of X: a tensor for a tensor, else a NumPy array."""
    return values if torch.is_tensor(X) else values.numpy()


def warn_of_edges(alpha: torch.Tensor, grid: np.ndarray) -> None:
    """Warn if targets chose the smallest or largest of several alphas, because a wider grid may score higher."""
    at_smallest, at_largest = int((alpha == grid[0]).sum()), int((alpha == grid[-1]).sum())
    if len(grid) > 1 and at_smallest + at_largest:
        warnings.warn(
            f"of {len(alpha)} targets {at_smallest} chose the smallest alpha, {grid[0]:g}, and {at_largest} the "
            f"largest, {grid[-1]:g}. This is expected for targets that cannot be "
            "predicted. If others chose these, widen alphas",
            stacklevel=3,
        )


def held_out_by(cv: Any, n_rows: int, groups: Any) -> list[np.ndarray]:
    """List the test rows of every split of `cv`; raise RidgeInputError if a split does not train on all other rows."""
    splits = check_cv(cv).split(np.empty((n_rows, 1)), groups=groups)
    held_out = []
    for number, split in enumerate(splits):
        train, test = (np.flatnonzero(rows) if np.asarray(rows).dtype == bool else rows for rows in split)
        if not np.array_equal(np.sort(np.concatenate([train, test])), np.arange(n_rows)):
            raise RidgeInputError(
                f"split {number} of cv trains on {len(train)}, tests on {len(test)} of {n_rows} rows: use a splitter "
                "that trains on all rows that it does not test on, such as KFold or LeaveOneGroupOut"
            )
        held_out.append(test)
    return held_out


def _stand_in(values: Any, name: str) -> Any:
    """Return an array of zeros in the shape of a tensor, which scikit-learn can check instead of the tensor.

    The array takes no memory. Other values are returned unchanged.
    """
    if not torch.is_tensor(values):
        return values
    return np.broadcast_to(np.zeros((), np.float32), tuple(as_tensor(values, name).shape))
