"""Models, prompts and streams are compared in pairs on the same resamples of the test images."""

import shutil

import numpy as np
import pandas as pd
import pytest
from scipy.stats import false_discovery_control
from two_layers import MODEL, align, write_stream

from brain_activity_prediction.align_image_embeddings import compare
from brain_activity_prediction.encoding import comparison
from brain_activity_prediction.encoding.scores.layer_choice import stream_scores
from brain_activity_prediction.encoding.scores.score_store import ScoreStore
from brain_activity_prediction.inference.resampling import interval
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.storage.folders import alignment_folder

pytestmark = pytest.mark.very_slow

PLANTED = ["V1v", "V1d", "V2v", "hV4", "FFA-1", "PPA"]


@pytest.fixture(scope="module")
def aligned_once(ready_once, tmp_path_factory):
    base_dir = shutil.copytree(ready_once, tmp_path_factory.mktemp("aligned") / "nsd")
    for prompt, noise in ((1, 0.0), (2, 20.0)):
        write_stream(base_dir, "test/talks", prompt, "language", noise)
    with pytest.MonkeyPatch.context() as monkeypatch:
        align(monkeypatch, base_dir)
        align(monkeypatch, base_dir, "-m", "test/talks", "-p", "1-2")
    return base_dir


@pytest.fixture
def aligned(aligned_once, tmp_path):
    """A copy of `aligned_once` for tests that change it."""
    return shutil.copytree(aligned_once, tmp_path / "nsd")


def run(monkeypatch, base_dir, *flags):
    monkeypatch.setattr("sys.argv", ["compare.py", "-d", str(base_dir), *map(str, flags)])
    compare.main()


def table_of(base_dir, name="comparison"):
    return pd.read_parquet(base_dir / "alignment/subj01/comparisons" / f"{name}.parquet")


@pytest.mark.parametrize("layers", ["best_per_region", "best_per_voxel", "average"])
def test_a_prompt_that_predicts_less_is_found_and_a_region_of_noise_does_not_differ(aligned, monkeypatch, layers):
    run(monkeypatch, aligned, "-m", "test/talks", "-p", "1", "2", "--layers", layers)
    table = table_of(aligned).set_index("roi")
    assert tuple(table_of(aligned).columns) == comparison.COLUMNS
    assert table["prompt_a"].unique().tolist() == [1]
    assert table["prompt_b"].unique().tolist() == [2]
    assert (table.loc[PLANTED, "ci_low"] > 0).all()
    assert (table.loc[PLANTED, "p"] < 0.01).all()
    assert table.loc["RSC", "p"] > 0.05
    np.testing.assert_allclose(table["difference"], table["r_a"] - table["r_b"])
    np.testing.assert_allclose(table["q"], false_discovery_control(table["p"]))


def test_models_that_hold_the_same_do_not_differ_however_well_they_predict(aligned, monkeypatch, capsys):
    run(monkeypatch, aligned, "-m", MODEL, "test/talks", "-p", 1, "-n", "same")
    table = table_of(aligned, "same")
    assert table["r_a"].max() > 0.7
    assert np.allclose(table["difference"], 0, atol=1e-6)
    assert (table["p"] > 0.9).all()
    said = capsys.readouterr().out
    assert f"{MODEL} vision  -  test/talks prompt 1 language" in said
    assert "same.csv, same.parquet" in said


def test_every_pair_of_models_prompts_and_streams_is_there_in_both_formats(aligned, monkeypatch):
    run(monkeypatch, aligned, "-m", MODEL, "test/talks", "-p", "1-2")
    table = table_of(aligned)
    assert len(table.groupby(["prompt_a", "prompt_b"], dropna=False)) == 3
    csv = pd.read_csv(aligned / "alignment/subj01/comparisons/comparison.csv")
    pd.testing.assert_frame_equal(csv, table, check_dtype=False)


def test_the_interval_is_that_of_the_difference_of_paired_resamples(aligned, monkeypatch):
    run(monkeypatch, aligned, "-m", "test/talks", "-p", "1-2")
    row = table_of(aligned).set_index("roi").loc["V2v"]
    replicates = []
    for prompt in (1, 2):
        folder = alignment_folder(aligned, 1, "test/talks", prompt)
        scores = pd.read_parquet(folder / "scores.parquet").set_index(["layer_choice", "roi"])
        layer = scores.loc[("best_per_region", "V2v"), "layer"]
        statistics = stream_scores(ScoreStore(folder), "language").statistics[layer]
        replicates.append(statistics.region_r[:, list(statistics.regions).index("V2v")])
    np.testing.assert_allclose((row["ci_low"], row["ci_high"]), interval(replicates[0] - replicates[1]), rtol=1e-5)


def test_normalised_scores_of_regions_are_compared_with_an_error(aligned, monkeypatch):
    run(monkeypatch, aligned, "-m", "test/talks", "-p", "1-2")
    table = table_of(aligned).set_index("roi")
    a, b = (table.loc[PLANTED, f"r_normalised_all_voxels_{side}"] for side in "ab")
    np.testing.assert_allclose(table.loc[PLANTED, "difference_normalised"], a - b)
    low, high = (table.loc[PLANTED, f"difference_normalised_ci_{end}"] for end in ("low", "high"))
    assert (low < a - b).all()
    assert (a - b < high).all()
    assert (table.loc[PLANTED, "difference_normalised_se"] > 0).all()
    assert np.isnan(table.loc["RSC", "difference_normalised"])


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["-m", MODEL], "only test/two-layers vision is selected"),
        (["-m", MODEL, "org/other"], "no scores of org/other"),
        (["-m", "test/talks", "-p", "1-2", "--protocol", "paper"], "no scores of test/talks"),
        (["-m", "test/talks", "-p", "1-2", "--stream", "vision"], "no scores of test/talks"),
    ],
)
def test_what_cannot_be_compared_is_one_line(aligned, monkeypatch, flags, said):
    with pytest.raises(InputError, match=said):
        run(monkeypatch, aligned, *flags)


def test_scores_without_resamples_or_of_other_responses_are_not_compared(aligned, monkeypatch):
    align(monkeypatch, aligned, "--bootstrap", 0, "--redo")
    with pytest.raises(InputError, match=r"no resamples of vision.* align again with --bootstrap"):
        run(monkeypatch, aligned, "-m", MODEL, "test/talks", "-p", 1)
    align(monkeypatch, aligned, "--sessions", 1, 2, 3, "--redo")
    with pytest.raises(InputError, match="and test/two-layers vision were scored on different responses"):
        run(monkeypatch, aligned, "-m", MODEL, "test/talks", "-p", 1)
