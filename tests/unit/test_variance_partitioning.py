"""Planted unique and shared variance comes back, within what sampling allows."""

import itertools

import numpy as np
import pytest

from brain_activity_prediction.ridge.banded import FeatureSpaces
from brain_activity_prediction.ridge.scores import r2_score
from brain_activity_prediction.ridge.weightings import combinations, random_weightings, weighting_grid
from brain_activity_prediction.variance_partitioning.parts import best_weightings, parts

N_TRAIN, N_TEST, N_VOXELS, WIDTH = 800, 4000, 60, 8
ALPHAS = np.logspace(-1, 4, 30)


def simulate(planted, seed=0):
    """Spaces and responses of planted parts {T: share of variance}: a latent of WIDTH features in all spaces of T.

    Returns features, new features, Y (N_TRAIN, N_VOXELS) and Y_new (N_TEST, N_VOXELS), responses of variance 1.
    """
    rng = np.random.default_rng(seed)
    n_images = N_TRAIN + N_TEST
    latents = {chosen: rng.standard_normal((n_images, WIDTH)) for chosen in planted}
    Y = rng.standard_normal((n_images, N_VOXELS)) * np.sqrt(1 - sum(planted.values()))
    for chosen, share in planted.items():
        weights = rng.standard_normal((WIDTH, N_VOXELS))
        Y += latents[chosen] @ (weights / np.linalg.norm(weights, axis=0)) * np.sqrt(share)
    n_spaces = max(max(chosen) for chosen in planted) + 1
    own = [[latents[chosen] for chosen in planted if space in chosen] for space in range(n_spaces)]
    features = [np.concatenate(columns, axis=1).astype(np.float32) for columns in own]
    Y = Y.astype(np.float32)
    return [x[:N_TRAIN] for x in features], [x[N_TRAIN:] for x in features], Y[:N_TRAIN], Y[N_TRAIN:]


def partition(planted, weightings):
    """Mean parts over the voxels, `({T: test R2}, {T: cross-validated R2})`."""
    return [{of: part.mean() for of, part in found.items()} for found in voxels_parts(planted, weightings)]


def voxels_parts(planted, weightings):
    """Parts (N_VOXELS,), `({T: test R2}, {T: cross-validated R2})`."""
    features, new_features, Y, Y_new = simulate(planted)
    spaces = FeatureSpaces.of(features, new_features)
    fits = [spaces.fit(weighting, Y, ALPHAS) for weighting in weightings]
    cv_scores = np.stack([cv_score.numpy() for _, cv_score, _ in fits])
    best = best_weightings(weightings, cv_scores)
    found = []
    for r2 in (
        np.stack([r2_score(Y_new, predicted.numpy()) for *_, predicted in fits]),
        1 + cv_scores / Y.var(axis=0),
    ):
        chosen = {of: np.take_along_axis(r2, rows[None], axis=0)[0] for of, rows in best.items()}
        found.append(parts(chosen))
    return found


def expected(planted, n_train):
    """Parts as ridge on n images finds them: each fit loses (1 - R2) D / n, the variance of D estimated weights."""
    n_spaces = max(max(chosen) for chosen in planted) + 1
    r2 = {}
    for fitted in combinations(n_spaces):
        reached = [chosen for chosen in planted if set(chosen) & set(fitted)]
        share = sum(planted[chosen] for chosen in reached)
        r2[fitted] = share - (1 - share) * WIDTH * len(reached) / n_train
    return parts(r2)


# SD of a mean R2 over voxels: 2 sqrt(R2 (1 - R2)) / sqrt(images x voxels) at most for independent noise, and as much
# again for what ridge gains over least squares where the signal is weak.
SAMPLING_ERROR = {"test": 4 / np.sqrt(N_TEST * N_VOXELS), "cross-validated": 4 / np.sqrt(N_TRAIN * N_VOXELS)}


@pytest.mark.parametrize(
    "planted",
    [
        {(0,): 0.3, (1,): 0.15, (0, 1): 0.2},
        {(0,): 0.1, (1,): 0.0, (0, 1): 0.4},
        {(0,): 0.4, (1,): 0.2, (0, 1): 0.0},
    ],
)
def test_planted_unique_and_shared_variance_of_two_spaces_comes_back(planted):
    found = partition(planted, weighting_grid(2))
    for part, truth in expected(planted, N_TRAIN).items():
        assert found[0][part] == pytest.approx(truth, abs=SAMPLING_ERROR["test"])
    for part, truth in expected(planted, N_TRAIN * 4 / 5).items():
        assert found[1][part] == pytest.approx(truth, abs=SAMPLING_ERROR["cross-validated"])


def test_planted_parts_of_three_spaces_come_back():
    planted = dict(zip(combinations(3), (0.2, 0.1, 0.0, 0.1, 0.05, 0.0, 0.15), strict=True))
    found, _ = partition(planted, random_weightings(3, n_draws=6, seed=0))
    for part, truth in expected(planted, N_TRAIN).items():
        assert found[part] == pytest.approx(truth, abs=2 * SAMPLING_ERROR["test"])


def test_a_space_of_noise_adds_nothing_and_takes_nothing():
    planted = {(0,): 0.4, (1,): 0.0}
    found, cross_validated = partition(planted, weighting_grid(2))
    assert found[(0,)] == pytest.approx(expected(planted, N_TRAIN)[(0,)], abs=SAMPLING_ERROR["test"])
    for part in ((1,), (0, 1)):
        assert abs(found[part]) < SAMPLING_ERROR["test"]
        assert abs(cross_validated[part]) < SAMPLING_ERROR["cross-validated"]


def test_a_space_of_noise_adds_nothing_on_test_images():
    """The joint fit may leave it out, and is chosen by the score that cv_r2 is: description, no inference."""
    found, cross_validated = (of[(1,)] for of in voxels_parts({(0,): 0.4, (1,): 0.0}, weighting_grid(2)))
    of_test_images, own = (of.std(ddof=1) / np.sqrt(N_VOXELS) for of in (found, cross_validated))
    assert found.mean() < of_test_images
    assert (found < 0).sum() > 4 * (found > 0).sum()
    assert cross_validated.min() > -1e-6
    assert cross_validated.mean() > 2 * own


@pytest.mark.parametrize("n_spaces", [1, 2, 3, 4])
def test_parts_invert_the_sums_that_joint_fits_are(n_spaces):
    rng = np.random.default_rng(n_spaces)
    planted = {chosen: rng.standard_normal(7) for chosen in combinations(n_spaces)}
    r2 = {
        fitted: sum(part for chosen, part in planted.items() if set(chosen) & set(fitted))
        for fitted in combinations(n_spaces)
    }
    found = parts(r2)
    assert list(found) == combinations(n_spaces)
    for chosen in planted:
        np.testing.assert_allclose(found[chosen], planted[chosen], atol=1e-12)


def test_the_best_weighting_of_a_combination_uses_none_of_the_other_spaces():
    weightings = np.array([[1, 0], [0, 1], [0.5, 0.5]])
    cv_scores = np.array([[1, 3, 1, np.nan], [2, 1, 1, 1], [3, 2, 1, 1]])
    best = best_weightings(weightings, cv_scores)
    assert {of: rows.tolist() for of, rows in best.items()} == {
        (0,): [0, 0, 0, -1],
        (1,): [1, 1, 1, -1],
        (0, 1): [2, 0, 0, -1],
    }


@pytest.mark.parametrize("n_spaces", [2, 3, 4])
def test_weightings_lie_on_the_simplex_and_every_combination_has_its_own(n_spaces):
    for weightings in (weighting_grid(n_spaces), random_weightings(n_spaces, n_draws=3, seed=1)):
        np.testing.assert_allclose(weightings.sum(axis=1), 1)
        assert (weightings >= 0).all()
        assert len(np.unique(weightings, axis=0)) == len(weightings)
        supports = {tuple(np.flatnonzero(weighting)) for weighting in weightings}
        assert supports == set(combinations(n_spaces))


def test_random_weightings_have_the_requested_number_and_follow_their_seed():
    weightings = random_weightings(2, n_draws=5, seed=1)
    assert weightings[:3].tolist() == [[1, 0], [0, 1], [0.5, 0.5]]
    assert len(weightings) == 2 + 5
    np.testing.assert_array_equal(random_weightings(2, n_draws=5, seed=1), weightings)
    assert not np.isin(random_weightings(2, n_draws=5, seed=2)[3:], weightings).any()


def test_the_grid_treats_all_spaces_alike_and_reaches_a_hundredth():
    grid = {tuple(weighting.round(12)) for weighting in weighting_grid(3)}
    assert {order for weighting in grid for order in itertools.permutations(weighting)} == grid
    ratios = [max(weighting) / min(weighting) for weighting in weighting_grid(2) if min(weighting)]
    assert max(ratios) == pytest.approx(100)
