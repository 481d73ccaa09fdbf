"""A voxel without valid data in a session has no trial there: its mean, repeats and z-scores are of the others."""

import nibabel
import numpy as np
import pytest
from scipy.io import loadmat

from brain_activity_prediction.datasets import averages, valid_trials
from brain_activity_prediction.datasets.averages import zscore_session
from brain_activity_prediction.datasets.nsd.nsd import find_nsd
from brain_activity_prediction.datasets.responses import ResponseChoice, prepare_responses
from brain_activity_prediction.encoding.subject_data import ceiling_of_test_images, read_subject_data
from brain_activity_prediction.inference.noise_ceiling import noise_ceiling

BETAS = "nsddata_betas/ppdata/subj01/func1pt8mm/betas_fithrf_GLMdenoise_RR"
FUNC = "nsddata/ppdata/subj01/func1pt8mm"
N_SESSIONS = 4
INVALID = slice(3, 9)  # voxels
ALL_INVALID = 12  # in every session
SESSION = 2


def fitted(base_dir):
    """The fitted voxels (X, Y, Z) bool."""
    return np.asarray(nibabel.load(base_dir / FUNC / "roi/nsdgeneral.nii.gz").dataobj) == 1


def change_betas(base_dir, session, change):
    """Applies `change` to the betas (n_voxels, n_trials) of a session as they are stored, and to nothing else."""
    path = base_dir / BETAS / f"betas_session{session:02d}.nii.gz"
    image = nibabel.load(path)
    volumes, mask = np.asarray(image.dataobj).copy(), fitted(base_dir)
    volumes[mask] = inside = change(volumes[mask])
    volumes = volumes if inside.dtype == volumes.dtype else np.where(mask[..., None], volumes, 0)
    nibabel.save(nibabel.Nifti1Image(volumes, image.affine), path)


def set_voxels(voxels, value):
    def change(betas):
        betas[voxels] = value
        return betas

    return change


def as_percent(base_dir):
    """Store the betas as float32 percent signal change, in which NaN can stand."""
    for session in range(1, N_SESSIONS + 1):
        path = base_dir / BETAS / f"betas_session{session:02d}.nii.gz"
        image = nibabel.load(path)
        nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj, np.float32) / 300, image.affine), path)


def write_valid(base_dir, session, invalid):
    """valid_sessionNN.nii.gz as NSD writes it, int16: 1 where a voxel is valid, 0 where it is not."""
    valid, mask = np.ones(fitted(base_dir).shape, np.int16), fitted(base_dir)
    inside = valid[mask]
    inside[invalid] = 0
    valid[mask] = inside
    affine = nibabel.load(base_dir / FUNC / "roi/nsdgeneral.nii.gz").affine
    nibabel.save(nibabel.Nifti1Image(valid, affine), base_dir / FUNC / f"valid_session{session:02d}.nii.gz")


def reference(base_dir, voxel, zscore, invalid_sessions=()):
    """{image id: the voxel's valid trials} straight from the files; sessions in `invalid_sessions` hold none."""
    design, mask, trials = loadmat(base_dir / "nsddata/experiments/nsd/nsd_expdesign.mat"), fitted(base_dir), {}
    for session in range(1, N_SESSIONS + 1):
        image = nibabel.load(base_dir / BETAS / f"betas_session{session:02d}.nii.gz")
        stored = np.asarray(image.dataobj)[mask][voxel]
        betas = stored.astype(float) / (300 if stored.dtype == np.int16 else 1)
        if session in invalid_sessions:
            betas = np.full(len(betas), np.nan)
        if zscore:
            valid = betas[np.isfinite(betas)]
            betas = (betas - valid.mean()) / valid.std() if valid.size else betas
        for trial, beta in enumerate(betas):
            ordering = int(design["masterordering"][0, (session - 1) * len(betas) + trial])
            shown = trials.setdefault(int(design["subjectim"][0, ordering - 1]), [])
            shown += [beta] if np.isfinite(beta) else []
    return {image_id: np.array(trials[image_id]) for image_id in sorted(trials)}


def check(responses, expected, voxel):
    """The voxel's means, repeats and squared deviations are those of its valid trials, NaN where it has none."""
    means = [trials.mean() if trials.size else np.nan for trials in expected.values()]
    np.testing.assert_allclose(responses.betas[:, voxel], means, atol=2e-6)
    repeats = [trials.size for trials in expected.values()]
    assert responses.valid_repeats[:, list(responses.incomplete).index(voxel)].tolist() == repeats
    within = sum(np.square(trials - trials.mean()).sum() for trials in expected.values() if trials.size)
    assert responses.within_image_ss[:, voxel].sum() == pytest.approx(within, rel=1e-4)


@pytest.fixture
def lenient(monkeypatch):
    """Leave no voxel out: the tree is so small that one image of twelve is over 5 %."""
    monkeypatch.setattr(valid_trials, "MOST_MISSING", 0.5)


def prepare(base_dir, tmp_path, zscore=True):
    return prepare_responses(find_nsd(base_dir), 1, ResponseChoice(zscore=zscore), cache_dir=tmp_path / "cache")


@pytest.mark.parametrize("zscore", [True, False])
@pytest.mark.parametrize("said_by", ["zeros", "zeros of floats", "NaN", "a file", "a file of all sessions"])
@pytest.mark.usefixtures("lenient")
def test_a_session_without_valid_data_counts_for_no_trial_of_a_voxel(own_nsd, tmp_path, capsys, said_by, zscore):
    if said_by in ("zeros of floats", "NaN"):
        as_percent(own_nsd)
    clean = prepare(own_nsd, tmp_path / "clean", zscore)
    if "file" in said_by:
        for session in range(1, N_SESSIONS + 1) if "all" in said_by else (SESSION,):
            write_valid(own_nsd, session, INVALID if session == SESSION else [])
    else:
        change_betas(own_nsd, SESSION, set_voxels(INVALID, np.nan if said_by == "NaN" else 0))
    capsys.readouterr()
    for _ in range(2):  # from the betas, and from the cache
        found = prepare(own_nsd, tmp_path, zscore)
        assert found.incomplete.tolist() == list(range(*INVALID.indices(100)))
        for voxel in found.incomplete:
            check(found, reference(own_nsd, voxel, zscore, [SESSION]), voxel)
        assert np.isnan(found.betas).any()
        others = np.delete(np.arange(found.betas.shape[1]), found.incomplete)
        np.testing.assert_array_equal(found.betas[:, others], clean.betas[:, others])
        np.testing.assert_array_equal(found.within_image_ss[:, others], clean.within_image_ss[:, others])
        assert f"6 of {found.betas.shape[1]} voxels lack valid data in session 2" in capsys.readouterr().err


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("zscore", [True, False])
@pytest.mark.usefixtures("lenient")
def test_a_trial_that_is_not_finite_is_one_trial_less_and_harms_no_other(own_nsd, tmp_path, value, zscore):
    as_percent(own_nsd)
    clean = prepare(own_nsd, tmp_path / "clean", zscore)

    def change(betas):
        betas[5, [4, 17]] = value
        return betas

    change_betas(own_nsd, SESSION, change)
    found = prepare(own_nsd, tmp_path, zscore)
    assert found.incomplete.tolist() == [5]
    check(found, reference(own_nsd, 5, zscore), 5)
    np.testing.assert_array_equal(np.delete(found.betas, 5, axis=1), np.delete(clean.betas, 5, axis=1))


def test_a_voxel_that_lacks_over_a_twentieth_of_its_images_is_left_out_and_counted(own_nsd, tmp_path, capsys):
    for session in range(1, N_SESSIONS + 1):
        change_betas(own_nsd, session, set_voxels([ALL_INVALID], 0))
    change_betas(own_nsd, 1, set_voxels([20], 0))
    change_betas(own_nsd, 2, set_voxels([21], 0))
    found = prepare(own_nsd, tmp_path)
    missing = np.isnan(found.betas)
    shared = np.isin(found.image_ids, loadmat(own_nsd / "nsddata/experiments/nsd/nsd_expdesign.mat")["sharedix"])
    left_out = np.flatnonzero(missing.all(axis=0)).tolist()
    lacking = {
        voxel: reference(own_nsd, voxel, True, sessions)
        for voxel, sessions in {ALL_INVALID: range(1, N_SESSIONS + 1), 20: (1,), 21: (2,)}.items()
    }
    for voxel, expected in lacking.items():
        gone = np.array([trials.size == 0 for trials in expected.values()])
        assert (voxel in left_out) == (max(gone[shared].mean(), gone[~shared].mean()) > 0.05)
        assert voxel in left_out or voxel in found.incomplete
    assert (left_out, found.incomplete.tolist()) == ([ALL_INVALID, 20], [21])
    said = capsys.readouterr().err
    assert f"{len(left_out)} of {missing.shape[1]} voxels lack over 5 % of their training or test images" in said
    assert "and are left out, first voxel (" in said


def test_data_that_are_all_valid_have_no_voxel_by_itself(official_nsd, tmp_path, capsys):
    found = prepare(official_nsd, tmp_path)
    assert found.incomplete.size == found.valid_repeats.size == 0
    assert "valid" not in capsys.readouterr().err


def test_a_file_of_valid_voxels_that_comes_later_makes_the_cache_stale(own_nsd, tmp_path, capsys):
    prepare(own_nsd, tmp_path)
    write_valid(own_nsd, SESSION, [7])
    assert prepare(own_nsd, tmp_path).incomplete.tolist() == [7]
    assert "valid_session02.nii.gz changed since" in capsys.readouterr().err


@pytest.mark.parametrize("block", [averages.BLOCK_VOXELS, 4])
def test_a_constant_voxel_becomes_zero_and_invalid_trials_stay_out_of_mean_and_sd(block, monkeypatch):
    monkeypatch.setattr(averages, "BLOCK_VOXELS", block)
    betas = np.random.default_rng(0).normal(3, 2, (50, 6)).astype(np.float32)
    betas[:, 1] = 0.1  # its mean is not exactly 0.1 in floating point
    betas[7, 2], betas[8, 4], betas[1:, 5] = np.nan, np.inf, np.nan
    zscored = zscore_session(betas.copy())
    assert (zscored[:, 1] == 0).all()
    assert np.isnan(zscored[:, 5]).all()  # one trial says nothing of where it lies among others
    for voxel in (0, 2, 3, 4):
        valid = np.isfinite(betas[:, voxel])
        expected = (betas[valid, voxel] - betas[valid, voxel].mean()) / betas[valid, voxel].std()
        np.testing.assert_allclose(zscored[valid, voxel], expected, atol=1e-5)
        assert np.isnan(zscored[~valid, voxel]).all()


def test_missing_responses_have_no_part_in_the_scaling_and_a_row_at_the_mean(own_nsd, tmp_path):
    change_betas(own_nsd, SESSION, set_voxels(INVALID, 0))
    found = read_subject_data(find_nsd(own_nsd), 1, ResponseChoice(), tmp_path / "cache")
    for voxel in range(*INVALID.indices(100)):
        trials = reference(own_nsd, voxel, True, [SESSION])
        means = np.array([trials[image].mean() if trials[image].size else np.nan for image in found.train_ids])
        assert np.isnan(means).sum() == 1
        np.testing.assert_array_equal(found.train[np.isnan(means), voxel], 0)
        assert found.train[:, voxel].mean() == pytest.approx(0, abs=1e-6)
        expected = np.corrcoef(found.train[~np.isnan(means), voxel], means[~np.isnan(means)])[0, 1]
        assert expected == pytest.approx(1, abs=1e-6)
        assert found.test_repeats[:, voxel].tolist() == [trials[image].size for image in found.test_ids]
        valid = [values for values in trials.values() if values.size]
        n_trials, every = sum(map(len, valid)), np.concatenate(valid)
        noise = sum(np.square(values - values.mean()).sum() for values in valid) / (n_trials - len(valid))
        snr = np.sqrt(max(every.var(ddof=1) - noise, 0) / noise)
        assert found.ncsnr[voxel] == pytest.approx(snr, rel=1e-4)


@pytest.mark.usefixtures("lenient")
def test_a_test_image_without_a_valid_trial_is_missing_for_the_voxel_alone(own_nsd, tmp_path):
    change_betas(own_nsd, 1, set_voxels(INVALID, 0))
    found = read_subject_data(find_nsd(own_nsd), 1, ResponseChoice(), tmp_path / "cache")
    (missing,) = np.flatnonzero(np.isnan(found.test).any(axis=1))
    assert np.flatnonzero(np.isnan(found.test[missing])).tolist() == list(range(*INVALID.indices(100)))
    assert not found.test_repeats[missing, INVALID].any()
    assert (found.test_repeats[missing, 20:] == 3).all()
    ceiling = ceiling_of_test_images(found, find_nsd(own_nsd), 1, "computed")
    repeats = np.delete(found.test_repeats[:, INVALID.start], missing)
    assert ceiling[INVALID.start] == pytest.approx(noise_ceiling(found.ncsnr[INVALID.start], repeats))
