import os
import socket
import subprocess
import sys

import pytest

from brain_activity_prediction.errors import InputError
from brain_activity_prediction.files import reading, remove_left_behind, written_whole


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


def test_what_a_killed_writer_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True
    )
    dead = tmp_path / f".{socket.gethostname()}~{ended.stdout.strip()}~abcd~batch.h5"
    alive = tmp_path / f".{socket.gethostname()}~{os.getpid()}~abcd~batch.h5"
    elsewhere = tmp_path / ".another-host~1~abcd~batch.h5"
    old_elsewhere = tmp_path / ".another-host~2~abcd~batch.h5"
    others = tmp_path / ".a~b~c~d"
    for path in (dead, alive, elsewhere, old_elsewhere, others):
        path.write_text("")
    os.utime(old_elsewhere, (0, 0))
    remove_left_behind(tmp_path)
    assert set(tmp_path.iterdir()) == {alive, elsewhere, others}
