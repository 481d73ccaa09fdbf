"""Who runs a sweep, where there is no /proc to tell and no lock to be had."""

import errno
import fcntl
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from sweeping import parsed, until

from brain_activity_prediction.runtime import processes
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.sweep import commands
from brain_activity_prediction.sweep.records import (
    Record,
    alone,
    folder_of,
    lock_holder,
    log_of,
    read_record,
    write_record,
)


@pytest.fixture
def another(tmp_path):
    """A process that has nothing to do with a sweep but the words of its command line."""
    words = [sys.executable, "-c", "input()", "run_unit.py", str(tmp_path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


@pytest.fixture
def no_proc(monkeypatch):
    """A machine without /proc, such as a Mac."""

    def without(read):
        def reading(path, *how, **options):
            if str(path).startswith("/proc/"):
                raise FileNotFoundError(path)
            return read(path, *how, **options)

        return reading

    monkeypatch.setattr(processes, "_place", processes._place.__wrapped__)  # what is remembered of it is of this one
    for name in ("read_text", "read_bytes"):
        monkeypatch.setattr(Path, name, without(getattr(Path, name)))


@pytest.fixture(params=[errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def no_locks(request, monkeypatch):
    """A file system without locks: NFS without lockd, Lustre as it is mounted by default."""

    def refuse(*_):
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", refuse)


def name_of(pid, started=None, machine=None):
    place, *_ = processes.own_name().rsplit("~", 2)
    return f"{machine or place}~{pid}~{started or processes._started(pid)}"


def begun(base_dir, name, pid, process):
    host = processes.own_name().split("~")[0]
    log_of(base_dir, name).parent.mkdir(parents=True, exist_ok=True)
    write_record(base_dir, name, Record(host, pid, None, "cpu", None, 5, started=0, process=process))


def test_without_proc_a_running_unit_is_known_and_cancelled(tmp_path, no_proc, another, monkeypatch, capsys):
    monkeypatch.setenv("PATH", "/nowhere")
    begun(tmp_path, "running", another.pid, name_of(another.pid))
    assert read_record(tmp_path, "running").runs_here()
    commands.cancel(parsed("cancel", tmp_path))
    assert capsys.readouterr().out == "ended: running\n"
    assert another.wait(60) == -15
    assert not read_record(tmp_path, "running").runs_here()


def test_a_number_that_another_process_has_by_now_is_not_signalled(tmp_path, another, monkeypatch, capsys):
    monkeypatch.setenv("PATH", "/nowhere")
    until(lambda: b"run_unit" in Path(f"/proc/{another.pid}/cmdline").read_bytes())
    begun(tmp_path, "ended", another.pid, name_of(another.pid, started="1"))
    commands.cancel(parsed("cancel", tmp_path))
    assert "nothing runs" in capsys.readouterr().out
    assert another.poll() is None


def test_a_record_of_before_processes_had_names_is_read(tmp_path, another):
    begun(tmp_path, "old", another.pid, None)
    path = log_of(tmp_path, "old").with_suffix(".log.json")
    path.write_text(
        json.dumps({name: value for name, value in json.loads(path.read_text()).items() if value != "process"})
    )
    assert read_record(tmp_path, "old").amount == 5
    assert not read_record(tmp_path, "old").runs_here()


def test_without_locks_a_sweep_runs_and_says_so_once_and_a_second_one_is_refused(tmp_path, no_locks, capsys):
    for _ in range(2):
        with alone(tmp_path):
            assert capsys.readouterr().err.count("has no locks") == 1
            refused = pytest.raises(InputError, match=f"is being run by process {os.getpid()} on .* delete .*lock")
            with refused, alone(tmp_path):
                pass
            assert lock_holder(tmp_path).name == processes.own_name()
            capsys.readouterr()
        assert lock_holder(tmp_path) is None


def test_without_locks_a_sweep_that_fails_leaves_nothing_in_the_way(tmp_path, no_locks):
    with pytest.raises(ValueError, match="of the sweep"), alone(tmp_path):
        raise ValueError("of the sweep")
    assert not (folder_of(tmp_path) / "lock").read_text()


@pytest.mark.parametrize(
    ("machine", "started", "refused"), [(None, None, True), (None, "1", False), ("elsewhere~0-0", "1", True)]
)
def test_without_locks_a_sweep_is_refused_unless_the_last_one_has_ended(
    machine, started, refused, tmp_path, no_locks, another
):
    folder_of(tmp_path).mkdir()
    (folder_of(tmp_path) / "lock").write_text(name_of(another.pid, started, machine))
    if refused:
        with pytest.raises(InputError, match=f"process {another.pid} on"), alone(tmp_path):
            pass
    else:
        with alone(tmp_path):
            pass


def test_without_locks_a_unit_that_outlived_its_sweep_is_in_the_way_of_the_next(tmp_path, no_locks, another):
    begun(tmp_path, "orphan", another.pid, name_of(another.pid))
    with pytest.raises(InputError, match="the unit orphan"), alone(tmp_path):
        pass
    another.communicate(b"\n")
    with alone(tmp_path):
        pass


def test_a_disk_that_has_no_room_for_the_lock_is_said_in_one_line(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        with pytest.raises(InputError, match=r"^cannot write .*lock .*free some space") as refused, alone(tmp_path):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert isinstance(refused.value.__cause__, OSError)
    assert lock_holder(tmp_path) is None
