"""Models of NSD's core are scored on NSD-synthetic, whose pixels are linear in light, by class and subclass."""

import contextlib
from collections import Counter

import nibabel
import numpy as np
import pandas as pd
import pytest
import synthetic_tree
from mean_colours import MODEL, colours, expected, extract
from scipy.io import savemat
from scipy.stats import pearsonr, zscore

from brain_activity_prediction.align_image_embeddings import align_model
from brain_activity_prediction.check_data import check_data
from brain_activity_prediction.datasets.dataset import Reading
from brain_activity_prediction.datasets.find import find_dataset
from brain_activity_prediction.datasets.responses import ResponseChoice, prepare_responses
from brain_activity_prediction.encoding.scores.score_store import ScoreStore
from brain_activity_prediction.encoding.subject_data import read_subject_data
from brain_activity_prediction.runtime.errors import InputError

SYNTHETIC = ("--dataset", "nsd_synthetic")


def rule(base):
    """Responses that mean colours drive, in percent signal change, for the fitted voxels of subject 1."""
    n = find_dataset(base).units(1).n
    weights = np.random.default_rng(2).standard_normal((3, n))
    return lambda shown: (shown - 127.0) / 74 @ weights


def write_tree(base):
    """Write the core's betas anew and NSD-synthetic next to them, all driven by the same rule."""
    nsd, drive = find_dataset(base), rule(base)
    ids, shown = expected(base)
    mask = nsd.units(1).mask
    for session in nsd.sessions(1):
        path, rows = nsd.betas(1, session), np.searchsorted(ids, nsd.trial_ids(1, [session]))
        stored = nibabel.load(path)
        betas = np.zeros(stored.shape, np.int16)
        noise = np.random.default_rng(session).standard_normal((len(rows), np.count_nonzero(mask)))
        betas[mask] = np.rint(300 * (drive(shown[rows]) + noise)).T
        nibabel.save(nibabel.Nifti1Image(betas, stored.affine), path)
    synthetic_tree.write_session(base, mask, drive)


@pytest.fixture
def both(own_nsd):
    write_tree(own_nsd)
    return own_nsd


def align(base, monkeypatch, *more):
    words = ["-d", base, "-g", "cpu", "-m", MODEL, "--stream", "vision", "--bootstrap", 19, "--roi", "prf-visualrois"]
    monkeypatch.setattr("sys.argv", ["align_model.py", *map(str, [*words, *more])])
    align_model.main()


def single_trials(base):
    """The z-scored trials of the synthetic session, (744, V), without our reader."""
    mask = find_dataset(base).units(1).mask
    betas = np.asarray(nibabel.load(base / synthetic_tree.BETAS / "betas_nsdsynthetic.nii.gz").dataobj)
    return zscore(betas[mask].T / 300.0)


def test_the_synthetic_session_is_averaged_by_the_images_of_its_trials(both, tmp_path):
    dataset = find_dataset(both, "nsd_synthetic")
    assert dataset.sessions(1) == [1, 2, 3, 4, 5]
    assert find_dataset(both).name == "nsd"
    responses = prepare_responses(dataset, 1, cache_dir=tmp_path)
    ids, trials, order = dataset.test_images(1), single_trials(both), synthetic_tree.ordering()
    rows = np.searchsorted(responses.image_ids, ids)
    assert Counter(responses.n_repeats[rows].tolist()) == {2: 236, 4: 32, 8: 8, 10: 8}
    means = np.stack([trials[order == number].mean(axis=0) for number in range(1, 285)])
    np.testing.assert_allclose(responses.betas[rows], means, atol=1e-5)
    assert responses.split.test.tolist() == ids.tolist()
    core = prepare_responses(find_dataset(both), 1, cache_dir=tmp_path)
    assert responses.split.train.tolist() == core.split.train.tolist()


def test_networks_see_the_square_roots_of_light_in_the_central_square(both):
    dataset = find_dataset(both, "nsd_synthetic")
    ids = dataset.test_images(1)
    for chosen, wanted in ((None, synthetic_tree.seen()), ("stored", synthetic_tree.light()[:, 0, 5])):
        with dataset.reading(Reading(light=chosen)).open_images() as images:
            pictures = images.images(ids)
            assert {picture.size for picture in pictures} == {(6, 6)}
            found = [np.unique(np.asarray(picture).reshape(-1, 3), axis=0) for picture in pictures]
            np.testing.assert_array_equal(np.concatenate(found), wanted)
    with pytest.raises(InputError, match="NSD has one kind of pixels: leave out --light"):
        find_dataset(both).reading(Reading(light="stored"))


def test_its_ceilings_come_from_its_own_repeats(both, tmp_path, monkeypatch, capsys):
    """Noise variance as the authors pool it over images of unequal repeats; signal variance is the rest."""
    dataset = find_dataset(both, "nsd_synthetic")
    data = read_subject_data(dataset, 1, ResponseChoice(), tmp_path)
    trials, order = single_trials(both), synthetic_tree.ordering()
    own = [trials[order == number] for number in range(1, 285)]
    noise = sum(t.var(axis=0, ddof=1) * (len(t) - 1) for t in own) / sum(len(t) - 1 for t in own)
    signal = trials.var(axis=0, ddof=1) - noise
    ncsnr = np.sqrt(signal.clip(0) / noise)
    np.testing.assert_allclose(data.ncsnr, ncsnr, rtol=1e-3)
    monkeypatch.setattr("sys.argv", ["check_data.py", *map(str, (both, *SYNTHETIC, "--output", tmp_path / "page"))])
    with contextlib.suppress(SystemExit):
        check_data.main()
    assert f"ncsnr computed from repeats: median {np.median(ncsnr):.3f}" in capsys.readouterr().out


def test_scores_of_classes_stand_next_to_those_of_the_core(both, monkeypatch, capsys):
    extract(colours(), both, "-s", 1)
    extract(colours(), both, "-s", 1, *SYNTHETIC)
    assert "324 images, prompt 1: 40 images were done before, 284 are left" in capsys.readouterr().err
    align(both, monkeypatch)
    align(both, monkeypatch, *SYNTHETIC)
    scores = both / "alignment/nsd_synthetic/subj01/no_prompt/test_mean-colours"
    table, by_class = pd.read_csv(scores / "scores.csv"), pd.read_csv(scores / "classes.csv")
    core = pd.read_csv(both / "alignment/subj01/no_prompt/test_mean-colours/scores.csv")
    assert table["n_test"].unique() == [284]
    per_voxel, of_core = (one[one["layer_choice"] == "best_per_voxel"].set_index("roi")["r"] for one in (table, core))
    whole = by_class[by_class["kind"] == "all images"].set_index("roi")
    np.testing.assert_allclose(whole["r"], per_voxel[whole.index], rtol=1e-6)
    np.testing.assert_allclose(whole["r_trained_on"], of_core[whole.index], rtol=1e-6)
    assert per_voxel["nsdgeneral"] > 0.6
    sizes = by_class.drop_duplicates(["kind", "image_class"]).groupby("kind")["n_images"]
    assert sizes.count().to_dict() == {"all images": 1, "class": 8, "subclass": 71}
    assert set(sizes.sum()) == {284}
    assert_r_of_class(by_class, scores, both)


def assert_r_of_class(by_class, scores, base):
    """The r of one class is the mean over voxels of the correlation over its images, from the stored predictions."""
    store = ScoreStore(scores)
    trials, order = single_trials(base), synthetic_tree.ordering()
    means = np.stack([trials[order == number].mean(axis=0) for number in range(1, 285)])
    rows = np.flatnonzero(np.array(synthetic_tree.NAMES) == "class 3")
    r = np.full(means.shape[1], np.nan)
    for stream, layer, _ in store.layers():
        voxels, predicted = store.read_predictions(stream, layer)
        r[voxels] = [pearsonr(means[rows, v], predicted[rows, k])[0] for k, v in enumerate(voxels)]
    row = by_class[(by_class["image_class"] == "class 3") & (by_class["roi"] == "nsdgeneral")].squeeze()
    assert row["n_images"] == 40
    np.testing.assert_allclose(row["r"], r.mean(), atol=1e-5)


def test_states_of_other_pixels_are_not_mixed(both):
    extract(colours(), both, "-s", 1, *SYNTHETIC)
    with pytest.raises(InputError, match="states made with synthetic_light = corrected, but this run has stored"):
        extract(colours(), both, "-s", 1, *SYNTHETIC, "--light", "stored")
    with pytest.raises(InputError, match="NSD has one kind of pixels: leave out --light"):
        extract(colours(), both, "-s", 1, "--light", "stored")


EXPERIMENT, STIMULI = "nsddata/experiments/nsdsynthetic", "nsddata_stimuli/stimuli/nsdsynthetic"
WRONG = {
    "numbers from 0": (
        lambda base: savemat(
            base / EXPERIMENT / "nsdsynthetic_expdesign.mat", {"masterordering": synthetic_tree.ordering()[None] - 1.0}
        ),
        "masterordering holds values that are not whole numbers from 1",
    ),
    "no session": (
        lambda base: (base / synthetic_tree.BETAS / "betas_nsdsynthetic.nii.gz").unlink(),
        r"subject 1 has no betas: expected .*nsdsyntheticbetas_fithrf_GLMdenoise_RR/betas_nsdsynthetic.hdf5[\w .]*$",
    ),
    "a row less": (
        lambda base: _shorten(base / EXPERIMENT / "nsdsyntheticimageinformation.csv"),
        "nsdsyntheticimageinformation.csv describes 283 images instead of 284",
    ),
    "no coloured images": (
        lambda base: (base / STIMULI / "nsdsynthetic_colorstimuli_subj01.hdf5").unlink(),
        r"lacks 64 of 284 images \(first: image 73221\): expected nsdsynthetic_colorstimuli_subj01.hdf5",
    ),
    "no stimuli": (
        lambda base: (base / STIMULI / "nsdsynthetic_stimuli.hdf5").unlink(),
        "no NSD-synthetic stimuli file in the official layout: expected .*nsdsynthetic_stimuli.hdf5",
    ),
}


def _shorten(path):
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


@pytest.mark.parametrize("wrong", WRONG)
def test_files_of_nsd_synthetic_that_are_wrong_are_refused_in_one_line(wrong, both):
    spoil, said = WRONG[wrong]
    spoil(both)
    with pytest.raises(InputError, match=said) as error:
        dataset = find_dataset(both, "nsd_synthetic")
        dataset.trial_ids(1, dataset.sessions(1))
        dataset.image_classes(1)
        with dataset.open_images() as images:
            images.check(dataset.test_images(1))
    assert "\n" not in str(error.value)


def test_checking_the_data_calls_an_absent_subject_absent_and_not_wrong(both, monkeypatch, capsys):
    def page(*more):
        words = ["check_data.py", both, *SYNTHETIC, "--no-responses", *more]
        monkeypatch.setattr("sys.argv", [str(word) for word in words])
        with contextlib.suppress(SystemExit):
            check_data.main()
        return capsys.readouterr().out.splitlines()

    lines = page()
    assert "subjects with responses: 1; without responses here: 2 3 4 5 6 7 8" in lines
    assert lines[-1] == "nothing is wrong"
    wrong = page("-s", 2)
    assert "images for -s 2: " in "\n".join(wrong)
    (colours_missing, no_betas) = wrong[wrong.index("2 wrong:") + 1 :]
    assert "expected nsdsynthetic_colorstimuli_subj02.hdf5" in colours_missing
    assert "subject 2 has no betas" in no_betas


def test_the_flat_layout_has_no_synthetic_session(flat_nsd):
    with pytest.raises(InputError, match="NSD-synthetic needs the official layout of NSD, but this is the flat layout"):
        find_dataset(flat_nsd, "nsd_synthetic")
