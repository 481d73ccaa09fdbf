import h5py
import numpy as np
import pytest
from scipy.io import loadmat, savemat

from brain_activity_prediction.datasets.nsd.design import read_design, stimulus_rows
from brain_activity_prediction.datasets.nsd.nsd import find_nsd
from brain_activity_prediction.datasets.splits import SplitChoice, split_images
from brain_activity_prediction.runtime.errors import InputError


@pytest.fixture
def design_path(official_nsd):
    return find_nsd(official_nsd).design()


@pytest.fixture
def variables(design_path):
    return {name: values for name, values in loadmat(design_path).items() if not name.startswith("__")}


def test_the_image_of_a_trial_is_the_one_that_matlab_indexing_gives(design_path, variables):
    design = read_design(design_path)
    assert design.trials_per_session == 30
    shown = design.trial_ids(2, [3, 1])
    trials = [*range(60, 90), *range(0, 30)]
    expected = [variables["subjectim"][1, int(variables["masterordering"][0, t]) - 1] for t in trials]
    assert shown.tolist() == expected


def test_ids_count_from_1_and_rows_from_0():
    assert stimulus_rows([1, 73000]).tolist() == [0, 72999]


def test_test_images_are_the_shared_ones_and_no_others(official_nsd):
    nsd = find_nsd(official_nsd)
    design = read_design(nsd.design())
    image_ids = np.sort(design.image_ids(1))
    split = split_images(nsd, 1, image_ids, SplitChoice())
    assert np.array_equal(split.test, design.shared_ids)
    assert sorted([*split.train, *split.test]) == image_ids.tolist()
    assert not np.isin(split.train, design.image_ids(2)).any()


def test_matlab_7_3_files_give_the_same_design(variables, design_path, tmp_path):
    path = tmp_path / "nsd_expdesign.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, values in variables.items():
            file[name] = values.T
    old, new = read_design(design_path), read_design(path)
    assert np.array_equal(old.subjectim, new.subjectim)
    assert np.array_equal(old.trial_ids(5, [2]), new.trial_ids(5, [2]))


def _swap_shared(v):
    v["sharedix"] = v["sharedix"][:, ::-1]


def _repeat_an_image(v):
    v["subjectim"][3, 20] = v["subjectim"][3, 21]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (_swap_shared, "first 12 columns of subjectim differ from sharedix"),
        (_repeat_an_image, "names an image twice"),
        (lambda v: [v.pop(name) for name in ("masterordering", "sharedix")], "holds no masterordering, sharedix"),
        (lambda v: v.update(masterordering=v["masterordering"] + 1), "reaches 41 but subjectim has 40"),
        (lambda v: v.update(masterordering=v["masterordering"] - 1), "whole numbers from 1"),
        (lambda v: v.update(subjectim=v["subjectim"] + 0.5), "whole numbers from 1"),
        (lambda v: v.update(sharedix=v["sharedix"] * np.inf), "whole numbers from 1"),
        (lambda v: v.update(subjectim=v["subjectim"][:4]), "4 rows instead of 8"),
        (lambda v: v.update(masterordering=np.empty((1, 0))), "it has 0 trials in 4 sessions"),
        (lambda v: v.update(masterordering=v["masterordering"][:, 1:]), "119 trials do not divide into 4"),
    ],
)
def test_a_design_that_contradicts_itself_is_refused(variables, tmp_path, change, complaint):
    change(variables)
    path = tmp_path / "nsd_expdesign.mat"
    savemat(path, variables)
    with pytest.raises(InputError, match=complaint) as error:
        read_design(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html><html>404</html>\n" * 20, None])
def test_a_broken_design_file_gives_one_line(design_path, tmp_path, content):
    path = tmp_path / "nsd_expdesign.mat"
    path.write_bytes(design_path.read_bytes()[:2000] if content is None else content)
    with pytest.raises(InputError, match=str(path)) as error:
        read_design(path)
    assert "\n" not in str(error.value)


def test_sessions_and_subjects_that_nsd_does_not_have_are_refused(design_path):
    design = read_design(design_path)
    with pytest.raises(InputError, match=f"session 0 is not among the 4 sessions of {design_path}"):
        design.trial_ids(1, [1, 0])
    with pytest.raises(InputError, match="session 5 is not among the 4"):
        design.trial_ids(1, [5])
    with pytest.raises(InputError, match="subject 9"):
        design.image_ids(9)
    assert len(design.image_ids(8)) == 40


def test_images_of_several_subjects_are_those_that_any_of_them_saw_each_once(official_nsd):
    design = read_design(find_nsd(official_nsd).design())
    of_both = design.image_ids_of_any([1, 2])
    assert of_both.tolist() == sorted({*design.image_ids(1).tolist(), *design.image_ids(2).tolist()})
    assert len(of_both) == 12 + 28 + 28
