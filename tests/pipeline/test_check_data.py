"""The page that describes a dataset, and the template of an experiment."""

import re

import numpy as np
import pytest
from dataset_trees import TREES
from PIL import Image

from brain_activity_prediction.check_data import check_data, new_dataset, published_nsd
from brain_activity_prediction.datasets.find import find_dataset
from brain_activity_prediction.datasets.nsd.design import SESSIONS_RUN
from brain_activity_prediction.runtime.errors import InputError


def page(monkeypatch, capsys, folder, *more, script=check_data):
    """Return the lines that the script prints, and its exit status."""
    monkeypatch.setattr("sys.argv", ["script.py", str(folder), *map(str, more)])
    status = 0
    try:
        script.main()
    except SystemExit as end:
        status = end.code
    return capsys.readouterr().out.splitlines(), status


@pytest.mark.parametrize("name", TREES)
def test_a_whole_dataset_has_nothing_wrong(name, monkeypatch, capsys, tmp_path):
    subject = TREES[name](tmp_path / "data")
    lines, status = page(monkeypatch, capsys, tmp_path / "data", "--output", tmp_path)
    text = "\n".join(lines)
    if name == "bold5000":  # whose test images have three or more trials, as all images of the small tree have
        assert status == 2
        assert "1 wrong:\n- subject CSI9: more than 5 training images and test images are needed: give" in text
    else:
        assert status == 0
        assert lines[-1] == "nothing is wrong"
        assert "split: 40 training images, 20 test images" in text
    assert f"subject {subject}: sessions 1-2 of 2, 240 trials" in text
    assert "images by number of trials: 60 x 4" in text
    assert "V1 9" in text
    assert "60 images x 22 units" in text
    assert "ncsnr computed from repeats: median " in text
    assert ("'s own file: median" in text) == (name in ("things", "laion_fmri", "laion_fmri, first release"))


def test_every_wrong_part_is_listed_and_the_status_is_2(monkeypatch, capsys, tmp_path):
    TREES["own"](tmp_path)
    (tmp_path / "images/picture_07s.jpg").unlink()
    (tmp_path / "split.csv").write_text("image,split\nnone.png,test\n")
    lines, status = page(monkeypatch, capsys, tmp_path, "--no-responses")
    assert status == 2
    wrong = lines[lines.index("2 wrong:") + 1 :]
    assert "lacks 1 of 60 images (first: picture_07s.jpg)" in wrong[0]
    assert "split.csv, line 2: no trial shows 'none.png'" in wrong[1]


def test_a_dataset_without_test_images_is_not_wrong(monkeypatch, capsys, tmp_path):
    TREES["own"](tmp_path)
    (tmp_path / "split.csv").unlink()
    lines, status = page(monkeypatch, capsys, tmp_path)
    assert status == 0
    assert "  split: the dataset has none; use --cv-test 5 or --test-images FILE" in lines
    assert "60 images x 22 units" in "\n".join(lines)


def test_the_published_figures_of_nsd_are_shown_next_to_those_of_the_copy(official_nsd, monkeypatch, capsys, tmp_path):
    lines, status = page(monkeypatch, capsys, official_nsd, "-s", 1, "--output", tmp_path)
    assert status == 0, lines
    text = "\n".join(lines)
    assert "published 15724 (differs)" in text
    assert "images seen: 40, published 10000 (differs)" in text
    assert "first images: " in text
    assert "published (46003, 61883, 829) (differs)" in text
    assert "ncsnr of NSD's own file: median " in text
    assert "correlation with ours " in text


def test_published_figures_are_those_of_all_sessions(own_nsd, monkeypatch, capsys, tmp_path):
    for path in own_nsd.rglob("betas_session04*"):
        path.unlink()
    for path in own_nsd.rglob("ncsnr*"):
        path.unlink()
    text = "\n".join(page(monkeypatch, capsys, own_nsd, "-s", 1, "--output", tmp_path)[0])
    assert "published 10000 (with the 1 session without responses here)" in text
    assert "published 15724 (differs)" in text
    assert "  ncsnr of NSD's own file: not read (" in text


def test_every_picture_is_checked_by_its_header(monkeypatch, capsys, tmp_path):
    TREES["own"](tmp_path)
    for number in (7, 8):
        Image.new("RGBA", (4, 4), (1, 2, 3, 9)).save(tmp_path / f"images/picture_0{number}s.jpg", "PNG")
    lines, status = page(monkeypatch, capsys, tmp_path, "--no-responses")
    assert status == 2
    assert lines[-1].startswith("- 2 pictures cannot be read, first: ")
    assert lines[-1].endswith("picture_07s.jpg has transparent pixels: store it with the background that was shown")


def test_a_picture_under_two_names_is_named(monkeypatch, capsys, tmp_path):
    TREES["own"](tmp_path)
    (tmp_path / "images/picture_07s.jpg").write_bytes((tmp_path / "images/picture_03s.jpg").read_bytes())
    with open(tmp_path / "trials.csv", "a") as file:
        file.write("another,1,not_here.jpg\n")
    lines, _ = page(monkeypatch, capsys, tmp_path, "-s", "a", "--no-responses")
    assert (
        "  1 picture with the content of another one, so that a split may use one for training and one for tests: "
        "first picture_03s.jpg and picture_07s.jpg"
    ) in lines


def test_a_missing_session_is_counted(own_nsd, monkeypatch, capsys):
    find_dataset(own_nsd).betas(1, 2).unlink()
    lines, status = page(monkeypatch, capsys, own_nsd, "-s", 1, "--no-responses")
    assert status == 0
    assert "subject 1: sessions 1 3-4 of 4 (1 without responses here), 90 trials" in lines


def test_the_published_figures_fit_one_another():
    """Trials of the sessions that took place; images seen once to three times can make them up."""
    for place, sessions in enumerate(SESSIONS_RUN):
        n_trials = 750 * sessions
        seen, three = published_nsd.IMAGES[place], published_nsd.IMAGES_THREE_TIMES[place]
        assert 3 * three + (seen - three) <= n_trials <= 3 * three + 2 * (seen - three) or seen == three
        if sessions == 40:
            assert 3 * three == n_trials
    assert published_nsd.SHARED[0] == 1000


def test_a_new_dataset_has_tables_that_are_read_once_filled(monkeypatch, capsys, tmp_path):
    folder = tmp_path / "lab"
    lines, status = page(monkeypatch, capsys, folder, script=new_dataset)
    assert status == 0
    assert lines[-1] == f"next: bap check-data {folder}"
    lines, status = page(monkeypatch, capsys, folder)
    assert status == 2
    assert "- no subject has responses" in lines
    with pytest.raises(InputError, match="lab is not empty: give a new folder"):
        page(monkeypatch, capsys, folder, script=new_dataset)


def test_trials_in_another_order_than_the_responses_are_wrong(monkeypatch, capsys, tmp_path):
    TREES["own"](tmp_path)
    header, *rows = (tmp_path / "trials.csv").read_text().splitlines()
    assert re.search(
        r"units with a signal .*: \d\d of 22, 0.022 by chance", "\n".join(page(monkeypatch, capsys, tmp_path)[0])
    )
    np.random.default_rng(0).shuffle(rows)
    (tmp_path / "trials.csv").write_text("\n".join([header, *rows]))
    lines, status = page(monkeypatch, capsys, tmp_path)
    assert status == 2
    assert "or trials and responses are in different orders" in lines[-1]


def test_tables_in_two_files_are_refused(monkeypatch, tmp_path):
    TREES["own"](tmp_path)
    for name in ("split", "trials"):
        (tmp_path / f"{name}.tsv").write_text("image")
        with pytest.raises(InputError, match=rf"has {name}.csv and {name}.tsv: keep one of them"):
            find_dataset(tmp_path).test_images("a")


def test_a_split_of_training_images_alone_is_reported(tmp_path, capsys):
    TREES["own"](tmp_path)
    (tmp_path / "split.csv").write_text("image,split\npicture_00s.jpg,train\n")
    assert not find_dataset(tmp_path).test_images("a").size
    assert "split.csv has no test image: images without a row are training images" in capsys.readouterr().err
