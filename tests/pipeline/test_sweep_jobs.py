"""The sweep's jobs, with stand-ins for SLURM's programs that note how they were called."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from scripts import EXTRACT, PACKAGE
from sweeping import (
    LLAVA,
    SUBMITTING,
    SWEEP_FOLDER,
    VIT,
    parsed,
)

from brain_activity_prediction.cli.flag_values import NOTICE_S
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.sweep import commands
from brain_activity_prediction.sweep.planning.items import item_of_this_task, read_items, write_items
from brain_activity_prediction.sweep.planning.units import Unit
from brain_activity_prediction.sweep.workers import cluster

pytestmark = pytest.mark.slow


def test_an_item_file_gives_each_task_of_a_job_its_unit(tmp_path, monkeypatch):
    units = [Unit(f"u{number}", "extract", "m", 9, number, ("python", f"{VIT}.py", "-x")) for number in range(5)]
    assert write_items(tmp_path / "items.json", units, 2, "0") == 3
    assert [(item.task, item.name, item.amount) for item in read_items(tmp_path / "items.json")] == [
        (place // 2, f"u{place}", place) for place in range(5)
    ]
    got = []
    for task in range(3):
        for process in range(2):
            monkeypatch.setenv("SLURM_ARRAY_TASK_ID", str(task))
            monkeypatch.setenv("SLURM_PROCID", str(process))
            got.append(item_of_this_task(tmp_path / "items.json"))
    assert got[3].name == "u3"
    assert got[3].command(tmp_path) == [
        sys.executable,
        str(EXTRACT / f"{VIT}.py"),
        "-x",
        "-d",
        str(tmp_path),
        "-g",
        "0",
    ]
    assert got[5] is None


JOB = ["bash", SWEEP_FOLDER / "job.sh", "BASE", "ITEMS", "python", "run_unit.py", "3"]


def job(**environment):
    """The last task of an array, whose own number SLURM makes the array's."""
    of_slurm = {"SLURM_JOB_ID": "7", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "2"}
    return subprocess.run(JOB, env=os.environ | of_slurm | environment, timeout=30, check=False)


def test_a_job_ends_with_the_worst_status_of_its_units(stand_ins):
    calls = stand_ins(srun="exit 2", squeue="echo RUNNING", scontrol="")
    assert job().returncode == 2
    assert [call.split()[0] for call in calls()] == ["srun"]


@pytest.mark.parametrize(("state", "requeued"), [("RUNNING", True), ("CANCELLED", False)])
def test_a_signal_reaches_the_units_and_requeues_the_job_unless_cancelled(state, requeued, stand_ins):
    calls = stand_ins(
        srun="trap 'exit 75' USR1; kill -USR1 $PPID; for _ in {1..100}; do sleep 0.1; done",
        squeue=f"echo {state}",
        scontrol="",
    )
    assert job().returncode == (0 if requeued else 75)
    assert ("scontrol requeue 7_2" in calls()) == requeued


def test_a_job_that_is_told_to_end_waits_for_its_units_whose_cores_are_those_it_has(stand_ins):
    calls = stand_ins(
        srun='echo "cores $SRUN_CPUS_PER_TASK" >>"$CALLS"; kill -TERM $PPID; sleep 0.3; exit 3',
        squeue="echo RUNNING",
        scontrol="",
    )
    assert job(SLURM_CPUS_PER_TASK="6").returncode == 0
    assert "--kill-on-bad-exit=0" in calls()[0]  # a unit that fails does not end those beside it
    assert calls()[1] == "cores 6"
    assert calls()[-1] == "scontrol requeue 7_2"


def test_the_batch_file_requests_requeueing_and_a_notice_before_the_limit():
    asked = re.findall(r"^#SBATCH (\S+)", (SWEEP_FOLDER / "job.sh").read_text(), re.MULTILINE)
    assert "--requeue" in asked
    (seconds,) = (option.removeprefix("--signal=B:USR1@") for option in asked if option.startswith("--signal"))
    assert int(seconds) == NOTICE_S
    assert f"{seconds} seconds before it, SLURM sends SIGUSR1" in (PACKAGE.parent / "docs/slurm.md").read_text()


@pytest.mark.parametrize(("status", "requeued"), [(75, True), (2, False)])
def test_units_stopped_without_their_job_are_requeued_as_at_preemption(status, requeued, stand_ins):
    calls = stand_ins(srun=f"exit {status}", squeue="echo RUNNING", scontrol="")
    assert job().returncode == (0 if requeued else 2)
    assert ("scontrol requeue 7_2" in calls()) == requeued


def test_a_slurm_that_does_not_answer_at_first_is_asked_again(stand_ins):
    calls = stand_ins(
        sleep="",
        srun="exit 75",
        squeue='if (($(grep -c ^squeue "$CALLS") < 3)); then exit 1; fi; echo RUNNING',
        scontrol='if (($(grep -c ^scontrol "$CALLS") < 2)); then exit 1; fi',
    )
    assert job().returncode == 0
    assert [call.split()[0] for call in calls()].count("squeue") == 4
    stand_ins(squeue="exit 1")
    assert job().returncode == 75


def test_a_job_is_not_started_again_for_ever(stand_ins):
    calls = stand_ins(srun="", squeue="", scontrol="")
    assert job(SLURM_RESTART_COUNT="3").returncode == 0
    assert job(SLURM_RESTART_COUNT="4").returncode == 1
    assert len(calls()) == 1


def submit(base_dir, *flags):
    commands.slurm(parsed("slurm", base_dir, "--models", VIT, LLAVA, "-s", 1, "-p", "1-3", *flags))


def test_arrays_are_split_at_the_sites_limit_and_wait_for_all_dependencies(own_nsd, stand_ins):
    calls = stand_ins(**SUBMITTING)
    submit(own_nsd, "--shards", "5", "--gpus-per-job", "2", "--time", "1:00:00", "--sbatch=--qos=long --exclusive")
    submissions = [call for call in calls() if call.startswith("sbatch")]
    assert [call.split("--array=")[1].split()[0] for call in submissions[:4]] == ["0-1", "0-0", "0-0", "0-1"]
    assert "--dependency=afterok:1:2 --kill-on-invalid-dep=yes" in submissions[2]
    for call in submissions[:6]:
        assert "--ntasks=2" in call
        assert "--gpus-per-task=1" in call
        assert "--time=1:00:00" in call
        assert "--qos=long --exclusive" in call


def test_job_options_apply_to_each_job_and_the_report_waits_for_all(own_nsd, stand_ins, tmp_path):
    calls = stand_ins(**SUBMITTING)
    options = ["--partition", "gpu", "--account", "lab", "--time", "1:00:00", "--memory", "64G", "--cpus-per-task", "3"]
    own = tmp_path / "own.sh"
    submit(own_nsd, "--shards", 2, *options, "--at-once", 7, "--max-restarts", 5, "--job-file", own)
    submissions = [call for call in calls() if call.startswith("sbatch")]
    for call in submissions:
        for asked in ("--partition=gpu", "--account=lab", "--time=1:00:00", "--mem=64G", "--cpus-per-task=3", "%7"):
            assert f"{asked} " in call
        assert f" {own} {own_nsd} " in call
        assert call.endswith("run_unit.py 5")
    report = submissions[-1]
    before = ":".join(str(number) for number in range(1, len(submissions)))
    assert f"--dependency=afterany:{before} " in report
    assert "--gpus" not in report


def test_a_model_that_is_spread_over_cards_has_a_job_and_all_its_gpus_for_itself(own_nsd, stand_ins):
    calls = stand_ins(**SUBMITTING)
    submit(own_nsd, "--gpus-per-job", "4", "--device-map", "auto", "--shards", "1")
    first = next(call for call in calls() if call.startswith("sbatch"))
    assert "--ntasks=1" in first
    assert "--gpus-per-task=4" in first
    (items,) = own_nsd.glob(f"sweep/*/extract_{VIT}.json")
    assert read_items(items)[0].flags[-4:] == ["--device-map", "auto", "--shard", "0/1"]


@pytest.mark.parametrize(("flags", "n_gpus"), [(["-g", "cpu"], 0), ([], 1), (["-g", "cpu", "--gpus-per-job", "2"], 2)])
def test_units_on_the_cpu_reserve_no_gpu_unless_one_is_asked_for(flags, n_gpus, own_nsd, stand_ins):
    calls = stand_ins(**SUBMITTING)
    submit(own_nsd, "--shards", "2", *flags)
    first = next(call for call in calls() if call.startswith("sbatch"))
    assert first.count("--gpus-per-task=1") == min(n_gpus, 1)
    assert f"--ntasks={max(n_gpus, 1)}" in first
    (items,) = own_nsd.glob(f"sweep/*/extract_{VIT}.json")
    assert read_items(items)[0].device == ("cpu" if "cpu" in flags else "0")


def test_where_sbatch_refuses_an_array_those_before_it_are_taken_back(own_nsd, stand_ins, monkeypatch):
    calls = stand_ins(**SUBMITTING)
    monkeypatch.setenv("MOST", "2")
    with pytest.raises(InputError, match="QOS limit"):
        submit(own_nsd, "--shards", "2")
    assert calls()[-1] == "scancel 1 2"


def test_a_submission_that_is_stopped_leaves_nothing_queued(own_nsd, stand_ins):
    calls = stand_ins(**SUBMITTING | {"sbatch": "echo 1; if [[ $* == *align* ]]; then kill -TERM $PPID; sleep 9; fi"})
    script = [sys.executable, SWEEP_FOLDER / "sweep.py", "slurm", "-d", own_nsd, "--models", VIT, "-s", "1"]
    assert subprocess.run(script, timeout=300, check=False).returncode == 75
    assert calls()[-1] == "scancel 1 2 3 4 5"  # eight shards, two an array, and the alignment


@pytest.mark.parametrize(
    ("said", "largest"),
    [
        ("MaxArraySize            = 2000", 2000),
        ("MaxArraySize            = 2000\nSchedulerParameters     = bf_interval=30,max_array_tasks=50", 50),
        ("AuthType                = auth/munge", 1001),
    ],
)
def test_the_largest_array_is_the_sites(said, largest, stand_ins):
    stand_ins(scontrol=f"printf '{said}\n'")
    assert cluster.largest_array() == largest


def test_a_queued_sweep_is_not_submitted_again_and_other_folders_do_not_matter(own_nsd, stand_ins):
    name = f"{cluster.key_of(own_nsd)}-20260101-000000-1-report"
    stand_ins(**SUBMITTING | {"squeue": "echo '12|0|PENDING|sweep_01234567-1-x|None'"})
    submit(own_nsd, "--shards", "1")
    stand_ins(**SUBMITTING | {"squeue": f"echo '12|0|PENDING|{name}|Priority'"})
    with pytest.raises(InputError, match=r"1 job of this sweep is in the queue \(first: 12_0\)"):
        submit(own_nsd, "--shards", "1")


def test_without_slurm_it_is_said_so(own_nsd, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(InputError, match=r"no squeue on this machine"):
        submit(own_nsd)


def test_a_base_directory_may_have_any_name(own_nsd, stand_ins):
    odd = own_nsd.rename(own_nsd.with_name("line\nend\ttab %a $HOME 'quote"))
    stand_ins(**SUBMITTING | {"sbatch": 'for word in "$@"; do printf "%s\\0" "$word"; done >>"$CALLS.words"; echo 1'})
    submit(odd, "--shards", "1")
    words = Path(f"{os.environ['CALLS']}.words").read_text().split("\0")
    assert words.count(str(odd)) == len(list(odd.glob("sweep/*/*.json")))
    output = next(word for word in words if word.startswith("--output="))
    assert output.replace("%%", "%").startswith(f"--output={odd}/sweep/")
    assert re.findall("%+[a-z]", output) == ["%%a", "%a"]
    for path in odd.glob("sweep/*/*.json"):
        (item, *_) = read_items(path)
        assert str(odd) in item.command(odd)
