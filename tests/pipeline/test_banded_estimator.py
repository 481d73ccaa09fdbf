"""BandedRidgeCV keeps scikit-learn's contract, and chooses what solving every candidate on every fold would choose."""

import warnings

import numpy as np
import pytest
import torch
from himalaya.backend import set_backend
from himalaya.ridge import solve_group_ridge_random_search
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, KFold, LeaveOneGroupOut, ShuffleSplit, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from brain_activity_prediction import BandedRidgeCV, VoxelwiseRidgeCV
from brain_activity_prediction.ridge.weightings import random_weightings, weighting_grid

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:of .* targets .* chose the smallest alpha")]

ALPHAS = np.logspace(0, 4, 9)
RNG = np.random.default_rng(0)
SPACES = np.arange(20) % 3 == 0  # columns of the two spaces alternate
WEIGHTINGS = np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5], [0.9, 0.1], [0.1, 0.9]])


def simulate(n_images=90, n_targets=8):
    x = RNG.standard_normal((n_images, 20)) * np.where(SPACES, 3, 1) + 2
    relative = np.where(SPACES[:, None], np.linspace(0, 1, n_targets), np.linspace(1, 0, n_targets))
    y = x @ (RNG.standard_normal((20, n_targets)) * relative) + 5
    return x, y + 3 * RNG.standard_normal(y.shape)


X, Y = simulate()


class TwoSpaces(BandedRidgeCV):
    """Even and odd columns, however many there are."""

    def _columns(self, n_features):
        self.spaces = np.arange(n_features) % 2
        try:
            return super()._columns(n_features)
        finally:
            self.spaces = None


@parametrize_with_checks([BandedRidgeCV(), TwoSpaces(weightings=2)])
def test_it_passes_all_of_scikit_learns_estimator_checks(estimator, check):
    assert check(estimator) is None


def solved(x, y, penalties, fit_intercept):
    """Ridge of one target with a penalty for every feature, by least squares: coefficients and intercept."""
    x_mean, y_mean = (x.mean(0), y.mean(0)) if fit_intercept else (np.zeros(x.shape[1]), 0.0)
    used = np.isfinite(penalties)
    inner, coefficients = x[:, used] - x_mean[used], np.zeros(x.shape[1])
    rows = np.vstack([inner, np.diag(np.sqrt(penalties[used]))])
    coefficients[used] = np.linalg.lstsq(rows, np.concatenate([y - y_mean, np.zeros(used.sum())]))[0]
    return coefficients, y_mean - x_mean @ coefficients


@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("n_images", [90, 16], ids=["more images than features", "fewer"])
@pytest.mark.parametrize("alphas", [ALPHAS, [1e-9, 1.0, 100.0]], ids=["kernels", "too small an alpha for a kernel"])
def test_it_chooses_what_solving_every_candidate_on_every_fold_chooses(alphas, n_images, fit_intercept):
    x, y = simulate(n_images, n_targets=3)
    settings = {"weightings": WEIGHTINGS, "cv": KFold(4), "fit_intercept": fit_intercept}
    model = BandedRidgeCV(SPACES, alphas, **settings).fit(x, y)
    for target in range(3):
        found = []
        for gamma in WEIGHTINGS:
            for alpha in alphas:
                with np.errstate(divide="ignore"):
                    penalties = alpha / gamma[SPACES.astype(int)]
                errors = []
                for train, test in KFold(4).split(x):
                    coefficients, intercept = solved(x[train], y[train, target], penalties, fit_intercept)
                    errors.append(-np.mean((y[test, target] - x[test] @ coefficients - intercept) ** 2))
                found.append((np.mean(errors), alpha, *gamma))
        score, alpha, *gamma = max(found)
        np.testing.assert_allclose(model.cv_scores_[target], score, rtol=1e-6)
        np.testing.assert_allclose(model.best_alphas_[target], alpha)
        np.testing.assert_allclose(model.best_weightings_[target], gamma)
        with np.errstate(divide="ignore"):
            penalties = alpha / np.array(gamma)[SPACES.astype(int)]
        coefficients, intercept = solved(x, y[:, target], penalties, fit_intercept)
        np.testing.assert_allclose(model.coef_[target], coefficients, atol=1e-6)
        np.testing.assert_allclose(model.intercept_[target], intercept, atol=1e-6)
        np.testing.assert_allclose(model.predict(x)[:, target], x @ coefficients + intercept, atol=1e-5)


def test_one_space_is_the_plain_ridge():
    banded, plain = BandedRidgeCV(alphas=ALPHAS).fit(X, Y), VoxelwiseRidgeCV(ALPHAS).fit(X, Y)
    np.testing.assert_array_equal(banded.best_alphas_, plain.best_alphas_)
    for name in ("cv_scores_", "coef_", "intercept_"):
        np.testing.assert_allclose(getattr(banded, name), getattr(plain, name), rtol=1e-6, atol=1e-9)


def test_himalaya_chooses_the_same_penalties_and_coefficients():
    set_backend("numpy")
    candidates = random_weightings(2, n_draws=6, seed=0)[2:]  # himalaya divides by a weight of 0
    x, y = X - X.mean(0), Y - Y.mean(0)
    parts = [x[:, ~SPACES], x[:, SPACES]]
    settings = {"n_iter": candidates, "alphas": ALPHAS, "cv": 5, "progress_bar": False, "warn": False}
    deltas, coefficients, scores = solve_group_ridge_random_search(parts, y, return_weights=True, **settings)[:3]
    model = BandedRidgeCV(SPACES, ALPHAS, weightings=candidates, fit_intercept=False).fit(x, y)
    np.testing.assert_allclose(np.log(model.best_weightings_.T / model.best_alphas_), deltas, atol=1e-6)
    np.testing.assert_allclose(model.cv_scores_, scores.max(axis=0), rtol=1e-5)
    np.testing.assert_allclose(model.coef_.T[np.argsort(SPACES, kind="stable")], coefficients, atol=1e-6)


@pytest.mark.parametrize("scoring", ["r2", "correlation"])
def test_the_criterion_is_the_one_asked_for(scoring):
    model = BandedRidgeCV(SPACES, ALPHAS, scoring=scoring, weightings=WEIGHTINGS[2:3]).fit(X, Y)
    scaled = np.sqrt(0.5) * X
    expected = VoxelwiseRidgeCV(ALPHAS, scoring=scoring).fit(scaled, Y)
    np.testing.assert_allclose(model.cv_scores_, expected.cv_scores_, rtol=1e-6)


def test_a_space_of_noise_is_left_out_or_penalised_more():
    x = RNG.standard_normal((200, 20))
    y = x[:, ~SPACES] @ RNG.standard_normal((13, 5))
    model = BandedRidgeCV(SPACES, ALPHAS, weightings="grid").fit(x, y + RNG.standard_normal(y.shape))
    assert (model.best_weightings_[:, 0] > 0.9).all()
    assert model.spaces_.tolist() == [False, True]


def test_random_weightings_follow_from_their_seed():
    first, again, other = (BandedRidgeCV(SPACES, ALPHAS, weightings=6, random_state=k).fit(X, Y) for k in (0, 0, 1))
    np.testing.assert_array_equal(first.best_weightings_, again.best_weightings_)
    assert (first.best_weightings_ != other.best_weightings_).any()
    known = {tuple(row) for row in random_weightings(2, 6, seed=0)}
    assert {tuple(row) for row in first.best_weightings_} <= known


def test_a_target_of_one_dimension_gives_results_of_one_dimension_less():
    one, many = (BandedRidgeCV(SPACES, ALPHAS, weightings=3).fit(X, y) for y in (Y[:, 0], Y[:, :1]))
    assert one.coef_.shape == (20,)
    assert isinstance(one.score(X, Y[:, 0]), float)
    np.testing.assert_array_equal(one.predict(X), many.predict(X)[:, 0])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_tensors_give_tensors_with_the_same_numbers(dtype):
    x, y = (torch.from_numpy(part).to(dtype) for part in (X, Y))
    model = BandedRidgeCV(SPACES, ALPHAS, weightings=WEIGHTINGS[2:4])
    names = ("best_alphas_", "best_weightings_", "cv_scores_", "coef_", "intercept_")
    expected = {name: getattr(model.fit(x.numpy(), y.numpy()), name) for name in names}
    predicted = model.predict(x.numpy())
    model.fit(x, y)
    for name, values in expected.items():
        assert torch.is_tensor(getattr(model, name))
        np.testing.assert_allclose(getattr(model, name), values, rtol=1e-6)
    assert model.coef_.dtype == dtype
    np.testing.assert_allclose(model.predict(x), predicted, rtol=1e-6)
    assert torch.is_tensor(model.r2_per_target(x, y))


def test_it_works_in_a_pipeline_and_in_cross_validation():
    pipeline = make_pipeline(StandardScaler(), BandedRidgeCV(SPACES, ALPHAS, weightings=1))
    assert pipeline.fit(X, Y).score(X, Y) == pytest.approx(r2_score(Y, pipeline.predict(X)))
    np.testing.assert_allclose(
        cross_val_score(pipeline, X, Y, cv=3), cross_val_score(pipeline, X, Y, cv=3, scoring="r2")
    )
    search = GridSearchCV(pipeline, {"bandedridgecv__weightings": [1, 2]}, cv=3)
    assert search.fit(X, Y).best_score_ > 0


def test_groups_reach_the_splitter():
    groups = np.arange(len(X)) % 3
    model = BandedRidgeCV(SPACES, ALPHAS, weightings=2, cv=LeaveOneGroupOut()).fit(X, Y, groups=groups)
    splits = list(LeaveOneGroupOut().split(X, groups=groups))
    by_hand = BandedRidgeCV(SPACES, ALPHAS, weightings=2, cv=splits).fit(X, Y)
    np.testing.assert_array_equal(model.cv_scores_, by_hand.cv_scores_)


def test_targets_at_an_end_of_the_grid_are_warned_of():
    with pytest.warns(UserWarning, match="of 3 targets 3 chose the smallest alpha, 0.001, and 0 the largest, 0.01"):
        BandedRidgeCV(SPACES, [0.001, 0.01], weightings=1).fit(X, X[:, :3])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        BandedRidgeCV(SPACES, [10.0], weightings=1).fit(X, Y)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"spaces": SPACES[:19]}, r"spaces \(19,\) are not labels of 20 features: give one label for each column"),
        ({"weightings": "all"}, "weightings 'all' is unknown: use one of grid"),
        ({"weightings": 0}, "invalid weightings 0"),
        ({"weightings": True}, "invalid weightings True"),
        ({"weightings": [0.5, 0.5]}, "invalid weightings .*: give"),
        ({"weightings": [[0.5, 0.6]]}, "weights must be 0 or more, with sum 1"),
        ({"weightings": weighting_grid(3)}, r"weighting \(3,\) does not have a weight for each of 2 spaces"),
        ({"scoring": "mse"}, "scoring 'mse' is unknown"),
        ({"targets_per_batch": 0}, "targets_per_batch 0 is not a positive whole number"),
        ({"alphas": [-1.0]}, "alphas must be a list of positive numbers"),
        ({"cv": ShuffleSplit(2, test_size=12, train_size=60)}, "split 0 of cv trains on 60, tests on 12 of 90 rows"),
    ],
)
def test_a_refusal_names_the_parameter_that_the_user_typed(parameters, message):
    with pytest.raises(ValueError, match=message):
        BandedRidgeCV(**{"spaces": SPACES} | parameters).fit(X, Y)
