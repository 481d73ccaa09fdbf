"""ridge_cv chooses what evaluating every alpha on every fold chooses, on kind and unkind data, by either formula."""

import numpy as np
import pytest
import torch
from every_alpha import COST, GRID, SCORES, assert_same_choice, brute_force, simulate, splits_of
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from sklearn.model_selection import LeaveOneGroupOut

from brain_activity_prediction.ridge.ridge_cv import ridge_cv
from brain_activity_prediction.ridge.scores import pearson_r
from brain_activity_prediction.ridge.solver import cross_validation
from brain_activity_prediction.ridge.solver.folds import group_folds

pytestmark = pytest.mark.slow

WIDE_GRID = np.logspace(-5, 10, 46)


@pytest.fixture(params=COST)
def either_formula(request, monkeypatch):
    monkeypatch.setitem(cross_validation.DECOMPOSITION, "cpu", COST[request.param])


@pytest.fixture
def never_the_slow_way(monkeypatch):
    """Kind data need no fit of the other images from the features themselves."""
    monkeypatch.setattr(cross_validation, "safe_fit_without_fold", None)


@pytest.mark.usefixtures("either_formula", "never_the_slow_way")
@pytest.mark.parametrize("criterion", SCORES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(150, 40), (80, 130), (60, 60)])
def test_every_voxel_gets_the_alpha_of_the_brute_force(shape, dtype, criterion):
    X, Y = (array.astype(dtype) for array in simulate(*shape))
    fit = ridge_cv(X, Y, GRID, criterion=criterion, return_all_scores=True, fit_intercept=False)
    scores = brute_force(X, Y, GRID, splits_of(X), criterion)
    assert_same_choice(fit, scores)
    np.testing.assert_allclose(fit.scores, scores, atol=1e-5 if dtype == "float32" else 1e-7)
    np.testing.assert_allclose(fit.cv_score, scores.max(axis=0), atol=1e-5)


@pytest.mark.usefixtures("either_formula", "never_the_slow_way")
@pytest.mark.parametrize("shape", [(150, 40), (80, 130)])
def test_an_intercept_is_what_centring_each_training_set_gives(shape):
    X, Y = simulate(*shape)
    X, Y = X + 3.0, Y - 5.0
    fit = ridge_cv(X, Y, GRID, fit_intercept=True)
    assert_same_choice(fit, brute_force(X, Y, GRID, splits_of(X), fit_intercept=True))
    models = [Ridge(alpha=a, solver="svd").fit(X, y) for a, y in zip(fit.alpha.numpy(), Y.T, strict=True)]
    np.testing.assert_allclose(fit.coefficients().T, [model.coef_ for model in models], atol=1e-9)
    np.testing.assert_allclose(fit.intercepts(), [model.intercept_ for model in models], atol=1e-9)


def duplicated(X):
    return np.concatenate([X, X[:, :10]], axis=1)


def with_common_mode(X):
    return X + 100 * np.random.default_rng(1).standard_normal((len(X), 1))


def with_one_image_times_100(X):
    return np.concatenate([X[:1] * 100, X[1:]])


def with_a_feature_of_one_fold(X):
    """Its first feature varies in the first fifth of the images alone, and much: no other image tells its weight."""
    alone = np.arange(len(X)) < len(X) // 5
    return np.column_stack([300 * X[:, 0] * alone, X[:, 1:]])


STRESS = {
    "features x 300": (lambda X: 300 * X, GRID, (150, 40)),
    "common mode": (with_common_mode, GRID, (150, 40)),
    "one image x 100": (with_one_image_times_100, GRID, (150, 40)),
    "a feature of one fold": (with_a_feature_of_one_fold, GRID, (150, 40)),
    "more features than images, small alphas": (lambda X: X, np.logspace(-3, 2, 40), (60, 120)),
    "duplicated features": (duplicated, np.logspace(-7, 4, 40), (150, 40)),
    "more features than images, tiny alphas": (lambda X: X, np.logspace(-7, 4, 40), (60, 120)),
    "as many features as images, tiny alphas": (lambda X: X, np.logspace(-7, 4, 40), (80, 80)),
    "features x 1000, tiny alphas": (lambda X: 1000 * X, np.logspace(-7, 4, 40), (60, 120)),
}


@pytest.mark.usefixtures("either_formula")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("case", STRESS)
def test_unkind_spectra_change_no_choice(case, fit_intercept, dtype):
    distort, alphas, shape = STRESS[case]
    X, Y = simulate(*shape)
    X, Y = distort(X).astype(dtype), Y.astype(dtype)
    fit = ridge_cv(X, Y, alphas, fit_intercept=fit_intercept)
    scores = brute_force(X, Y, alphas, splits_of(X), fit_intercept=fit_intercept)
    assert_same_choice(fit, scores)
    doubles = X.astype(np.float64)
    new = doubles[: shape[0] // 2] + doubles[shape[0] // 2 : shape[0] // 2 * 2][::-1]
    exact = Ridge(alpha=fit.alpha.numpy(), fit_intercept=fit_intercept, solver="svd").fit(doubles, Y.astype(np.float64))
    r_exact, r = (pearson_r(Y[: len(new)], predicted) for predicted in (exact.predict(new), fit.predict(new).numpy()))
    np.testing.assert_allclose(r, r_exact, atol=1e-5)


@pytest.mark.usefixtures("either_formula")
def test_a_correlation_keeps_its_digits_at_the_largest_alpha():
    rng, alphas = np.random.default_rng(0), np.logspace(1, 7, 40)
    X, Y = (rng.standard_normal((120, n)).astype("float32") for n in (40, 60))
    fit = ridge_cv(X, Y, alphas, criterion="correlation", fit_intercept=False)
    assert_same_choice(fit, brute_force(X, Y, alphas, splits_of(X), "correlation"))


@pytest.mark.usefixtures("either_formula")
@pytest.mark.parametrize("criterion", SCORES)
def test_himalaya_chooses_the_same_alphas_on_the_same_folds(criterion):
    scoring = pytest.importorskip("himalaya.scoring")
    from himalaya.ridge import RidgeCV

    score_func = {
        "neg_mean_squared_error": scoring.l2_neg_loss,
        "r2": scoring.r2_score,
        "correlation": scoring.correlation_score,
    }[criterion]
    X, Y = simulate(n_voxels=40)
    theirs = RidgeCV(alphas=GRID, cv=5, solver_params={"score_func": score_func}).fit(X, Y)
    ours = ridge_cv(X, Y, GRID, criterion=criterion, fit_intercept=False)
    np.testing.assert_allclose(ours.alpha, theirs.best_alphas_, rtol=1e-12)
    np.testing.assert_allclose(ours.cv_score, theirs.cv_scores_, atol=1e-6)
    np.testing.assert_allclose(ours.coefficients(), theirs.coef_, atol=1e-10)


@pytest.mark.usefixtures("either_formula")
def test_folds_may_be_the_rows_of_groups():
    X, Y = simulate()
    groups = np.random.default_rng(0).permutation(np.arange(len(X)) % 4)
    fit = ridge_cv(X, Y, GRID, folds=group_folds(groups), fit_intercept=False)
    assert_same_choice(fit, brute_force(X, Y, GRID, list(LeaveOneGroupOut().split(X, groups=groups))))


@pytest.mark.usefixtures("either_formula")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("voxels_per_chunk", [1, 64, 100, 192, 10_000])
def test_the_size_of_chunks_changes_no_alpha(voxels_per_chunk, dtype):
    X, Y = (array.astype(dtype) for array in simulate(n_voxels=300))
    whole = ridge_cv(X, Y, GRID, voxels_per_chunk=300, fit_intercept=False)
    chunked = ridge_cv(X, Y, GRID, voxels_per_chunk=voxels_per_chunk, fit_intercept=False)
    assert torch.equal(chunked.alpha, whole.alpha)
    torch.testing.assert_close(chunked.cv_score, whole.cv_score, rtol=0, atol=1e-9)


@pytest.mark.usefixtures("either_formula")
@pytest.mark.parametrize("criterion", SCORES)
def test_a_voxel_that_is_not_finite_stays_alone(criterion):
    X, Y = simulate()
    expected = ridge_cv(X, Y, GRID, criterion=criterion, fit_intercept=False)
    Y[3, 4], Y[7, 6] = np.nan, np.inf
    fit = ridge_cv(X, Y, GRID, criterion=criterion, fit_intercept=False)
    others = np.delete(np.arange(Y.shape[1]), [4, 6])
    assert torch.equal(fit.alpha[others], expected.alpha[others])
    assert torch.equal(fit.predict(X)[:, others], expected.predict(X)[:, others])
    assert fit.alpha_index[[4, 6]].tolist() == [-1, -1]
    for values in (fit.alpha, fit.cv_score, fit.predict(X).T):
        assert values[[4, 6]].isnan().all()


@pytest.mark.usefixtures("either_formula")
@pytest.mark.parametrize("criterion", SCORES)
@pytest.mark.parametrize("fit_intercept", [False, True])
def test_a_constant_voxel_gets_the_largest_alpha(criterion, fit_intercept):
    X, Y = simulate()
    Y[:, 2], Y[:, 5] = 0.0, 7.0
    fit = ridge_cv(X + 1, Y, GRID, criterion=criterion, fit_intercept=fit_intercept)
    assert fit.alpha[[2, 5]].tolist() == [GRID[-1], GRID[-1]]
    if criterion != "neg_mean_squared_error":
        assert fit.cv_score[[2, 5]].tolist() == [0.0, 0.0]


@pytest.mark.usefixtures("either_formula")
def test_a_large_mean_response_costs_no_precision():
    X, Y = (array.astype("float32") for array in simulate())
    Y += 1000
    scores = brute_force(X, Y, GRID, splits_of(X), fit_intercept=True)
    fit = ridge_cv(X, Y, GRID, fit_intercept=True, return_all_scores=True)
    np.testing.assert_allclose(fit.scores, scores, atol=1e-5)


@pytest.mark.parametrize("n_features", [40, 130, 20])
@pytest.mark.parametrize("criterion", SCORES)
def test_both_formulas_give_every_alpha_the_same_score(criterion, n_features, monkeypatch):
    X, Y = simulate(n_features=n_features)
    scores = []
    for cost in COST.values():
        monkeypatch.setitem(cross_validation.DECOMPOSITION, "cpu", cost)
        scores.append(
            ridge_cv(X, Y, GRID, criterion=criterion, folds=3, return_all_scores=True, fit_intercept=False).scores
        )
    torch.testing.assert_close(*scores, rtol=0, atol=1e-8)


def test_a_refit_that_would_magnify_rounding_is_done_again_in_float64(monkeypatch):
    monkeypatch.setitem(cross_validation.DECOMPOSITION, "cpu", COST["refit"])
    original, tried = cross_validation.whitened_targets, []

    def recorded(fit, whitening, targets, *others):
        tried.append(targets.dtype)
        return original(fit, whitening, targets, *others)

    monkeypatch.setattr(cross_validation, "whitened_targets", recorded)
    X, Y = simulate()
    ridge_cv(with_a_feature_of_one_fold(X).astype("float32"), Y.astype("float32"), GRID, fit_intercept=False)
    assert tried == [torch.float32] + 5 * [torch.float64]


@settings(max_examples=60, deadline=None)
@given(
    formula=st.sampled_from(list(COST)),
    n_images=st.integers(12, 60),
    n_features=st.integers(1, 60),
    folds=st.integers(2, 6),
    scale=st.sampled_from([1e-3, 1.0, 1e3]),
    n_duplicates=st.integers(0, 5),
    constant=st.booleans(),
    fit_intercept=st.booleans(),
    grid=st.sampled_from([GRID[::6], WIDE_GRID[::3], GRID[:1]]),
    dtype=st.sampled_from(["float32", "float64"]),
    with_nan=st.booleans(),
    voxels_per_chunk=st.sampled_from([None, 1, 100]),
    seed=st.integers(0, 1000),
)
def test_any_data_get_the_alphas_of_the_brute_force(
    formula,
    n_images,
    n_features,
    folds,
    scale,
    n_duplicates,
    constant,
    fit_intercept,
    grid,
    dtype,
    with_nan,
    voxels_per_chunk,
    seed,
):
    X, Y = simulate(n_images, n_features, n_voxels=3 if voxels_per_chunk is None else 70, seed=seed)
    X = np.concatenate([X, X[:, :n_duplicates]], axis=1) * scale
    if constant:
        X[:, 0] = 0.0
    X, Y = X.astype(dtype), Y.astype(dtype)
    scores = brute_force(X, Y, grid, splits_of(X, folds), fit_intercept=fit_intercept)
    if with_nan:
        Y[seed % n_images, 1] = np.nan
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(cross_validation.DECOMPOSITION, "cpu", COST[formula])
        fit = ridge_cv(X, Y, grid, folds=folds, fit_intercept=fit_intercept, voxels_per_chunk=voxels_per_chunk)
    assert (fit.alpha_index < 0).tolist() == np.isnan(Y).any(axis=0).tolist()
    assert_same_choice(fit, scores, voxels=~np.isnan(Y).any(axis=0))
