import shutil

import nibabel
import numpy as np
import pandas as pd
import pytest
from two_layers import FOLDER, align, read_scores

from brain_activity_prediction.datasets.nsd.nsd import find_nsd
from brain_activity_prediction.demo.dataset import AFFINE
from brain_activity_prediction.encoding.scores.score_store import QUANTITIES, ScoreStore
from brain_activity_prediction.encoding.tables.region_table import COLUMNS
from brain_activity_prediction.runtime.errors import InputError

pytestmark = pytest.mark.slow


def test_the_table_is_tidy_and_the_same_in_both_formats(ready, monkeypatch):
    align(monkeypatch, ready)
    csv, parquet = pd.read_csv(ready / FOLDER / "scores.csv"), pd.read_parquet(ready / FOLDER / "scores.parquet")
    assert tuple(csv.columns) == COLUMNS == tuple(parquet.columns)
    pd.testing.assert_frame_equal(csv, parquet, check_dtype=False)
    assert not csv.duplicated(["stream", "layer_choice", "layer", "roi"]).any()
    assert csv["layer_choice"].unique().tolist() == ["each", "best_per_voxel", "average", "best_per_region"]
    assert read_scores(ready)["layer_position"].unique().tolist() == [0, 1]
    assert csv["prompt"].isna().all()


def test_each_table_printed_says_whose_it_is_and_low_ceilings_are_said_once(ready, monkeypatch, capsys):
    states = ready / "image_embeddings"
    for folder in ("prompt_1", "prompt_2"):
        shutil.copytree(states / "no_prompt/test_two-layers", states / folder / "test_talks")
    align(monkeypatch, ready, "-m", "test/talks", "-p", "1-2", "--min-noise-ceiling", 0.6)
    said = capsys.readouterr()
    for prompt in (1, 2):
        assert f"test/talks, prompt {prompt}, subject 1, layers: best_per_region\n" in said.out
    assert said.err.count("their noise ceiling is below 0.6") == 1


def test_region_scores_are_means_over_the_regions_voxels(ready, monkeypatch):
    align(monkeypatch, ready)
    table = read_scores(ready).set_index(["layer", "roi"])
    scores = ScoreStore(ready / FOLDER).read("vision", 1)
    assert table.loc[(1, "nsdgeneral"), "n_voxels"] == len(scores["r"])
    for name in ("r", "r2", "cv_score"):
        assert table.loc[(1, "nsdgeneral"), name] == pytest.approx(scores[name].mean(dtype=np.float64), rel=1e-6)
    assert table.loc[(1, "nsdgeneral"), "alpha_median"] == pytest.approx(np.median(scores["alpha"]), rel=1e-6)


def test_normalised_scores_are_means_over_voxels_above_the_ceiling_asked_for(ready, monkeypatch):
    align(monkeypatch, ready, "--min-noise-ceiling", 0.6)
    table = read_scores(ready).set_index(["layer", "roi"])
    results = ScoreStore(ready / FOLDER)
    scores, ceiling = results.read("vision", 1), results.read_noise_ceiling().astype(float)
    row, above = table.loc[(1, "nsdgeneral")], ceiling >= 0.6
    assert 0 < above.sum() < len(above)
    assert row["n_voxels_normalised"] == above.sum()
    assert row["n_voxels"] == len(above)
    assert row["noise_ceiling"] == pytest.approx(np.median(ceiling))
    assert row["r_normalised"] == pytest.approx((scores["r"][above] / np.sqrt(ceiling[above])).mean())
    assert row["r2_normalised"] == pytest.approx((scores["r2"][above] / ceiling[above]).mean())
    written = nibabel.load(ready / FOLDER / "maps" / "noise_ceiling.nii.gz").get_fdata()
    inside = nibabel.load(find_nsd(ready).nsdgeneral(1)).get_fdata() == 1
    np.testing.assert_array_equal(written[inside], ceiling)
    assert np.isnan(written[~inside]).all()


def test_ceilings_from_nsds_own_file_replace_computed_ones_without_a_new_fit(ready, monkeypatch, capsys):
    align(monkeypatch, ready)
    before = read_scores(ready)
    align(monkeypatch, ready, "--ncsnr", "nsd")
    assert "2 layers were scored before, 0 are left" in capsys.readouterr().err
    after = read_scores(ready)
    pd.testing.assert_frame_equal(before.loc[:, :"alpha_median"], after.loc[:, :"alpha_median"])
    assert (set(before["ncsnr"]), set(after["ncsnr"])) == ({"computed"}, {"nsd"})
    ceilings = after.set_index(["layer", "roi"])["noise_ceiling"]
    assert ceilings[(0, "V1v")] == pytest.approx(1 / (1 + 1 / 3), abs=1e-5)  # planted snr 1, three repeats
    assert ceilings[(0, "RSC")] == 0
    assert after.set_index("roi").loc["RSC", "n_voxels_normalised"].tolist() == [0, 0]
    assert after.set_index("roi").loc["RSC", "r_normalised"].isna().all()
    find_nsd(ready).ncsnr_file(1).unlink()
    with pytest.raises(InputError, match="no ncsnr file"):
        align(monkeypatch, ready, "--ncsnr", "nsd")


def test_regions_that_are_predicted_are_significant_and_the_region_of_noise_is_not(ready, monkeypatch, capsys):
    align(monkeypatch, ready)
    assert read_scores(ready)[["p", "q"]].isna().all(axis=None)
    assert not (ready / FOLDER / "maps/vision_best_layer_p.nii.gz").exists()
    scores = ScoreStore(ready / FOLDER).read("vision", 0)
    capsys.readouterr()
    align(monkeypatch, ready, "--permutations", 199)
    assert "were scored before" not in capsys.readouterr().err
    np.testing.assert_array_equal(ScoreStore(ready / FOLDER).read("vision", 0)["r"], scores["r"])
    table = read_scores(ready).set_index(["layer", "roi"])
    planted = [(0, "V1v"), (0, "V1d"), (1, "FFA-1"), (1, "PPA")]
    assert (table.loc[planted, "q"] < 0.05).all()
    assert (table.loc[[(0, "RSC"), (1, "RSC")], "p"] > 0.05).all()
    assert (table["q"] >= table["p"]).all()
    test = ScoreStore(ready / FOLDER).read_statistics("vision", 0)
    assert test.p[scores["r"] > 0.8].max() < 0.05
    assert np.isfinite(nibabel.load(ready / FOLDER / "maps/vision_best_layer_p.nii.gz").get_fdata()).sum() == len(
        test.p
    )
    for flags in ([], ["--permutations", 199]):
        align(monkeypatch, ready, *flags)
        assert "2 layers were scored before, 0 are left" in capsys.readouterr().err
        assert read_scores(ready)["p"].notna().all()


def test_where_no_ceiling_is_known_scores_stand_and_a_line_says_so(ready, monkeypatch, capsys):
    nothing = np.full(nibabel.load(find_nsd(ready).ncsnr_file(1)).shape, np.nan, np.float32)
    nibabel.save(nibabel.Nifti1Image(nothing, AFFINE), find_nsd(ready).ncsnr_file(1))
    align(monkeypatch, ready, "--ncsnr", "nsd")
    assert "no noise ceiling and no normalised scores: the dataset's own ncsnr is NaN" in capsys.readouterr().err
    table = read_scores(ready)
    assert np.isfinite(table["r"]).all()
    assert table[["noise_ceiling", "r_normalised", "r2_normalised"]].isna().all(axis=None)
    assert not table["n_voxels_normalised"].any()


def test_maps_have_the_subjects_affine_the_voxels_scores_and_nan_outside(ready, monkeypatch):
    align(monkeypatch, ready)
    mask = nibabel.load(find_nsd(ready).nsdgeneral(1))
    inside = mask.get_fdata() == 1
    results = ScoreStore(ready / FOLDER)
    by_layer = [results.read("vision", layer) for layer in (0, 1)]
    best = np.argmax([scores["cv_score"] for scores in by_layer], axis=0)
    for name in QUANTITIES:
        image = nibabel.load(ready / FOLDER / "maps" / f"vision_best_layer_{name}.nii.gz")
        np.testing.assert_array_equal(image.affine, mask.affine)
        values = image.get_fdata(dtype=np.float32)
        assert np.isnan(values[~inside]).all()
        np.testing.assert_array_equal(values[inside], np.choose(best, [scores[name] for scores in by_layer]))
    layers = nibabel.load(ready / FOLDER / "maps" / "vision_best_layer.nii.gz").get_fdata()
    np.testing.assert_array_equal(layers[inside], best)


@pytest.mark.usefixtures("drawn_layer_figures")
def test_the_picture_is_drawn(ready, monkeypatch):
    align(monkeypatch, ready)
    assert (ready / FOLDER / "layers.png").read_bytes().startswith(b"\x89PNG")


def test_a_voxel_of_nan_is_left_out_of_its_region_and_harms_no_other(ready, monkeypatch):
    layout = find_nsd(ready)
    align(monkeypatch, ready)
    before = read_scores(ready).set_index(["layer", "roi"])
    voxel = tuple(np.argwhere(nibabel.load(layout.nsdgeneral(1)).get_fdata() == 1)[0])
    for session in layout.sessions(1):
        path = layout.betas(1, session)
        image = nibabel.load(path)
        betas = np.asarray(image.dataobj).astype(np.float32) / 300
        betas[voxel] = np.nan
        nibabel.save(nibabel.Nifti1Image(betas, image.affine), path)
    align(monkeypatch, ready, "--redo")
    after = read_scores(ready).set_index(["layer", "roi"])
    assert after.loc[(0, "nsdgeneral"), "n_voxels"] == before.loc[(0, "nsdgeneral"), "n_voxels"] - 1
    assert after.loc[(0, "FFA-1"), "r"] == pytest.approx(before.loc[(0, "FFA-1"), "r"], abs=1e-5)
    assert np.isfinite(after["r"]).all()


def test_how_many_voxels_chose_an_end_of_the_grid_is_said(ready, monkeypatch, capsys):
    align(monkeypatch, ready, "--num-alphas", 1, "--max-log-10-alpha", 1)
    n_voxels = len(ScoreStore(ready / FOLDER).read("vision", 0)["r"])
    assert f"of {2 * n_voxels} alphas (voxels x layers) {2 * n_voxels} are the smallest" in capsys.readouterr().err
