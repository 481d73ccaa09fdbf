"""A sweep on a real SLURM on this machine: a unit fails, a node dies, and it ends with what its units alone have."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import slurm_on_loopback
from conftest import TINY, simple_signals
from scripts import run_here
from sweeping import LLAVA, SWEEP_FOLDER, VIT, parsed, until

from brain_activity_prediction.datasets.nsd.design import read_design
from brain_activity_prediction.datasets.nsd.nsd import find_nsd
from brain_activity_prediction.demo import models
from brain_activity_prediction.demo.dataset import write_dataset
from brain_activity_prediction.models.library_imports import import_torchvision
from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore
from brain_activity_prediction.sweep.planning.plan import make_plan
from brain_activity_prediction.sweep.records import HEADER, log_of, read_record

pytestmark = pytest.mark.very_slow

IMAGES = 12 + 84  # shared and the subject's own: enough that a shard is caught in the middle


@pytest.fixture(scope="module")
def slurm():
    if (reason := slurm_on_loopback.why_not()) is not None:
        if os.environ.get("SLURM_TESTS") == "required":
            pytest.fail(reason)
        pytest.skip(reason)
    with slurm_on_loopback.Slurm(largest_array=2) as cluster:
        yield cluster


def write_study(folder):
    """A dataset, LLaVA's weights, and those of ViT where nobody looks for them yet."""
    recipe = type(TINY)(subjects=(1,), n_shared=12, n_unique=IMAGES - 12, n_sessions=4, image_size=24)
    write_dataset(folder, simple_signals, recipe)
    import_torchvision()
    models.write_vit(folder / "elsewhere" / VIT, num_hidden_layers=2)
    models.write_llava(folder / "checkpoints" / LLAVA, num_hidden_layers=2)
    return folder


def find_vit(folder):
    (folder / "elsewhere" / VIT).rename(folder / "checkpoints" / VIT)


def command(name, base_dir, *flags):
    return [sys.executable, str(SWEEP_FOLDER / "sweep.py"), name, "-d", str(base_dir), *map(str, flags)]


def study_flags(base_dir):
    return ["--models", VIT, LLAVA, "-s", 1, "-p", 1, "-b", 1, "--checkpoints", base_dir / "checkpoints", "-g", "cpu"]


def run_units(base_dir):
    """Runs the extractions and alignments of the study one by one, in this process."""
    plan = make_plan(parsed("plan", base_dir, *study_flags(base_dir), "--shards", 1))
    for unit in (unit for unit in plan.units if unit.stage != "report"):
        _, *script_and_flags = unit.on("cpu")
        done = run_here(*script_and_flags)
        assert done.returncode == 0, done.stderr


def llava_images(base_dir):
    folder = base_dir / "image_embeddings/prompt_1/llava-hf_llava-1.5-13b-hf"
    return {int(re.match(r"batch_(\d+)-", path.name)[1]) for path in folder.glob("batch_*")}


def held_in_the_middle(base_dir, *units):
    """Stops units, processes of this machine, each once one of its images is written; returns their processes.

    A unit is its name and its images.
    """
    pids = {}

    def all_held():
        written = llava_images(base_dir)
        for name, image_ids in units:
            if name not in pids and image_ids & written:
                pids[name] = read_record(base_dir, name).pid
                os.kill(pids[name], signal.SIGSTOP)
        return len(pids) == len(units)

    until(all_held)
    return [pids[name] for name, _ in units]


def has_signal(pid, number):
    """Whether a signal waits for a process that is stopped."""
    (pending,) = re.findall(r"^ShdPnd:\s*(\w+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(pending, 16) >> (number - 1) & 1


def n_runs(base_dir, unit):
    return log_of(base_dir, unit).read_text().count(f"\n{HEADER}")


def sorted_ids(base_dir):
    return sorted(read_design(find_nsd(base_dir).design()).image_ids(1).tolist())


def sweeping(slurm, base_dir):
    """What the script says to a command, which must end with a status."""

    def sweep(name, *flags, status=0):
        done = subprocess.run(
            command(name, base_dir, *flags), env=os.environ | slurm.environment, capture_output=True, text=True
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    return sweep


def states_and_scores(base_dir):
    """Every array of every store, by folder, stream and layer, and every table, by folder."""
    states, tables = {}, {}
    for folder in sorted(base_dir.glob("image_embeddings/*/*")):
        store = EmbeddingStore(folder)
        for stream, (n_layers, _) in store.streams().items():
            ids = store.image_ids([stream])
            for layer in range(n_layers):
                key = folder.relative_to(base_dir).as_posix(), stream, layer
                states[key] = (ids, store.read_layer(stream, layer, ids))
    for path in sorted(base_dir.glob("alignment/subj*/*/*/scores.parquet")):
        tables[path.relative_to(base_dir).as_posix()] = pd.read_parquet(path)
    return states, tables


def test_a_sweep_survives_a_failing_unit_a_time_limit_and_a_dead_node(slurm, tmp_path):
    base_dir, alone = (write_study(tmp_path / name) for name in ("cluster", "local"))
    find_vit(alone)
    sweep = sweeping(slurm, base_dir)

    def queue_is_empty():
        return not slurm.run("squeue", "--noheader")

    # One node a job, so that a node's death is one unit's. ViT has no weights yet.
    jobs = ["--shards", 3, "--gpus-per-job", 1, "--cpus-per-task", 2, "--max-restarts", 3, "--partition", "gpu"]
    said = sweep("slurm", *study_flags(base_dir), *jobs)
    assert "extract_llava_1.5_13b.2" in said  # three shards where an array may have two tasks
    assert "cancel" in sweep("slurm", *study_flags(base_dir), *jobs, status=2)  # refused while that one is queued
    submitted = [path for path in (base_dir / "sweep").iterdir() if path.name[0].isdigit()]
    assert len(submitted) == 1

    # The node of a unit that has just written its first batch dies, and its neighbour is told of a time limit: the last
    # task of their array, whose SLURM_JOB_ID is the number of the array.
    names = [f"extract_{LLAVA}_{number}_of_3" for number in (1, 2, 3)]
    killed, told, _ = names
    ids = sorted_ids(base_dir)
    _, pid = held_in_the_middle(base_dir, (killed, set(ids[0::3])), (told, set(ids[1::3])))
    jobs_of = {name: read_record(base_dir, name).job for name in names[:2]}
    assert jobs_of[told] == jobs_of[killed].replace("_0", "_1")
    slurm.run("scancel", "--batch", "--signal=USR1", jobs_of[told])
    until(lambda: has_signal(pid, signal.SIGUSR1))
    os.kill(pid, signal.SIGCONT)
    node = slurm.run("squeue", "--noheader", f"--jobs={jobs_of[killed]}", "--format=%N").strip()
    slurm.kill_node(int(node[1:]))
    run_units(alone)  # meanwhile, in the time that SLURM takes to notice
    until(lambda: "stopped by SIGUSR1" in log_of(base_dir, told).read_text())
    assert len(llava_images(base_dir)) < IMAGES
    status = sweep("status")
    assert re.search(rf"FAILED  extract_{VIT}_1_of_3 \(ended with status 2\)(.*\n)+.*does not exist", status)

    until(queue_is_empty)
    status = sweep("status")
    assert re.search(r"extract +3 +0 +0 +3 +0\n", status), status
    assert re.search(r"align +2 +0 +0 +0 +1\n", status), status  # ViT's was cancelled with what it waited for
    assert [read_record(base_dir, name).status for name in names] == [0, 0, 0]
    assert [n_runs(base_dir, name) for name in names] == [2, 2, 1]

    # The weights are found; two units share a job, each with a GPU of its own.
    before = {path: path.stat().st_mtime_ns for path in base_dir.rglob("batch_*")}
    find_vit(base_dir)
    said = sweep("slurm", *study_flags(base_dir), "--shards", 2, "--gpus-per-job", 2, "--cpus-per-task", 1)
    (submission,) = {path for path in (base_dir / "sweep").iterdir() if path.name[0].isdigit()} - set(submitted)
    assert {path.stem for path in submission.glob("*.json")} == {f"extract_{VIT}", f"align_{VIT}", "report"}
    until(queue_is_empty)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    gpus = {read_record(base_dir, f"extract_{VIT}_{number}_of_2").gpu for number in (1, 2)}
    assert gpus == {"0", "1"}
    assert " 0        0        0        0\nalign" in sweep("status")
    assert "nothing is left to do" in sweep("slurm", *study_flags(base_dir))

    (states, tables), (states_alone, tables_alone) = map(states_and_scores, (base_dir, alone))
    assert states.keys() == states_alone.keys()
    assert len(tables) == 3
    for key, (ids, values) in states.items():
        np.testing.assert_array_equal(ids, states_alone[key][0])
        np.testing.assert_array_equal(values, states_alone[key][1])
        assert len(ids) == IMAGES
    for path, table in tables.items():
        pd.testing.assert_frame_equal(table, tables_alone[path], check_exact=True)


def test_cancel_takes_back_what_is_queued(slurm, own_nsd):
    flags = ["--models", VIT, "-s", 1, "-p", 1, "-g", "cpu", "--shards", 3, "--sbatch=--hold --comment=mine"]
    for name, *more in (("slurm", *flags), ("cancel",)):
        done = subprocess.run(
            command(name, own_nsd, *more), env=os.environ | slurm.environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        if name == "slurm":
            assert "mine" in slurm.run("squeue", "--noheader", "--format=%k")
    assert "ended: 5 jobs" in done.stdout
    until(lambda: not slurm.run("squeue", "--noheader"))


@pytest.mark.exhaustive  # the first test tells a unit of its time limit, and kills a node
@pytest.mark.parametrize("cause", ["gpu", "graceful", "limit"])
def test_a_preempted_job_is_requeued_and_computes_nothing_twice(slurm, tmp_path, cause):
    base_dir, name = write_study(tmp_path), f"extract_{LLAVA}_1_of_1"
    jobs = ["--shards", 1, "--cpus-per-task", 2, "--partition", "gpu" if cause == "limit" else cause, "--models", LLAVA]
    limit = ["--sbatch=--time=1 --signal=B:USR1@30"] if cause == "limit" else []
    sweeping(slurm, base_dir)("slurm", *study_flags(base_dir), *jobs, *limit)
    (pid,) = held_in_the_middle(base_dir, (name, set(sorted_ids(base_dir))))
    if limit:  # SLURM itself sends the signal
        until(lambda: has_signal(pid, signal.SIGUSR1))
        os.kill(pid, signal.SIGCONT)
    else:
        job = read_record(base_dir, name).job
        node = slurm.run("squeue", "--noheader", f"--jobs={job}", "--format=%N").strip()
        preempting = ["--partition=urgent", "--exclusive", f"--nodelist={node}", "--output=/dev/null", "--wrap=sleep 3"]
        slurm.run("sbatch", *preempting)  # SLURM continues what it ends
    until(lambda: f"stopped by {'SIGUSR1' if limit else 'SIGTERM'}" in log_of(base_dir, name).read_text())
    before = {path: path.stat().st_mtime_ns for path in base_dir.rglob("batch_*")}
    assert len(llava_images(base_dir)) < IMAGES
    until(lambda: n_runs(base_dir, name) >= 2 and read_record(base_dir, name).status == 0)
    slurm.run("scancel", "--user=root")
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert sorted(llava_images(base_dir)) == sorted_ids(base_dir)
    until(lambda: not slurm.run("squeue", "--noheader"))
