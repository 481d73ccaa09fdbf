"""Banded ridge as a scikit-learn estimator: one alpha for every feature space and target."""

from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch

from brain_activity_prediction.ridge import RidgeInputError
from brain_activity_prediction.ridge.arrays import (
    Array,
    Values,
    as_tensor,
    check_choice,
    matrices,
)
from brain_activity_prediction.ridge.banded import FeatureSpaces
from brain_activity_prediction.ridge.regressor import VoxelwiseRegressor, as_given, warn_of_edges
from brain_activity_prediction.ridge.solver.decomposition import column_means
from brain_activity_prediction.ridge.weightings import random_weightings, weighting_grid


class BandedRidgeCV(VoxelwiseRegressor):
    """Banded ridge regression: several feature spaces, each with a cross-validated penalty for every target (voxel).

    For target v it minimises ||y_v - sum_b X_b w_b||^2 + sum_b (alpha_v / gamma_vb) ||w_b||^2 over feature spaces b.
    The weights gamma_v are 0 or more and sum to 1. gamma_v and alpha_v are the candidates with the best mean score over
    held-out folds. A space with weight 0 is left out. Features are not scaled: standardise them first. If X and y are
    NumPy arrays, attributes and predictions are NumPy arrays; if they are torch tensors, these are tensors on the
    device of X. Gradients are not computed.

    Parameters
    ----------
    spaces : array-like (n_features,), the label of the feature space of each column of X. With None, all columns are
        one space, as in `VoxelwiseRidgeCV`.
    alphas : array-like (A,), positive penalties. None means 60 values from 10 to 10,000, evenly spaced by logarithm. A
        warning counts the targets that choose an end of the grid.
    weightings : candidates for gamma. "grid" means weights over two decades in steps of half a decade, for every
        combination of spaces. A number means this many random draws from Dirichlet distributions, for every
        combination. An array (G, B) gives the candidates, with columns in the sorted order of the labels.
    random_state : seed of the random draws; with None, each fit draws other weightings.
    cv, scoring, fit_intercept, targets_per_batch : see `VoxelwiseRidgeCV`.

    Attributes
    ----------
    spaces_ : (B,) the labels of the spaces, sorted.
    best_alphas_ : (n_targets,) chosen alpha.
    best_weightings_ : (n_targets, B) chosen gamma; the penalty of space b is `best_alphas_ / best_weightings_[:, b]`.
    cv_scores_ : (n_targets,) mean cross-validated score of this choice.
    coef_ : (n_targets, n_features), or (n_features,) if y has one dimension.
    intercept_ : (n_targets,), or a number if y has one dimension; zero without fit_intercept.

    Examples
    --------
    >>> import numpy as np
    >>> features = np.random.default_rng(0).standard_normal((60, 6))
    >>> responses = 3 * features[:, :4] @ np.ones((4, 2)) + np.random.default_rng(1).standard_normal((60, 2))
    >>> spaces = ["edges"] * 4 + ["objects"] * 2
    >>> model = BandedRidgeCV(spaces, alphas=np.logspace(-1, 3, 9)).fit(features, responses)
    >>> bool((model.best_weightings_[:, 0] > 0.5).all())  # the edges predict
    True

    References
    ----------
    Nunez-Elizalde, Huth & Gallant (2019), NeuroImage 197; Dupre la Tour et al. (2022), NeuroImage 264.
    """

    spaces_: np.ndarray
    best_alphas_: Array
    best_weightings_: Array
    cv_scores_: Array

    def __init__(
        self,
        spaces: npt.ArrayLike | None = None,
        alphas: npt.ArrayLike | None = None,
        *,
        weightings: Any = "grid",
        random_state: int | None = 0,
        cv: Any = 5,
        scoring: str = "neg_mean_squared_error",
        fit_intercept: bool = True,
        targets_per_batch: int | None = None,
    ) -> None:
        self.spaces = spaces
        self.alphas = alphas
        self.weightings = weightings
        self.random_state = random_state
        self.cv = cv
        self.scoring = scoring
        self.fit_intercept = fit_intercept
        self.targets_per_batch = targets_per_batch

    def fit(self, X: Values, y: Values, groups: Any = None) -> Self:
        """Choose weights and alphas, then fit all rows of X (n, n_features) and y (n, n_targets) or (n,).

        groups  (n,) label of each row, for a `cv` that splits by groups
        """
        X_checked, y_checked, grid, held_out = self._checked(X, y, groups)
        self.spaces_, columns = self._columns(X_checked.shape[1])
        weightings = self._candidates(len(columns))
        features, responses = matrices(X_checked, y_checked[:, None] if y_checked.ndim == 1 else y_checked)
        zeros = features.new_zeros(features.shape[1], dtype=torch.float64)
        means = column_means(features).to(torch.float64) if self.fit_intercept else zeros
        centred = (features.to(torch.float64) - means).to(features)
        spaces = FeatureSpaces.of([centred[:, of] for of in columns], [centred[:0, of] for of in columns])
        settings = {
            "folds": held_out,
            "criterion": self.scoring,
            "fit_intercept": self.fit_intercept,
            "voxels_per_chunk": self.targets_per_batch,
        }
        choice = _best_weightings(spaces, weightings, responses, grid, settings)
        alphas, cv_scores, intercepts, coefficients = _refitted(spaces, weightings[choice], responses, grid, settings)
        coefficients = coefficients[torch.from_numpy(np.argsort(np.concatenate(columns)))]
        intercepts = intercepts - means.to(coefficients) @ coefficients
        self.best_alphas_, self.cv_scores_ = as_given(X, alphas), as_given(X, cv_scores)
        chosen = weightings[choice]
        self.best_weightings_ = torch.from_numpy(chosen).to(features) if torch.is_tensor(X) else chosen
        self._set_coefficients(as_given(X, coefficients.T), as_given(X, intercepts), of_one=y_checked.ndim == 1)
        warn_of_edges(alphas, grid)
        return self

    def _columns(self, n_features: int) -> tuple[np.ndarray, list[np.ndarray]]:
        """Return the sorted labels (B,) of the spaces, and the columns of each space."""
        labels = np.zeros(n_features, dtype=int) if self.spaces is None else np.asarray(self.spaces)
        if labels.shape != (n_features,):
            raise RidgeInputError(
                f"spaces {labels.shape} are not labels of {n_features} features: give one label for each column of X"
            )
        known = np.unique(labels)
        return known, [np.flatnonzero(labels == label) for label in known]

    def _candidates(self, n_spaces: int) -> np.ndarray:
        """Return the weightings (G, B) to choose from."""
        given = self.weightings
        if isinstance(given, str):
            check_choice(given, ("grid",), "weightings")
            return weighting_grid(n_spaces)
        if isinstance(given, int | np.integer) and not isinstance(given, bool) and given > 0:
            return random_weightings(n_spaces, int(given), self.random_state)
        weightings = as_tensor(given, "weightings").to("cpu", torch.float64).numpy()
        if weightings.ndim != 2 or not len(weightings):
            raise RidgeInputError(f'invalid weightings {given!r}: give "grid", a number of draws, or an array (G, B)')
        return weightings

    def _predicted(self, X: torch.Tensor) -> torch.Tensor:
        coefficients = torch.as_tensor(self.coef_).reshape(-1, X.shape[1])
        return X.to(coefficients) @ coefficients.T + torch.as_tensor(self.intercept_)


def _best_weightings(
    spaces: FeatureSpaces, weightings: np.ndarray, Y: torch.Tensor, alphas: np.ndarray, settings: dict[str, Any]
) -> np.ndarray:
    """Return the index (V,) of each target's best weighting; the first one in a tie."""
    best, choice = np.full(Y.shape[1], -np.inf), np.zeros(Y.shape[1], dtype=int)
    for number, weighting in enumerate(weightings):
        _, cv_score, _ = spaces.fit(weighting, Y, alphas, **settings)
        better = (found := cv_score.cpu().numpy()) > best
        best[better], choice[better] = found[better], number
    return choice


def _refitted(
    spaces: FeatureSpaces, chosen: np.ndarray, Y: torch.Tensor, alphas: np.ndarray, settings: dict[str, Any]
) -> tuple[torch.Tensor, ...]:
    """Fit every target with its own weighting.

    chosen  (V, B) weighting of each target

    Returns alpha, cv_score and mean response, each (V,), and coefficients (D, V) in the order of the spaces' columns.
    """
    n_features, n_targets = sum(space.shape[1] for space in spaces.features), Y.shape[1]
    device = spaces.kernels.device
    alpha, cv_score = torch.empty(2, n_targets, dtype=torch.float64, device=device)
    means = spaces.features[0].new_empty(n_targets)
    coefficients = spaces.features[0].new_empty(n_features, n_targets)
    for weighting in np.unique(chosen, axis=0):
        targets = torch.from_numpy(np.flatnonzero((chosen == weighting).all(axis=1)))
        ridge, weights = spaces.coefficients(weighting, Y[:, targets.to(Y.device)], alphas, **settings)
        targets = targets.to(device)
        alpha[targets], cv_score[targets] = ridge.alpha, ridge.cv_score
        means[targets], coefficients[:, targets] = ridge.response_means, weights
    return alpha, cv_score, means, coefficients
