import re
import subprocess
import sys

import nibabel
import numpy as np
import pandas as pd
import pytest
from conftest import simple_signals
from scripts import ALIGN

from brain_activity_prediction.align_image_embeddings import align_model, fitting
from brain_activity_prediction.align_image_embeddings.results import QUANTITIES, Results
from brain_activity_prediction.align_image_embeddings.tables import COLUMNS
from brain_activity_prediction.align_image_embeddings.targets import read_targets, standardise
from brain_activity_prediction.embedding_store import EmbeddingStore
from brain_activity_prediction.errors import InputError
from brain_activity_prediction.nsd.design import read_design
from brain_activity_prediction.nsd.layout import find_layout
from brain_activity_prediction.nsd.stimuli import Stimuli

MODEL = "test/two-layers"
FOLDER = "alignment/subj01/no_prompt/test_two-layers"


def write_states(base_dir, seed=0, settings=None):
    """States of a model whose layer 0 holds what drives the early voxels and layer 1 what drives the late ones."""
    layout = find_layout(base_dir)
    design = read_design(layout.design())
    seen = np.unique([design.image_ids(subject) for subject in (1, 2)])
    with Stimuli(layout.stimuli()) as stimuli:
        signals = simple_signals(np.stack([np.asarray(image) for image in stimuli.images(seen)]))
    noise = np.random.default_rng(seed).standard_normal((len(seen), 2, 2))
    layers = np.stack([signals["early"], signals["late"]], axis=1)
    store = EmbeddingStore(base_dir / "image_embeddings/no_prompt/test_two-layers")
    store.claim(settings or {"template": None})
    store.write(seen, {"vision": np.concatenate([layers, noise], axis=2).astype(np.float32)})
    return store


def align(monkeypatch, base_dir, *more):
    monkeypatch.setattr("sys.argv", ["align_model.py", "-d", str(base_dir), "-g", "cpu", "-m", MODEL, *map(str, more)])
    align_model.main()


def read_scores(base_dir, layer_choice="each"):
    """The rows of one choice of layers, `layer` a whole number."""
    table = pd.read_csv(base_dir / FOLDER / "scores.csv", dtype={"layer": "Int64"})
    return table[table["layer_choice"] == layer_choice].reset_index(drop=True)


@pytest.fixture
def ready(own_nsd):
    write_states(own_nsd)
    return own_nsd


def test_each_region_is_best_predicted_by_the_layer_that_drives_it(ready, monkeypatch):
    align(monkeypatch, ready)
    best = read_scores(ready, "best_per_region").set_index("roi")["layer"]
    assert best[["V1v", "V1d", "V2v"]].tolist() == [0, 0, 0]
    assert best[["hV4", "FFA-1", "PPA"]].tolist() == [1, 1, 1]


def test_the_table_is_tidy_and_the_same_in_both_formats(ready, monkeypatch):
    align(monkeypatch, ready)
    csv, parquet = pd.read_csv(ready / FOLDER / "scores.csv"), pd.read_parquet(ready / FOLDER / "scores.parquet")
    assert tuple(csv.columns) == COLUMNS == tuple(parquet.columns)
    pd.testing.assert_frame_equal(csv, parquet, check_dtype=False)
    assert not csv.duplicated(["stream", "layer_choice", "layer", "roi"]).any()
    assert csv["layer_choice"].unique().tolist() == ["each", "best_per_voxel", "average", "best_per_region"]
    assert read_scores(ready)["layer_position"].unique().tolist() == [0, 1]
    assert csv["prompt"].isna().all()


def test_region_scores_are_means_over_the_regions_voxels(ready, monkeypatch):
    align(monkeypatch, ready)
    table = read_scores(ready).set_index(["layer", "roi"])
    scores = Results(ready / FOLDER).read("vision", 1)
    assert table.loc[(1, "nsdgeneral"), "n_voxels"] == len(scores["r"])
    for name in ("r", "r2", "cv_score"):
        assert table.loc[(1, "nsdgeneral"), name] == pytest.approx(scores[name].mean(dtype=np.float64), rel=1e-6)
    assert table.loc[(1, "nsdgeneral"), "alpha_median"] == pytest.approx(np.median(scores["alpha"]), rel=1e-6)


def test_normalised_scores_are_means_over_voxels_above_the_ceiling_asked_for(ready, monkeypatch):
    align(monkeypatch, ready, "--min-noise-ceiling", 0.6)
    table = read_scores(ready).set_index(["layer", "roi"])
    results = Results(ready / FOLDER)
    scores, ceiling = results.read("vision", 1), results.read_noise_ceiling().astype(float)
    row, above = table.loc[(1, "nsdgeneral")], ceiling >= 0.6
    assert 0 < above.sum() < len(above)
    assert row["n_voxels_normalised"] == above.sum()
    assert row["n_voxels"] == len(above)
    assert row["noise_ceiling"] == pytest.approx(np.median(ceiling))
    assert row["r_normalised"] == pytest.approx((scores["r"][above] / np.sqrt(ceiling[above])).mean())
    assert row["r2_normalised"] == pytest.approx((scores["r2"][above] / ceiling[above]).mean())
    written = nibabel.load(ready / FOLDER / "maps" / "noise_ceiling.nii.gz").get_fdata()
    inside = nibabel.load(find_layout(ready).nsdgeneral(1)).get_fdata() == 1
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
    find_layout(ready).ncsnr(1).unlink()
    with pytest.raises(InputError, match="no ncsnr file"):
        align(monkeypatch, ready, "--ncsnr", "nsd")


def test_regions_that_are_predicted_are_significant_and_the_region_of_noise_is_not(ready, monkeypatch, capsys):
    align(monkeypatch, ready)
    assert read_scores(ready)[["p", "q"]].isna().all(axis=None)
    assert not (ready / FOLDER / "maps/vision_best_layer_p.nii.gz").exists()
    scores = Results(ready / FOLDER).read("vision", 0)
    capsys.readouterr()
    align(monkeypatch, ready, "--permutations", 199)
    assert "were scored before" not in capsys.readouterr().err
    np.testing.assert_array_equal(Results(ready / FOLDER).read("vision", 0)["r"], scores["r"])
    table = read_scores(ready).set_index(["layer", "roi"])
    planted = [(0, "V1v"), (0, "V1d"), (1, "FFA-1"), (1, "PPA")]
    assert (table.loc[planted, "q"] < 0.05).all()
    assert (table.loc[[(0, "RSC"), (1, "RSC")], "p"] > 0.05).all()
    assert (table["q"] >= table["p"]).all()
    test = Results(ready / FOLDER).read_statistics("vision", 0)
    assert test.p[scores["r"] > 0.8].max() < 0.05
    assert np.isfinite(nibabel.load(ready / FOLDER / "maps/vision_best_layer_p.nii.gz").get_fdata()).sum() == len(
        test.p
    )
    for flags in ([], ["--permutations", 199]):
        align(monkeypatch, ready, *flags)
        assert "2 layers were scored before, 0 are left" in capsys.readouterr().err
        assert read_scores(ready)["p"].notna().all()


def test_where_no_ceiling_is_known_scores_stand_and_a_line_says_so(ready, monkeypatch, capsys):
    nothing = np.full(nibabel.load(find_layout(ready).ncsnr(1)).shape, np.nan, np.float32)
    nibabel.save(nibabel.Nifti1Image(nothing, np.eye(4)), find_layout(ready).ncsnr(1))
    align(monkeypatch, ready, "--ncsnr", "nsd")
    assert "no noise ceiling and no normalised scores: NSD's ncsnr is NaN" in capsys.readouterr().err
    table = read_scores(ready)
    assert np.isfinite(table["r"]).all()
    assert table[["noise_ceiling", "r_normalised", "r2_normalised"]].isna().all(axis=None)
    assert not table["n_voxels_normalised"].any()


def test_maps_have_the_subjects_affine_the_voxels_scores_and_nan_outside(ready, monkeypatch):
    align(monkeypatch, ready)
    mask = nibabel.load(find_layout(ready).nsdgeneral(1))
    inside = mask.get_fdata() == 1
    results = Results(ready / FOLDER)
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


def test_the_picture_is_drawn(ready, monkeypatch):
    align(monkeypatch, ready)
    assert (ready / FOLDER / "layers.png").read_bytes().startswith(b"\x89PNG")


def test_a_second_run_fits_only_the_layers_that_are_missing(ready, monkeypatch, capsys):
    align(monkeypatch, ready)
    first = read_scores(ready)
    kept, lost = sorted((ready / FOLDER / "voxels").iterdir())
    kept_at = kept.stat().st_mtime_ns
    lost.unlink()
    capsys.readouterr()
    align(monkeypatch, ready)
    assert "1 layers were scored before, 1 are left" in capsys.readouterr().err
    assert kept.stat().st_mtime_ns == kept_at
    pd.testing.assert_frame_equal(read_scores(ready), first)


def test_a_damaged_layer_is_named_and_fitted_again_and_no_other(ready, monkeypatch, capsys):
    align(monkeypatch, ready)
    before = [Results(ready / FOLDER).read("vision", layer) for layer in (0, 1)]
    kept, damaged = sorted((ready / FOLDER / "voxels").iterdir())
    kept_at = kept.stat().st_mtime_ns
    content = bytearray(damaged.read_bytes())
    content[-100] ^= 1
    damaged.write_bytes(content)
    (ready / FOLDER / "noise_ceiling.h5").write_bytes(b"")
    capsys.readouterr()
    align(monkeypatch, ready)
    said = capsys.readouterr().err
    assert f"{damaged.name} (its content does not match its checksum)" in said
    assert "1 layers were scored before, 1 are left" in said
    assert kept.stat().st_mtime_ns == kept_at
    for layer in (0, 1):
        for name, values in Results(ready / FOLDER).read("vision", layer).items():
            np.testing.assert_array_equal(values, before[layer][name])


def test_layers_can_be_chosen(ready, monkeypatch):
    align(monkeypatch, ready, "-l", 1)
    assert read_scores(ready)["layer"].unique().tolist() == [1]
    with pytest.raises(InputError, match="has no layer 2: vision has 0 to 1"):
        align(monkeypatch, ready, "-l", 2)


def test_other_settings_are_refused_by_name_and_redo_replaces(ready, monkeypatch):
    align(monkeypatch, ready)
    with pytest.raises(InputError, match="num_alphas = 60, this run has 7"):
        align(monkeypatch, ready, "--num-alphas", 7)
    align(monkeypatch, ready, "--num-alphas", 7, "--redo")
    assert set(np.unique(Results(ready / FOLDER).read("vision", 0)["alpha"])) <= set(
        np.logspace(1, 4, 7, dtype=np.float32)
    )


def test_the_two_layouts_and_formats_give_identical_scores(own_nsd, flat_nsd, monkeypatch):
    for folder in (own_nsd, flat_nsd):
        write_states(folder)
        align(monkeypatch, folder)
    for layer in (0, 1):
        scores = [Results(folder / FOLDER).read("vision", layer) for folder in (own_nsd, flat_nsd)]
        for name in QUANTITIES:
            np.testing.assert_array_equal(scores[0][name], scores[1][name])


def test_test_images_never_touch_what_is_fitted(ready, monkeypatch):
    """Scaling responses and states of the shared images changes no alpha and no cross-validated score."""
    align(monkeypatch, ready)
    before = Results(ready / FOLDER).read("vision", 0)
    store = EmbeddingStore(ready / "image_embeddings/no_prompt/test_two-layers")
    ids = store.image_ids(["vision"])
    shared = np.isin(ids, read_design(find_layout(ready).design()).shared_ids)
    states = np.stack([store.read_layer("vision", layer, ids) for layer in (0, 1)], axis=1)
    states[shared] *= 1000
    next(store.folder.glob("batch_*")).unlink()
    store.write(ids, {"vision": states})
    align(monkeypatch, ready, "--redo")
    after = Results(ready / FOLDER).read("vision", 0)
    for name in ("alpha", "cv_score"):
        np.testing.assert_array_equal(after[name], before[name])
    assert not np.array_equal(after["r2"], before["r2"])


def test_training_images_are_those_only_this_subject_saw(official_nsd, tmp_path):
    layout = find_layout(official_nsd)
    targets = read_targets(layout, 1, None, True, tmp_path, n_folds=5)
    shared = read_design(layout.design()).shared_ids
    assert set(targets.test_ids) == set(shared)
    assert not set(targets.train_ids) & set(shared)
    np.testing.assert_allclose(targets.train.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(targets.train.std(axis=0), 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("folds", "said"), [(12, "only 12 .* seen by all subjects"), (28, "only 28 .* by this subject")]
)
def test_too_few_images_for_the_folds_are_said(official_nsd, tmp_path, folds, said):
    with pytest.raises(InputError, match=said):
        read_targets(find_layout(official_nsd), 1, None, True, tmp_path, n_folds=folds)


def test_standardising_uses_training_statistics_and_makes_constants_zero():
    rng = np.random.default_rng(0)
    train, test = rng.normal(3, 2, (50, 4)).astype(np.float32), rng.normal(3, 2, (9, 4)).astype(np.float32)
    train[:, 1] = 0.1
    mean, sd = train.astype(np.float64).mean(axis=0), train.astype(np.float64).std(axis=0)
    columns = [0, 2, 3]
    expected = (test - mean)[:, columns] / sd[columns]
    scaled_train, scaled_test = standardise(train.copy(), test.copy())
    np.testing.assert_allclose(scaled_test[:, columns], expected, rtol=1e-4, atol=1e-5)
    assert not scaled_train[:, 1].any()
    assert not scaled_test[:, 1].any()


def test_features_that_never_vary_change_no_score_and_are_not_fitted(own_nsd, monkeypatch):
    fitted_on = []
    score_layer = fitting.score_layer
    monkeypatch.setattr(
        fitting, "score_layer", lambda train, *rest: fitted_on.append(train.shape[1]) or score_layer(train, *rest)
    )
    store = write_states(own_nsd)
    align(monkeypatch, own_nsd)
    narrow = [Results(own_nsd / FOLDER).read("vision", layer)["r"] for layer in (0, 1)]
    ids = store.image_ids(["vision"])
    states = np.stack([store.read_layer("vision", layer, ids) for layer in (0, 1)], axis=1)
    for path in store.folder.glob("batch_*"):
        path.unlink()
    store.write(ids, {"vision": np.pad(states, ((0, 0), (0, 0), (3, 40)))})
    align(monkeypatch, own_nsd, "--redo")
    assert fitted_on == [5, 5, 5, 5]
    for layer in (0, 1):
        np.testing.assert_allclose(Results(own_nsd / FOLDER).read("vision", layer)["r"], narrow[layer], atol=1e-5)


def test_scores_of_other_betas_are_never_kept_as_those_of_these(ready, monkeypatch):
    align(monkeypatch, ready)
    path = find_layout(ready).betas(1, 2)
    image = nibabel.load(path)
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj)[..., ::-1], image.affine), path)
    with pytest.raises(InputError, match="responses = "):
        align(monkeypatch, ready)


def test_a_voxel_of_nan_is_left_out_of_its_region_and_harms_no_other(ready, monkeypatch):
    layout = find_layout(ready)
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
    n_voxels = len(Results(ready / FOLDER).read("vision", 0)["r"])
    assert f"of {2 * n_voxels} alphas (voxels x layers) {2 * n_voxels} are the smallest" in capsys.readouterr().err


def test_states_that_lack_images_are_counted_before_any_fit(own_nsd, monkeypatch):
    store = write_states(own_nsd)
    ids = store.image_ids(["vision"])
    states = np.stack([store.read_layer("vision", layer, ids) for layer in (0, 1)], axis=1)
    next(store.folder.glob("batch_*")).unlink()
    store.write(ids[3:], {"vision": states[3:]})
    subject = read_design(find_layout(own_nsd).design()).image_ids(1)
    n_missing = np.isin(ids[:3], subject).sum()
    with pytest.raises(
        InputError, match=f"^{n_missing} of 40 images have no vision states .* run the extraction again"
    ):
        align(monkeypatch, own_nsd)


def test_a_prompt_that_was_not_extracted_is_not_passed_over(own_nsd, monkeypatch):
    write_states(own_nsd, settings={"template": "USER: {prompt}"})
    with pytest.raises(InputError, match="under prompt 3"):
        align(monkeypatch, own_nsd, "-p", "3")
    align(monkeypatch, own_nsd, "-p", "3", "--stream", "vision")


def test_states_of_another_wording_are_not_taken_for_those_of_this_prompt(own_nsd, monkeypatch, tmp_path):
    write_states(own_nsd)
    store = EmbeddingStore(own_nsd / "image_embeddings/prompt_3/test_two-layers")
    store.claim({"template": "{prompt}", "prompt": "Que voit-on ?"})
    with pytest.raises(InputError, match=r"under prompt 3 were made with 'Que voit-on \?'"):
        align(monkeypatch, own_nsd, "-p", "3")
    (tmp_path / "own.yml").write_text("3: Que voit-on ?")
    align(monkeypatch, own_nsd, "-p", "3", "--prompts-file", tmp_path / "own.yml")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["-m", "org/other"], "no hidden states of org/other"),
        (["-m", "../../x"], "not a model id"),
        (["--sessions", "9"], "session"),
        (["-s", "7"], "subject 7 has no betas"),
        (["-g", "640"], "GPU 640"),
        (["--min-log-10-alpha", "5"], "--min-log-10-alpha"),
        (["--roi", "no-such-roi"], "no-such-roi"),
        (["--num-alphas", "0"], "--num-alphas"),
        (["--min-noise-ceiling", "nan"], "--min-noise-ceiling"),
    ],
)
def test_bad_input_is_one_line_and_status_2(flags, said, ready):
    done = subprocess.run(
        [sys.executable, ALIGN, "-d", ready, "-g", "cpu", "-m", MODEL, *flags],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert said in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_help_lists_every_flag_without_importing_torch_or_pandas():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", ALIGN, "--help"], capture_output=True, text=True, check=True
    )
    for flag in ("--model-id", "--prompt-number", "--max-log-10-alpha", "--num-alphas", "--layer-number", "--gpu-id"):
        assert flag in done.stdout
    assert not re.search(r"\| +(torch|pandas|scipy|sklearn|matplotlib|nibabel)$", done.stderr, re.MULTILINE)
