"""Extraction through the command line of its scripts."""

import os
import shutil
import signal
import subprocess
import time

import numpy as np
import pytest
from mean_colours import colours, extract
from scripts import SCRIPTS, command, load_script, run_here

from brain_activity_prediction.datasets.nsd.nsd import find_nsd
from brain_activity_prediction.demo import models
from brain_activity_prediction.models.library_imports import import_torchvision
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vit")
    import_torchvision()
    models.write_vit(folder, num_hidden_layers=2)
    return folder


VIT = "vit_huge_patch14_224_in21k.py"
VIT_FOLDER = "image_embeddings/no_prompt/google_vit-huge-patch14-224-in21k"


def all_states(base_dir):
    found = EmbeddingStore(base_dir / VIT_FOLDER)
    ids = found.image_ids(["vision"])
    return ids, [found.read_layer("vision", layer, ids) for layer in range(found.streams()["vision"][0])]


def test_a_killed_extraction_continues_to_the_same_results(official_nsd, tmp_path, vit):
    whole, killed = (shutil.copytree(official_nsd, tmp_path / name) for name in ("whole", "killed"))
    flags = ["-g", "cpu", "-b", "1", "--checkpoint", vit]
    assert run_here(VIT, "-d", whole, *flags).returncode == 0
    process = subprocess.Popen(command(VIT, "-d", killed, *flags), stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while len(list((killed / VIT_FOLDER).glob("batch_*"))) < 3:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    n_done = len(list((killed / VIT_FOLDER).glob("batch_*")))
    assert n_done < 40

    again = run_here(VIT, "-d", killed, *flags)
    assert f"{n_done} images were done before, {40 - n_done} are left" in again.stderr
    ids, layers = all_states(whole)
    ids_again, layers_again = all_states(killed)
    np.testing.assert_array_equal(ids_again, ids)
    for layer, layer_again in zip(layers, layers_again, strict=True):
        np.testing.assert_array_equal(layer_again, layer)
    assert not [path for path in killed.rglob(".*") if "~" in path.name]


def test_a_missing_and_a_truncated_stimulus_file_are_named(own_nsd):
    path = find_nsd(own_nsd).stimuli()
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InputError, match=path.name):
        extract(colours(), own_nsd)
    path.unlink()
    with pytest.raises(InputError, match=path.name):
        extract(colours(), own_nsd)


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_holds_its_contract(name):
    script = load_script(name)
    assert script.MODEL_ID.count("/") == 1
    assert script.__doc__
    assert all(callable(getattr(script, function)) for function in ("load", "preprocess", "encode_images"))
    assert hasattr(script, "encode_prompt") == hasattr(script, "PROMPT_STREAMS")
    if hasattr(script, "TEMPLATE"):
        assert script.TEMPLATE.count("{prompt}") == 1
