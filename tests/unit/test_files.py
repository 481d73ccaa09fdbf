import errno
import os
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from brain_activity_prediction.runtime.errors import Damaged, DiskFull, InputError
from brain_activity_prediction.runtime.processes import is_dead, own_name
from brain_activity_prediction.storage.files import (
    check_room,
    open_for_writing,
    read_bytes,
    reading,
    remove_left_behind,
    written_whole,
)


def test_a_file_appears_whole_at_the_end_of_the_block(tmp_path):
    path = tmp_path / "new folder" / "result.csv"
    with written_whole(path) as aside:
        aside.write_text("half")
        assert not path.exists()
        aside.write_text("whole")
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "result.csv"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), written_whole(path) as aside:
        aside.write_text("new")
        _ = 1 / 0
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_written_to_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"), written_whole(tmp_path / "file" / "result.csv") as aside:
        aside.write_text("")


def test_whatever_a_library_raises_becomes_one_line_with_the_file_and_the_remedy():
    with (
        pytest.raises(InputError, match=r"cannot read x\.h5 \(first line\).*do this") as raised,
        reading("x.h5", "do this"),
    ):
        raise RuntimeError("first line\nsecond line")
    assert "\n" not in str(raised.value)


def aside(name):
    return f".{name}~0123abcd~batch.h5"


def test_what_a_killed_writer_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path):
    code = "from brain_activity_prediction.runtime.processes import own_name; print(own_name())"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    place, pid, started = own_name().rsplit("~", 2)
    dead = tmp_path / aside(ended)
    number_used_again = tmp_path / aside(f"{place}~{pid}~{int(started) - 1}")
    old_elsewhere = tmp_path / aside("another-host~1~2~3")
    alive = tmp_path / aside(own_name())
    elsewhere = tmp_path / aside("another-host~1~1~3")
    other_container = tmp_path / aside(f"{place}1~{pid}~{started}")
    others = tmp_path / ".a~b~c~d~e~f"
    for path in (dead, number_used_again, alive, elsewhere, other_container, old_elsewhere, others):
        path.write_text("")
    remove_left_behind(tmp_path)
    assert set(tmp_path.iterdir()) == {alive, elsewhere, other_container, others, old_elsewhere}


def test_a_file_of_another_machine_is_deleted_only_after_it_was_seen_unchanged(tmp_path, monkeypatch):
    at_work, left = tmp_path / aside("another-host~1~2~3"), tmp_path / aside("another-host~1~2~4")
    now = [1e6]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    for path, clock in ((at_work, 0), (left, time.time() + 1e6)):  # hours behind and days ahead
        path.write_text("")
        os.utime(path, (clock, clock))
    for waited in (0, 3000, 3000):
        now[0] += waited
        at_work.write_text(f"{at_work.read_text()}more")
        os.utime(at_work, (0, 0))
        remove_left_behind(tmp_path)
    assert list(tmp_path.iterdir()) == [at_work]


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EOPNOTSUPP])
def test_a_file_system_that_cannot_flush_is_written_to_all_the_same(tmp_path, monkeypatch, number):
    def refuse(handle):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    with written_whole(tmp_path / "scores.csv") as path:
        path.write_text("whole")
    assert (tmp_path / "scores.csv").read_text() == "whole"


@pytest.mark.parametrize("name", ["x" * 240 + ".nii.gz", "é" * 120 + ".csv"])
def test_the_longest_name_that_a_disk_takes_is_written(tmp_path, name):
    with written_whole(tmp_path / name) as path:
        assert path.suffixes == Path(name).suffixes
        path.write_text("whole")
    assert os.listdir(tmp_path) == [name]


def test_what_is_opened_for_writing_is_no_link_no_pipe_and_no_folder(tmp_path):
    (tmp_path / "private").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "private")
    (tmp_path / "dangling").symlink_to(tmp_path / "new")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "dangling", "folder", "pipe"):
        with pytest.raises(InputError, match=f"{name} is a link, a pipe or a folder, and is not written to: remove it"):
            os.close(open_for_writing(tmp_path / name, os.O_WRONLY | os.O_APPEND))
    assert (tmp_path / "private").read_text() == "mine"
    assert not (tmp_path / "new").exists()
    os.close(open_for_writing(tmp_path / "new folder" / "log", os.O_WRONLY))
    assert (tmp_path / "new folder" / "log").read_text() == ""


def test_a_killed_process_that_nobody_has_waited_for_is_dead(tmp_path):
    process = subprocess.Popen(["sleep", "60"])
    place = own_name().rsplit("~", 2)[0]
    started = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19]
    name = f"{place}~{process.pid}~{started}"
    assert is_dead(name) is False
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert is_dead(name)
    process.wait()


def test_room_is_looked_for_where_a_folder_is_yet_to_be_made(tmp_path):
    free = shutil.disk_usage(tmp_path).free
    check_room(tmp_path / "new" / "folder", free / 2, "states")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(
        InputError,
        match=r"room for .*states in .*: [\d.]+ GB are needed, but [\d.]+ GB are free: free at least [\d.]+ GB",
    ):
        check_room(tmp_path / "new", free + 3e9, "states")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write to"):
        check_room(tmp_path / "file", 0, "states")


@pytest.mark.parametrize(
    "number", [errno.EIO, errno.ESTALE, errno.EACCES, errno.ETIMEDOUT, errno.ESHUTDOWN, errno.ENOMEM, errno.EMFILE]
)
def test_a_disk_at_fault_is_not_taken_for_a_damaged_file(number):
    with pytest.raises(InputError, match="check its disk or mount") as raised, reading("x.h5"):
        raise OSError(number, os.strerror(number))
    assert not isinstance(raised.value, Damaged)


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EINVAL, None])
def test_an_offset_that_leads_nowhere_is_a_damaged_file(number):
    with pytest.raises(Damaged), reading("x.h5"):
        raise OSError(number, "file read failed")


@pytest.mark.parametrize("links", [True, False])
def test_only_the_first_file_of_a_name_appears_where_that_is_asked_for(tmp_path, monkeypatch, links):
    def no_link(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    if not links:
        monkeypatch.setattr(os, "link", no_link)
    path = tmp_path / "file.txt"
    for text in ("first", "second"):
        with suppress(FileExistsError), written_whole(path, first=True) as aside:
            aside.write_text(text)
    assert path.read_text() == ("first" if links else "second")
    assert os.listdir(tmp_path) == ["file.txt"]


def test_what_is_no_small_file_is_not_read(tmp_path):
    (tmp_path / "small").write_bytes(b"abc")
    os.mkfifo(tmp_path / "pipe")
    assert read_bytes(tmp_path / "small", 3) == b"abc"
    for name, largest, said in (("small", 2, "larger than 2"), ("pipe", 3, "not a file"), ("none", 3, "no such file")):
        with pytest.raises(ValueError, match=said):
            read_bytes(tmp_path / name, largest)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_says_to_free_some_space(tmp_path, number):
    said = pytest.raises(DiskFull, match=r"cannot write .*scores\.csv .*free some space")
    with said, written_whole(tmp_path / "scores.csv") as aside:
        aside.write_text("half of")
        raise OSError(number, os.strerror(number))
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_no_writer_of_ours_named_stays(tmp_path):
    place, number, _ = own_name().rsplit("~", 2)
    names = (f"{place}~no~number~12345678", f"{place}~{number}~1~other", "a~b~c~d~e~f")
    others = [tmp_path / f".{name}~scores.csv" for name in names]
    folder = tmp_path / f".{place}~{number}~1~12345678~folder"
    folder.mkdir()
    for other in others:
        other.write_text("somebody's")
    remove_left_behind(tmp_path)
    assert set(tmp_path.iterdir()) == {*others, folder}


def test_another_users_process_is_alive(monkeypatch):
    def refused(pid, number):
        raise PermissionError

    monkeypatch.setattr("os.kill", refused)
    assert is_dead(own_name()) is False


def test_without_proc_a_process_is_known_by_its_number(monkeypatch):
    read = Path.read_text

    def elsewhere(path, *settings):
        if path.name == "stat":
            raise FileNotFoundError
        return read(path, *settings)

    monkeypatch.setattr(Path, "read_text", elsewhere)
    assert own_name().endswith(f"~{os.getpid()}~0")
    assert is_dead(own_name()) is False
