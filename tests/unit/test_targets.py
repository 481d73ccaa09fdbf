import numpy as np
import pytest

from brain_activity_prediction.datasets.nsd.design import read_design
from brain_activity_prediction.datasets.nsd.nsd import find_nsd
from brain_activity_prediction.datasets.responses import ResponseChoice
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


@pytest.mark.parametrize(("folds", "said"), [(12, "only 12 .* test images"), (28, "only 28 .* training images")])
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
