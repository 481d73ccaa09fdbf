"""Datasets without held-out images are scored by nested cross-validation: `align_model.py --cv-test K`."""

import csv
import json
from types import SimpleNamespace

import dataset_trees
import numpy as np
import pandas as pd
import pytest
import torch
from mean_colours import MODEL, colours, extract
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold, cross_val_predict

from brain_activity_prediction.align_image_embeddings import align_model, compare
from brain_activity_prediction.datasets.find import find_dataset, output_of
from brain_activity_prediction.datasets.responses import ResponseChoice, prepare_responses
from brain_activity_prediction.datasets.splits import SplitChoice, split_images
from brain_activity_prediction.encoding import cross_validation
from brain_activity_prediction.encoding.scores.score_store import ScoreStore
from brain_activity_prediction.report import report
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.sweep.planning.alignments import alignment_units
from brain_activity_prediction.variance_partitioning.feature_spaces import BEST, Space
from brain_activity_prediction.variance_partitioning.region_layers import layers_of_regions

K = 4
PAIRS = [[0, 1], [1, 2], [0, 2]]  # the colours that each layer sees
ALPHAS = np.logspace(1, 4, 4)
FEW_ALPHAS = ("--num-alphas", len(ALPHAS))


def run(script, *words):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", [script.__name__, *map(str, words)])
        script.main()


def align(folder, subject, *more):
    run(align_model, *("-d", folder, "-g", "cpu", "-s", subject, "-m", MODEL, "--stream", "vision"), *FEW_ALPHAS, *more)


def two_colours():
    """A model whose three layers see two colours each."""

    def encode_images(model, processor, pixels, poolings):
        states = torch.stack([pixels[:, pair] for pair in PAIRS], dim=1)
        return {"vision": states}, states

    return SimpleNamespace(**{**vars(colours()), "encode_images": encode_images})


def algonauts(folder):
    """The challenge's averages, with states of all images; returns the subject and the folder of its scores."""
    subject = dataset_trees.algonauts2023(folder)
    extract(two_colours(), folder, "-s", subject)
    return subject, folder / "alignment/algonauts2023/subj01/no_prompt/test_mean-colours"


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("algonauts")
    subject, scores = algonauts(folder)
    streams = ("--stream", "vision", "language", "-p", 1)
    align(folder, subject, "--cv-test", K, "--permutations", 99, "--bootstrap", 99, *streams)
    return folder, subject, scores


def nested_by_scikit_learn(features, responses, folds):
    """r on each outer fold and inner score, (F, L, V), of a nested cross-validation written plainly."""
    r, inner = np.empty((2, len(folds), len(features), responses.shape[1]))
    for number, test in enumerate(folds):
        train = np.setdiff1d(np.arange(len(responses)), test)
        y_mean, y_sd = responses[train].mean(axis=0), responses[train].std(axis=0)
        y, y_test = ((responses[rows] - y_mean) / y_sd for rows in (train, test))
        for layer, states in enumerate(features):
            mean, sd = states[train].mean(axis=0), states[train].std(axis=0)
            x, x_test = ((states[rows] - mean) / sd for rows in (train, test))
            fits = [Ridge(alpha, fit_intercept=False) for alpha in ALPHAS]
            losses = [((cross_val_predict(fit, x, y, cv=KFold(5)) - y) ** 2).mean(axis=0) for fit in fits]
            predictions = np.stack([fit.fit(x, y).predict(x_test) for fit in fits])
            best = np.argmin(losses, axis=0)
            inner[number, layer] = -np.min(losses, axis=0)
            for voxel, alpha in enumerate(best):
                r[number, layer, voxel] = np.corrcoef(predictions[alpha, :, voxel], y_test[:, voxel])[0, 1]
    return r, inner


@pytest.fixture(scope="module")
def by_hand(scored):
    folder, subject, _ = scored
    dataset = find_dataset(folder)
    choice = SplitChoice(cv_test=K)
    ids = np.sort(dataset.trial_ids(subject, [1]))
    folds = [np.searchsorted(ids, split_images(dataset, subject, ids, fold).test) for fold in choice.folds()]
    states = dataset_trees.COLOURS.astype(float)
    return nested_by_scikit_learn([states[:, pair] for pair in PAIRS], dataset_trees.averages().astype(float), folds)


def rows_of(scores, choice, roi="all"):
    table = pd.read_csv(scores / "scores.csv")
    return table[(table["layer_choice"] == choice) & (table["roi"] == roi)]


def test_the_scores_are_those_of_a_plain_nested_cross_validation(scored, by_hand):
    r, inner = by_hand
    rows = rows_of(scored[2], "each")
    np.testing.assert_allclose(rows["r"], r.mean(axis=(0, 2)), atol=1e-5)
    np.testing.assert_allclose(rows["cv_score"], inner.mean(axis=(0, 2)), atol=1e-5)
    assert rows["r"].max() > 0.4  # the planted signal
    assert set(rows["n_test"]) == {60}
    assert set(rows["n_train"]) == {45}


def test_layers_are_chosen_within_each_outer_fold(scored, by_hand):
    r, inner = by_hand
    chosen = inner.argmax(axis=1)  # (F, V)
    at_best = np.take_along_axis(r, chosen[:, None], axis=1)[:, 0]
    assert (chosen != chosen[0]).any()  # a choice on all images would be another
    (row,) = rows_of(scored[2], "best_per_voxel")["r"]
    np.testing.assert_allclose(row, at_best.mean(), atol=1e-5)
    by_region = inner.mean(axis=2).argmax(axis=1)
    (row,) = rows_of(scored[2], "best_per_region")["r"]
    np.testing.assert_allclose(row, np.mean([r[fold, layer].mean() for fold, layer in enumerate(by_region)]), atol=1e-5)


def test_errors_and_p_are_those_of_the_mean_over_folds(scored):
    _, _, scores = scored
    folds = [ScoreStore(scores / f"folds/fold_{number}").read_statistics("vision", 1) for number in range(1, K + 1)]
    row = rows_of(scores, "each").iloc[1]
    resampled = np.mean([fold.region_r[:, 0] for fold in folds], axis=0)
    np.testing.assert_allclose(row["r_se"], resampled.std(ddof=1) * 2**0.5, rtol=1e-5)
    permuted = np.mean([fold.region_r_permuted[:, 0] for fold in folds], axis=0)
    np.testing.assert_allclose(permuted[0], row["r"], atol=1e-6)
    assert row["p"] == np.mean(np.append(permuted[1:] * 2**0.5, permuted[0]) >= permuted[0]) == 0.01
    assert row["n_permutations"] == 99


def test_the_report_reads_the_table_as_any_other(scored):
    folder, _, scores = scored
    run(report, "-d", folder, "--table-only")
    reported = pd.read_csv(folder / "report/algonauts2023/scores.csv")
    reported = reported[reported["stream"] == "vision"].reset_index()
    pd.testing.assert_series_equal(reported["r"], pd.read_csv(scores / "scores.csv")["r"])
    assert json.loads((scores / "settings.json").read_text())["cv_test"] == K
    assert (scores / "maps/lh.vision_best_layer_q.func.gii").exists()


def test_streams_are_compared_by_their_means_over_folds(scored):
    folder, subject, scores = scored
    run(compare, "-d", folder, "-s", subject, "-m", MODEL, "-p", 1)
    compared = pd.read_csv(folder / "alignment/algonauts2023/subj01/comparisons/comparison.csv").set_index("roi")
    assert compared[["stream_a", "stream_b"]].drop_duplicates().to_numpy().tolist() == [["vision", "language"]]
    language = scores.parents[1] / "prompt_1/test_mean-colours/scores.csv"
    for side, path in (("a", scores / "scores.csv"), ("b", language)):
        table = pd.read_csv(path)
        chosen = table[table["layer_choice"] == "best_per_region"].set_index("roi")
        np.testing.assert_allclose(compared[f"r_{side}"], chosen["r"][compared.index], atol=1e-6)
    assert (compared["difference"].abs() < 1e-5).all()  # both see the same colours
    assert (compared["p"] > 0.5).all()


def test_a_partition_asks_for_a_layer_where_each_fold_has_its_own_best(scored):
    folder, subject, _ = scored
    space, output = Space(MODEL, None, "vision", BEST), output_of(folder, None, None)
    with pytest.raises(InputError, match="holds scores over folds, and each fold has its own best layers"):
        layers_of_regions(space, output, subject, None, {})


def test_a_sweep_counts_the_layers_that_a_fold_lacks(scored):
    folder, subject, scores = scored
    settings = SimpleNamespace(prompts=[1], place_flags=["-d", str(folder)], model_id=MODEL)
    work = SimpleNamespace(streams={None: ["vision"]}, settings=settings)
    flags = ("--cv-test", str(K), "--permutations", "99", "--bootstrap", "99")

    def n_left():
        (unit,) = alignment_units(MODEL, work, {"vision": (3, 2)}, [subject], flags, find_dataset(folder))
        return unit.n_left

    assert n_left() == 0
    layer = scores / "folds/fold_2/voxels/vision_layer_01.h5"
    layer.rename(layer.with_suffix(".aside"))
    assert n_left() == 1
    layer.with_suffix(".aside").rename(layer)


def test_a_run_that_stopped_continues_and_redo_begins_again(tmp_path, monkeypatch, caplog):
    subject, scores = algonauts(tmp_path)
    flags = ("--cv-test", K, "--bootstrap", 0, "-l", 1)
    fit = cross_validation.fit_missing

    def stops(settings, *more):
        if settings.split.fold == 3:
            raise InputError("stopped")
        return fit(settings, *more)

    with monkeypatch.context() as patch, pytest.raises(InputError, match="stopped"):
        patch.setattr(cross_validation, "fit_missing", stops)
        align(tmp_path, subject, *flags)
    layers = {path: path.stat().st_mtime_ns for path in scores.glob("folds/*/voxels/*.h5")}
    assert len(layers) == 2
    align(tmp_path, subject, *flags)
    assert {path: path.stat().st_mtime_ns for path in layers} == layers
    table = pd.read_csv(scores / "scores.csv")
    align(tmp_path, subject, *flags, "--redo")
    assert all(path.stat().st_mtime_ns != time for path, time in layers.items())
    pd.testing.assert_frame_equal(pd.read_csv(scores / "scores.csv"), table)


def test_scores_of_another_split_are_not_mixed_with_those_of_folds(scored, tmp_path):
    folder, subject, _ = scored
    (tmp_path / "test.txt").write_text("\n".join(map(str, np.arange(20) * 7 + 1)))
    other = ("--test-images", tmp_path / "test.txt", "--bootstrap", 0)
    with pytest.raises(
        InputError, match=r"split = cross-validation in 4 folds, but this run has test images of test.txt"
    ):
        align(folder, subject, *other)
    with pytest.raises(InputError, match="cv_test = 4, but this run has 3"):
        align(folder, subject, "--cv-test", 3)
    with pytest.raises(InputError, match="--cv-test uses every image as a test image, --test-images only some"):
        align(folder, subject, "--cv-test", K, *other)
    with pytest.raises(InputError, match=r"has 4 test images in these sessions .* fewer than 15"):
        align(folder, subject, "--cv-test", 15, "--redo")


def test_scores_of_a_held_out_set_are_not_mixed_with_those_of_folds(tmp_path):
    subject = dataset_trees.own(tmp_path)
    extract(two_colours(), tmp_path, "-s", subject)
    flags = ("-l", 1, "--bootstrap", 0)
    align(tmp_path, subject, *flags)
    with pytest.raises(InputError, match=r"scores made with split = own, but this run has cross-validation in 4 folds"):
        align(tmp_path, subject, *flags, "--cv-test", K)
    align(tmp_path, subject, *flags, "--cv-test", K, "--redo")
    scores = tmp_path / "alignment/own/a/no_prompt/test_mean-colours"
    assert not [*scores.glob("voxels/*.h5"), *scores.glob("noise_ceiling.h5")]
    with pytest.raises(InputError, match=r"scores made with split = cross-validation in 4 folds, but this run has own"):
        align(tmp_path, subject, *flags)
    align(tmp_path, subject, *flags, "--redo")
    assert not (scores / "folds").exists()


def test_scores_over_folds_are_divided_by_the_ceiling_of_all_repeats(tmp_path):
    subject = dataset_trees.own(tmp_path)
    extract(colours(), tmp_path, "-s", subject)
    tables = []
    for flags in ((), ("--cv-test", K, "--redo")):
        align(tmp_path, subject, "-l", 1, "--bootstrap", 99, *flags)
        tables.append(pd.read_csv(tmp_path / "alignment/own/a/no_prompt/test_mean-colours/scores.csv"))
    held_out, folds = tables
    for column in ("noise_ceiling", "r_ceiling"):  # all images have four trials
        np.testing.assert_allclose(folds[column], held_out[column], rtol=1e-5)
    assert (folds["r_normalised_all_voxels"] > 0.9).all()  # mean colours are all that was planted
    for column in ("r_ceiling_se", "r_normalised_all_voxels_se", "r_normalised_se", "r_se"):
        assert (folds[column] / held_out[column]).between(0.4, 1.6).all(), column
    np.testing.assert_allclose(folds["r_normalised_all_voxels"], held_out["r_normalised_all_voxels"], atol=0.15)


def noise_experiment(folder, n_images=60, n_voxels=600):
    """An own experiment whose responses are noise, one trial of each image."""
    rng = np.random.default_rng(3)
    for number, name in enumerate(dataset_trees.IMAGES):
        dataset_trees.write_image(folder / "images" / name, number)
    with open(folder / "trials.csv", "w", newline="") as file:
        csv.writer(file).writerows([("subject", "image"), *(("a", name) for name in dataset_trees.IMAGES)])
    responses = rng.standard_normal((n_images, n_voxels)).astype(np.float32)
    np.save(folder / "responses.npy", responses)
    return responses


def test_noise_scores_zero_where_pooled_predictions_do_not(tmp_path):
    responses = noise_experiment(tmp_path)
    extract(two_colours(), tmp_path, "-s", "a")
    align(tmp_path, "a", "--cv-test", K, "--bootstrap", 0, "--permutations", 99, "-l", 0)
    scores = tmp_path / "alignment/own/a/no_prompt/test_mean-colours"
    stores = [ScoreStore(scores / f"folds/fold_{number}") for number in range(1, K + 1)]
    r = np.mean([store.read("vision", 0)["r"] for store in stores], axis=0)
    (row,) = rows_of(scores, "each")["r"]
    np.testing.assert_allclose(row, r.mean(), atol=1e-6)
    error = r.std() / np.sqrt(r.size)
    assert abs(row) < 3 * error
    dataset, choice = find_dataset(tmp_path), SplitChoice(cv_test=K)
    names = dataset.image_ids("a")
    pooled = np.empty_like(responses)
    for store, fold in zip(stores, choice.folds(), strict=True):
        split = split_images(dataset, "a", names, fold)
        train, test = (np.searchsorted(names, ids) for ids in (split.train, split.test))
        voxels, predicted = store.read_predictions("vision", 0)
        assert voxels.size == r.size
        pooled[test] = predicted * responses[train].std(axis=0) + responses[train].mean(axis=0)
    together = np.mean([np.corrcoef(*pair)[0, 1] for pair in zip(pooled.T, responses.T, strict=True)])
    assert together < -10 * error


def test_a_voxel_that_lacks_images_of_one_fold_is_left_out_of_all(tmp_path):
    responses = noise_experiment(tmp_path, n_voxels=5)
    dataset, choice = find_dataset(tmp_path), SplitChoice(cv_test=K)
    names = dataset.image_ids("a")
    second = split_images(dataset, "a", names, choice.folds()[1]).test
    responses[np.isin(names, second[:2]), 3] = np.nan
    np.save(tmp_path / "responses.npy", responses)
    for fold in choice.folds():
        betas = prepare_responses(dataset, "a", ResponseChoice(split=fold), tmp_path / "cache").betas
        assert np.isnan(betas).all(axis=0).tolist() == [False, False, False, True, False]
    assert len(list((tmp_path / "cache").glob("*.h5"))) == 1


def test_every_trial_of_an_image_is_in_one_outer_fold(tmp_path):
    subject = dataset_trees.own(tmp_path)
    dataset = find_dataset(tmp_path)
    seen = dataset.image_ids(subject)
    splits = [split_images(dataset, subject, seen, fold) for fold in SplitChoice(cv_test=7).folds()]
    assert sorted(np.concatenate([split.test for split in splits])) == sorted(seen)
    assert {len(split.test) for split in splits} == {8, 9}
    for split in splits:
        assert np.union1d(split.train, split.test).size == len(split.train) + len(split.test) == 60
