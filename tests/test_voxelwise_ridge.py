"""VoxelwiseRidgeCV keeps scikit-learn's contract and stands in for himalaya's RidgeCV."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GridSearchCV, KFold, LeaveOneGroupOut, ShuffleSplit, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from brain_activity_prediction.align_image_embeddings.voxelwise_ridge import VoxelwiseRidgeCV

pytestmark = pytest.mark.slow

ALPHAS = np.logspace(1, 4, 20)
RNG = np.random.default_rng(0)
X = RNG.standard_normal((120, 30)) + 2
Y = X @ RNG.standard_normal((30, 6)) + 20 * RNG.standard_normal((120, 6)) * np.linspace(0.2, 1, 6)


@pytest.mark.parametrize("fit_intercept", [False, True])
def test_it_passes_all_of_scikit_learns_estimator_checks(fit_intercept):
    check_estimator(VoxelwiseRidgeCV(fit_intercept=fit_intercept), on_skip=None)


def test_it_agrees_with_scikit_learns_ridge_cv_target_by_target():
    model = VoxelwiseRidgeCV(ALPHAS, cv=KFold(4), scoring="r2", fit_intercept=True).fit(X, Y)
    for target, y in enumerate(Y.T):
        expected = RidgeCV(ALPHAS, cv=KFold(4), scoring="r2").fit(X, y)
        assert model.best_alphas_[target] == expected.alpha_
        np.testing.assert_allclose(model.cv_scores_[target], expected.best_score_, atol=1e-7)
        np.testing.assert_allclose(model.coef_[:, target], expected.coef_, atol=1e-9)
        np.testing.assert_allclose(model.intercept_[target], expected.intercept_, atol=1e-9)
        np.testing.assert_allclose(model.score(X, Y)[target], expected.score(X, y), atol=1e-9)


@pytest.mark.parametrize("fit_intercept", [False, True])
def test_it_drops_in_for_himalayas_ridge_cv(fit_intercept):
    himalaya = pytest.importorskip("himalaya.ridge")
    theirs = himalaya.RidgeCV(alphas=ALPHAS, cv=5, fit_intercept=fit_intercept).fit(X, Y)
    ours = VoxelwiseRidgeCV(alphas=ALPHAS, cv=5, fit_intercept=fit_intercept).fit(X, Y)
    for name in ("best_alphas_", "cv_scores_", "coef_") + ("intercept_",) * fit_intercept:
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), atol=1e-8)
    np.testing.assert_allclose(ours.score(X, Y), theirs.score(X, Y), atol=1e-8)


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
    assert torch.is_tensor(model.score(torch.from_numpy(X), torch.from_numpy(Y)))


def test_it_works_in_a_pipeline_and_in_cross_validation():
    pipeline = make_pipeline(StandardScaler(), VoxelwiseRidgeCV(ALPHAS, fit_intercept=True))
    assert pipeline.fit(X, Y).score(X, Y).shape == (6,)
    assert cross_val_score(pipeline, X, Y[:, 0], cv=3).shape == (3,)
    assert cross_val_score(pipeline, X, Y, cv=3, scoring="r2").shape == (3,)
    search = GridSearchCV(pipeline, {"voxelwiseridgecv__alpha_per_target": [True, False]}, scoring="r2", cv=3)
    assert search.fit(X, Y).best_score_ > 0


def test_groups_reach_the_splitter():
    groups = np.arange(len(X)) % 3
    model = VoxelwiseRidgeCV(ALPHAS, cv=LeaveOneGroupOut()).fit(X, Y, groups=groups)
    by_hand = VoxelwiseRidgeCV(ALPHAS, cv=list(LeaveOneGroupOut().split(X, groups=groups))).fit(X, Y)
    np.testing.assert_array_equal(model.cv_scores_, by_hand.cv_scores_)


def test_a_splitter_that_leaves_rows_unused_is_refused():
    with pytest.raises(ValueError, match="split 0 of cv trains on 60, tests on 12 of 120 rows"):
        VoxelwiseRidgeCV(ALPHAS, cv=ShuffleSplit(2, test_size=12, train_size=60)).fit(X, Y)
