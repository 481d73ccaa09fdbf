"""An alignment and its preparation of betas told to stop, beside others, on a full or read-only disk."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from two_layers import FOLDER, MODEL, align, read_scores

from brain_activity_prediction.align_image_embeddings import align_model
from brain_activity_prediction.datasets.nsd import nsd as dataset
from brain_activity_prediction.encoding import encode
from brain_activity_prediction.encoding.scores.score_store import ScoreStore
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.running import run_script

pytestmark = pytest.mark.slow


def stopped(monkeypatch, base_dir):
    """Aligns until a signal ends it."""
    flags = ["-d", str(base_dir), "-g", "cpu", "-m", MODEL, "--num-alphas", "5"]
    monkeypatch.setattr("sys.argv", ["align_model.py", *flags])
    with pytest.raises(SystemExit) as ended:
        run_script(align_model.main)
    assert ended.value.code == 75


def sending(name, function, at_call=1):
    """The function, which sends its own process a signal when it is called for the `at_call`th time."""
    calls = []

    def interrupted(*arguments, **named):
        calls.append(arguments)
        if len(calls) == at_call:
            os.kill(os.getpid(), getattr(signal, name))
        return function(*arguments, **named)

    return interrupted, calls


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGUSR1"])
def test_a_signal_lets_the_layer_in_hand_be_finished_and_the_next_run_continues(name, ready, monkeypatch, capsys):
    with monkeypatch.context() as during:
        interrupted, calls = sending(name, encode.ridge_cv)
        during.setattr(encode, "ridge_cv", interrupted)
        stopped(during, ready)
        assert len(calls) == 1
    said = capsys.readouterr().err
    assert f"stopped by {name}; all that was finished is kept, the same command continues" in said
    assert [layer for _, layer, _ in ScoreStore(ready / FOLDER).layers()] == [0]
    align(monkeypatch, ready, "--num-alphas", 5)
    assert "1 layer was scored before, 1 is left" in capsys.readouterr().err
    assert read_scores(ready)["layer"].nunique() == 2
    assert not list(ready.glob("alignment/**/claims*"))


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGUSR1"])
def test_a_signal_lets_the_session_in_hand_be_read_and_leaves_nothing_half_made(name, ready, monkeypatch, capsys):
    with monkeypatch.context() as during:
        read_session, calls = sending(name, dataset.read_session, at_call=2)
        during.setattr(dataset, "read_session", read_session)
        stopped(during, ready)
        assert len(calls) == 2
    assert f"stopped by {name}" in capsys.readouterr().err
    assert list((ready / "alignment" / "responses").iterdir()) == []
    align(monkeypatch, ready, "--num-alphas", 5)
    assert read_scores(ready)["layer"].nunique() == 2


AT_ONCE = """
import json, os, sys
import matplotlib.figure, scipy.stats  # here, since each child would for itself
from brain_activity_prediction.align_image_embeddings import align_model
from brain_activity_prediction.datasets.nsd import nsd as dataset
from brain_activity_prediction.encoding import encode
base_dir, n_processes = sys.argv[1], int(sys.argv[2])
sys.argv = ["align_model.py", "-d", base_dir, "-g", "cpu", "-m", sys.argv[3], "--num-alphas", "5"]
calls = {"layers": 0, "sessions": 0}
def counted(module, name, of):
    function = getattr(module, name)
    def call(*arguments, **named):
        calls[of] += 1
        return function(*arguments, **named)
    setattr(module, name, call)
counted(encode, "ridge_cv", "layers")
counted(dataset, "read_session", "sessions")
children = []
for _ in range(n_processes):
    out, given = os.pipe()
    if not os.fork():
        align_model.main()
        os.write(given, json.dumps(calls).encode())
        os._exit(0)
    os.close(given)
    children.append(out)
assert not any(os.wait()[1] for _ in children)
print(json.dumps([json.loads(os.read(out, 100)) for out in children]))
"""


def test_parallel_alignments_read_betas_once_and_fit_each_layer_once(ready, monkeypatch):
    align(monkeypatch, ready, "--num-alphas", 5)
    alone = pd.read_parquet(ready / FOLDER / "scores.parquet")
    for path in [*(ready / FOLDER / "voxels").iterdir(), *(ready / "alignment" / "responses").iterdir()]:
        path.unlink()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-W", "ignore", "-c", AT_ONCE, ready, "3", MODEL]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr
    counts = json.loads(ended.stdout.splitlines()[-1])
    assert sum(count["sessions"] for count in counts) == 4
    assert sum(count["layers"] for count in counts) == 2
    pd.testing.assert_frame_equal(pd.read_parquet(ready / FOLDER / "scores.parquet"), alone)
    assert not [path for path in ready.rglob("*") if "claims" in path.name or "~" in path.name]


def test_scores_removed_during_a_run_end_it_and_the_next_run_restores_them(ready, monkeypatch):
    ridge_cv, calls = encode.ridge_cv, []

    def removing(*arguments, **named):
        calls.append(1)
        if len(calls) == 2:
            shutil.rmtree(ready / FOLDER / "voxels")
        return ridge_cv(*arguments, **named)

    monkeypatch.setattr(encode, "ridge_cv", removing)
    with pytest.raises(InputError, match=r"scores of 1 of 2 layers were removed from .*subj01"):
        align(monkeypatch, ready)
    align(monkeypatch, ready)
    assert set(read_scores(ready)["layer"]) == {0, 1}


def test_layers_that_another_process_finishes_meanwhile_are_in_the_table(ready, monkeypatch):
    """An array of jobs, a layer each: the last table to be written holds them all."""
    from brain_activity_prediction.encoding.tables import summary

    write_table = summary.write_table
    results = ScoreStore(ready / FOLDER)

    def meanwhile(table, folder, name):
        if [layer for _, layer, _ in results.layers()] == [0]:
            results.write("vision", 1, 2, results.read("vision", 0))
        write_table(table, folder, name)

    monkeypatch.setattr(summary, "write_table", meanwhile)
    align(monkeypatch, ready, "-l", 0)
    assert set(read_scores(ready)["layer"]) == {0, 1}


def test_a_full_disk_is_one_line_and_more_room_lets_the_alignment_continue(ready, small_disk, monkeypatch):
    (small_disk / "other").write_bytes(bytes(1_048_576 - 150_000))
    (ready / "alignment").symlink_to(small_disk, target_is_directory=True)
    with pytest.raises(InputError, match=r"No space left on device|take .* free at least"):
        align(monkeypatch, ready, "--num-alphas", 5)
    (small_disk / "other").unlink()
    align(monkeypatch, ready, "--num-alphas", 5)
    assert read_scores(ready)["layer"].nunique() == 2
    assert not [path for path in small_disk.rglob("*") if "~" in path.name]


def test_betas_that_have_no_room_are_refused_before_they_are_read(ready, small_disk, monkeypatch):
    (small_disk / "other").write_bytes(bytes(1_048_576 - 20_000))
    (ready / "alignment").symlink_to(small_disk, target_is_directory=True)
    monkeypatch.setattr(dataset, "read_session", None)
    with pytest.raises(InputError, match=r"responses_subj01.* [\d.]+ [GMk]B are needed, .*free at least"):
        align(monkeypatch, ready)


def test_scores_of_an_interrupted_run_are_those_of_an_uninterrupted_one(ready, monkeypatch):
    align(monkeypatch, ready, "--num-alphas", 5)
    whole = ScoreStore(ready / FOLDER).read("vision", 1)
    align(monkeypatch, ready, "--num-alphas", 5, "--redo", "-l", 0)
    align(monkeypatch, ready, "--num-alphas", 5)
    for name, values in ScoreStore(ready / FOLDER).read("vision", 1).items():
        np.testing.assert_array_equal(values, whole[name])


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory."), MemoryError()])
def test_a_lack_of_memory_is_one_line_and_keeps_the_layers_that_were_finished(ready, monkeypatch, capsys, error):
    ridge_cv, calls = encode.ridge_cv, []

    def no_memory(*arguments, **named):
        calls.append(arguments)
        if len(calls) == 2:
            raise error
        return ridge_cv(*arguments, **named)

    monkeypatch.setattr(encode, "ridge_cv", no_memory)
    flags = ["-d", str(ready), "-g", "cpu", "-m", MODEL, "--num-alphas", "5"]
    monkeypatch.setattr("sys.argv", ["align_model.py", *flags])
    with pytest.raises(SystemExit) as ended:
        run_script(align_model.main)
    assert ended.value.code == 2
    assert re.search("^align_model.py: out of memory .*; all that was finished is kept", capsys.readouterr().err, re.M)
    assert [layer for _, layer, _ in ScoreStore(ready / FOLDER).layers()] == [0]


@pytest.mark.parametrize("step", ["layer_curves", "write_map", "to_parquet"])
def test_where_the_table_is_all_that_an_alignment_writes_is(ready, monkeypatch, step):
    """A sweep takes scores.csv for the end of an alignment: one killed before its end must not leave it."""
    from brain_activity_prediction.datasets import units
    from brain_activity_prediction.encoding.tables import summary

    where = {"to_parquet": pd.DataFrame, "write_map": units, "layer_curves": summary}[step]

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(where, step, killed)
        align(monkeypatch, ready)
    assert not (ready / FOLDER / "scores.csv").exists()
    align(monkeypatch, ready)
    assert {"scores.csv", "scores.parquet", "layers.png", "maps"} <= {path.name for path in (ready / FOLDER).iterdir()}
