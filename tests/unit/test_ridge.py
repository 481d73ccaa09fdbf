"""What ridge_cv takes and gives."""

import numpy as np
import pytest
import torch
from every_alpha import GRID, assert_same_choice, brute_force, simulate, splits_of
from sklearn.linear_model import Ridge

from brain_activity_prediction.ridge import RidgeInputError
from brain_activity_prediction.ridge.ridge_cv import ridge_cv
from brain_activity_prediction.ridge.scores import pearson_r
from brain_activity_prediction.ridge.solver import cross_validation
from brain_activity_prediction.ridge.solver.decomposition import Decomposition, column_means, decompose
from brain_activity_prediction.ridge.solver.leave_fold_out import IllConditionedError


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(150, 40), (80, 130)])
def test_test_images_are_predicted_as_by_a_refit_at_the_chosen_alpha(shape, dtype):
    X, Y = simulate(*shape)
    train, test = slice(0, -20), slice(-20, None)
    fit = ridge_cv(X[train].astype(dtype), Y[train].astype(dtype), GRID, fit_intercept=False)
    exact = [
        Ridge(alpha=a, fit_intercept=False, solver="svd").fit(X[train], y).predict(X[test])
        for a, y in zip(fit.alpha.numpy(), Y[train].T, strict=True)
    ]
    predicted = fit.predict(X[test].astype(dtype))
    assert predicted.dtype == getattr(torch, dtype)
    r = pearson_r(Y[test], predicted.numpy())
    np.testing.assert_allclose(r, pearson_r(Y[test], np.transpose(exact)), atol=1e-5)
    np.testing.assert_allclose(X[test] @ fit.coefficients().numpy(), predicted, atol=1e-5)


def test_one_alpha_for_all_voxels_has_the_best_mean_score():
    X, Y = simulate()
    fit = ridge_cv(X, Y, GRID, per_voxel=False, fit_intercept=False)
    scores = brute_force(X, Y, GRID, splits_of(X))
    assert set(fit.alpha.tolist()) == {GRID[scores.mean(axis=1).argmax()]}
    np.testing.assert_allclose(fit.cv_score, scores[fit.alpha_index[0]], atol=1e-7)


def test_the_choice_does_not_depend_on_the_unit_of_the_responses():
    X, Y = simulate()
    unit = 2.0**-30
    fit, scaled = ridge_cv(X, Y, GRID, fit_intercept=False), ridge_cv(X, unit * Y, GRID, fit_intercept=False)
    assert torch.equal(scaled.alpha, fit.alpha)
    torch.testing.assert_close(scaled.cv_score, unit**2 * fit.cv_score, rtol=1e-6, atol=0)


def test_the_order_of_the_grid_only_orders_the_scores():
    X, Y = simulate()
    order = np.random.default_rng(0).permutation(len(GRID))
    fit = ridge_cv(X, Y, GRID, return_all_scores=True, fit_intercept=False)
    shuffled = ridge_cv(X, Y, GRID[order], return_all_scores=True, fit_intercept=False)
    assert torch.equal(shuffled.alpha, fit.alpha)
    np.testing.assert_array_equal(GRID[order][shuffled.alpha_index], fit.alpha)
    assert torch.equal(shuffled.scores, fit.scores[order])


def test_ties_go_to_the_larger_alpha():
    X, Y = simulate()
    assert set(ridge_cv(np.zeros_like(X), Y, GRID, fit_intercept=False).alpha.tolist()) == {GRID[-1]}


@pytest.mark.parametrize("fit_intercept", [False, True])
def test_a_constant_feature_gets_no_weight(fit_intercept):
    X, Y = simulate()
    X[:, 3] = 0.1 if fit_intercept else 0.0
    assert ridge_cv(X, Y, GRID, fit_intercept=fit_intercept).coefficients()[3].abs().max() < 1e-13


def test_the_mean_of_a_constant_column_is_that_constant_to_the_last_digit():
    X = torch.randn(50, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    X[:, 1], X[:, 2] = 123.456, 1000 + X[:, 2]
    means = column_means(X)
    assert means[1] == 123.456 != X.mean(dim=0)[1]
    torch.testing.assert_close(means, X.mean(dim=0))


def test_targets_may_be_float32_on_double_features_and_inputs_stay_untouched():
    X, Y = simulate()
    X.flags.writeable = Y.flags.writeable = False
    fit = ridge_cv(X, Y.astype(np.float32), GRID, fit_intercept=False)
    assert_same_choice(fit, brute_force(X, Y, GRID, splits_of(X)))


def test_float32_features_of_double_targets_are_computed_in_float64():
    X, Y = simulate()
    fit = ridge_cv(X.astype(np.float32), Y, GRID, return_all_scores=True, fit_intercept=False)
    np.testing.assert_allclose(fit.scores, brute_force(X.astype(np.float32), Y, GRID, splits_of(X)), atol=1e-7)
    assert {fit.predict(X).dtype, fit.feature_means.dtype, fit.response_means.dtype} == {torch.float64}


@pytest.mark.parametrize(("largest", "dtype"), [(1900, torch.float32), (2100, torch.float64)])
def test_a_correlation_over_a_wide_grid_is_computed_in_float64(largest, dtype):
    X, Y = (values.astype(np.float32) for values in simulate())
    fit = ridge_cv(X, Y, [1.0, 30.0, largest], criterion="correlation", fit_intercept=False)
    assert fit.shrunken_targets.dtype == dtype
    assert ridge_cv(X, Y, [1.0, 30.0, largest], fit_intercept=False).shrunken_targets.dtype == torch.float32


def test_with_a_given_decomposition_predictions_use_its_loadings():
    X, Y = simulate()
    expected = ridge_cv(X, Y, GRID, fit_intercept=False)
    of_X = decompose(torch.from_numpy(X.copy()), GRID[0])
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((90, 40)))[0]
    rotated = Decomposition(of_X.left, of_X.spectrum, torch.from_numpy(rotation) @ of_X.loadings)
    fit = ridge_cv(X, Y, GRID, decomposition=rotated, fit_intercept=False)
    assert torch.equal(fit.alpha, expected.alpha)
    np.testing.assert_allclose(fit.predict(X @ rotation.T), expected.predict(X), atol=1e-9)


@pytest.mark.parametrize("fit_intercept", [False, True])
def test_the_slow_way_gives_the_same_scores(fit_intercept, monkeypatch):
    def refuse(*_):
        raise IllConditionedError

    for formula in ("leave_fold_out", "fit_without_fold"):
        monkeypatch.setattr(cross_validation, formula, refuse)
    X, Y = simulate()
    fit = ridge_cv(X + 1, Y, GRID, fit_intercept=fit_intercept, return_all_scores=True)
    scores = brute_force(X + 1, Y, GRID, splits_of(X), fit_intercept=fit_intercept)
    np.testing.assert_allclose(fit.scores, scores, atol=1e-7)


def test_every_image_may_be_a_fold():
    X, Y = simulate(n_images=20, n_features=5)
    fit = ridge_cv(X, Y, GRID, folds=20, return_all_scores=True, fit_intercept=False)
    np.testing.assert_allclose(fit.scores, brute_force(X, Y, GRID, splits_of(X, 20)), atol=1e-7)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X": np.full((150, 40), np.nan)}, "40 of 40 features"),
        ({"X": np.where(np.arange(6000) == 123, np.inf, 1.0).reshape(150, 40)}, "1 of 40 features .* first feature 3:"),
        ({"X": np.zeros((149, 40))}, "(149, 40)"),
        ({"alphas": [1.0, 0.0]}, "positive"),
        ({"alphas": []}, "positive"),
        ({"criterion": "mse"}, "neg_mean_squared_error"),
        ({"folds": 1}, "1 folds of 150"),
        ({"folds": [[0, 1], [1, 150]]}, "fold 1"),
        ({"folds": [[0, 0], [1, 2]]}, "fold 0"),
        ({"folds": [[0, 1]]}, "at least 2"),
    ],
)
def test_a_wrong_argument_is_named(change, message):
    X, Y = simulate()
    arguments = {"X": X, "Y": Y, "alphas": GRID, **change}
    with pytest.raises(RidgeInputError, match=message.replace("(", r"\(").replace(")", r"\)")):
        ridge_cv(**arguments)
    with pytest.raises(RidgeInputError, match="3 features"):
        ridge_cv(X, Y, GRID, fit_intercept=False).predict(X[:, :3])


@pytest.mark.parametrize(
    ("n_images", "n_features", "n_voxels", "formula"),
    [
        (1000, 20, 1, "refit"),  # folds of many more images than features: their inverses would cost most
        (300, 100, 4000, "refit"),
        (300, 100, 1, "leave-one-out"),  # too few voxels to repay a decomposition a fold
        (60, 130, 4000, "leave-one-out"),  # more features than images
    ],
)
def test_the_formula_with_fewer_operations_is_taken(n_images, n_features, n_voxels, formula, monkeypatch):
    taken = set()
    for name, function in (("leave-one-out", "leave_fold_out"), ("refit", "fit_without_fold")):
        original = getattr(cross_validation, function)

        def recorded(*arguments, name=name, original=original):
            taken.add(name)
            return original(*arguments)

        monkeypatch.setattr(cross_validation, function, recorded)
    ridge_cv(*simulate(n_images, n_features, n_voxels), GRID, fit_intercept=False)
    assert taken == {formula}


def test_by_default_means_are_fitted_and_alphas_are_those_of_the_scripts():
    """Features and responses far from zero are predicted as well as centred ones."""
    X, Y = simulate()
    far = ridge_cv(X + 100, Y - 50)
    centred = ridge_cv(X, Y, np.logspace(1, 4, 60), fit_intercept=True)
    np.testing.assert_allclose(far.predict(X + 100), centred.predict(X) - 50, atol=1e-4)
    assert torch.equal(far.alpha, centred.alpha)
