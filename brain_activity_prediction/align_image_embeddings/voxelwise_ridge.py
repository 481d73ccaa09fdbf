"""The scikit-learn face of `ridge.ridge_cv`: for pipelines, and where himalaya's RidgeCV stood."""

import numpy as np
import torch
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.model_selection import check_cv
from sklearn.utils.validation import check_is_fitted, validate_data

from brain_activity_prediction.align_image_embeddings import scores
from brain_activity_prediction.align_image_embeddings.ridge import ridge_cv


class VoxelwiseRidgeCV(MultiOutputMixin, RegressorMixin, BaseEstimator):
    """Ridge regression with a cross-validated alpha for every target, or voxel.

    NumPy arrays give NumPy attributes and predictions, torch tensors give tensors on the device of X.

    Parameters
    ----------
    alphas : array-like (A,), positive penalties.
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
    coef_ : (n_features, n_targets), or (n_features,) for y of one dimension.
    intercept_ : (n_targets,), or a number for y of one dimension; zero without fit_intercept.
    ridge_ : the fitted `ridge.RidgeFit`.
    """

    def __init__(
        self,
        alphas=(0.1, 1.0, 10.0),
        *,
        cv=5,
        scoring="neg_mean_squared_error",
        fit_intercept=False,
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
        X, y = self._validated(X, y)
        columns = y[:, None] if y.ndim == 1 else y
        self.ridge_ = ridge_cv(
            X,
            columns,
            self.alphas,
            folds=_held_out_rows(self.cv, len(X), groups),
            criterion=self.scoring,
            per_voxel=self.alpha_per_target,
            fit_intercept=self.fit_intercept,
            voxels_per_chunk=self.targets_per_batch,
        )
        to_user = (lambda values: values) if torch.is_tensor(X) else torch.Tensor.numpy
        self.best_alphas_, self.cv_scores_ = to_user(self.ridge_.alpha), to_user(self.ridge_.cv_score)
        coefficients, intercepts = to_user(self.ridge_.coefficients()), to_user(self.ridge_.intercepts())
        self.coef_ = coefficients[:, 0] if y.ndim == 1 else coefficients
        self.intercept_ = intercepts[0] if y.ndim == 1 else intercepts
        return self

    def predict(self, X):
        """Predictions (n, n_targets), or (n,) where y had one dimension."""
        check_is_fitted(self)
        if not torch.is_tensor(X):
            X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        predictions = self.ridge_.predict(X)
        predictions = predictions[:, 0] if self.coef_.ndim == 1 else predictions
        return predictions if torch.is_tensor(X) else predictions.cpu().numpy()

    def score(self, X, y):
        """R² of every target, (n_targets,), like himalaya's; one number where y has one dimension.

        `cross_val_score` wants one number: with several targets give it scoring="r2", their mean.
        """
        predictions = self.predict(X)
        y = y if torch.is_tensor(y) else np.asarray(y)
        if y.ndim == 1:
            return float(scores.r2_score(y[:, None], predictions.reshape(-1, 1))[0])
        return scores.r2_score(y, predictions)

    def _validated(self, X, y):
        if torch.is_tensor(X):
            self.n_features_in_ = X.shape[1]
            return X, y
        return validate_data(
            self,
            X,
            y,
            dtype=[np.float64, np.float32],
            multi_output=True,
            y_numeric=True,
            ensure_min_samples=2,
        )


def _held_out_rows(cv, n_rows, groups):
    """The test rows of every split; ValueError where a split does not train on all the others."""
    splits = check_cv(cv).split(np.empty((n_rows, 1)), groups=groups)
    held_out = []
    for number, (train, test) in enumerate(splits):
        if not np.array_equal(np.sort(np.concatenate([train, test])), np.arange(n_rows)):
            raise ValueError(
                f"split {number} of cv trains on {len(train)}, tests on {len(test)} of {n_rows} rows: take a "
                "splitter that trains on all rows that it does not test on, such as KFold or LeaveOneGroupOut"
            )
        held_out.append(test)
    return held_out
