"""What an alignment says about its scores: errors, intervals and p of every choice of layers, by the command line."""

import shutil
from dataclasses import replace
from types import SimpleNamespace

import nibabel
import numpy as np
import pandas as pd
import pytest
from scipy.stats import false_discovery_control
from two_layers import FOLDER, align, read_scores

from brain_activity_prediction.datasets.nsd.nsd import find_nsd
from brain_activity_prediction.datasets.nsd.regions import read_mask, region_masks
from brain_activity_prediction.datasets.responses import ResponseChoice
from brain_activity_prediction.datasets.splits import SplitChoice
from brain_activity_prediction.encoding import planning
from brain_activity_prediction.encoding.evaluation import best_predictions
from brain_activity_prediction.encoding.scores.layer_choice import stream_scores
from brain_activity_prediction.encoding.scores.score_store import ScoreStore
from brain_activity_prediction.encoding.subject_data import read_subject_data
from brain_activity_prediction.inference.bootstrap import resamples
from brain_activity_prediction.ridge.scores import pearson_r
from brain_activity_prediction.runtime.errors import InputError

pytestmark = pytest.mark.slow

STATISTICS = ["r", "r_se", "r_ci_low", "r_ci_high", "r_normalised_se", "p", "q"]


def observed(base_dir):
    return read_subject_data(find_nsd(base_dir), 1, ResponseChoice(), base_dir / "alignment/responses").test


def tables(base_dir):
    table = pd.read_parquet(base_dir / FOLDER / "scores.parquet")
    return table.set_index(["layer_choice", "layer", "roi"])[STATISTICS]


@pytest.fixture(scope="module")
def aligned_once(ready_once, tmp_path_factory):
    base_dir = shutil.copytree(ready_once, tmp_path_factory.mktemp("aligned") / "nsd")
    with pytest.MonkeyPatch.context() as monkeypatch:
        align(monkeypatch, base_dir, "--permutations", 99, "--bootstrap", 199)
    return base_dir


@pytest.fixture
def aligned(aligned_once, tmp_path):
    """A copy of `aligned_once` for tests that change it."""
    return shutil.copytree(aligned_once, tmp_path / "nsd")


def test_every_choice_of_layers_has_an_error_and_an_interval_about_its_score(aligned):
    table = tables(aligned)
    assert (table["r_se"] > 0).all()
    assert (table["r_ci_low"] < table["r"]).all()
    assert (table["r"] < table["r_ci_high"]).mean() > 0.95  # with 12 images the interval lies low
    assert table[["p", "q"]].notna().all(axis=None)
    rsc = table.index.get_level_values("roi") == "RSC"  # of noise: hardly a voxel has a ceiling
    assert (table.loc[~rsc, "r_normalised_se"] > table.loc[~rsc, "r_se"]).all()


def test_the_table_tells_how_many_permutations_and_resamples_its_numbers_are_from(aligned, monkeypatch):
    def told():
        return pd.read_parquet(aligned / FOLDER / "scores.parquet")[
            ["n_permutations", "permutation_block", "n_resamples"]
        ]

    assert (told() == [99, 1, 199]).all(axis=None)
    align(monkeypatch, aligned, "--permutations", 49, "--permutation-block", 2, "--bootstrap", 19)
    assert (told() == [49, 2, 19]).all(axis=None)
    align(monkeypatch, aligned, "--permutations", 0, "--bootstrap", 0, "--redo")
    assert told().isna().all(axis=None)


def test_blocks_too_few_for_a_test_are_refused_and_all_orders_of_four_are_made(ready, monkeypatch, capsys):
    with pytest.raises(InputError, match=r"--permutation-block 4: 12 test images make 3 whole blocks, too few"):
        align(monkeypatch, ready, "--permutations", 999, "--permutation-block", 4)
    assert not (ready / FOLDER).exists()
    flags = ("--permutations", 999, "--permutation-block", 3, "--bootstrap", 0)
    align(monkeypatch, ready, *flags)
    assert "permutation test: only 4 blocks of 3 test images to permute" in capsys.readouterr().err
    table = read_scores(ready, "each")
    assert table[["n_permutations", "n_images_not_permuted"]].drop_duplicates().to_numpy().tolist() == [[23, 0]]
    align(monkeypatch, ready, *flags)
    assert "2 layers were scored before, 0 are left" in capsys.readouterr().err


def test_images_that_fill_no_block_are_said_to_be_left_out(capsys):
    shared = np.arange(1000)
    dataset = SimpleNamespace(
        sessions=lambda subject: [1],
        trial_ids=lambda subject, sessions: np.tile(np.arange(18, 1200), 3),
        test_images=lambda subject: shared,
        excluded_images=lambda subject: [],
    )
    asked = SimpleNamespace(permutations=999, permutation_block=40, sessions=None, subject=1, split=SplitChoice())
    assert planning.planned_permutations(dataset, asked) == 999
    assert (
        capsys.readouterr().err == "permutation test: 22 of 982 test images are left out, because they fill no block\n"
    )


def test_an_average_of_layers_is_tested_by_its_averaged_permutations(aligned):
    """All layers meet the same permutations, so that the rows of their permuted scores can be averaged."""
    results = ScoreStore(aligned / FOLDER)
    statistics = [results.read_statistics("vision", layer) for layer in (0, 1)]
    permuted = np.mean([one.region_r_permuted for one in statistics], axis=0, dtype=float)
    assert permuted.shape[0] == 99 + 1
    for one in statistics:
        np.testing.assert_allclose(
            one.region_p, (one.region_r_permuted >= one.region_r_permuted[0] - 1e-6).mean(axis=0)
        )
    table = tables(aligned).xs("average", level="layer_choice").droplevel("layer")
    for column, region in enumerate(statistics[0].regions):
        assert table.loc[region, "p"] == pytest.approx(np.mean(permuted[:, column] >= permuted[0, column] - 1e-6))
        assert permuted[0, column] == pytest.approx(table.loc[region, "r"], abs=1e-5)
    assert table.loc["RSC", "p"] > 0.05
    assert table.loc[["V1v", "V1d", "hV4", "FFA-1", "PPA"], "p"].max() < 0.05
    normalised = np.mean([one.region_r_normalised for one in statistics], axis=0, dtype=float)
    place = list(statistics[0].regions).index("V1v")
    assert table.loc["V1v", "r_normalised_se"] == pytest.approx(normalised[:, place].std(ddof=1), rel=1e-4)


def test_resamples_of_normalised_scores_divide_each_voxel_by_its_ceiling(aligned):
    results, responses = ScoreStore(aligned / FOLDER), observed(aligned)
    best_layers = stream_scores(results, "vision").best_layers()
    predicted = best_predictions(results, "vision", best_layers)
    statistics, ceiling = (
        results.read_best_statistics("vision", best_layers),
        results.read_noise_ceiling().astype(float),
    )
    layout = find_nsd(aligned)
    usable = region_masks(layout, 1, read_mask(layout, 1)[0])["V1v"] & (ceiling >= 0.1)
    found = statistics.region_r_normalised[:3, list(statistics.regions).index("V1v")]
    for drawn, mean in zip(resamples(len(responses), 3).astype(int), found, strict=True):
        rows = np.repeat(np.arange(len(responses)), drawn)
        r = pearson_r(responses[rows][:, usable], predicted[rows][:, usable])
        assert mean == pytest.approx((r / np.sqrt(ceiling[usable])).mean(), abs=1e-4)


def test_scores_over_all_voxels_have_an_interval_in_driven_regions_only(aligned):
    table = read_scores(aligned, "best_per_region").set_index("roi")
    driven = table.loc[["V1v", "V1d", "hV4", "FFA-1", "PPA"]]
    low, high = (driven[f"r_normalised_all_voxels_ci_{end}"] for end in ("low", "high"))
    assert (low < driven["r_normalised_all_voxels"]).all()
    assert (driven["r_normalised_all_voxels"] < high).all()
    assert ((low < 1) & (driven["r_normalised_all_voxels"] > 0.7)).all()
    assert (driven["r_normalised_all_voxels_se"] > 0).all()
    assert np.isnan(table.loc["RSC", "r_normalised_all_voxels"])
    assert table.loc["V1v", "r_ceiling"] > table.loc["V1v", "r_ceiling_se"] > 0


def test_the_ncsnr_of_nsd_leaves_scores_over_all_voxels_as_they_are(aligned, monkeypatch):
    before = read_scores(aligned, "best_per_region")
    align(monkeypatch, aligned, "--permutations", 99, "--bootstrap", 199, "--ncsnr", "nsd")
    after = read_scores(aligned, "best_per_region")
    names = [name for name in after if "all_voxels" in name or name.startswith("r_ceiling")]
    pd.testing.assert_frame_equal(before[names], after[names])


def test_layers_of_an_older_version_lack_the_error_alone_and_a_line_says_so(aligned, monkeypatch, capsys):
    results = ScoreStore(aligned / FOLDER)
    for layer in (0, 1):
        statistics = replace(results.read_statistics("vision", layer), region_explained=None)
        kept = results.read_predictions("vision", layer)
        results.write("vision", layer, 2, results.read("vision", layer), statistics, kept)
    align(monkeypatch, aligned, "--permutations", 99, "--bootstrap", 199)
    said = capsys.readouterr().err
    assert "vision: no standard error of r_normalised_all_voxels, because an earlier version computed" in said
    table = read_scores(aligned, "each").set_index("roi")
    assert table.loc["V1v", "r_normalised_all_voxels"].notna().all()
    assert table["r_normalised_all_voxels_se"].isna().all()


def test_another_ceiling_leaves_normalised_scores_without_an_error_and_fits_nothing(aligned, monkeypatch, capsys):
    capsys.readouterr()
    align(monkeypatch, aligned, "--permutations", 99, "--bootstrap", 199, "--min-noise-ceiling", 0.4)
    assert "2 layers were scored before, 0 are left" in capsys.readouterr().err
    assert tables(aligned)["r_normalised_se"].isna().all()
    assert tables(aligned)["r_se"].notna().all()


def test_only_predictions_of_each_voxels_best_layer_are_kept_and_give_its_score(aligned):
    results = ScoreStore(aligned / FOLDER)
    scores = stream_scores(results, "vision")
    best_layers = scores.best_layers()
    predicted = best_predictions(results, "vision", best_layers)
    expected = np.choose(best_layers, scores.scores["r"])
    np.testing.assert_allclose(pearson_r(observed(aligned), predicted), expected, atol=1e-5)
    for layer in (0, 1):
        np.testing.assert_array_equal(results.predicted_voxels("vision", layer), np.flatnonzero(best_layers == layer))


def test_voxels_have_q_and_normalised_scores_in_maps(aligned):
    maps = {
        name: nibabel.load(aligned / FOLDER / f"maps/vision_best_layer_{name}.nii.gz").get_fdata()
        for name in ("p", "q", "r", "r_normalised", "r2", "r2_normalised")
    }
    inside = np.isfinite(maps["p"])
    np.testing.assert_allclose(maps["q"][inside], false_discovery_control(maps["p"][inside]), rtol=1e-5)
    ceiling = nibabel.load(aligned / FOLDER / "maps/noise_ceiling.nii.gz").get_fdata()
    known = ceiling >= 0.1
    np.testing.assert_allclose(maps["r_normalised"][known], maps["r"][known] / np.sqrt(ceiling[known]), rtol=1e-5)
    np.testing.assert_allclose(maps["r2_normalised"][known], maps["r2"][known] / ceiling[known], rtol=1e-5)
    assert np.isnan([maps[f"{name}_normalised"][~known] for name in ("r", "r2")]).all()


def test_the_mean_over_layers_is_a_map_once_all_layers_are_scored(ready, monkeypatch):
    def maps(name):
        return {
            score: nibabel.load(ready / FOLDER / f"maps/vision_{name}_{score}.nii.gz").get_fdata()
            for score in ("r", "r2", "cv_score")
        }

    align(monkeypatch, ready, "--bootstrap", 0, "-l", 1)
    assert not (ready / FOLDER / "maps/vision_average_r.nii.gz").exists()
    align(monkeypatch, ready, "--bootstrap", 0)
    layers = maps("layers")
    for score, mean in maps("average").items():
        np.testing.assert_allclose(mean, layers[score].mean(axis=-1), rtol=1e-5, atol=1e-6)
    inside = np.isfinite(maps("average")["r"])
    table = read_scores(ready, "average").set_index("roi")
    assert maps("average")["r"][inside].mean() == pytest.approx(table.loc["nsdgeneral", "r"], rel=1e-5)
    align(monkeypatch, ready, "--bootstrap", 0, "-l", 1, "--redo")
    assert not list((ready / FOLDER / "maps").glob("vision_average_*"))


def test_noise_is_not_significant_with_a_layer_chosen_per_voxel_but_signal_is(aligned):
    p = read_scores(aligned, "best_per_voxel").set_index("roi")["p"]
    assert p["RSC"] > 0.05
    assert p[["V1v", "V1d", "hV4", "FFA-1", "PPA"]].max() < 0.05


def test_lost_predictions_are_made_again_and_change_nothing(aligned, monkeypatch, capsys):
    before = tables(aligned)
    ScoreStore(aligned / FOLDER).keep_predictions("vision", 1, np.arange(10))
    capsys.readouterr()
    align(monkeypatch, aligned, "--permutations", 99, "--bootstrap", 199)
    assert "1 layer was scored before, 1 is left" in capsys.readouterr().err
    pd.testing.assert_frame_equal(tables(aligned), before)
    align(monkeypatch, aligned, "--permutations", 99, "--bootstrap", 199)
    assert "2 layers were scored before, 0 are left" in capsys.readouterr().err


def test_lost_statistics_of_best_layers_come_back_from_the_predictions_alone(aligned, monkeypatch, capsys):
    before = tables(aligned)
    path = aligned / FOLDER / "best_layers/vision.h5"
    path.write_bytes(path.read_bytes()[:-100])
    align(monkeypatch, aligned, "--permutations", 99, "--bootstrap", 199)
    assert "2 layers were scored before, 0 are left" in capsys.readouterr().err
    pd.testing.assert_frame_equal(tables(aligned), before)


@pytest.mark.parametrize(
    ("flags", "n_left"),
    [
        (["--permutations", 99, "--bootstrap", 199], 0),
        (["--bootstrap", 199], 0),
        (["--bootstrap", 0], 0),
        (["--bootstrap", 199, "--roi", "prf-visualrois"], 0),
        (["--permutations", 98, "--bootstrap", 199], 2),
        (["--permutations", 99, "--bootstrap", 199, "--permutation-block", 2], 2),
        (["--bootstrap", 198], 2),
    ],
)
def test_layers_are_fitted_again_only_for_statistics_that_are_not_there(aligned, monkeypatch, capsys, flags, n_left):
    capsys.readouterr()
    align(monkeypatch, aligned, *flags)
    assert ("2 layers were scored before, 0 are left" in capsys.readouterr().err) == (n_left == 0)


def test_a_region_that_was_added_later_gets_its_statistics(ready, monkeypatch):
    align(monkeypatch, ready, "--permutations", 19, "--bootstrap", 19, "--roi", "prf-visualrois")
    align(monkeypatch, ready, "--permutations", 19, "--bootstrap", 19)
    table = read_scores(ready).set_index("roi")
    assert table.loc["PPA", ["p", "r_se"]].notna().all(axis=None)


def test_without_statistics_nothing_is_kept_for_them(ready, monkeypatch):
    align(monkeypatch, ready, "--bootstrap", 0)
    assert not (ready / FOLDER / "best_layers").exists()
    assert not ScoreStore(ready / FOLDER).predicted_voxels("vision", 0).size
    assert tables(ready).drop(columns="r").isna().all(axis=None)


def test_layers_tested_with_other_permutations_have_no_average_of_them(aligned, monkeypatch):
    align(monkeypatch, aligned, "--permutations", 49, "--bootstrap", 199, "-l", 1)
    table = pd.read_parquet(aligned / FOLDER / "scores.parquet").set_index("layer_choice")
    assert table.loc["average", ["p", "n_permutations", "permutation_block"]].isna().all(axis=None)
    assert (table.loc["average", "n_resamples"] == 199).all()
    each = table.loc["each"].set_index("layer")
    assert each["p"].notna().all()
    assert each["n_permutations"].groupby(level=0).unique().map(list).to_dict() == {0: [99], 1: [49]}
    for _, rows in each.groupby(level=0):  # each test is a family of its own
        np.testing.assert_allclose(rows["q"], false_discovery_control(rows["p"]))


def test_layers_scored_in_two_runs_are_assessed_as_in_one(aligned, monkeypatch):
    before = tables(aligned)
    align(monkeypatch, aligned, "--permutations", 99, "--bootstrap", 199, "-l", 1, "--redo")
    assert "average" not in tables(aligned).index
    align(monkeypatch, aligned, "--permutations", 99, "--bootstrap", 199)
    pd.testing.assert_frame_equal(tables(aligned), before)
