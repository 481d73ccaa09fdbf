"""Pictures are recognised by their pixels: they can be added, a changed one is refused, an equal one is copied."""

import shutil

import numpy as np
import pytest
from dataset_trees import TREES
from mean_colours import MODEL, colours, extract
from own_experiment import image_names, write_experiment
from PIL import Image

from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore


def stored(folder, dataset, prompt="no_prompt"):
    return EmbeddingStore(folder / "image_embeddings" / dataset / prompt / MODEL.replace("/", "_"))


@pytest.fixture
def experiment(tmp_path):
    write_experiment(tmp_path)
    extract(colours(), tmp_path, "-s", "sub-01")
    return tmp_path


def test_pictures_can_be_added_to_an_experiment(experiment, capsys):
    with Image.open(experiment / "images" / image_names()[0]) as image:
        image.rotate(90).save(experiment / "images/new.png")
    with open(experiment / "trials.csv", "a") as file:
        file.write("sub-01,1,new.png\n")
    capsys.readouterr()
    extract(colours(), experiment, "-s", "sub-01")
    assert "61 images, prompt 1: 60 images were done before, 1 is left" in capsys.readouterr().err
    assert len(stored(experiment, "own").image_ids(["vision"])) == 61


def test_a_changed_picture_is_refused_by_name(experiment):
    name = image_names()[7]
    Image.new("RGB", (8, 8), "red").save(experiment / "images" / name)
    with pytest.raises(InputError, match=rf"pictures have changed .*.1 of 60 compared, first: {name}."):
        extract(colours(), experiment, "-s", "sub-01")


def test_a_picture_stored_in_another_format_is_the_same(experiment, capsys):
    path = experiment / "images" / image_names()[7]
    with Image.open(path) as image:
        image.save(path.with_suffix(".bmp"))
    path.with_suffix(".bmp").rename(path)
    extract(colours(), experiment, "-s", "sub-01")
    assert "0 are left" in capsys.readouterr().err


def test_states_are_copied_by_equal_pixels_never_by_equal_names(tmp_path, capsys):
    """THINGS has the pictures of the experiment under the same names, but the names of two are swapped."""
    results, own, other = tmp_path / "results", tmp_path / "own", tmp_path / "things"
    subject = TREES["own"](own)
    extract(colours(), own, "-s", subject, "--output", results, "--response")
    of_other = TREES["things"](other)
    files = {path.name: path for path in other.rglob("picture_*s.jpg")}
    first, second = files["picture_01s.jpg"], files["picture_02s.jpg"]
    shutil.move(first, tmp_path / "aside")
    shutil.move(second, first)
    shutil.move(tmp_path / "aside", second)
    Image.new("RGB", (8, 8), (1, 2, 3)).save(files["picture_05s.jpg"], "PNG")
    calls = []
    capsys.readouterr()
    extract(colours(calls), other, "-s", of_other, "--output", results, "--response")
    assert calls == [1]  # the one picture that the experiment lacks
    assert f"59 images are the same pictures as in {stored(results, 'own').folder}" in capsys.readouterr().err
    extract(colours(), other, "-s", of_other, "--output", tmp_path / "fresh", "--response")
    ids = sorted(files)
    for prompt, stream in (("no_prompt", "vision"), ("prompt_1", "language"), ("prompt_1", "response")):
        copied, fresh = stored(results, "things", prompt), stored(tmp_path / "fresh", "things", prompt)
        for layer in range(3):
            states = [store.read_layer(stream, layer, ids) for store in (copied, fresh)]
            np.testing.assert_array_equal(*states)
        assert copied.read_answers() == fresh.read_answers()
        assert copied.digests() == fresh.digests()


def test_states_of_other_settings_are_not_copied(tmp_path):
    results, own, other = tmp_path / "results", tmp_path / "own", tmp_path / "things"
    extract(colours(), own, "-s", TREES["own"](own), "--output", results)
    calls, subject = [], TREES["things"](other)
    extract(colours(calls), other, "-s", subject, "--output", results, "--dtype", "bfloat16")
    assert sum(calls) == 60
