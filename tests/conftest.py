"""A tiny simulated NSD, in both layouts and both formats of betas, whose signals need no model; tiny models; scores."""

import os
import runpy
import shutil
import subprocess
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from brain_activity_prediction.demo.dataset import write_dataset
from brain_activity_prediction.demo.pictures import crops
from brain_activity_prediction.demo.simulation import Recipe
from brain_activity_prediction.encoding.tables import summary
from brain_activity_prediction.encoding.tables.layer_figure import layer_curves
from brain_activity_prediction.runtime.messages import show_messages

show_messages()  # as scripts do: tests read what they say on stderr
TINY = Recipe(subjects=(1, 2), n_shared=12, n_unique=28, n_sessions=4, image_size=24)


def pytest_collection_modifyitems(items):
    """Run slow files first, so that in the end no process is left alone with one of them."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(autouse=True, scope="session")
def empty_layer_figures():
    """Alignments write an empty layers.png: drawing it takes a third of the time of a tiny one."""
    with patch.object(summary, "layer_curves", lambda table, path: path.write_bytes(b"")):
        yield


@pytest.fixture(autouse=True, scope="session")
def no_waiting_for_the_disk():
    """Files are not forced to the disk: tests kill processes, which lose nothing that is written, not the machine."""
    with patch.object(os, "fsync", lambda descriptor: None):
        yield


@pytest.fixture
def drawn_layer_figures(monkeypatch):
    """Alignments draw layers.png."""
    monkeypatch.setattr(summary, "layer_curves", layer_curves)


def simple_signals(pictures):
    """Horizontal contrasts for the "early" voxels, mean colours for the "late" ones, (n, 3) each."""
    intensities = pictures.astype(float) / 255
    features = {
        "early": np.abs(np.diff(intensities, axis=2)).mean(axis=(1, 2)),
        "late": intensities.mean(axis=(1, 2)),
    }
    return {source: _whitened(values) for source, values in features.items()}


def _whitened(features):
    left, _, _ = np.linalg.svd(features - features.mean(axis=0), full_matrices=False)
    return left * np.sqrt(len(features))


@pytest.fixture(scope="session")
def official_nsd(tmp_path_factory):
    """BASE_DIR in the official layout with .nii.gz betas; read only."""
    folder = tmp_path_factory.mktemp("official")
    write_dataset(folder, simple_signals, TINY, layout="official", betas_format="nii.gz")
    return folder


@pytest.fixture(scope="session")
def flat_nsd(tmp_path_factory):
    """The same numbers in the flat layout with .hdf5 betas; read only."""
    folder = tmp_path_factory.mktemp("flat")
    write_dataset(folder, simple_signals, TINY, layout="flat", betas_format="hdf5")
    return folder


@pytest.fixture
def own_nsd(official_nsd, tmp_path):
    """A copy of `official_nsd` for tests that change it."""
    return shutil.copytree(official_nsd, tmp_path / "nsd")


@pytest.fixture(scope="session")
def ready_once(official_nsd, tmp_path_factory):
    """`official_nsd` with the states of a model of two layers, to be aligned; read only."""
    from two_layers import write_states

    base_dir = shutil.copytree(official_nsd, tmp_path_factory.mktemp("ready") / "nsd")
    write_states(base_dir)
    return base_dir


@pytest.fixture
def ready(ready_once, tmp_path):
    """A copy of `ready_once` for tests that change it."""
    return shutil.copytree(ready_once, tmp_path / "nsd")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """A tiny model by its name in `tiny_models.MODELS`, loaded by its script from a saved checkpoint.

    It comes as `script, model, processor, folder`, transformers' own processor as `whole`, and `reference`, how
    transformers itself runs it.
    """
    import reference_states
    import tiny_models
    import torch
    from scripts import load_script

    from brain_activity_prediction.models.checkpoints.checkpoint import Checkpoint

    loaded = {}

    def load(name):
        if name not in loaded:
            file_name, write = tiny_models.MODELS[name]
            script, folder = load_script(file_name), tmp_path_factory.mktemp(name)
            write(folder)
            model, processor = script.load(Checkpoint(script.MODEL_ID, None, folder), "cpu", torch.float32)
            loaded[name] = SimpleNamespace(
                script=script,
                model=model.requires_grad_(False),
                processor=processor,
                folder=folder,
                whole=(whole := reference_states.processor(folder)),
                reference=partial(getattr(reference_states, name), model, whole),
            )
        return loaded[name]

    return load


@pytest.fixture(scope="session")
def photographs():
    """Eight crops of photographs, PIL images."""
    return [Image.fromarray(picture) for picture in crops(8, 40, np.random.default_rng(0))]


@pytest.fixture(scope="session")
def synthetic():
    """The module that makes up scores, `benchmarks/synthetic_scores.py`."""
    path = Path(__file__).resolve().parents[1] / "benchmarks" / "synthetic_scores.py"
    return SimpleNamespace(**runpy.run_path(str(path)))


@pytest.fixture(scope="session")
def scored(synthetic, tmp_path_factory):
    """BASE_DIR with made-up scores of two models, two prompts, two subjects; read only but for its report."""
    folder = tmp_path_factory.mktemp("scored")
    synthetic.write_base_dir(folder, synthetic.SMALL)
    return folder


@pytest.fixture(scope="session")
def scored_rows(scored):
    """All tables of `scored`, one below the other."""
    return pd.concat(map(pd.read_parquet, sorted(scored.glob("alignment/*/*/*/scores.parquet"))))


@pytest.fixture
def own_scored(scored, tmp_path):
    """A copy of `scored` for tests that change it."""
    return shutil.copytree(scored, tmp_path / "base", ignore=shutil.ignore_patterns("report"))


@pytest.fixture
def small_disk(tmp_path):
    """A mounted disk of 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small disk here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def stand_ins(tmp_path, monkeypatch):
    """Programs on the path that note how they were called; `programs[name] = shell code`."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))

    def write(**programs):
        for name, code in programs.items():
            path = folder / name
            path.write_text(f'#!/bin/bash\necho {name} "$*" >>"$CALLS"\n{code}\n')
            path.chmod(0o755)
        return lambda: (tmp_path / "calls").read_text().splitlines()

    return write
