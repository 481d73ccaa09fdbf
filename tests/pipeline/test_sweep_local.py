"""A sweep on this machine: its workers, what a signal or a failure does to it, and its units by themselves."""

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from contextlib import nullcontext
from dataclasses import replace

import psutil
import pytest
from sweeping import (
    SWEEP_FOLDER,
    VIT,
    parsed,
    plan_of,
    unit,
    until,
)

from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.sweep import commands
from brain_activity_prediction.sweep.planning.study import remember
from brain_activity_prediction.sweep.planning.units import Unit
from brain_activity_prediction.sweep.records import (
    alone,
    last_lines,
    lock_holder,
    log_of,
    read_record,
    write_record,
)
from brain_activity_prediction.sweep.status import states_of, text_of
from brain_activity_prediction.sweep.workers.local_run import LocalRun, Worker

pytestmark = pytest.mark.slow


def run(base_dir, plan, n_workers=2):
    with alone(base_dir) as lock:
        local = LocalRun(base_dir, plan, [Worker(f"CPU {number}", "cpu") for number in range(n_workers)], lock)
        return local.run(), [unit.name for unit in local.waiting]


def test_a_failing_unit_stops_only_what_needs_it_and_status_shows_its_traceback(tmp_path):
    good = [unit(tmp_path, f"good_{number}", "print('fine')") for number in range(2)]
    bad = [unit(tmp_path, "bad", "def broken():\n    return 1 / 0\nbroken()", model="other")]
    written = tmp_path / "aligned.csv"
    aligned = unit(tmp_path, "aligned", f"import time\ntime.sleep(1)\nopen({str(written)!r}, 'w')", "align")
    never = unit(tmp_path, "never", "", "align", "other")
    report = unit(tmp_path, "the_report", f"open({str(written)!r})", "report", "")
    plan = plan_of((good, [aligned]), (bad, [never]), report=report)
    outcome, waiting = run(tmp_path, plan)
    assert outcome.failed == ["bad"]
    assert set(outcome.done) == {"good_0", "good_1", "aligned", "the_report"}
    assert outcome.done[-1] == "the_report"
    assert waiting == ["never"]

    states = {state.unit.name: state for state in states_of(tmp_path, plan, {})}
    assert states["bad"].state == "failed"
    assert states["never"].state == "left"
    text = text_of(tmp_path, list(states.values()))
    assert "in broken" in text
    assert "ZeroDivisionError: division by zero" in text


def test_an_alignment_waits_for_the_extraction_it_needs_while_a_worker_is_idle(tmp_path):
    states = str(tmp_path / "states")
    extract = unit(tmp_path, "extract", f"import time\ntime.sleep(1)\nopen({states!r}, 'w')")
    outcome, _ = run(tmp_path, plan_of(([extract], [unit(tmp_path, "align", f"open({states!r})", "align")])))
    assert outcome.done == ["extract", "align"]


def test_workers_run_side_by_side_each_on_its_own_device(tmp_path):
    wait_for_the_other = (
        "import os, sys, time, pathlib\n"
        "assert os.getsid(0) == os.getpid()  # Ctrl-C on the terminal is the sweep's to pass on\n"
        "here = pathlib.Path(__file__)\n"
        "here.with_suffix('.begun').write_text(sys.argv[-1])\n"
        "other = here.with_name({'a': 'b', 'b': 'a'}[here.stem] + '.begun')\n"
        "deadline = time.monotonic() + 60\n"
        "while not other.exists(): assert time.monotonic() < deadline; time.sleep(0.01)\n"
    )
    plan = plan_of(([unit(tmp_path, name, wait_for_the_other) for name in "ab"], []))
    with alone(tmp_path) as lock:
        outcome = LocalRun(tmp_path, plan, [Worker("GPU 4", "4"), Worker("GPU 7", "7")], lock).run()
    assert sorted(outcome.done) == ["a", "b"]
    assert {(tmp_path / f"{name}.begun").read_text() for name in "ab"} == {"4", "7"}


def test_a_signal_lets_the_units_in_hand_end_and_begins_no_other(tmp_path):
    code = (
        "import os, signal, sys, time\n"
        "from brain_activity_prediction.runtime.stopping import until_stopped, Stopped\n"
        "try:\n"
        "    for step in until_stopped(range(1000)):\n"
        f"        os.kill({os.getpid()}, signal.SIGUSR1) if step == 0 else None\n"
        "        time.sleep(0.05)\n"
        "except Stopped:\n"
        "    print('finished the step')\n"
        "    sys.exit(75)\n"
    )
    plan = plan_of(([unit(tmp_path, "first", code), unit(tmp_path, "second", "")], []))
    outcome, waiting = run(tmp_path, plan, n_workers=1)
    assert outcome.stopped == ["first"]
    assert waiting == ["second"]
    assert last_lines(log_of(tmp_path, "first"), 1) == ["finished the step"]
    assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL


def test_a_stop_while_the_unit_in_hand_ends_by_itself_leaves_the_others_and_says_so(tmp_path, monkeypatch, capsys):
    def it_ends_and_then_the_signal_comes(run, worker):
        worker.process.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        return ""

    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(LocalRun, "_progress", it_ends_and_then_the_signal_comes)
    for code, status in (("", 75), ("raise SystemExit(2)", 1)):
        plan = plan_of(([unit(tmp_path, "first", code), unit(tmp_path, "second", "")], []))
        monkeypatch.setattr(commands, "make_plan", lambda _, plan=plan: plan)
        with pytest.raises(SystemExit) as ended:
            commands.local(parsed("local", tmp_path, "-g", "cpu"))
        assert ended.value.code == status
        assert "left    second" in capsys.readouterr().out


def test_a_sweep_that_runs_is_not_started_again_even_when_only_a_unit_of_it_lives(tmp_path):
    with alone(tmp_path) as lock:
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[lock])
    with pytest.raises(InputError, match="cancel"), alone(tmp_path):
        pass
    child.communicate(b"\n")
    with alone(tmp_path):
        pass


def test_cancel_ends_a_sweep_on_this_machine(own_nsd, monkeypatch, capsys):
    monkeypatch.setenv("PATH", "/nowhere")  # where no SLURM is
    remember(parsed("local", own_nsd, "--models", VIT))
    commands.cancel(parsed("cancel", own_nsd))
    assert "nothing runs" in capsys.readouterr().out
    code = (
        "import pathlib, signal, sys\n"
        "from brain_activity_prediction.sweep.records import alone\n"
        f"with alone(pathlib.Path({str(own_nsd)!r})):\n"
        "    print('running', flush=True)\n"
        "    signal.sigwait([signal.SIGUSR2])\n"
    )
    words = [sys.executable, "-c", code, "sweep.py"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout.readline() == "running\n"
            commands.cancel(parsed("cancel", own_nsd))
            assert running.wait(120) == -signal.SIGTERM
        finally:
            running.kill()
    assert f"process {running.pid}" in capsys.readouterr().out


def test_cancel_ends_the_units_of_a_sweep_that_was_killed(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", "/nowhere")
    script = tmp_path / "slow.py"
    script.write_text("import time\nprint('begun', flush=True)\ntime.sleep(600)\n")
    run = SWEEP_FOLDER / "workers" / "run_unit.py"
    unit = [sys.executable, str(run), str(tmp_path), "slow", "5", sys.executable, str(script)]
    code = (
        "import pathlib, signal, subprocess\n"
        "from brain_activity_prediction.sweep.records import alone\n"
        f"with alone(pathlib.Path({str(tmp_path)!r})) as lock:\n"
        f"    print(subprocess.Popen({unit!r}, pass_fds=[lock]).pid, flush=True)\n"
        "    signal.pause()\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as sweeping:
        pid = int(sweeping.stdout.readline())
        until(lambda: last_lines(log_of(tmp_path, "slow"), 1) == ["begun"])
        sweeping.kill()
    with pytest.raises(InputError, match="is being run by process"), alone(tmp_path):
        pass
    commands.cancel(parsed("cancel", tmp_path))
    assert capsys.readouterr().out == "ended: slow\n"
    until(lambda: read_record(tmp_path, "slow").status == 75)
    until(lambda: lock_holder(tmp_path) is None)
    assert pid == read_record(tmp_path, "slow").pid


def run_unit(base_dir, name, *command, amount=5, **options):
    words = [sys.executable, SWEEP_FOLDER / "workers" / "run_unit.py", base_dir, name, amount, *command]
    return subprocess.Popen([str(word) for word in words], **options)


def test_a_signal_before_the_script_listens_ends_the_unit_as_one_to_be_continued(tmp_path):
    script = tmp_path / "slow.py"
    script.write_text("import time, pathlib\npathlib.Path(__file__).with_suffix('.on').touch()\ntime.sleep(60)\n")
    process = run_unit(tmp_path, "slow", sys.executable, script)
    until(script.with_suffix(".on").exists)
    assert read_record(tmp_path, "slow").runs_here()
    process.send_signal(signal.SIGUSR1)
    assert process.wait(30) == 75
    first = read_record(tmp_path, "slow")
    assert first.status == 75
    assert not first.runs_here()

    script.write_text("raise SystemExit(0)")
    for amount, both in ((5, True), (4, False)):  # its time is of both runs, unless it was planned anew
        write_record(tmp_path, "slow", replace(first, seconds=1000))
        assert run_unit(tmp_path, "slow", sys.executable, script, amount=amount).wait(30) == 0
        assert (read_record(tmp_path, "slow").seconds > 1000) == both


def test_a_script_is_run_as_python_itself_would(tmp_path):
    (tmp_path / "beside.py").write_text("name = 'beside'")
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, beside\nassert __name__ == '__main__'\nprint(beside.name, *sys.argv)\nsys.exit('no')"
    )
    assert run_unit(tmp_path, "script", sys.executable, script, "-x", "1").wait(30) == 1
    assert last_lines(log_of(tmp_path, "script"), 9) == [f"beside {script} -x 1", "no"]


def test_a_killed_unit_counts_as_failed_with_the_last_lines_of_its_last_run(tmp_path):
    script = tmp_path / "dies.py"
    script.write_text("import os\nprint('10 %\\r20 %\\rthe end', end='', flush=True)\nos.kill(os.getpid(), 9)\n")
    for _ in range(2):
        assert run_unit(tmp_path, "dies", sys.executable, script).wait(30) == -9
    dead = Unit("dies", "extract", "m", 5, 5, ())
    (state, _) = states_of(tmp_path, plan_of(([dead], [])), {})
    assert state.state == "failed"
    assert "too much memory" in state.why
    assert last_lines(log_of(tmp_path, "dies"), 12) == ["the end"]


def test_on_a_terminal_every_worker_has_a_line_and_what_ended_stays(tmp_path):
    code = (
        "from brain_activity_prediction.sweep.workers.screen import Screen\n"
        "with Screen(2, ['GPU 0', 'GPU 1']) as screen:\n"
        "    screen.show(['llava 10%', ''])\n"
        "    screen.ended('done    vit')\n"
        "    screen.show(['llava 90%', 'idefics 1%'])\n"
    )
    terminal, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    done = subprocess.run([sys.executable, "-c", code], stderr=theirs, check=False)
    os.close(theirs)
    said = os.read(terminal, 65536).decode()
    os.close(terminal)
    assert done.returncode == 0
    for line in ("GPU 0: llava 10%", "GPU 1: idle", "done    vit", "GPU 0: llava 90%", "GPU 1: idefics 1%", "1/2"):
        assert line in said


def test_a_unit_that_is_done_has_succeeded_where_its_record_cannot_be_written(tmp_path):
    units = log_of(tmp_path, "done").parent
    script = tmp_path / "script.py"
    script.write_text(f"import pathlib, shutil\nshutil.rmtree({str(units)!r})\npathlib.Path({str(units)!r}).touch()\n")
    assert run_unit(tmp_path, "done", sys.executable, script).wait(30) == 0


@pytest.mark.parametrize(("error", "said"), [(PermissionError, "another user"), (ProcessLookupError, "")])
def test_cancel_names_the_owner_of_a_sweep_and_accepts_one_that_just_ended(error, said, tmp_path, monkeypatch):
    def kill(pid, number, kill=os.kill):
        if number == signal.SIGTERM:
            raise error
        kill(pid, number)

    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(os, "kill", kill)
    monkeypatch.setattr(psutil.Process, "cmdline", lambda _: ["python", "/a/sweep.py"])
    refused = pytest.raises(InputError, match=f"process {os.getpid()}.*{said}") if said else nullcontext()
    with alone(tmp_path), refused:
        commands.cancel(parsed("cancel", tmp_path))
