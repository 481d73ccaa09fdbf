import os
import shutil

import nibabel
import numpy as np
import pandas as pd
import pytest
from two_layers import FOLDER, align, read_scores, write_states

from brain_activity_prediction.datasets.nsd.design import read_design
from brain_activity_prediction.datasets.nsd.nsd import find_nsd
from brain_activity_prediction.encoding import encode
from brain_activity_prediction.encoding.scores.score_store import QUANTITIES, ScoreStore
from brain_activity_prediction.ridge.ridge_cv import ridge_cv
from brain_activity_prediction.runtime.errors import Damaged, InputError
from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore

pytestmark = pytest.mark.slow


def test_each_region_is_best_predicted_by_the_layer_that_drives_it(ready, monkeypatch):
    align(monkeypatch, ready)
    best = read_scores(ready, "best_per_region").set_index("roi")["layer"]
    assert best[["V1v", "V1d", "V2v"]].tolist() == [0, 0, 0]
    assert best[["hV4", "FFA-1", "PPA"]].tolist() == [1, 1, 1]


def test_a_second_run_fits_only_the_layers_that_are_missing(ready, monkeypatch, capsys):
    align(monkeypatch, ready)
    first = read_scores(ready)
    kept, lost = sorted((ready / FOLDER / "voxels").iterdir())
    kept_at = kept.stat().st_mtime_ns
    lost.unlink()
    capsys.readouterr()
    align(monkeypatch, ready)
    assert "1 layer was scored before, 1 is left" in capsys.readouterr().err
    assert kept.stat().st_mtime_ns == kept_at
    pd.testing.assert_frame_equal(read_scores(ready), first)


def test_a_damaged_layer_is_named_and_fitted_again_and_no_other(ready, monkeypatch, capsys):
    align(monkeypatch, ready)
    before = [ScoreStore(ready / FOLDER).read("vision", layer) for layer in (0, 1)]
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
    assert "1 layer was scored before, 1 is left" in said
    assert kept.stat().st_mtime_ns == kept_at
    for layer in (0, 1):
        for name, values in ScoreStore(ready / FOLDER).read("vision", layer).items():
            np.testing.assert_array_equal(values, before[layer][name])


@pytest.mark.parametrize("n_bytes", [0, 100, 5000])
def test_a_layer_that_is_cut_anywhere_is_fitted_again_by_the_same_command(ready, monkeypatch, capsys, n_bytes):
    align(monkeypatch, ready, "--bootstrap", 20)
    before = read_scores(ready)
    for path in (ready / FOLDER).glob("*/vision*.h5"):
        os.truncate(path, n_bytes)
    capsys.readouterr()
    align(monkeypatch, ready, "--bootstrap", 20)
    said = capsys.readouterr().err
    assert all(name in said for name in ("vision_layer_00.h5", "vision_layer_01.h5", "vision.h5"))
    pd.testing.assert_frame_equal(read_scores(ready), before)


def test_scores_of_another_subject_are_never_read_as_this_ones(ready, monkeypatch, capsys):
    """Files of subject 2 are put over those of subject 1, whose voxels are as many."""
    for subject in (1, 2):
        align(monkeypatch, ready, "-s", subject, "--bootstrap", 20)
    other = ready / FOLDER.replace("subj01", "subj02")
    before, names = read_scores(ready), ["voxels/vision_layer_00.h5", "best_layers/vision.h5", "noise_ceiling.h5"]
    for name in names:
        shutil.copy(other / name, ready / FOLDER / name)
    results = ScoreStore(ready / FOLDER)
    for read in (lambda: results.read("vision", 0), results.layers, results.read_noise_ceiling):
        with pytest.raises(Damaged, match="it was made with subject = 2, but its folder has 1"):
            read()
    capsys.readouterr()
    align(monkeypatch, ready, "--bootstrap", 20)
    said = capsys.readouterr().err
    assert all(name.split("/")[1] in said for name in names[:2])
    pd.testing.assert_frame_equal(read_scores(ready), before)


def test_layers_can_be_chosen(ready, monkeypatch):
    align(monkeypatch, ready, "-l", 1)
    assert read_scores(ready)["layer"].unique().tolist() == [1]
    with pytest.raises(InputError, match="has no layer 2: vision has 0 to 1"):
        align(monkeypatch, ready, "-l", 2)


def test_other_settings_are_refused_by_name_and_redo_replaces(ready, monkeypatch):
    align(monkeypatch, ready)
    with pytest.raises(InputError, match="num_alphas = 60, but this run has 7"):
        align(monkeypatch, ready, "--num-alphas", 7)
    align(monkeypatch, ready, "--num-alphas", 7, "--redo")
    assert set(np.unique(ScoreStore(ready / FOLDER).read("vision", 0)["alpha"])) <= set(
        np.logspace(1, 4, 7, dtype=np.float32)
    )


def test_single_trials_score_as_averages_do_under_a_penalty_for_each_trial(ready, monkeypatch, capsys):
    """With three trials of every image, the sum of squares over trials is three times that over averages."""
    one = ("--num-alphas", 1, "--bootstrap", 0)
    align(monkeypatch, ready, *one, "--min-log-10-alpha", 1, "--max-log-10-alpha", 1)
    average = read_scores(ready)
    with pytest.raises(InputError, match="trials = average, but this run has single"):
        align(monkeypatch, ready, *one, "--trials", "single", "--min-log-10-alpha", 1, "--max-log-10-alpha", 1)
    exponent = np.log10(30)
    words = ("--trials", "single", "--min-log-10-alpha", exponent, "--max-log-10-alpha", exponent, "--redo")
    align(monkeypatch, ready, *one, *words)
    single = read_scores(ready)
    np.testing.assert_allclose(single["r"], average["r"], rtol=1e-4)
    assert (single["n_train"] == 28).all()
    assert (single["cv_score"] < average["cv_score"])[single["roi"].isin(["V1v", "hV4"])].all()  # trials are noisier
    assert "28 training images in 84 single trials, 12 test images of 3.00 trials" in capsys.readouterr().err


def test_the_two_layouts_and_formats_give_identical_scores(own_nsd, flat_nsd, monkeypatch):
    for folder in (own_nsd, flat_nsd):
        write_states(folder)
        align(monkeypatch, folder)
    for layer in (0, 1):
        scores = [ScoreStore(folder / FOLDER).read("vision", layer) for folder in (own_nsd, flat_nsd)]
        for name in QUANTITIES:
            np.testing.assert_array_equal(scores[0][name], scores[1][name])


def test_test_images_never_touch_what_is_fitted(ready, monkeypatch):
    """Scaling responses and states of the shared images changes no alpha and no cross-validated score."""
    align(monkeypatch, ready)
    before = ScoreStore(ready / FOLDER).read("vision", 0)
    store = EmbeddingStore(ready / "image_embeddings/no_prompt/test_two-layers")
    ids = store.image_ids(["vision"])
    shared = np.isin(ids, read_design(find_nsd(ready).design()).shared_ids)
    states = np.stack([store.read_layer("vision", layer, ids) for layer in (0, 1)], axis=1)
    states[shared] *= 1000
    next(store.folder.glob("batch_*")).unlink()
    store.write(ids, {"vision": states})
    align(monkeypatch, ready, "--redo")
    after = ScoreStore(ready / FOLDER).read("vision", 0)
    for name in ("alpha", "cv_score"):
        np.testing.assert_array_equal(after[name], before[name])
    assert not np.array_equal(after["r2"], before["r2"])


def test_features_that_never_vary_change_no_score_and_are_not_fitted(own_nsd, monkeypatch):
    fitted_on = []

    def noting(train, *rest, **named):
        fitted_on.append(train.shape[1])
        return ridge_cv(train, *rest, **named)

    monkeypatch.setattr(encode, "ridge_cv", noting)
    store = write_states(own_nsd)
    align(monkeypatch, own_nsd)
    narrow = [ScoreStore(own_nsd / FOLDER).read("vision", layer)["r"] for layer in (0, 1)]
    ids = store.image_ids(["vision"])
    states = np.stack([store.read_layer("vision", layer, ids) for layer in (0, 1)], axis=1)
    for path in store.folder.glob("batch_*"):
        path.unlink()
    store.write(ids, {"vision": np.pad(states, ((0, 0), (0, 0), (3, 40)))})
    align(monkeypatch, own_nsd, "--redo")
    assert fitted_on == [5, 5, 5, 5]
    for layer in (0, 1):
        np.testing.assert_allclose(ScoreStore(own_nsd / FOLDER).read("vision", layer)["r"], narrow[layer], atol=1e-5)


def test_scores_of_other_betas_are_never_kept_as_those_of_these(ready, monkeypatch):
    align(monkeypatch, ready)
    path = find_nsd(ready).betas(1, 2)
    image = nibabel.load(path)
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj)[..., ::-1], image.affine), path)
    with pytest.raises(InputError, match="other betas of session 2"):
        align(monkeypatch, ready)


def test_states_that_lack_images_are_counted_before_any_fit(own_nsd, monkeypatch):
    store = write_states(own_nsd)
    ids = store.image_ids(["vision"])
    states = np.stack([store.read_layer("vision", layer, ids) for layer in (0, 1)], axis=1)
    next(store.folder.glob("batch_*")).unlink()
    store.write(ids[3:], {"vision": states[3:]})
    subject = read_design(find_nsd(own_nsd).design()).image_ids(1)
    n_missing = np.isin(ids[:3], subject).sum()
    with pytest.raises(InputError, match=f"^no vision states for {n_missing} of 40 images .* run the extraction again"):
        align(monkeypatch, own_nsd)


def test_a_prompt_that_was_not_extracted_is_not_passed_over(own_nsd, monkeypatch):
    write_states(own_nsd, settings={"template": "USER: {prompt}"})
    with pytest.raises(InputError, match="under prompt 3"):
        align(monkeypatch, own_nsd, "-p", "3")
    align(monkeypatch, own_nsd, "-p", "3", "--stream", "vision")


def test_states_of_another_wording_are_not_taken_for_those_of_this_prompt(own_nsd, monkeypatch, tmp_path):
    ids = write_states(own_nsd).image_ids(["vision"])
    store = EmbeddingStore(own_nsd / "image_embeddings/prompt_3/test_two-layers")
    store.claim({"template": "{prompt}", "prompt": "Que voit-on ?"})
    store.write(ids, {"language": np.random.default_rng(0).standard_normal((len(ids), 1, 3))})
    with pytest.raises(InputError, match=r"of prompt 3 were computed with the text 'Que voit-on \?'"):
        align(monkeypatch, own_nsd, "-p", "3")
    (tmp_path / "own.yml").write_text("3: Que voit-on ?")
    align(monkeypatch, own_nsd, "-p", "3", "--prompts-file", tmp_path / "own.yml")
