"""Choices of a split that cannot be used are refused with the flag and the choice that is wrong."""

import pytest
from own_experiment import N_IMAGES, SUBJECTS, image_names, write_experiment

from brain_activity_prediction.datasets.find import find_dataset
from brain_activity_prediction.datasets.responses import ResponseChoice
from brain_activity_prediction.datasets.splits import SplitChoice
from brain_activity_prediction.encoding.subject_data import read_subject_data
from brain_activity_prediction.runtime.errors import InputError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("experiment")
    write_experiment(folder)
    (folder / "one.txt").write_text(image_names()[0])
    (folder / "all.txt").write_text("\n".join(image_names()))
    return folder


def choice(folder, **of_split):
    paths = {name: folder / value if "images" in name else value for name, value in of_split.items()}
    return SplitChoice(**paths)


@pytest.mark.parametrize(
    ("of_split", "says"),
    [
        (
            {"test_images": "one.txt"},
            "subject sub-01 has 1 test image in these sessions with the chosen split (test images of one.txt), and "
            "more than 5 are needed: add sessions, or choose another split",
        ),
        (
            {"exclude_images": "all.txt"},
            "has 0 training images in these sessions with the chosen split (own, w",
        ),
        (
            {"min_repeats": 5},
            "has 0 test images in these sessions with the chosen split (own, at least 5",
        ),
        ({"cv_test": N_IMAGES}, "and more than 5 are needed: add sessions, or take fewer than 60 outer folds"),
        ({"in_subjects": ("sub-09",)}, "--in-subjects sub-09: your own experiment has no such subject"),
        (
            {"name": "own"},
            "--split own: your own experiment has no such split; leave out --split",
        ),
    ],
)
def test_a_choice_that_leaves_too_few_images_or_names_none_is_refused_as_such(of_split, says, folder, tmp_path):
    with pytest.raises(InputError) as refused:
        read_subject_data(find_dataset(folder), SUBJECTS[0], ResponseChoice(split=choice(folder, **of_split)), tmp_path)
    assert says in str(refused.value)


def test_a_file_as_the_name_of_a_split_is_told_its_flag(folder, tmp_path):
    split = SplitChoice(str(folder / "one.txt"))
    with pytest.raises(InputError, match="; --test-images FILE takes a list of images"):
        read_subject_data(find_dataset(folder), SUBJECTS[0], ResponseChoice(split=split), tmp_path)
