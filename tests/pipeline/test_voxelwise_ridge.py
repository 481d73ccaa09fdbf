"""VoxelwiseRidgeCV keeps scikit-learn's contract and stands in for himalaya's RidgeCV."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.feature_selection import RFE, RFECV, SelectFromModel
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, KFold, LeaveOneGroupOut, ShuffleSplit, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from brain_activity_prediction.align_image_embeddings import align_model
from brain_activity_prediction.ridge.estimator import VoxelwiseRidgeCV

pytestmark = pytest.mark.slow

ALPHAS = np.logspace(1, 4, 20)
RNG = np.random.default_rng(0)
X = RNG.standard_normal((120, 30)) + 2
Y = X @ RNG.standard_normal((30, 6)) + 20 * RNG.standard_normal((120, 6)) * np.linspace(0.2, 1, 6)


pytestmark = pytest.mark.filterwarnings("ignore:of .* targets .* chose the smallest alpha")


@parametrize_with_checks([VoxelwiseRidgeCV(), VoxelwiseRidgeCV(fit_intercept=False)])
def test_it_passes_all_of_scikit_learns_estimator_checks(estimator, check):
    assert check(estimator) is None


def test_it_agrees_with_scikit_learns_ridge_cv_target_by_target():
    model = VoxelwiseRidgeCV(ALPHAS, cv=KFold(4), scoring="r2", fit_intercept=True).fit(X, Y)
    for target, y in enumerate(Y.T):
        expected = RidgeCV(ALPHAS, cv=KFold(4), scoring="r2").fit(X, y)
        assert model.best_alphas_[target] == expected.alpha_
        np.testing.assert_allclose(model.cv_scores_[target], expected.best_score_, atol=1e-7)
        np.testing.assert_allclose(model.coef_[target], expected.coef_, atol=1e-9)
        np.testing.assert_allclose(model.intercept_[target], expected.intercept_, atol=1e-9)
        np.testing.assert_allclose(model.r2_per_target(X, Y)[target], expected.score(X, y), atol=1e-9)


@pytest.mark.parametrize("fit_intercept", [False, True])
def test_it_drops_in_for_himalayas_ridge_cv(fit_intercept):
    himalaya = pytest.importorskip("himalaya.ridge")
    theirs = himalaya.RidgeCV(alphas=ALPHAS, cv=5, fit_intercept=fit_intercept).fit(X, Y)
    ours = VoxelwiseRidgeCV(alphas=ALPHAS, cv=5, fit_intercept=fit_intercept).fit(X, Y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_.T, rtol=1e-5, atol=1e-9)
    for name in ("best_alphas_", "cv_scores_") + ("intercept_",) * fit_intercept:
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), atol=1e-8)
    np.testing.assert_allclose(ours.r2_per_target(X, Y), theirs.score(X, Y), atol=1e-8)


def test_a_target_of_one_dimension_gives_results_of_one_dimension_less():
    one, many = VoxelwiseRidgeCV(ALPHAS).fit(X, Y[:, 0]), VoxelwiseRidgeCV(ALPHAS).fit(X, Y[:, :1])
    assert one.coef_.shape == (30,)
    assert isinstance(one.score(X, Y[:, 0]), float)
    np.testing.assert_array_equal(one.predict(X), many.predict(X)[:, 0])


def test_tensors_give_tensors_with_the_same_numbers():
    model = VoxelwiseRidgeCV(ALPHAS, fit_intercept=True)
    expected = {name: getattr(model.fit(X, Y), name) for name in ("best_alphas_", "coef_", "intercept_")}
    model.fit(torch.from_numpy(X), torch.from_numpy(Y))
    for name, values in expected.items():
        assert torch.is_tensor(getattr(model, name))
        np.testing.assert_array_equal(getattr(model, name), values)
    assert torch.is_tensor(model.predict(torch.from_numpy(X)))
    tensors = torch.from_numpy(X), torch.from_numpy(Y)
    assert torch.is_tensor(model.r2_per_target(*tensors))
    assert model.score(*tensors) == pytest.approx(model.fit(X, Y).score(X, Y))


def test_it_works_in_a_pipeline_and_in_cross_validation():
    pipeline = make_pipeline(StandardScaler(), VoxelwiseRidgeCV(ALPHAS, fit_intercept=True))
    assert pipeline.fit(X, Y).score(X, Y) == pytest.approx(r2_score(Y, pipeline.predict(X)))
    np.testing.assert_allclose(
        cross_val_score(pipeline, X, Y, cv=3), cross_val_score(pipeline, X, Y, cv=3, scoring="r2")
    )
    search = GridSearchCV(pipeline, {"voxelwiseridgecv__alpha_per_target": [True, False]}, cv=3)
    assert search.fit(X, Y).best_score_ > 0


@pytest.mark.parametrize("n_targets", [None, 3], ids=["one target", "three targets"])
def test_selectors_find_the_features_that_the_targets_come_from(n_targets):
    x = RNG.standard_normal((120, 12))
    weights = 1 + RNG.random(4 if n_targets is None else (4, n_targets))
    y = x[:, 2:6] @ weights
    y = y + 0.3 * RNG.standard_normal(y.shape)
    model = VoxelwiseRidgeCV([0.1, 1, 10])
    few = [RFE(model, n_features_to_select=4), SelectFromModel(model, max_features=4, threshold=-np.inf)]
    for selector in (*few, RFECV(model, cv=3)):
        chosen = set(np.flatnonzero(selector.fit(x, y).get_support()))
        assert chosen == {2, 3, 4, 5} or (isinstance(selector, RFECV) and chosen > {2, 3, 4, 5})


def test_groups_reach_the_splitter():
    groups = np.arange(len(X)) % 3
    model = VoxelwiseRidgeCV(ALPHAS, cv=LeaveOneGroupOut()).fit(X, Y, groups=groups)
    by_hand = VoxelwiseRidgeCV(ALPHAS, cv=list(LeaveOneGroupOut().split(X, groups=groups))).fit(X, Y)
    np.testing.assert_array_equal(model.cv_scores_, by_hand.cv_scores_)


def test_a_splitter_that_leaves_rows_unused_is_refused():
    with pytest.raises(ValueError, match="split 0 of cv trains on 60, tests on 12 of 120 rows"):
        VoxelwiseRidgeCV(ALPHAS, cv=ShuffleSplit(2, test_size=12, train_size=60)).fit(X, Y)


def test_by_default_the_grid_is_that_of_the_scripts_and_an_intercept_is_fitted():
    alphas = align_model.read_settings(["-d", ".", "-m", "org/model"]).alphas.values()
    model, expected = VoxelwiseRidgeCV().fit(X, Y), VoxelwiseRidgeCV(alphas, fit_intercept=True)
    np.testing.assert_array_equal(model.coef_, expected.fit(X, Y).coef_)
    assert (model.intercept_ != 0).all()


def test_targets_at_an_end_of_the_grid_are_warned_of():
    edges = r"of 6 targets 6 chose the smallest alpha, 0\.001, and 0 the largest, 0\.01\. .* widen alphas"
    with pytest.warns(UserWarning, match=f"^{edges}$"):
        VoxelwiseRidgeCV([0.001, 0.01]).fit(X, X[:, :6])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        VoxelwiseRidgeCV([10.0]).fit(X, Y)


def as_tensors(*arrays):
    return tuple(torch.from_numpy(np.array(array)) for array in arrays)


@pytest.mark.parametrize("convert", [lambda *arrays: arrays, as_tensors], ids=["NumPy", "torch"])
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda x, y: (x[:, 0], y), ValueError, "Expected 2D array, got 1D array"),
        (lambda x, y: (x, y[:50]), ValueError, "inconsistent numbers of samples"),
        (lambda x, y: (x[:1], y[:1]), ValueError, "minimum of 2 is required"),
        (lambda x, y: (x[:, :0], y), ValueError, "0 feature"),
        (lambda x, y: (x, y[:, :, None]), ValueError, "dim 3"),
        (lambda x, y: (np.where(x > 3, np.nan, x), y), ValueError, "NaN|not finite"),
        (lambda x, y: (x, np.where(y > 3, np.nan, y)), ValueError, "NaN|6 of 6 targets in y .* not finite"),
        (lambda x, y: (x, np.where(y > 3, np.inf, y)), ValueError, "infinity|6 of 6 targets in y .* not finite"),
        (lambda x, y: (x + 0j, y), ValueError, "[Cc]omplex"),
    ],
)
def test_tensors_are_refused_where_arrays_are(change, error, message, convert):
    with pytest.raises(error, match=message):
        VoxelwiseRidgeCV(ALPHAS).fit(*convert(*change(X, Y)))


@pytest.mark.parametrize("convert", [lambda *arrays: arrays, as_tensors], ids=["NumPy", "torch"])
def test_no_targets_and_another_number_of_features_are_refused(convert):
    (x,) = convert(X)
    with pytest.raises(ValueError, match="requires y to be passed, but the target y is None"):
        VoxelwiseRidgeCV(ALPHAS).fit(x, None)
    model = VoxelwiseRidgeCV(ALPHAS).fit(x, *convert(Y))
    with pytest.raises(ValueError, match="X has 29 features, but VoxelwiseRidgeCV is expecting 30 features"):
        model.predict(x[:, 1:])
    with pytest.raises(ValueError, match="Expected 2D array"):
        model.predict(x[:, 0])


def test_names_of_features_do_not_outlive_a_refit_without_them():
    model = VoxelwiseRidgeCV(ALPHAS).fit(pd.DataFrame(X, columns=[f"x{k}" for k in range(30)]), Y)
    assert model.feature_names_in_[3] == "x3"
    model.fit(*as_tensors(X, Y))
    assert not hasattr(model, "feature_names_in_")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"scoring": "mse"}, "scoring 'mse' is unknown: use one of neg_mean_squared_error, r2, correlation"),
        ({"targets_per_batch": 0}, "targets_per_batch 0 is not a positive whole number"),
        ({"targets_per_batch": 2.5}, "targets_per_batch 2.5 is not a positive whole number"),
        ({"alphas": [-1.0]}, "alphas must be a list of positive numbers"),
        ({"scoring": "r2", "cv": 120}, "fold 0 holds out one image, but r2 needs two or more.*scoring 'neg_mean"),
    ],
)
def test_a_refusal_names_the_parameter_that_the_user_typed(parameters, message):
    with pytest.raises(ValueError, match=message) as raised:
        VoxelwiseRidgeCV(**parameters).fit(X, Y)
    assert "criterion" not in str(raised.value)


def test_splits_may_be_boolean_masks():
    splits = list(KFold(3).split(X))
    masks = [tuple(np.isin(np.arange(120), rows) for rows in split) for split in splits]
    by_rows, by_masks = (VoxelwiseRidgeCV(ALPHAS, cv=cv).fit(X, Y).cv_scores_ for cv in (splits, masks))
    np.testing.assert_array_equal(by_masks, by_rows)


def test_a_score_takes_one_target_in_either_shape_and_no_other_number_of_targets():
    one, many = VoxelwiseRidgeCV(ALPHAS).fit(X, Y[:, 0]), VoxelwiseRidgeCV(ALPHAS).fit(X, Y)
    assert one.score(X, Y[:, :1]) == one.score(X, Y[:, 0])
    for model, y in ((many, Y[:, 0]), (many, Y[:, :2]), (one, Y)):
        with pytest.raises(ValueError, match=r"responses \(120, \d\) and predictions \(120, \d\)"):
            model.score(X, y)
