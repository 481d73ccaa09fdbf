"""Subjects together: means, errors and comparisons, and what other brains predict of a brain."""

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from analyses import run_script
from scipy.stats import ttest_1samp
from two_layers import FOLDER, MODEL, align, write_states

from brain_activity_prediction.align_image_embeddings import across_subjects, cross_subject_ceiling
from brain_activity_prediction.cli.settings_from_flags import alpha_grid
from brain_activity_prediction.cross_subject import ceiling as ceilings
from brain_activity_prediction.cross_subject import group_statistics
from brain_activity_prediction.cross_subject.ceiling import cross_subject_r
from brain_activity_prediction.cross_subject.selected_scores import GroupSettings, select_scores
from brain_activity_prediction.demo.dataset import write_dataset
from brain_activity_prediction.demo.simulation import Recipe, Region
from brain_activity_prediction.encoding.scores.score_store import ScoreStore
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.storage.folders import Output

pytestmark = pytest.mark.very_slow

SUBJECTS = (1, 2)
TOGETHER = "alignment/across_subjects"
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def aligned_once(ready_once, tmp_path_factory):
    base_dir = shutil.copytree(ready_once, tmp_path_factory.mktemp("aligned") / "nsd")
    with pytest.MonkeyPatch.context() as monkeypatch:
        for subject in SUBJECTS:
            align(monkeypatch, base_dir, "-s", subject, "--bootstrap", 19)
    return base_dir


@pytest.fixture
def aligned(aligned_once, tmp_path):
    """A copy of `aligned_once` for tests that change it."""
    return shutil.copytree(aligned_once, tmp_path / "nsd")


def own_tables(base_dir):
    paths = [base_dir / f"alignment/subj{n:02d}/no_prompt/test_two-layers/scores.parquet" for n in SUBJECTS]
    return [pd.read_parquet(path).set_index(["layer_choice", "layer", "roi"]) for path in paths]


def test_means_and_errors_are_those_over_the_subjects_tables(aligned, monkeypatch, capsys):
    run_script(monkeypatch, across_subjects, aligned)
    table = pd.read_parquet(aligned / TOGETHER / "scores.parquet")
    assert tuple(table.columns) == group_statistics.COLUMNS
    assert set(table["layer_choice"]) == {"each", "best_per_region", "best_per_voxel", "average"}
    table = table.set_index(["layer_choice", "layer", "roi"])
    first, second = (own.loc[("each", 1, "V1v")] for own in own_tables(aligned))
    row = table.loc[("each", 1, "V1v")]
    for name in ("r", "r2", "r_normalised", "noise_ceiling"):
        assert row[name] == pytest.approx((first[name] + second[name]) / 2)
        assert row[f"{name}_se"] == pytest.approx(abs(first[name] - second[name]) / 2)
    assert row["p_sign_flip"] == 1 / 4
    assert row["p_t"] == pytest.approx(ttest_1samp([first["r"], second["r"]], 0, alternative="greater").pvalue)
    said = capsys.readouterr().out
    assert f"{MODEL} vision" in said
    assert "scores.csv, scores.parquet" in said


def test_conditions_are_compared_within_subjects(aligned, monkeypatch):
    for prompt in (1, 2):
        source = aligned / "image_embeddings/no_prompt/test_two-layers"
        target = aligned / f"image_embeddings/prompt_{prompt}/test_two-layers"
        target.mkdir(parents=True)
        for path in source.iterdir():
            (target / path.name).write_bytes(path.read_bytes())
    for subject in SUBJECTS:
        align(monkeypatch, aligned, "-s", subject, "--bootstrap", 0, "-p", 1, 2)
    run_script(monkeypatch, across_subjects, aligned, "--layers", "average")
    table = pd.read_parquet(aligned / TOGETHER / "differences.parquet")
    assert tuple(table.columns) == group_statistics.DIFFERENCES
    assert set(table["layer_choice"]) == {"average"}
    assert len(table.groupby(["prompt_a", "prompt_b"], dropna=False)) == 3
    assert np.allclose(table["difference"], 0)
    assert (table["p_sign_flip"] == 1).all()
    run_script(monkeypatch, across_subjects, aligned, "-p", 2)
    assert set(pd.read_parquet(aligned / TOGETHER / "scores.parquet")["prompt"].dropna()) == {2}


def test_subjects_that_were_not_aligned_alike_are_refused(aligned, monkeypatch):
    align(monkeypatch, aligned, "-s", 2, "--num-alphas", 7, "--redo")
    with pytest.raises(InputError, match="num_alphas = 60, but this run has 7: align one of them again"):
        run_script(monkeypatch, across_subjects, aligned)


def test_subjects_whose_scores_are_divided_by_other_ceilings_are_refused(aligned, monkeypatch):
    align(monkeypatch, aligned, "-s", 2, "--bootstrap", 19, "--min-noise-ceiling", 0.3)
    with pytest.raises(InputError, match=r"min_noise_ceiling = 0\.1, but this run has 0\.3: align one of them again"):
        run_script(monkeypatch, across_subjects, aligned)


def test_a_model_and_a_stream_that_were_not_scored_together_are_refused():
    scores = pd.DataFrame({"subject": 1, "model_id": ["a/a", "b/b"], "prompt": pd.NA, "stream": ["vision", "text"]})
    settings = GroupSettings(
        output=Output(Path()),
        subjects=[1],
        with_s=False,
        model_ids=["a/a"],
        prompts=[],
        streams=["text"],
        protocol="standard",
        layer_choice="each",
    )
    with pytest.raises(InputError, match="none of these models has scores of these streams"):
        select_scores(scores, settings)


def test_what_one_subject_does_not_tell_is_a_dash(aligned, monkeypatch, capsys):
    run_script(monkeypatch, across_subjects, aligned, "-s", 1)
    said = capsys.readouterr().out.splitlines()
    mean = own_tables(aligned)[0].loc["best_per_region"].xs("V1v", level="roi")["r"].item()
    assert next(line.split()[2:6] for line in said if " V1v " in line) == ["V1v", "1", f"{mean:.3f}", "-"]
    assert "nan" not in "".join(said)


def test_other_brains_predict_what_is_shared_and_nothing_of_what_is_a_subjects_own():
    """Voxels of signal-to-noise ratio 1 that follow ten shared features, twenty times over, as well as noise allows."""
    n_images, weights = 400, RNG.standard_normal((10, 260))
    shared = RNG.standard_normal((n_images, 10)) @ (weights / np.linalg.norm(weights, axis=0))
    others = shared[:, :200] + RNG.standard_normal((n_images, 200))
    own = shared[:, 200:] + RNG.standard_normal((n_images, 60))
    own[:, 30:] = RNG.standard_normal((n_images, 30))
    own[:, 59], others[3, 0], others[:, 1], own[[7, 90, 301], 2] = np.nan, np.nan, np.nan, np.nan
    r, alphas = cross_subject_r(others, own, np.logspace(0, 4, 20), folds=5, device="cpu")
    assert alphas.shape == (5, 60)
    ceiling = np.sqrt(1 / 2)
    assert ceiling - 0.1 < r[:30].mean() < ceiling + 0.02
    assert abs(r[30:59].mean()) < 3 / np.sqrt(n_images * 29) + 0.02
    assert np.isnan(r[59])


def test_the_grid_of_the_cross_subject_ceiling_suits_voxels_of_several_brains():
    """200 images; 30,000 voxels, half noise, half 50 shared features of falling weight, predict 200 of a tenth."""
    rng, weights = np.random.default_rng(0), 1 / np.sqrt(np.arange(1, 51))
    features = (rng.standard_normal((200, 50)) * weights / np.linalg.norm(weights)).astype(np.float32)
    shared = features @ rng.standard_normal((50, 30_200), np.float32)
    signal = np.repeat(np.float32((0.5, 0.1)), (30_000, 200))
    brains = np.sqrt(signal) * shared + np.sqrt(1 - signal) * rng.standard_normal(shared.shape, np.float32)
    others, own = np.split(brains, [30_000], axis=1)
    default = alpha_grid(cross_subject_ceiling.flags().parse_args(["-d", "."])).values()
    grids = (default, np.logspace(1, 9, 60), np.logspace(1, 4, 60))  # the last is that of models
    found = [cross_subject_r(others, own, grid, folds=5, device="cpu") for grid in grids]
    r, widest, of_models = (r.mean() for r, _ in found)
    assert r == pytest.approx(widest, rel=0.01)
    assert r > 1.04 * of_models
    at_the_top, _, of_models = (
        np.isclose(chosen, grid[-1]).mean() for (_, chosen), grid in zip(found, grids, strict=True)
    )
    assert at_the_top < 0.2 < 0.7 < of_models


@pytest.fixture(scope="module")
def two_brains(tmp_path_factory):
    """Two subjects with enough shared images, whose regions follow the same features."""
    rng, folder = np.random.default_rng(1), tmp_path_factory.mktemp("brains")

    def signals(pictures):
        return {source: rng.standard_normal((len(pictures), 3)) for source in ("early", "late")}

    write_dataset(folder, signals, Recipe(subjects=SUBJECTS, n_shared=150, n_unique=10, n_sessions=6, image_size=8))
    return folder


def test_the_ceiling_of_each_region_is_written_and_stands_beside_the_scores(two_brains, monkeypatch, capsys):
    run_script(monkeypatch, cross_subject_ceiling, two_brains, "-g", "cpu", "-s", 1, 2, "--num-alphas", 8)
    said = capsys.readouterr().err
    assert "150 images were seen by subjects 1 2" in said
    assert re.search(
        r"subject 2: of \d+ alphas \(voxels x folds\) \d+ are the smallest of the grid and \d+ the largest", said
    )
    table = pd.read_parquet(two_brains / TOGETHER / "cross_subject_ceiling.parquet")
    assert tuple(table.columns) == ceilings.COLUMNS
    made_with = table[list(ceilings.MADE_WITH)].drop_duplicates()
    assert made_with.to_numpy().tolist() == [["1 2 3 4 5 6", True, 1, 7, 8]]
    r = table.set_index(["subject", "roi"])["cross_subject_r"]
    for subject in SUBJECTS:
        for region, snr in (("V1v", 1.0), ("hV4", 0.6), ("PPA", 1.0)):
            most = np.sqrt(snr**2 / (snr**2 + 1 / 3))
            assert most - 0.2 < r[(subject, region)] < most + 0.03
        assert abs(r[(subject, "RSC")]) < 0.05
    assert (two_brains / TOGETHER / "maps/subj02_cross_subject_r.nii.gz").exists()


def test_scores_are_divided_by_what_other_brains_predict(aligned, monkeypatch):
    ceiling = pd.DataFrame({"subject": [1, 2], "roi": ["V1v", "V1v"], "cross_subject_r": [0.5, 0.8]})
    sessions = " ".join(map(str, ScoreStore(aligned / FOLDER).settings()["sessions"]))
    ceiling = ceiling.assign(predicted_from=["2", "1"], sessions=sessions, zscore_sessions=True)
    (aligned / TOGETHER).mkdir(parents=True)
    ceiling.to_parquet(aligned / TOGETHER / "cross_subject_ceiling.parquet")
    run_script(monkeypatch, across_subjects, aligned)
    row = pd.read_parquet(aligned / TOGETHER / "scores.parquet").set_index(["layer_choice", "layer", "roi"])
    first, second = (own.loc[("each", 0, "V1v"), "r"] for own in own_tables(aligned))
    assert row.loc[("each", 0, "V1v"), "cross_subject_r"] == pytest.approx(0.65)
    assert row.loc[("each", 0, "V1v"), "r_over_cross_subject_r"] == pytest.approx((first / 0.5 + second / 0.8) / 2)
    assert row.loc[("each", 0, "V1v"), "predicted_from"] == "2; 1"


def test_the_ceiling_of_z_scored_betas_does_not_stand_beside_the_studys_own_scores(
    two_brains, monkeypatch, tmp_path, capsys
):
    base_dir = shutil.copytree(two_brains, tmp_path / "nsd")
    write_states(base_dir)
    for subject in SUBJECTS:
        align(monkeypatch, base_dir, "-s", subject, "--bootstrap", 0, "--protocol", "paper")
    for more, beside in (((), False), (("--no-zscore-sessions",), True)):
        run_script(monkeypatch, cross_subject_ceiling, base_dir, "-g", "cpu", "-s", 1, 2, "--num-alphas", 8, *more)
        capsys.readouterr()
        run_script(monkeypatch, across_subjects, base_dir, "--protocol", "paper")
        said = "cross_subject_ceiling.py was run with zscore_sessions = True, align_model.py with False"
        assert (said in capsys.readouterr().err) != beside
        table = pd.read_parquet(base_dir / "alignment_paper/across_subjects/scores.parquet")
        assert table[["cross_subject_r", "predicted_from"]].notna().any(axis=None) == beside


def test_models_that_were_aligned_on_other_sessions_of_a_subject_are_not_compared(aligned, monkeypatch):
    states = aligned / "image_embeddings/no_prompt"
    shutil.copytree(states / "test_two-layers", states / "test_other")
    for subject in SUBJECTS:
        align(monkeypatch, aligned, "-s", subject, "--bootstrap", 0, "-m", "test/other", "--sessions", 1, 2)
    with pytest.raises(InputError, match="vision and test/other vision were scored on different responses"):
        run_script(monkeypatch, across_subjects, aligned)
    assert not (aligned / TOGETHER).exists()
    run_script(monkeypatch, across_subjects, aligned, "-m", "test/other")


def test_brains_one_at_a_time_predict_less_than_together_and_the_table_says_which(monkeypatch, tmp_path):
    """Two others with the same signal and noise of their own: together they have half as much noise."""
    rng = np.random.default_rng(3)

    def signals(pictures):
        return {source: rng.standard_normal((len(pictures), 3)) for source in ("early", "late")}

    regions = (Region("prf-visualrois", "V1v", 6, "early", 0.5),)
    recipe = Recipe(subjects=(1, 2, 5), regions=regions, n_shared=150, n_unique=10, n_sessions=6, image_size=8)
    write_dataset(tmp_path, signals, recipe)
    found = {}
    for source in cross_subject_ceiling.SOURCES:
        flags = ("-g", "cpu", "-s", 1, 2, 5, "--num-alphas", 8, "--predict-from", source)
        run_script(monkeypatch, cross_subject_ceiling, tmp_path, *flags)
        found[source] = (
            pd.read_parquet(tmp_path / TOGETHER / "cross_subject_ceiling.parquet").set_index("roi").loc["V1v"]
        )
    assert found["together"]["predicted_from"].tolist() == ["2 5", "1 5", "1 2"]
    assert found["each"]["predicted_from"].tolist() == ["each of 2 5", "each of 1 5", "each of 1 2"]
    assert (found["each"]["cross_subject_r"] > 0.2).all()
    assert found["together"]["cross_subject_r"].mean() > found["each"]["cross_subject_r"].mean() + 0.02
