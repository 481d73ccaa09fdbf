"""What is known of a sweep's jobs and units while they run, where SLURM answers and where it does not."""

import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
from sweeping import SWEEP_FOLDER, VIT, parsed

from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.sweep import commands
from brain_activity_prediction.sweep.planning.items import write_items
from brain_activity_prediction.sweep.planning.study import remember
from brain_activity_prediction.sweep.planning.units import Plan, Unit
from brain_activity_prediction.sweep.records import Record, alone, folder_of, log_of, write_record
from brain_activity_prediction.sweep.status import State, states_of, text_of
from brain_activity_prediction.sweep.workers import cluster

UNIT = Unit("extract_my-model_1_of_1", "extract", "my-model", 5, 5, ("python", "report.py"))


@pytest.mark.parametrize("command", [commands.local, commands.cancel])
def test_a_slurm_that_does_not_answer_may_have_jobs_where_some_were_submitted(command, tmp_path, stand_ins, capsys):
    stand_ins(squeue="echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1")
    commands.cancel(parsed("cancel", tmp_path))
    assert capsys.readouterr().out == "nothing runs here and nothing is queued\n"
    write_items(folder_of(tmp_path) / "20260101-000000-1" / "report.json", [UNIT], 1, "0")
    with pytest.raises(InputError, match="SLURM does not answer, and may have jobs"):
        command(parsed(command.__name__, tmp_path, "-g", "cpu"))
    assert not capsys.readouterr().out


def test_where_no_slurm_is_cancel_says_where_to_and_status_goes_by_the_files(own_nsd, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", "/nowhere")
    flags = ["--models", VIT, "-s", 1, "-g", "cpu"]
    remember(parsed("slurm", own_nsd, *flags))
    commands.status(parsed("status", own_nsd))
    assert "SLURM does not answer" not in capsys.readouterr().out
    write_items(folder_of(own_nsd) / "20260101-000000-1" / "report.json", [UNIT], 1, "0")
    commands.status(parsed("status", own_nsd))
    _, extract, *_, last = capsys.readouterr().out.splitlines()
    assert extract.split() == ["extract", "0", "0", "0", "0", "8"]
    assert last.startswith("SLURM does not answer on this machine: states are read from files")
    with pytest.raises(InputError, match="no squeue on this machine, and SLURM may have jobs"):
        commands.cancel(parsed("cancel", own_nsd))
    assert not capsys.readouterr().out
    monkeypatch.setattr(commands, "make_plan", lambda _: Plan([], replace(UNIT, n_left=0)))
    commands.local(parsed("local", own_nsd, *flags))
    assert "0 succeeded, 0 failed" in capsys.readouterr().out


def state_of(base_dir, queue):
    (state,) = states_of(base_dir, Plan([], UNIT), queue)
    return state.state, state.why


def record(base_dir, **of_it):
    here = {"host": "n1", "pid": 1, "job": "7_2", "kind": "gpu", "gpu": None, "amount": 5, "started": 0}
    write_record(base_dir, UNIT.name, Record(**here | of_it))


def test_the_units_of_the_queue_are_found_by_the_lists_that_were_submitted(tmp_path, stand_ins):
    key = cluster.key_of(tmp_path)
    units = [replace(UNIT, name=name) for name in ("ended", "queued")]
    write_items(folder_of(tmp_path) / "20260101-000000-1" / "extract_my-model.json", units, 1, "0")
    stand_ins(squeue=f"echo '7|1|PENDING|{key}-20260101-000000-1-extract_my-model|Priority'")
    assert {name: task.job for name, task in cluster.queued_units(tmp_path).items()} == {"queued": "7_1"}


def test_a_unit_that_failed_earlier_is_queued_or_running_in_this_submission(tmp_path):
    record(tmp_path, status=2)
    for job, state, found in (("7", "RUNNING", "failed"), ("8", "PENDING", "queued"), ("8", "RUNNING", "running")):
        task = cluster.Task(job, "2", state, "name", "Priority")
        assert state_of(tmp_path, {UNIT.name: task})[0] == found


def test_what_a_job_does_is_not_guessed_where_no_slurm_answers(tmp_path):
    record(tmp_path)
    state, why = state_of(tmp_path, None)
    assert (state, "SLURM does not answer" in why) == ("running", True)
    state, why = state_of(tmp_path, {})
    assert (state, "memory or time" in why) == ("failed", True)


def test_a_sweep_on_another_machine_runs_while_it_holds_the_lock(tmp_path, stand_ins):
    stand_ins(squeue="exit 1")
    record(tmp_path, job=None, host="elsewhere")
    with alone(tmp_path):
        (folder_of(tmp_path) / "lock").write_text("elsewhere~0-0~4711~1")
        assert state_of(tmp_path, None)[0] == "running"
        with pytest.raises(InputError, match="process 4711 on elsewhere: cancel it there"):
            commands.cancel(parsed("cancel", tmp_path))
    assert state_of(tmp_path, None)[0] == "failed"


def test_cancel_ends_jobs_of_a_sweep_that_was_never_remembered(tmp_path, stand_ins, capsys):
    calls = stand_ins(squeue=f"echo '12|0|PENDING|{cluster.key_of(tmp_path)}-1-1-1-report|None'", scancel="")
    commands.cancel(parsed("cancel", tmp_path))
    assert "ended: 1 job" in capsys.readouterr().out
    assert calls()[-1] == "scancel 12"


def test_a_reader_that_has_read_enough_ends_status_with_one_line(own_nsd):
    remember(parsed("local", own_nsd, "--models", VIT, "-s", 1, "-g", "cpu"))
    reading, writing = os.pipe()
    os.close(reading)
    script = [sys.executable, SWEEP_FOLDER / "sweep.py", "status", "-d", own_nsd]
    done = subprocess.run(script, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert done.returncode == 128 + signal.SIGPIPE
    assert done.stderr == "sweep.py: the program that reads its output, such as head, has ended\n"


def test_of_units_that_failed_alike_one_is_shown_in_full(tmp_path):
    units = [replace(UNIT, name=name) for name in "abc"]
    for one, end in zip(units, ("no GPU", "no GPU", "full"), strict=True):
        log_of(tmp_path, one.name).parent.mkdir(parents=True, exist_ok=True)
        log_of(tmp_path, one.name).write_text(f"a line before\n{end}\n")
    text = text_of(tmp_path, [State(one, "failed", "ended with status 2") for one in units])
    assert [line.strip() for line in text.splitlines() if line.startswith("    ") and "done" not in line] == [
        *("a line before", "no GPU", "no GPU", "a line before", "full")
    ]
