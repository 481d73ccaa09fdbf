import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest

from brain_activity_prediction.datasets.find import find_dataset
from brain_activity_prediction.datasets.nsd.design import read_design
from brain_activity_prediction.datasets.nsd.nsd import find_nsd
from brain_activity_prediction.datasets.responses import ResponseChoice, prepare_responses
from brain_activity_prediction.encoding import subject_data
from brain_activity_prediction.encoding.scaling import standardise
from brain_activity_prediction.encoding.subject_data import read_subject_data
from brain_activity_prediction.runtime.errors import InputError


def test_training_images_are_those_only_this_subject_saw(official_nsd, tmp_path):
    layout = find_nsd(official_nsd)
    found = read_subject_data(layout, 1, ResponseChoice(), tmp_path)
    shared = read_design(layout.design()).shared_ids
    assert set(found.test_ids) == set(shared)
    assert not set(found.train_ids) & set(shared)
    np.testing.assert_allclose(found.train.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(found.train.std(axis=0), 1, rtol=1e-5)


@pytest.mark.parametrize(("folds", "said"), [(12, "has 12 test images"), (28, "has 28 training images")])
def test_too_few_images_for_the_folds_are_said(official_nsd, tmp_path, monkeypatch, folds, said):
    monkeypatch.setattr(subject_data, "FOLDS", folds)
    with pytest.raises(InputError, match=said):
        read_subject_data(find_nsd(official_nsd), 1, ResponseChoice(), tmp_path)


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


def test_single_trials_are_rows_whose_mean_is_the_average(official_nsd, tmp_path):
    nsd = find_nsd(official_nsd)
    average = prepare_responses(nsd, 1, cache_dir=tmp_path)
    single = prepare_responses(nsd, 1, ResponseChoice(trials="single"), tmp_path)
    again = prepare_responses(nsd, 1, ResponseChoice(trials="single"), tmp_path)
    np.testing.assert_array_equal(again.trials, single.trials)
    np.testing.assert_array_equal(single.betas, average.betas)
    shown = nsd.trial_ids(1, nsd.sessions(1))
    means = np.stack([single.trials[shown == image].mean(axis=0) for image in single.image_ids])
    np.testing.assert_allclose(means, average.betas, atol=1e-6)
    assert {path.stem for path in tmp_path.glob("*.h5")} == {
        "responses_subj01_zscored_sessions1-4",
        "responses_subj01_zscored_sessions1-4_single",
    }


def test_all_trials_of_an_image_are_in_one_fold(official_nsd, tmp_path):
    found = read_subject_data(find_nsd(official_nsd), 1, ResponseChoice(trials="single"), tmp_path)
    average = read_subject_data(find_nsd(official_nsd), 1, ResponseChoice(), tmp_path)
    assert len(found.train) == len(found.train_ids) == 84
    np.testing.assert_array_equal(found.test_ids, average.test_ids)
    np.testing.assert_allclose(found.train.std(axis=0), 1, rtol=1e-5)
    images = [set(found.train_ids[rows]) for rows in found.folds]
    assert [len(own) for own in images] == [6, 6, 6, 5, 5]
    assert len(set().union(*images)) == 28
    assert sorted(np.concatenate(found.folds)) == list(range(84))
    assert average.folds == subject_data.FOLDS
    assert found.data_used()["n_train"] == average.data_used()["n_train"] == 28


def test_an_invalid_single_trial_is_the_mean_of_its_images_valid_trials():
    nan = np.nan
    responses = SimpleNamespace(
        trial_ids=np.array([7, 2, 7, 2, 9]),
        trials=np.array([[1, nan], [2, 5], [3, 8], [4, nan], [0, nan]], np.float32),
        image_ids=np.array([2, 7, 9]),
        betas=np.array([[3, 5], [2, 8], [0, nan]], np.float32),
        incomplete=np.array([1]),
    )
    ids, rows = subject_data.single_trials(responses, np.array([2, 7, 9]))
    assert ids.tolist() == [2, 2, 7, 7, 9]
    np.testing.assert_array_equal(rows, [[2, 5], [4, 5], [1, 8], [3, 8], [0, nan]])


def test_responses_to_training_images_are_never_held_twice():
    values = np.arange(40.0).reshape(10, 4)
    expected = values[[0, 1, 4, 5, 9]]
    moved = subject_data.moved_to_front(values, np.array([0, 1, 4, 5, 9]))
    np.testing.assert_array_equal(moved, expected)
    assert np.shares_memory(moved, values)


def test_reading_a_subject_takes_the_memory_of_its_responses_once(tmp_path):
    """Peak of the memory that NumPy allocates, with responses from the cache file."""
    n_images, n_units = 1500, 2000
    (tmp_path / "images").mkdir()
    rows = "".join(f"a,{number:04d}.png\n" for number in range(n_images))
    (tmp_path / "trials.csv").write_text("subject,image\n" + rows)
    (tmp_path / "split.csv").write_text("image,split\n" + "".join(f"{n:04d}.png,test\n" for n in range(0, 30)))
    np.save(tmp_path / "responses.npy", np.random.default_rng(0).standard_normal((n_images, n_units), np.float32))
    dataset = find_dataset(tmp_path)
    read_subject_data(dataset, "a", ResponseChoice(), tmp_path)
    tracemalloc.start()
    read_subject_data(dataset, "a", ResponseChoice(), tmp_path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.5 * n_images * n_units * 4
