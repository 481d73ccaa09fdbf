"""Captions and object labels from COCO's annotation files and NSD's stimulus table, written as they are published."""

import csv
import json

import numpy as np
import pytest
from scripts import ALIGN, load_script, run_here

from brain_activity_prediction.cli.model_names import extraction_scripts
from brain_activity_prediction.datasets.nsd.design import read_design
from brain_activity_prediction.datasets.nsd.nsd import find_nsd
from brain_activity_prediction.datasets.nsd.stimulus_table import Crop, read_stimulus_table
from brain_activity_prediction.datasets.texts.captions import Captions
from brain_activity_prediction.datasets.texts.coco import Box, share_in_crop
from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore
from brain_activity_prediction.storage.json_arrays import array_elements

SCRIPT = "coco_annotations.py"
# The first row of NSD's table: nsdId 0, 640 x 426 pixels, a square of which 107 pixels are cut away left and right.
FIRST = (532481, "val2017", (0, 0, 0.1671875, 0.1671875))
SIZE = (640, 426)


def write_table(path, pictures):
    """NSD's table of `{nsdId from 0: (cocoId, cocoSplit, cropBox)}`, with some of its other columns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("", "cocoId", "cocoSplit", "cropBox", "loss", "nsdId", "flagged", "BOLD5000", "shared1000"))
        for row, (nsd_id, (coco_id, split, crop)) in enumerate(pictures.items()):
            rows.writerow((row, coco_id, split, str(crop), 0.1708, nsd_id, False, False, False))
    return path


def write_annotations(folder, kind, split, **arrays):
    """An annotation file of COCO, with its arrays in COCO's order."""
    folder.mkdir(exist_ok=True)
    info = {"info": {"description": "COCO 2017 Dataset", "year": 2017}, "licenses": [{"id": 1, "name": "Attribution"}]}
    (folder / f"{kind}_{split}.json").write_text(json.dumps(info | arrays))


@pytest.fixture
def coco(own_nsd):
    """Two pictures of each split that NSD shows, and one that it does not."""
    ids = read_design(find_nsd(own_nsd).design()).image_ids(1).tolist()
    pictures = {image_id - 1: (1000 + image_id, "train2017", (0.1, 0, 0.25, 0.0)) for image_id in ids}
    pictures[ids[0] - 1] = FIRST
    write_table(own_nsd / "nsddata/experiments/nsd/nsd_stim_info_merged.csv", pictures)
    folder = own_nsd / "annotations"
    categories = [{"supercategory": "x", "id": 3 * n + 1, "name": f"thing {n}"} for n in range(4)][::-1]
    for split in ("train2017", "val2017"):
        own = [coco_id for coco_id, its, _ in pictures.values() if its == split]
        images = [{"id": one, "width": SIZE[0], "height": SIZE[1], "file_name": "a.jpg"} for one in [*own, 999_999]]
        texts = [(one, f"caption  {n}\nof {one}") for n in range(6) for one in [*own, 999_999]]
        rows = [{"image_id": one, "id": n, "caption": text} for n, (one, text) in enumerate(texts)]
        write_annotations(folder, "captions", split, images=images, annotations=rows)
        boxes = [[0, 0, 640, 426], [0, 0, 107, 426]] if split == "val2017" else [[0, 0, 10, 10], [500, 300, 20, 20]]
        objects = [
            {"segmentation": [[1.5] * 6], "area": 1.0, "iscrowd": 0, "image_id": one, "bbox": box, "category_id": kind}
            for one in [*own, 999_999]
            for box, kind in zip(boxes, (4, 1), strict=True)
        ]
        write_annotations(folder, "instances", split, images=images, annotations=objects, categories=categories)
    return ids, folder


def test_five_captions_an_image_are_written_under_ids_from_one(own_nsd, coco):
    ids, folder = coco
    done = run_here(SCRIPT, "captions", "-d", own_nsd, "--annotations", folder)
    assert done.returncode == 0, done.stderr
    by_image = Captions(own_nsd / "captions.csv").by_image
    assert sorted(by_image) == sorted(ids)
    assert by_image[ids[0]] == [f"caption {n} of 532481" for n in range(5)]
    assert by_image[ids[1]] == [f"caption {n} of {1000 + ids[1]}" for n in range(5)]
    done = run_here(SCRIPT, "captions", "-d", own_nsd, "--annotations", folder, "--first", "--output", folder / "1.csv")
    assert done.returncode == 0, done.stderr
    assert Captions(folder / "1.csv").by_image[ids[0]] == ["caption 0 of 532481"]


def test_object_labels_count_from_a_quarter_of_their_box_and_are_aligned(own_nsd, coco):
    ids, folder = coco
    done = run_here(SCRIPT, "objects", "-d", own_nsd, "--annotations", folder)
    assert done.returncode == 0, done.stderr
    store = EmbeddingStore(own_nsd / "image_embeddings/no_prompt/coco_objects")
    assert store.streams() == {"objects": (1, 4)}
    assert store.settings()["categories"] == [f"thing {n}" for n in range(4)]
    labels = store.read_layer("objects", 0, ids)
    assert labels[0].tolist() == [0, 1, 0, 0]  # the whole picture counts, the strip that is cut away does not
    assert (labels[1:] == [1, 0, 0, 0]).all()
    assert run_here(SCRIPT, "objects", "-d", own_nsd, "--annotations", folder).returncode == 0
    done = run_here(ALIGN, "-d", own_nsd, "-g", "cpu", "-m", "coco/objects")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("box", "share"),
    [
        ((107, 0, 426, 426), 1),
        ((0, 0, 640, 426), 426 / 640),
        ((0, 0, 214, 10), 0.5),
        ((532, 0, 4, 8), 0.25),  # one of four columns
        ((0, 0, 107, 426), 0),
        ((300, 100, 0, 7), 1),
        ((20, 100, 0, 7), 0),
    ],
)
def test_the_share_of_a_box_in_nsds_first_crop(box, share):
    assert share_in_crop(Box(*box), Crop(*FIRST[2]), *SIZE) == pytest.approx(share, abs=1e-9)


def test_a_crop_names_top_bottom_left_and_right_in_this_order():
    assert share_in_crop(Box(0, 0, 10, 10), Crop(0.5, 0, 0, 0.2), 10, 10) == pytest.approx(0.4)
    assert share_in_crop(Box(0, 0, 10, 5), Crop(0.5, 0, 0, 0), 10, 10) == 0
    assert share_in_crop(Box(5, 0, 5, 10), Crop(0, 0, 0, 0.5), 10, 10) == 0


def test_the_table_counts_from_zero_and_images_from_one(tmp_path):
    stimuli = read_stimulus_table(write_table(tmp_path / "table.csv", {0: FIRST}))
    assert stimuli == {1: (*FIRST[:2], Crop(*FIRST[2]))}


def test_arrays_are_read_one_element_at_a_time_across_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr("brain_activity_prediction.storage.json_arrays.CHUNK", 3)
    whole = {"n": 12345, "a": [{"x": [1.25, "é]}"]}, {}, 70], "info": {"a": [1]}, "b": []}
    path = tmp_path / "arrays.json"
    for indent in (None, 2):
        path.write_text(json.dumps(whole, indent=indent))
        assert list(array_elements(path)) == [("a", element) for element in whole["a"]]


@pytest.mark.parametrize("text", ["", "[1]", '{"a": [1, 2', '{"a": [1 2]}', '{"a": [NaN]}', '{"a" [1]}'])
def test_broken_json_is_an_error(tmp_path, text):
    (tmp_path / "broken.json").write_text(text)
    with pytest.raises(ValueError, match=r"."):
        list(array_elements(tmp_path / "broken.json"))


def spoil(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("kind", "file", "old", "new", "message"),
    [
        ("captions", "captions_val2017.json", '"image_id": 532481', '"image_id": 7', "no caption for 1 of 40 images"),
        ("captions", "captions_val2017.json", '"caption"', '"text"', "an element has no caption"),
        ("captions", "captions_train2017.json", "]", "", "fetch COCO's annotations again"),
        ("objects", "instances_val2017.json", '"id": 532481', '"id": 7', "no picture for 1 of 40 images"),
        ("objects", "instances_val2017.json", "[0, 0, 107, 426]", "[0, 0, -1, 426]", "a box is [0, 0, -1, 426]"),
        ("objects", "instances_val2017.json", '"category_id": 1', '"category_id": 2', "the unknown category 2"),
        ("objects", "instances_val2017.json", "thing 2", "thing 9", "is 'thing 9' here, and 'thing 2' before"),
        ("captions", "../nsddata/experiments/nsd/nsd_stim_info_merged.csv", "cropBox", "crop", "has no column cropBox"),
        (
            "captions",
            "../nsddata/experiments/nsd/nsd_stim_info_merged.csv",
            "(0, 0,",
            "(0, 2,",
            "line 2 is no stimulus",
        ),
    ],
)
def test_wrong_files_are_one_line_and_nothing_is_written(own_nsd, coco, kind, file, old, new, message):
    spoil(coco[1] / file, old, new)
    done = run_here(SCRIPT, kind, "-d", own_nsd, "--annotations", coco[1])
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert message in done.stderr
    assert not (own_nsd / "captions.csv").exists()
    assert not list(own_nsd.glob("image_embeddings/**/*.h5"))


def test_missing_files_are_named(own_nsd, coco):
    (coco[1] / "captions_val2017.json").unlink()
    done = run_here(SCRIPT, "captions", "-d", own_nsd, "--annotations", coco[1])
    assert (done.returncode, "holds no captions_val2017.json" in done.stderr) == (2, True)
    next(own_nsd.rglob("nsd_stim_info_merged.csv")).unlink()
    done = run_here(SCRIPT, "captions", "-d", own_nsd, "--annotations", coco[1])
    assert (done.returncode, "no stimulus table under" in done.stderr) == (2, True)


def test_the_command_is_no_model():
    assert "coco_annotations" not in extraction_scripts()
    assert np.isfinite(load_script(SCRIPT).N_CAPTIONS)
