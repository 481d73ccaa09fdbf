"""Lists of images that users write: read as they are meant, or refused with the line that is wrong."""

import numpy as np
import pytest

from brain_activity_prediction.datasets.files.image_lists import read_image_list
from brain_activity_prediction.runtime.errors import InputError

NUMBERS = np.arange(7, 7000, 70)
NAMES = np.array([f"class {number % 3}/picture_{number:02d}.png" for number in range(60)])
NAMES.sort()
LISTED = NUMBERS[::5]


def listed(folder, content, seen=NUMBERS):
    path = folder / "images.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_image_list(path, "--test-images", seen)


@pytest.mark.parametrize(
    "content",
    [
        "\n".join(map(str, LISTED)),
        "\r\n".join(map(str, LISTED)) + "\r\n",
        "\ufeff\n" + "\n\n".join(f"  {number:05d}\t" for number in LISTED[::-1]),
        "\n".join(map(str, [*LISTED, *LISTED])),
    ],
)
def test_numbers_may_be_padded_twice_and_from_any_system(content, tmp_path, capsys):
    np.testing.assert_array_equal(listed(tmp_path, content), LISTED)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("content", "says"),
    {
        "nsd_id\n7\n": "line 1: 'nsd_id' is not an image number",
        "7\n\n77.png\n": "line 3: '77.png' is not an image number",
        "7\n0\n": "images.txt lists image 0, but ids count from 1",
        "7,77": "line 1: '7,77' is not an image number",
        "7\n" + "9" * 5000: "line 2: '9999",
        "\n": "lists 0 images, none of which the subject saw: write one image in each line",
        "8\n9\n": "lists 2 images, none of which the subject saw; first 8 in line 1: write one image in each line",
        "\n".join(map(str, LISTED)).encode("utf-16"): "cannot read .*images.txt .* write one image in each line",
    }.items(),
)
def test_what_is_no_number_of_an_image_is_refused_with_its_line(content, says, tmp_path):
    with pytest.raises(InputError, match=says):
        listed(tmp_path, content)


def test_a_name_that_no_trial_shows_is_told_with_its_line_and_the_similar_one(tmp_path, capsys):
    content = "\n".join(["image", *NAMES[:3], "class 0/picture_3.png"])
    np.testing.assert_array_equal(listed(tmp_path, content, NAMES), NAMES[:3])
    assert "the subject saw 3 of 5 images; only these are used; first image in line 1" in capsys.readouterr().err
    for name in (
        "picture_00.png",
        "images/class 0/picture_00.png",
        '"class 0/picture_00.png"',
        "class 0\\picture_00.png",
    ):
        with pytest.raises(InputError) as refused:
            listed(tmp_path, name, NAMES)
        assert f"first {name} (did you mean class 0/picture_00.png?) in line 1: write one image" in str(refused.value)


def test_a_folder_in_the_place_of_a_list_is_called_one(tmp_path):
    with pytest.raises(InputError, match=rf"--test-images {tmp_path} is a folder: give a file"):
        read_image_list(tmp_path, "--test-images", NUMBERS)
