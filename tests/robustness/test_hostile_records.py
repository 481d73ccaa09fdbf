"""Whoever can write to BASE_DIR/sweep runs no code and ends no process of those who sweep there."""

import fcntl
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress

import pytest
from sweeping import SWEEP_FOLDER, VIT, parsed

from brain_activity_prediction.runtime import processes
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.sweep import commands
from brain_activity_prediction.sweep.planning.items import write_items
from brain_activity_prediction.sweep.planning.models import find_model
from brain_activity_prediction.sweep.planning.study import SETTINGS, remember
from brain_activity_prediction.sweep.planning.units import Unit
from brain_activity_prediction.sweep.records import alone, folder_of, lock_holder, log_of

EVIL = "import pathlib\npathlib.Path(__file__).with_name('ran').touch()\n"


@pytest.fixture
def evil(tmp_path):
    """A script that leaves a file `ran` beside it."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "evil.py").write_text(EVIL)
    return folder / "evil.py"


def change(base_dir, **settings):
    """Changes what a sweep of one model remembers."""
    remember(parsed("local", base_dir, "--models", VIT, "-s", 1, "-g", "cpu"))
    path = folder_of(base_dir) / SETTINGS
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


@pytest.mark.parametrize("written", ["{path}", "{path}.py", "../../../../../../../../../../..{path}", "./runner"])
def test_a_record_names_no_script_outside_the_package(own_nsd, evil, written):
    name = written.format(path=evil.with_suffix(""))
    change(own_nsd, models=[name])
    with pytest.raises(InputError, match="is no model script"):
        commands.status(parsed("status", own_nsd))
    with pytest.raises(InputError, match="is no model script"):
        find_model(name)
    assert not evil.with_name("ran").exists()


def queued(base_dir, **changes):
    """The list of a job with one unit, its fields changed."""
    path = folder_of(base_dir) / "20260101-000000-1" / "report.json"
    write_items(path, [Unit("report", "report", "", 1, 1, (sys.executable, "report.py"))], 1, "cpu")
    (item,) = json.loads(path.read_text())
    path.write_text(json.dumps([item | changes]))
    return path


def run_item(base_dir, path):
    words = [sys.executable, SWEEP_FOLDER / "workers" / "run_unit.py", base_dir, "--item", path]
    of_slurm = {"SLURM_ARRAY_TASK_ID": "0", "SLURM_PROCID": "0", "SLURM_ARRAY_JOB_ID": "7"}
    return subprocess.run(list(map(str, words)), env=os.environ | of_slurm, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["{path}", "evil", "../sweep/sweep", "run_unit", "extraction"])
def test_a_job_runs_no_script_that_its_list_names_by_a_path(tmp_path, evil, name):
    path = queued(tmp_path, script=name.format(path=evil.with_suffix("")))
    done = run_item(tmp_path, path)
    assert done.returncode == 2
    assert "script" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not evil.with_name("ran").exists()


def test_a_job_works_in_the_folder_that_was_submitted_whatever_its_list_says(tmp_path):
    (tmp_path / "other").mkdir()
    path = queued(tmp_path, flags=["--table-only", "-d", str(tmp_path / "other")])
    assert run_item(tmp_path, path).returncode == 2
    assert f"no scores in {tmp_path}/alignment" in log_of(tmp_path, "report").read_text()


@pytest.mark.parametrize("name", ["../../outside", "a/b", "", ".hidden", "a\nb", 3])
def test_a_unit_that_is_named_like_a_path_writes_no_log(tmp_path, name):
    path = queued(tmp_path, name=name)
    before = sorted(tmp_path.rglob("*"))
    done = run_item(tmp_path, path)
    assert done.returncode == 2
    assert "name" in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


@pytest.fixture
def signals(monkeypatch):
    """All signals but 0 that this process would send, as (process, number)."""
    sent = []

    def kill(pid, number, kill=os.kill):
        sent.append((pid, number)) if number else kill(pid, number)

    monkeypatch.setattr(os, "kill", kill)
    monkeypatch.setattr(os, "killpg", lambda *of: sent.append(of))
    monkeypatch.setenv("PATH", "/nowhere")
    return sent


@pytest.fixture
def stranger():
    """Another process of this user, which is no unit of a sweep."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process.pid
        process.kill()


def named(pid):
    """The name of a process as it would have it itself."""
    return f"{processes.own_name().rsplit('~', 2)[0]}~{pid}~{processes._started(pid)}"


def begun(base_dir, **changes):
    """A record of a unit that runs."""
    path = log_of(base_dir, "unit").with_suffix(".log.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    fields = {"host": "h", "pid": 1, "job": None, "kind": "cpu", "gpu": None, "amount": 1, "started": 0}
    path.write_text(json.dumps({**fields, "process": None, **changes}))
    return path


@pytest.mark.parametrize("pid", [-1, 0, 1, -4711])
def test_cancel_signals_no_group_and_no_process_that_only_a_number_names(pid, tmp_path, stranger, signals, capsys):
    begun(tmp_path, pid=pid, process=named(stranger))
    with suppress(InputError):
        commands.cancel(parsed("cancel", tmp_path))
    assert not signals
    assert "ended" not in capsys.readouterr().out


@pytest.mark.parametrize("number", ["-1", "0", "-4711", "+1", "1e3", "99999999999", "self", ""])
def test_a_name_of_a_process_that_is_none_is_refused_and_nothing_signalled(number, tmp_path, signals):
    path = begun(tmp_path, process=f"{processes.own_name().rsplit('~', 2)[0]}~{number}~0")
    with pytest.raises(InputError, match=f"cannot read {path} .*'process'.*delete it"):
        commands.cancel(parsed("cancel", tmp_path))
    assert not signals


@pytest.mark.parametrize("what", ["record", "lock"])
def test_cancel_ends_no_process_of_this_user_that_is_not_the_sweeps(what, tmp_path, stranger, signals, capsys):
    begun(tmp_path, pid=stranger, process=named(stranger) if what == "record" else None)
    lock = folder_of(tmp_path) / "lock"
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        lock.write_text(named(stranger) if what == "lock" else "")
        commands.cancel(parsed("cancel", tmp_path))
    assert not signals
    assert "nothing runs here" in capsys.readouterr().out


def test_cancel_ends_no_process_of_another_user(tmp_path, signals, monkeypatch):
    words = [sys.executable, "-c", "input()", "run_unit.py", str(tmp_path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE) as process:
        begun(tmp_path, pid=process.pid, process=named(process.pid))
        monkeypatch.setattr(os, "getuid", lambda: 4711)
        with pytest.raises(InputError, match=f"process {process.pid}.* another user"):
            commands.cancel(parsed("cancel", tmp_path))
        assert not signals
        monkeypatch.undo()
        commands.cancel(parsed("cancel", tmp_path))
        assert process.wait(60) == -signal.SIGTERM


WRONG = {
    **{"pid": ["1", None, -3, 1.5, True], "job": [7, "x; y", "7_2 8"], "kind": ["tpu", 1], "gpu": [0, []]},
    **{"amount": ["5", -1], "started": ["now", float("nan")], "seconds": [float("inf"), None], "status": ["0", 0.5]},
    **{"host": [None, 3], "process": [7, "me"], "more": [1]},
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
@pytest.mark.parametrize("command", ["status", "cancel"])
def test_a_record_of_a_unit_that_does_not_fit_is_one_line(command, name, value, own_nsd, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    change(own_nsd)
    unit = f"extract_{VIT}_1_of_1"
    path = begun(own_nsd, **{name: value}).rename(log_of(own_nsd, unit).with_suffix(".log.json"))
    with pytest.raises(InputError, match=f"cannot read {path} .*{name}.*delete it") as said:
        getattr(commands, command)(parsed(command, own_nsd))
    assert "\n" not in str(said.value)


@pytest.mark.parametrize("content", [b"\xff\x00", b"me", b"a~b~-1~0", b"~" * 10**6, b"h~0-0~1~1\n\x1b[31m"])
def test_a_lock_that_names_no_process_is_held_by_another_process(content, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", "/nowhere")
    folder_of(tmp_path).mkdir()
    path = folder_of(tmp_path) / "lock"
    path.write_bytes(content)
    assert lock_holder(tmp_path) is None
    with path.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="is being run by another process: wait"), alone(tmp_path):
            pass
        commands.cancel(parsed("cancel", tmp_path))
        assert path.read_bytes() == content


@pytest.fixture
def private(tmp_path):
    """A file outside BASE_DIR that nothing may write to."""
    path = tmp_path / "private"
    path.write_text("mine\n")
    path.chmod(0o600)
    yield path
    assert path.read_text() == "mine\n"


def test_a_lock_that_is_a_link_is_not_followed(tmp_path, private):
    folder_of(tmp_path).mkdir()
    (folder_of(tmp_path) / "lock").symlink_to(private)
    with pytest.raises(InputError, match=r"lock is a link.*remove it"), alone(tmp_path):
        pass


def test_a_log_of_a_unit_that_is_a_link_is_not_followed(tmp_path, private):
    log_of(tmp_path, "report").parent.mkdir(parents=True)
    log_of(tmp_path, "report").symlink_to(private)
    done = run_item(tmp_path, queued(tmp_path))
    assert done.returncode == 2
    assert "report.log is a link" in done.stderr


def test_the_folders_of_a_sweep_may_be_links_to_scratch(tmp_path):
    (tmp_path / "scratch").mkdir()
    (tmp_path / "base").mkdir()
    folder_of(tmp_path / "base").symlink_to(tmp_path / "scratch")
    with alone(tmp_path / "base"):
        assert (tmp_path / "scratch/lock").exists()


def test_what_a_log_or_a_record_holds_sends_nothing_to_the_terminal(own_nsd, monkeypatch, capsys):
    monkeypatch.setenv("PATH", "/nowhere")
    change(own_nsd)
    unit = f"extract_{VIT}_1_of_1"
    begun(own_nsd, host="\x1b]0;title\x07", status=2).rename(log_of(own_nsd, unit).with_suffix(".log.json"))
    log_of(own_nsd, unit).write_text("\x1b[2J\x1b[31mit fails\u202e\n")
    commands.status(parsed("status", own_nsd))
    said = capsys.readouterr().out
    assert "\\x1b[31mit fails\\u202e" in said
    assert all(line.isprintable() for line in said.splitlines())
