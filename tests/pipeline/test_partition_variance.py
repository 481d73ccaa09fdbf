"""The command line of variance partitioning, on a small simulated NSD with known answers."""

import re
import shutil
import subprocess
import sys

import nibabel
import numpy as np
import pandas as pd
import pytest
from analyses import BEST, EARLY, LATE, PARTITION, SHARES_FOLDER, partition, partition_flags, run_script
from scripts import ends_with_a_full_bar
from two_layers import MODEL, align, read_scores

from brain_activity_prediction.align_image_embeddings import partition_variance
from brain_activity_prediction.datasets.nsd.nsd import find_nsd
from brain_activity_prediction.encoding import subject_data
from brain_activity_prediction.encoding.settings import EncodingSettings
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore
from brain_activity_prediction.storage.sealed_hdf5 import read_array
from brain_activity_prediction.variance_partitioning.share_table import COLUMNS

pytestmark = pytest.mark.very_slow

NOISE = "test/noise"


def r2_of(table, kind):
    return table[table["kind"] == kind].pivot(index="roi", columns="spaces", values="r2")


def test_each_region_is_predicted_by_the_layer_that_drives_it_alone(ready, monkeypatch):
    table = partition(monkeypatch, ready)
    parts, models = r2_of(table, "part"), r2_of(table, "model")
    for region, own, other in (("V1v", "A", "B"), ("V1d", "A", "B"), ("FFA-1", "B", "A"), ("PPA", "B", "A")):
        assert parts.loc[region, own] > 0.3
        assert abs(parts.loc[region, other]) < 0.1
    np.testing.assert_allclose(parts.sum(axis=1), models["A+B"], atol=1e-6)
    np.testing.assert_allclose(parts["A"], models["A+B"] - models["B"], atol=1e-6)


def test_the_table_is_tidy_and_the_same_in_both_formats(ready, monkeypatch):
    csv = partition(monkeypatch, ready)
    parquet = pd.read_parquet(ready / SHARES_FOLDER / "shares.parquet")
    assert tuple(csv.columns) == COLUMNS == tuple(parquet.columns)
    pd.testing.assert_frame_equal(csv, parquet, check_dtype=False)
    assert not csv.duplicated(["roi", "kind", "spaces"]).any()
    assert csv[["n_resamples", "ncsnr"]].drop_duplicates().to_numpy().tolist() == [[999, "computed"]]
    csv = partition(monkeypatch, ready, "--bootstrap", 0, "--ncsnr", "nsd")
    assert csv["n_resamples"].isna().all()
    assert csv["ncsnr"].unique().tolist() == ["nsd"]
    assert csv.loc[csv["spaces"] == "A", "names"].unique().tolist() == [f"{MODEL} vision layer 0"]


def test_the_table_counts_the_images_sessions_and_repeats_that_shares_are_from(ready, monkeypatch):
    counts = ["n_train", "n_test", "n_sessions", "test_repeats_mean"]
    align(monkeypatch, ready, "--bootstrap", 0)
    aligned = read_scores(ready)[counts].drop_duplicates()
    shares = partition(monkeypatch, ready, "--bootstrap", 0)[counts].drop_duplicates()
    assert shares.to_numpy().tolist() == aligned.to_numpy().tolist()
    assert shares["n_test"].tolist() == [12]


def test_shares_of_single_trials_equal_those_of_averages_at_the_same_penalty(ready, monkeypatch):
    """With three trials of every image, the sum of squares over trials is three times that over averages."""
    fixed = ("--num-alphas", 1, "--bootstrap", 0, "--min-log-10-alpha")
    average = partition(monkeypatch, ready, *fixed, 1, "--max-log-10-alpha", 1)
    with pytest.raises(InputError, match="trials = average, but this run has single"):
        partition(monkeypatch, ready, *fixed, 1, "--max-log-10-alpha", 1, "--trials", "single")
    exponent = np.log10(30)
    single = partition(
        monkeypatch, ready, *fixed, exponent, "--max-log-10-alpha", exponent, "--trials", "single", "--redo"
    )
    np.testing.assert_allclose(single["r2"], average["r2"], rtol=1e-3, atol=1e-4)
    assert (single["n_train"] == 28).all()
    assert (single["cv_r2"] < average["cv_r2"])[(single["roi"] == "V1v") & (single["kind"] == "model")].all()


def test_the_maps_hold_what_the_table_averages(ready, monkeypatch):
    table = partition(monkeypatch, ready).set_index(["roi", "kind", "spaces"])
    inside = nibabel.load(find_nsd(ready).nsdgeneral(1)).get_fdata() == 1
    values = {
        name: nibabel.load(ready / SHARES_FOLDER / "maps" / f"{name}.nii.gz").get_fdata()
        for name in ("part_A_r2", "part_A_cv_r2", "noise_ceiling", "weight_A")
    }
    assert all(np.isnan(volume[~inside]).all() for volume in values.values())
    values = {name: volume[inside] for name, volume in values.items()}
    row, normalised = (
        table.loc[("nsdgeneral", "part", "A")],
        values["noise_ceiling"] >= EncodingSettings.min_noise_ceiling,
    )
    assert row["r2"] == pytest.approx(values["part_A_r2"].mean(), rel=1e-5)
    assert row["cv_r2"] == pytest.approx(values["part_A_cv_r2"].mean(), rel=1e-5)
    alone = read_array(
        ready / SHARES_FOLDER / "weightings/000.h5", "cv_score"
    )  # responses have variance 1: R2 = 1 - MSE
    assert table.loc[("nsdgeneral", "model", "A"), "cv_r2"] == pytest.approx((1 + alone).mean(), rel=1e-5)
    shares = values["part_A_r2"][normalised] / values["noise_ceiling"][normalised]
    assert row["r2_normalised"] == pytest.approx(shares.mean(), rel=1e-5)
    assert row["n_voxels_normalised"] == normalised.sum()
    assert ((values["weight_A"] >= 0) & (values["weight_A"] <= 1)).all()


def test_alphas_at_an_end_of_the_grid_are_counted_for_each_joint_fit(ready, monkeypatch, capsys):
    partition(monkeypatch, ready, "--min-log-10-alpha", 1, "--max-log-10-alpha", 2, "--num-alphas", 3)
    said = capsys.readouterr().err
    scores = [read_array(ready / SHARES_FOLDER / f"weightings/{number:03d}.h5", "cv_score") for number in range(11)]
    alphas = [read_array(ready / SHARES_FOLDER / f"weightings/{number:03d}.h5", "alpha") for number in range(11)]
    joint = np.choose(np.argmax(scores, axis=0), alphas)
    for of, chosen in (("A", alphas[0]), ("B", alphas[1]), ("A+B", joint)):
        low, high = ((np.isclose(chosen, end)).sum() for end in (10, 100))
        counts = f"{of}: of {len(chosen)} alphas (voxels) {low} are the smallest of the grid and {high} the largest"
        assert counts in said
    assert "the largest. This is expected for voxels that cannot be predicted" in said


def test_the_order_of_the_spaces_does_not_matter(ready, monkeypatch):
    first = r2_of(partition(monkeypatch, ready), "part")
    second = r2_of(partition(monkeypatch, ready, "--redo", spaces=(LATE, EARLY)), "part")
    np.testing.assert_allclose(first[["A", "B", "A+B"]], second[["B", "A", "A+B"]], atol=1e-6)


@pytest.fixture(scope="module")
def scored_once(ready_once, tmp_path_factory):
    """The tiny NSD with the model of two layers and a model of noise, both scored by align_model.py."""
    base_dir = shutil.copytree(ready_once, tmp_path_factory.mktemp("scored") / "nsd")
    image_ids = EmbeddingStore(base_dir / "image_embeddings/no_prompt/test_two-layers").image_ids(["vision"])
    store = EmbeddingStore(base_dir / "image_embeddings/no_prompt/test_noise")
    store.claim({"template": None})
    noise = np.random.default_rng(5).standard_normal((len(image_ids), 2, 4))
    store.write(image_ids, {"vision": noise.astype(np.float32)})
    with pytest.MonkeyPatch.context() as monkeypatch:
        align(monkeypatch, base_dir)
        align(monkeypatch, base_dir, "-m", NOISE)
    return base_dir


@pytest.fixture
def scored(scored_once, tmp_path):
    """A copy of `scored_once` for tests that change it."""
    return shutil.copytree(scored_once, tmp_path / "nsd")


def best_layers(base_dir, model):
    """{region: layer} of the rows best_per_region of a model's table."""
    scores = pd.read_csv(base_dir / f"alignment/subj01/no_prompt/{model.replace('/', '_')}/scores.csv")
    return scores[scores["layer_choice"] == "best_per_region"].set_index("roi")["layer"].astype(int)


def test_each_region_has_the_best_layers_and_the_shares_of_its_own(scored, monkeypatch, capsys):
    quick = ("--random-weightings", 2, "--bootstrap", 99)
    table = partition(monkeypatch, scored, *quick, spaces=(BEST, (NOISE, "none", "vision", "best")))
    said, chosen = capsys.readouterr(), pd.DataFrame({m: best_layers(scored, m) for m in (MODEL, NOISE)})
    parts = r2_of(table, "part")
    for region, layer in (("V1v", 0), ("V1d", 0), ("FFA-1", 1), ("PPA", 1)):
        assert chosen.loc[region, MODEL] == layer  # the one that drives it
        assert parts.loc[region, "A"] > 0.3
        assert abs(parts.loc[region, "B"]) < 0.1
    names = table[table["n_spaces"] == 1].groupby(["spaces", "roi"])["names"].unique()
    assert all(names["A", roi] == [f"{MODEL} vision layer {own[MODEL]}"] for roi, own in chosen.iterrows())
    assert all(names["B", roi] == [f"{NOISE} vision layer {own[NOISE]}"] for roi, own in chosen.iterrows())
    combinations = chosen.groupby([MODEL, NOISE]).groups
    assert f"{len(chosen)} regions, {len(combinations)} combinations of layers to fit" in said.err
    assert f"A = {MODEL} vision layers 0, 1, the best of each region on training images" in said.out
    assert (
        len(list((scored / SHARES_FOLDER).glob("layers_*"))) == len(combinations) - 1
    )  # nsdgeneral's lies in the folder
    for layers, regions in combinations.items():
        spaces = [(model, "none", "vision", layer) for model, layer in zip((MODEL, NOISE), layers, strict=True)]
        alone = partition(monkeypatch, scored, *quick, "--redo", spaces=spaces, name="named")
        own, other = (rows[rows["roi"].isin(regions)].reset_index(drop=True) for rows in (table, alone))
        pd.testing.assert_frame_equal(own, other.assign(analysis=PARTITION), rtol=1e-4, atol=1e-6)


def test_a_run_with_best_layers_that_died_fits_only_what_is_missing(scored, monkeypatch, capsys):
    spaces = (BEST, (NOISE, "none", "vision", 0))
    quick = ("--random-weightings", 3, "--bootstrap", 99)
    before = partition(monkeypatch, scored, *quick, spaces=spaces)
    finished = sorted((scored / SHARES_FOLDER).glob("layers_*/weightings/*.h5"))
    finished[3].unlink()
    capsys.readouterr()
    pd.testing.assert_frame_equal(before, partition(monkeypatch, scored, *quick, spaces=spaces))
    said = capsys.readouterr().err
    assert said.count("left (layers") == 1
    assert "5 weightings of 2 spaces, 1 is left" in said


def test_spaces_whose_best_layer_is_the_same_are_said(scored, monkeypatch, capsys):
    partition(monkeypatch, scored, "--bootstrap", 0, spaces=(BEST, LATE))
    (line,) = (line for line in capsys.readouterr().err.splitlines() if "the same layer" in line)
    regions = line.removeprefix("A and B are the same layer in ").split(":")[0].split(", ")
    chosen = best_layers(scored, MODEL)
    assert regions == list(chosen.index[chosen == 1])


def test_a_best_layer_needs_scores_of_every_layer_on_the_same_responses(ready, monkeypatch):
    with pytest.raises(InputError, match=r"0 of 2 layers are scored.*run align_model.py first"):
        partition(monkeypatch, ready, spaces=(BEST, LATE))
    align(monkeypatch, ready)
    with pytest.raises(InputError, match="scores for other responses"):
        partition(monkeypatch, ready, "--no-zscore-sessions", "--redo", spaces=(BEST, LATE))


def test_a_run_that_died_fits_only_the_weightings_that_are_missing_or_damaged(ready, monkeypatch, capsys):
    before = partition(monkeypatch, ready)
    finished = sorted((ready / SHARES_FOLDER / "weightings").glob("*.h5"))
    finished[4].unlink()
    finished[5].write_bytes(finished[5].read_bytes()[:-100] + bytes(100))
    kept = {path: path.stat().st_mtime_ns for path in finished[:4] + finished[6:]}
    capsys.readouterr()
    after = partition(monkeypatch, ready)
    said = capsys.readouterr().err
    assert "11 weightings of 2 spaces, 2 are left" in said
    assert f"{finished[5]} (its content does not match its checksum)" in said
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())
    pd.testing.assert_frame_equal(before, after)


def test_claims_of_a_run_that_died_after_its_last_weighting_do_not_stay(ready, monkeypatch):
    partition(monkeypatch, ready)
    claims = ready / SHARES_FOLDER / "claims"
    died = (
        "import os, sys; from brain_activity_prediction.runtime.claims import Claims; Claims(sys.argv[1]).__enter__()"
    )
    subprocess.run([sys.executable, "-c", f"{died}; os._exit(9)", str(claims)], check=False)
    assert list((claims / "owners").iterdir())
    partition(monkeypatch, ready)
    assert not claims.exists()


def test_processes_at_once_share_the_weightings_and_leave_the_same_table(ready, monkeypatch):
    alone = partition(monkeypatch, ready)
    shutil.rmtree(ready / SHARES_FOLDER)
    command = [sys.executable, partition_variance.__file__, "-d", str(ready), *partition_flags()]
    both = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate()[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert all(map(ends_with_a_full_bar, said))
    pd.testing.assert_frame_equal(alone, pd.read_csv(ready / SHARES_FOLDER / "shares.csv"))
    assert not (ready / SHARES_FOLDER / "claims").exists()


def test_random_weightings_are_those_of_their_seed(ready, monkeypatch):
    first = partition(monkeypatch, ready, "--random-weightings", 5)
    assert len(list((ready / SHARES_FOLDER / "weightings").glob("*.h5"))) == 2 + 5
    pd.testing.assert_frame_equal(first, partition(monkeypatch, ready, "--random-weightings", 5, "--redo"))
    with pytest.raises(InputError, match=r"weightings = 5 random, seed 0, but this run has 5 random, seed 1: .*--redo"):
        partition(monkeypatch, ready, "--random-weightings", 5, "--seed", 1)
    with pytest.raises(InputError, match="made with spaces"):
        partition(monkeypatch, ready, "--random-weightings", 5, spaces=(LATE, EARLY))


@pytest.mark.parametrize(
    ("spaces", "more", "message"),
    [
        ((EARLY,), (), "1 feature space: give --space two to 4 times"),
        ((EARLY, EARLY), (), "is given twice"),
        ((EARLY, (MODEL, "one", "vision", 1)), (), "second word must be the number of a prompt, or none"),
        ((EARLY, (MODEL, "none", "vision", "last")), (), "last word must be the number of a layer, or best"),
        ((EARLY, (MODEL, "none", "vision", 2)), (), "no layer 2 of vision in .*; available: layers 0 to 1"),
        ((EARLY, (MODEL, "none", "language", 0)), (), "no stream language in .*; available: vision"),
        ((EARLY, (MODEL, 1, "language", 0)), (), "prompt_1.* holds no hidden states: run an extraction"),
        ((EARLY, ("..", "none", "vision", 0)), (), "is not a model id"),
        ((EARLY, LATE), ("-n", "../elsewhere"), "not a valid name"),
        ((EARLY, LATE), ("--min-log-10-alpha", 5), "--min-log-10-alpha is larger"),
        ((EARLY, LATE), ("--random-weightings", 0), "not a whole number from 1"),
    ],
)
def test_a_mistake_is_one_line_and_status_2_before_any_work(ready, spaces, more, message, monkeypatch, capsys):
    monkeypatch.setattr(subject_data, "prepare_responses", lambda *_: pytest.fail("responses were read"))
    with pytest.raises((InputError, SystemExit)) as raised:
        run_script(monkeypatch, partition_variance, ready, *partition_flags(*more, spaces=spaces))
    said = str(raised.value) if isinstance(raised.value, InputError) else capsys.readouterr().err
    assert re.search(message, said)
    assert "\n" not in said.strip()
