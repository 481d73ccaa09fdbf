"""A folder that no reader recognises is refused with what to do, if that can be told from its files."""

from pathlib import Path

import pytest

from brain_activity_prediction.datasets.find import find_dataset
from brain_activity_prediction.datasets.unrecognised import SECTIONS
from brain_activity_prediction.runtime.errors import InputError


@pytest.mark.parametrize(("given", "found"), [(".", "derivatives"), ("derivatives/betas_csv", "derivatives")])
def test_a_folder_above_or_below_that_of_a_dataset_is_told(given, found, tmp_path):
    path = tmp_path / "derivatives/betas_csv/sub-01_StimulusMetadata.csv"
    path.parent.mkdir(parents=True)
    path.touch()
    says = rf"in {tmp_path / given}, but {tmp_path / found} has the files of things: give that folder"
    with pytest.raises(InputError, match=says):
        find_dataset(tmp_path / given)


@pytest.mark.parametrize(
    ("name", "says"),
    {
        "betas_vol/sub-01/ses-things01/sub-01_ses-things01_run-01_betas.nii.gz": "files of THINGS-fMRI as volumes",
        "monkeyF/THINGS_normMUA.mat": "files of TVSD: docs/public_data.md shows how to convert them",
        "sub-01/preprocessed_eeg_training.npy": "files of THINGS-EEG2",
        "derivatives/ciftify/sub-01/results/ses-imagenet01_task-imagenet_run-1/x": "files of NOD",
        "Subject3.h5": "files of BData of bdpy",
        "EstimatedResponses.mat": "files of vim-1",
    }.items(),
)
def test_public_data_of_another_kind_are_told_by_their_files(name, says, tmp_path):
    path = tmp_path / "data" / name
    path.parent.mkdir(parents=True)
    path.touch()
    with pytest.raises(InputError, match=rf"no dataset is recognised in .*{says}"):
        find_dataset(tmp_path / "data")


def test_each_section_that_a_folder_is_told_of_is_on_the_page():
    page = (Path(__file__).resolve().parents[2] / "docs/public_data.md").read_text()
    assert all(f"\n## {section}" in page for section in SECTIONS)
