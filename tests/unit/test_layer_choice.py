"""The layer of a voxel or region is chosen on training images alone, and the table says which scores are whose."""

import numpy as np
import pytest
from scipy.stats import false_discovery_control

from brain_activity_prediction.encoding.scores.layer_choice import stream_scores
from brain_activity_prediction.encoding.scores.score_store import ScoreStore
from brain_activity_prediction.encoding.tables.region_table import COLUMNS, Alignment, region_table
from brain_activity_prediction.inference.region_ceilings import RegionCeilings
from brain_activity_prediction.inference.region_statistics import Statistics, StatisticsRequest, digests
from brain_activity_prediction.inference.resampling import share_reaching
from brain_activity_prediction.ridge.ridge_cv import ridge_cv
from brain_activity_prediction.ridge.scores import pearson_r, r2_score
from brain_activity_prediction.storage.sealed_hdf5 import read_array

N_LAYERS, N_VOXELS = 12, 200
REGIONS = {"all": np.ones(N_VOXELS, dtype=bool), "half": np.arange(N_VOXELS) < N_VOXELS // 2}


def results_of(folder, layers, n_layers=None, statistics=None):
    """Results that hold `layers`, `{quantity: (V,)}` each, of the stream `language`."""
    results = ScoreStore(folder)
    results.claim({"min_log_10_alpha": 1, "max_log_10_alpha": 4})
    for layer, scores in enumerate(layers):
        results.write("language", layer, n_layers or len(layers), scores, statistics[layer] if statistics else None)
    results.write_noise_ceiling(np.full(N_VOXELS, 0.25), "computed")
    return results


def table_of(results):
    table = region_table(results, REGIONS, Alignment("org/model", 3, 1), min_noise_ceiling=0)
    assert tuple(table.columns) == COLUMNS
    return table.set_index(["layer_choice", "roi"])


def random_layers(seed=0, n_layers=N_LAYERS):
    rng = np.random.default_rng(seed)
    return [
        {name: rng.standard_normal(N_VOXELS) for name in ("r", "r2", "cv_score")} | {"alpha": np.full(N_VOXELS, 10.0)}
        for _ in range(n_layers)
    ]


@pytest.fixture(scope="module")
def noise_layers():
    """Scores of layers whose features have nothing to do with the responses."""
    rng = np.random.default_rng(0)
    train, test = rng.standard_normal((120, N_VOXELS)), rng.standard_normal((60, N_VOXELS))
    layers = []
    for _ in range(N_LAYERS):
        fit = ridge_cv(rng.standard_normal((120, 20)), train, np.logspace(1, 4, 10), fit_intercept=False)
        predicted = fit.predict(rng.standard_normal((60, 20))).numpy()
        scores = {"r": pearson_r(test, predicted), "r2": r2_score(test, predicted)}
        layers.append({"alpha": fit.alpha.numpy(), "cv_score": fit.cv_score.numpy(), **scores})
    return layers


def test_choosing_layers_on_test_images_would_inflate_noise_and_ours_does_not(noise_layers, tmp_path):
    """Standard error of a mean r of noise: 1 / sqrt(60 images x 200 voxels), voxels being independent."""
    standard_error = 1 / np.sqrt(60 * N_VOXELS)
    by_layer = np.stack([scores["r"] for scores in noise_layers])
    assert by_layer.max(axis=0).mean() > 15 * standard_error  # per voxel on the test images: the mistake
    assert by_layer.mean(axis=1).max() > 1.5 * standard_error  # per region on the test images: the mistake
    table = table_of(results_of(tmp_path, noise_layers))
    for choice in ("best_per_voxel", "best_per_region", "average"):
        assert abs(table.loc[(choice, "all"), "r"]) < 3 * standard_error


def test_every_voxel_and_region_is_scored_at_its_best_layer_in_training(tmp_path):
    layers = random_layers()
    table = table_of(results_of(tmp_path, layers))
    stacked = {name: np.stack([scores[name] for scores in layers]) for name in ("r", "r2", "cv_score")}
    best = stacked["cv_score"].argmax(axis=0)
    for name, values in stacked.items():
        own = np.take_along_axis(values, best[None], axis=0)[0]
        assert table.loc[("best_per_voxel", "half"), name] == pytest.approx(own[:100].mean(), rel=1e-5)
    assert table["layer"].isna()[("best_per_voxel", "half")]
    assert table.loc[("best_per_voxel", "half"), "layer_position"] == pytest.approx(best[:100].mean() / 11)
    for roi, mask in REGIONS.items():
        chosen = stacked["cv_score"][:, mask].mean(axis=1).argmax()
        row = table.loc[("best_per_region", roi)]
        assert row["layer"] == chosen
        assert row["r"] == pytest.approx(stacked["r"][chosen, mask].mean(), rel=1e-5)
        assert row["r_normalised"] == pytest.approx(row["r"] / 0.5)


def test_the_average_is_over_all_layers_and_missing_while_one_is(tmp_path):
    layers = random_layers()
    average = table_of(results_of(tmp_path / "complete", layers)).loc[("average", "half")]
    for name in ("r", "r2", "cv_score"):
        assert average[name] == pytest.approx(np.mean([scores[name][:100].mean() for scores in layers]), rel=1e-4)
    assert np.isnan(average["alpha_median"])
    incomplete = table_of(results_of(tmp_path / "incomplete", layers, n_layers=N_LAYERS + 1))
    assert "average" not in incomplete.index.get_level_values("layer_choice")
    assert len(incomplete.loc["best_per_voxel"]) == 2


def some_statistics(seed, n_resamples=4, normalised_by="a ceiling"):
    shapes = (N_VOXELS, 2, (n_resamples, 2), (20, 2), (n_resamples, 2))
    rng = np.random.default_rng(seed)
    arrays = [rng.random(shape, dtype=np.float32) for shape in shapes]
    names = ("p", "region_p", "region_r", "region_r_permuted", "region_r_normalised")
    return Statistics(digests(REGIONS), 19, 1, normalised_by, **dict(zip(names, arrays, strict=True)))


@pytest.fixture
def two_layers(tmp_path):
    """The scores of a stream of two layers, and the statistics of each.

    Voxel 7 has no score, voxel 8 one in the first layer alone.
    """
    layers, statistics = random_layers(n_layers=2), [some_statistics(seed) for seed in range(2)]
    for scores in layers:
        scores["cv_score"][7] = np.nan
    layers[1]["cv_score"][8] = np.nan
    return stream_scores(results_of(tmp_path, layers, statistics=statistics), "language"), *statistics


def test_a_stream_of_two_layers_begins_at_0_and_ends_at_1(two_layers):
    stream = two_layers[0]
    assert (stream.stream, stream.n_layers, stream.position(0), stream.position(1)) == ("language", 2, 0, 1)


def test_the_only_layer_of_a_stream_is_its_beginning(tmp_path):
    assert stream_scores(results_of(tmp_path, random_layers(n_layers=1)), "language").position(0) == 0


def test_the_best_layers_and_what_stands_at_them(two_layers):
    stream, *statistics = two_layers
    best = stream.best_layers()
    first, second = stream.scores["cv_score"]
    scored = np.arange(N_VOXELS) != 7
    np.testing.assert_array_equal(best, np.where(scored, second > first, -1))
    there = stream.at(stream.best_of_voxels())
    expected = {"layer": best, "p": np.choose(best % 2, [own.p for own in statistics])}
    for name, values in expected.items():
        np.testing.assert_allclose(there[name], np.where(scored, values, np.nan), rtol=1e-6)
        assert there[name].dtype == (np.float64 if name == "p" else np.float32)


def test_statistics_of_layers_are_given_as_they_are_and_of_the_average_as_averages(two_layers):
    stream, first, second = two_layers
    asked = digests(REGIONS)
    np.testing.assert_array_equal(stream.p(), [first.p, second.p])
    np.testing.assert_array_equal(stream.region_p(1, asked), second.region_p)
    averaged = (first.region_r_permuted + second.region_r_permuted) / 2
    np.testing.assert_array_equal(stream.region_p("average", asked), share_reaching(averaged))
    np.testing.assert_array_equal(stream.resampled_r(1, asked), second.region_r)
    np.testing.assert_array_equal(stream.resampled_r("average", asked), (first.region_r + second.region_r) / 2)
    np.testing.assert_array_equal(stream.resampled_r(0, asked, "a ceiling"), first.region_r_normalised)
    assert stream.resampled_r(0, asked, "another ceiling") is None
    assert stream.resampled_r("best_per_voxel", asked) is None
    assert np.isnan(stream.region_p("best_per_voxel", asked)).tolist() == [True, True]


def test_scores_count_their_permutations_and_resamples_and_show_0_for_none(two_layers):
    stream = two_layers[0]
    for which in (1, "average"):
        found = stream.how_many(which)
        assert (found["n_permutations"], found["permutation_block"], found["n_resamples"]) == (19, 1, 4)
    assert set(stream.how_many("best_per_voxel").values()) == {0}


@pytest.mark.parametrize("others", [None, some_statistics(1, n_resamples=5), some_statistics(1, normalised_by="other")])
def test_layers_that_were_not_resampled_alike_have_no_average(tmp_path, others):
    results = results_of(tmp_path, random_layers(n_layers=2), statistics=[some_statistics(0), others])
    stream, asked = stream_scores(results, "language"), digests(REGIONS)
    assert stream.resampled_r("average", asked, "a ceiling") is None
    alike = others is not None and others.n_resamples == 4
    assert (stream.resampled_r("average", asked) is not None) == alike
    assert np.isnan(stream.region_p("average", asked)).all() == (others is None)
    assert np.isnan(stream.p()[1]).all() == (others is None)


def test_while_a_layer_is_missing_there_is_no_average(tmp_path):
    results = results_of(tmp_path, random_layers(n_layers=2), n_layers=3, statistics=[some_statistics(0)] * 2)
    stream, asked = stream_scores(results, "language"), digests(REGIONS)
    assert stream.resampled_r("average", asked) is None
    assert np.isnan(stream.region_p("average", asked)).all()


def test_statistics_of_best_layers_are_those_of_just_these_layers(tmp_path):
    results = results_of(tmp_path, random_layers(n_layers=2))
    best, kept = stream_scores(results, "language").best_layers(), some_statistics(2)
    results.write_best_statistics("language", 1 - best, kept)
    assert stream_scores(results, "language").best_statistics is None
    results.write_best_statistics("language", best, kept)
    stream = stream_scores(results, "language")
    np.testing.assert_array_equal(stream.region_p("best_per_voxel", digests(REGIONS)), kept.region_p)
    np.testing.assert_array_equal(stream.resampled_r("best_per_voxel", digests(REGIONS)), kept.region_r)


def test_q_is_adjusted_over_the_rows_of_the_same_choice(tmp_path):
    p = np.linspace(0.01, 0.3, 2 * N_LAYERS)
    tested = [
        Statistics(StatisticsRequest(REGIONS, 99, 1, 0).digests, 99, 1, p=np.full(N_VOXELS, 0.5), region_p=of_regions)
        for of_regions in p.reshape(N_LAYERS, 2)
    ]
    table = table_of(results_of(tmp_path, random_layers(), statistics=tested))
    np.testing.assert_allclose(table.loc["each", "q"], false_discovery_control(p), rtol=1e-6)
    best = table.loc["best_per_region"]
    np.testing.assert_allclose(best["q"], false_discovery_control(best["p"]))


def test_a_voxel_without_a_score_is_in_no_choice(tmp_path):
    layers = random_layers()
    for scores in layers:
        for values in scores.values():
            values[7] = np.nan
    results = results_of(tmp_path, layers)
    table = table_of(results)
    assert (table.xs("half", level="roi")["n_voxels"] == 99).all()
    assert table[["r", "r2", "cv_score"]].notna().all(axis=None)
    stream = stream_scores(results, "language")
    assert stream.best_of_voxels()[7] == -1
    assert np.isnan(stream.at(stream.best_of_voxels())["layer"][7])


def test_a_stored_p_equals_its_share_of_permutations(tmp_path):
    path, p = tmp_path / "layer.h5", np.arange(1, 1002) / 1001
    ScoreStore(tmp_path).write_voxels(path, {"p": p, "region_p": p[::-1], "r": p}, {})
    np.testing.assert_array_equal(read_array(path, "p"), p)
    np.testing.assert_array_equal(read_array(path, "region_p"), p[::-1])
    assert read_array(path, "r").dtype == np.float32


def test_regions_are_normalised_over_all_voxels_by_the_mean_ceiling(tmp_path):
    layers, names = random_layers(), digests(REGIONS)
    results = results_of(tmp_path, layers)
    voxels, n_images = np.full(N_VOXELS, 0.25), np.full(N_VOXELS, 50)
    voxels[3] = np.nan
    of_regions = RegionCeilings(names, voxels, n_images, np.full(len(names), 0.25), np.zeros((60, len(names))), 50)
    results.write_noise_ceiling(np.full(N_VOXELS, 0.25), "computed", of_regions)
    table = table_of(results)
    assert table["r_ceiling"].to_numpy() == pytest.approx(0.5)
    r = np.stack([scores["r"] for scores in layers]).astype(np.float32)
    explained = np.delete(r**2 - (1 - r**2) / 48, 3, axis=1)
    means = explained[:, :99].mean(axis=1)
    expected = np.sign(means) * np.sqrt(np.abs(means) / 0.25)
    found = table.loc[("each", "half"), "r_normalised_all_voxels"]
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    average = table.loc[("average", "half"), "r_normalised_all_voxels"]
    assert average == pytest.approx(np.sign(means.mean()) * np.sqrt(abs(means.mean()) / 0.25), rel=1e-4)
    assert table["r_normalised_all_voxels_se"].isna().all()


def test_a_ceiling_of_regions_that_an_older_version_did_not_keep_is_missing(tmp_path):
    table = table_of(results_of(tmp_path, random_layers()))
    assert table[["r_ceiling", "r_normalised_all_voxels"]].isna().all(axis=None)
    assert table["r_normalised"].notna().all()
