import os
import shutil
import weakref

import h5py
import nibabel
import numpy as np
import pytest
from scipy.io import loadmat

from brain_activity_prediction.datasets import response_cache
from brain_activity_prediction.datasets.averages import average_repeats, copied_into, zscore_session
from brain_activity_prediction.datasets.nsd import nsd as dataset
from brain_activity_prediction.datasets.nsd.nsd import find_nsd
from brain_activity_prediction.datasets.response_cache import load_or_make, store
from brain_activity_prediction.datasets.responses import ResponseChoice, prepare_responses
from brain_activity_prediction.runtime.errors import InputError

ARRAYS = {  # of a cache file: two images of three voxels, in one group
    **{"image_ids": np.array([4, 9]), "n_repeats": np.array([3, 3]), "betas": np.zeros((2, 3))},
    **{"within_image_ss": np.ones((1, 3)), "image_groups": np.array([0, 0]), "voxels_by_session": np.array([0])},
}


def prepare(base_dir, cache_dir, subject=1, **choice):
    return prepare_responses(find_nsd(base_dir), subject, ResponseChoice(**choice), cache_dir)


def reference(base_dir, sessions, zscore):
    """{image id: (n_repeats, n_voxels)} straight from the raw files of subject 1, official layout."""
    ppdata = base_dir / "nsddata_betas/ppdata/subj01/func1pt8mm/betas_fithrf_GLMdenoise_RR"
    mask = nibabel.load(base_dir / "nsddata/ppdata/subj01/func1pt8mm/roi/nsdgeneral.nii.gz").get_fdata() == 1
    design = loadmat(base_dir / "nsddata/experiments/nsd/nsd_expdesign.mat")
    trials = {}
    for session in sessions:
        betas = nibabel.load(ppdata / f"betas_session{session:02d}.nii.gz").get_fdata()[mask].T / 300
        if zscore:
            betas = (betas - betas.mean(axis=0)) / betas.std(axis=0)
        for trial, beta in enumerate(betas):
            ordering = int(design["masterordering"][0, (session - 1) * len(betas) + trial])
            trials.setdefault(int(design["subjectim"][0, ordering - 1]), []).append(beta)
    return {image_id: np.array(trials[image_id]) for image_id in sorted(trials)}


@pytest.mark.parametrize("zscore", [True, False])
@pytest.mark.parametrize("sessions", [[1, 2, 3, 4], [4, 2]])
def test_responses_equal_zscoring_and_averaging_the_raw_files(official_nsd, tmp_path, sessions, zscore):
    expected = reference(official_nsd, sorted(sessions), zscore)
    responses = prepare(official_nsd, tmp_path, sessions=sessions, zscore=zscore)
    assert responses.image_ids.tolist() == list(expected)
    assert responses.n_repeats.tolist() == [len(trials) for trials in expected.values()]
    assert responses.sessions == tuple(sorted(sessions))
    assert responses.betas.dtype == np.float32
    fitted = nibabel.load(find_nsd(official_nsd).nsdgeneral(1))
    assert np.array_equal(responses.units.mask, fitted.get_fdata() == 1)
    assert np.array_equal(responses.units.affine, fitted.affine)
    means = [trials.mean(axis=0) for trials in expected.values()]
    np.testing.assert_allclose(responses.betas, means, atol=2e-6)
    within = np.array([np.square(trials - trials.mean(axis=0)).sum(axis=0) for trials in expected.values()])
    assert len(np.unique(responses.image_groups)) == len(within)  # so few images are resampled one by one
    np.testing.assert_allclose(responses.within_image_ss[responses.image_groups], within, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(responses.within_image_ss.sum(axis=0), within.sum(axis=0), rtol=1e-5)


@pytest.mark.parametrize("subject", [1, 2])
def test_both_layouts_and_formats_give_identical_responses(official_nsd, flat_nsd, tmp_path, subject):
    official = prepare(official_nsd, tmp_path / "a", subject)
    flat = prepare(flat_nsd, tmp_path / "b", subject)
    for name in ("image_ids", "n_repeats", "betas", "within_image_ss", "image_groups"):
        assert np.array_equal(getattr(official, name), getattr(flat, name)), name


def test_within_image_sum_of_squares_estimates_the_noise_of_single_trials():
    rng = np.random.default_rng(0)
    trial_ids = rng.permutation(np.repeat(np.arange(1, 2001), 3))
    signal = rng.normal(0, 3, (2001, 2))
    trials = signal[trial_ids] + rng.normal(0, [0.5, 2], (6000, 2))
    averaged = average_repeats([trials[:3000], trials[3000:]], trial_ids)
    noise_sd = np.sqrt(averaged["within_image_ss"].sum(axis=0) / (6000 - 2000))
    np.testing.assert_allclose(noise_sd, [0.5, 2], rtol=0.04)


def test_test_images_are_resampled_one_by_one_and_others_in_a_hundred_groups():
    trial_ids = np.repeat(np.arange(1, 1001), 2)
    trials = np.random.default_rng(0).normal(0, 1, (2000, 3))
    averaged = average_repeats([trials], trial_ids, test_ids=[5, 900])
    groups = averaged["image_groups"]
    assert sorted(groups[[4, 899]]) == [0, 1]
    others = np.bincount(np.delete(groups, [4, 899]))
    assert others[:2].tolist() == [0, 0]
    assert len(others) == 2 + 100
    assert set(others[2:]) == {9, 10}
    within = np.square(trials[0::2] - trials[1::2]) / 2
    summed = [within[groups == group].sum(axis=0) for group in range(102)]
    np.testing.assert_allclose(averaged["within_image_ss"], summed, rtol=1e-4)


@pytest.fixture
def sessions_read(monkeypatch):
    """The session files that are read, as they are read."""
    read = []

    def read_session(path, *arguments):
        read.append(path.name)
        return original(path, *arguments)

    original = dataset.read_session
    monkeypatch.setattr(dataset, "read_session", read_session)
    return read


def test_the_second_call_reads_the_cache_and_gives_the_same(official_nsd, tmp_path, sessions_read, capsys):
    first = prepare(official_nsd, tmp_path)
    assert len(sessions_read) == 4
    assert "betas of subject 1" in capsys.readouterr().err
    second = prepare(official_nsd, tmp_path)
    assert len(sessions_read) == 4
    assert np.array_equal(first.betas, second.betas)
    assert np.array_equal(first.within_image_ss, second.within_image_ss)
    assert capsys.readouterr().err == ""


def test_a_changed_session_file_makes_the_cache_stale_and_a_line_says_so(own_nsd, tmp_path, sessions_read, capsys):
    before = prepare(own_nsd, tmp_path)
    capsys.readouterr()
    layout = find_nsd(own_nsd)
    shutil.copy(layout.betas(1, 3), layout.betas(1, 2))
    after = prepare(own_nsd, tmp_path)
    assert len(sessions_read) == 8
    assert not np.array_equal(before.betas, after.betas)
    (line,) = (line for line in capsys.readouterr().err.splitlines() if "session02" in line)
    assert "betas_session02.nii.gz changed" in line
    os.utime(layout.nsdgeneral(1))
    prepare(own_nsd, tmp_path)
    assert "nsdgeneral.nii.gz changed" in capsys.readouterr().err


def test_betas_of_the_same_size_and_time_but_other_content_make_the_cache_stale(own_nsd, tmp_path, capsys):
    prepare(own_nsd, tmp_path)
    path = find_nsd(own_nsd).betas(1, 2)
    stat, content = path.stat(), bytearray(path.read_bytes())
    content[4] ^= 1  # the time that gzip notes, which changes no beta
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    capsys.readouterr()
    prepare(own_nsd, tmp_path)
    assert "betas_session02.nii.gz changed since" in capsys.readouterr().err


def test_other_settings_do_not_share_a_cache(official_nsd, tmp_path, sessions_read):
    choices = [{}, {"zscore": False}, {"sessions": [1, 2]}, {"sessions": [1, 3]}, {"sessions": [1, 2, 4]}]
    for choice in choices:
        prepare(official_nsd, tmp_path, **choice)
    prepare(official_nsd, tmp_path, subject=2)
    assert len(sessions_read) == 4 + 4 + 2 + 2 + 3 + 4
    assert {path.name for path in tmp_path.iterdir()} == {
        "responses_subj01_zscored_sessions1-4.h5",
        "responses_subj01_percent_sessions1-4.h5",
        "responses_subj01_zscored_sessions1-2.h5",
        "responses_subj01_zscored_sessions1_3.h5",
        "responses_subj01_zscored_sessions1_2_4.h5",
        "responses_subj02_zscored_sessions1-4.h5",
    }
    prepare(official_nsd, tmp_path, zscore=False)
    assert len(sessions_read) == 19


def test_a_cache_file_of_other_settings_under_the_name_is_not_believed(official_nsd, tmp_path, capsys):
    expected = prepare(official_nsd, tmp_path, subject=2, sessions=[1, 2], zscore=False)
    prepare(official_nsd, tmp_path)
    os.replace(
        tmp_path / "responses_subj01_zscored_sessions1-4.h5", tmp_path / "responses_subj02_percent_sessions1-2.h5"
    )
    again = prepare(official_nsd, tmp_path, subject=2, sessions=[1, 2], zscore=False)
    assert np.array_equal(again.betas, expected.betas)
    assert "computing" in (said := capsys.readouterr().err)
    assert "subject, sessions, zscore changed since" in said


def test_what_another_process_made_meanwhile_is_read_and_not_made_again(tmp_path, monkeypatch):
    path, arrays = tmp_path / "cache.h5", {**ARRAYS, "betas": np.arange(6.0).reshape(2, 3)}

    def made_meanwhile(path, inputs):
        store(path, arrays, inputs)
        return True

    monkeypatch.setattr(response_cache, "_is_made", made_meanwhile)
    found = load_or_make(path, {"format": 1}, 48, make=None)
    np.testing.assert_array_equal(found["betas"], arrays["betas"])


def test_what_another_process_broke_or_removed_meanwhile_is_made(tmp_path, monkeypatch):
    path, arrays = tmp_path / "cache.h5", {**ARRAYS, "betas": np.arange(6.0).reshape(2, 3)}
    store(path, arrays, {})
    with monkeypatch.context() as removed:
        read_seal = response_cache.read_seal
        removed.setattr(response_cache, "read_seal", lambda path: path.unlink() or read_seal(path))
        assert response_cache.load(path, {}) is None
    monkeypatch.setattr(response_cache, "check_room", lambda *_: path.write_bytes(b"broken"))
    assert load_or_make(path, {}, 48, lambda: arrays) is arrays
    np.testing.assert_array_equal(response_cache.load(path, {})["betas"], arrays["betas"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"betas": np.zeros((3, 3))},
        {"within_image_ss": np.zeros((1, 2))},
        {"image_groups": np.empty(0)},
        {"image_ids": np.array([b"4", b"9"])},
        {"module": np.ones(2)},
    ],
    ids=lambda wrong: min(wrong),
)
def test_a_cache_of_other_arrays_is_made_again(tmp_path, capsys, wrong):
    path = tmp_path / "cache.h5"
    store(path, ARRAYS | wrong, {"format": 1})
    np.testing.assert_array_equal(load_or_make(path, {"format": 1}, 48, lambda: ARRAYS)["betas"], ARRAYS["betas"])
    assert f"computing {path} again: it is damaged" in capsys.readouterr().err
    np.testing.assert_array_equal(response_cache.load(path, {"format": 1})["betas"], ARRAYS["betas"])


def test_betas_are_kept_in_pieces_of_some_images(tmp_path, monkeypatch):
    monkeypatch.setattr(response_cache, "ROWS_A_PIECE", 2)
    store(tmp_path / "cache.h5", {"betas": np.ones((5, 3))}, {})
    with h5py.File(tmp_path / "cache.h5") as file:
        assert file["betas"].chunks == (2, 3)


def test_a_cache_of_an_older_version_is_made_again(official_nsd, tmp_path, monkeypatch, capsys):
    prepare(official_nsd, tmp_path)
    monkeypatch.setattr(response_cache, "FORMAT", response_cache.FORMAT + 1)
    prepare(official_nsd, tmp_path)
    assert "again: format changed since" in capsys.readouterr().err


def test_the_cache_lies_beside_the_data_unless_said_otherwise_and_progress_is_shown(own_nsd, capsys):
    prepare_responses(find_nsd(own_nsd), 1)
    assert [path.name for path in (own_nsd / "responses").iterdir()] == ["responses_subj01_zscored_sessions1-4.h5"]
    shown = capsys.readouterr().err
    assert "betas of subject 1: 100%" in shown
    assert "4/4" in shown
    assert "session" in shown


def test_the_room_that_is_asked_for_is_that_of_the_averaged_responses(official_nsd, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(response_cache, "check_room", lambda *arguments: asked.append(arguments))
    responses = prepare(official_nsd, tmp_path)
    n_bytes = responses.betas.nbytes + responses.within_image_ss.nbytes
    assert asked == [(tmp_path, n_bytes, "responses_subj01_zscored_sessions1-4.h5")]


@pytest.mark.parametrize("single", [False, True])
def test_memory_holds_one_session_at_a_time(single):
    def sessions():
        held = None
        for number in range(3):
            assert held is None or held() is None, f"session {number} is read while memory holds the one before"
            session = np.full((4, 3), number, np.float32)
            held = weakref.ref(session)
            yield session
            del session

    scaled = map(zscore_session, sessions())
    average_repeats(copied_into(np.empty((12, 3)), scaled) if single else scaled, np.arange(12) % 6)


def test_exact_repeats_leave_no_variance_and_too_many_trials_are_refused():
    session = np.array([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]])
    averaged = average_repeats([session], [7, 2, 7])
    assert averaged["image_ids"].tolist() == [2, 7]
    assert averaged["within_image_ss"].tolist() == [[0, 0], [0, 0]]
    with pytest.raises(ValueError, match="longer"):
        average_repeats([session], [7, 2])


def test_a_dataset_may_be_mounted_elsewhere_without_losing_its_cache(own_nsd, tmp_path, sessions_read):
    prepare(own_nsd, tmp_path / "cache")
    moved = own_nsd.rename(tmp_path / "mounted elsewhere")
    prepare(moved, tmp_path / "cache")
    assert len(sessions_read) == 4


@pytest.mark.parametrize("damage", ["truncated", "a flipped byte"])
def test_a_damaged_cache_is_noticed_and_built_again(official_nsd, tmp_path, capsys, damage):
    before = prepare(official_nsd, tmp_path)
    (path,) = tmp_path.iterdir()
    with h5py.File(path) as file:
        offset = file["betas"].id.get_chunk_info(0).byte_offset + 1000
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(content if damage == "a flipped byte" else content[:-500])
    after = prepare(official_nsd, tmp_path)
    assert np.array_equal(before.betas, after.betas)
    said = capsys.readouterr().err
    assert f"computing {path} again: it is damaged: cannot read {path}" in said
    assert "it is computed again\n" in said


def test_a_failed_reading_leaves_no_cache_behind(own_nsd, tmp_path):
    path = find_nsd(own_nsd).betas(1, 3)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match=r"betas_session03\.nii\.gz"):
        prepare(own_nsd, tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_a_session_that_was_asked_for_but_is_not_there_is_refused(own_nsd, tmp_path):
    find_nsd(own_nsd).betas(1, 2).unlink()
    with pytest.raises(InputError, match=r"expected .*betas_session02\.hdf5 or "):
        prepare(own_nsd, tmp_path, sessions=[1, 2])
    assert prepare(own_nsd, tmp_path).sessions == (1, 3, 4)


def test_a_cache_folder_that_cannot_be_made_is_refused_before_reading(official_nsd, tmp_path, sessions_read):
    (tmp_path / "taken").write_text("a file, not a folder")
    with pytest.raises(InputError, match="cannot write"):
        prepare(official_nsd, tmp_path / "taken")
    assert sessions_read == []


def test_a_voxel_that_never_changes_is_counted(own_nsd, tmp_path, capsys):
    layout = find_nsd(own_nsd)
    mask = nibabel.load(layout.nsdgeneral(1)).get_fdata() == 1
    for session in layout.sessions(1):
        image = nibabel.load(layout.betas(1, session))
        betas = np.asarray(image.dataobj).copy()
        betas[tuple(np.argwhere(mask)[20])] = 300
        nibabel.save(nibabel.Nifti1Image(betas, image.affine), layout.betas(1, session))
    for zscore in (True, False):
        responses = prepare(own_nsd, tmp_path, zscore=zscore)
        assert (responses.betas[:, 20] == (0 if zscore else 1)).all()
        assert f"1 of {mask.sum()} voxels never change and score 0" in capsys.readouterr().err


def test_responses_that_vanish_after_another_process_made_them_are_made_here(tmp_path, monkeypatch):
    monkeypatch.setattr(response_cache, "shared_out", lambda *_: [])  # the other process has done all the work
    made = response_cache.load_or_make(tmp_path / "responses.h5", {}, 0, lambda: {"betas": np.ones(3)})
    assert made["betas"].tolist() == [1, 1, 1]
