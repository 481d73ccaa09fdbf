"""Calls in other processes: all of them end with the block, by an error in one line, or with the process itself."""

import os
import shutil
import signal
import subprocess
import sys
import time
from unittest.mock import patch

import psutil
import pytest

from brain_activity_prediction.runtime import background
from brain_activity_prediction.runtime.background import Background
from brain_activity_prediction.runtime.errors import InputError

KILLED = """
import os, signal, sys, time
from brain_activity_prediction.runtime import background
background.ALONE, background.n_cores = 0, lambda: 2
if __name__ == "__main__":
    with background.Background() as run:
        run(os.mkdir, sys.argv[1])
        while not os.path.isdir(sys.argv[1]):
            time.sleep(0.01)
        print([*run._pool._processes], flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def two_cores():
    with patch.object(background, "ALONE", 1), patch.object(background, "n_cores", lambda: 2):
        yield


def test_the_block_ends_with_the_last_call_and_raises_its_error(tmp_path):
    (tmp_path / "first").write_text("text")
    with pytest.raises(FileNotFoundError, match="none"), Background() as run:
        run(shutil.copy, tmp_path / "first", tmp_path / "second")
        assert (tmp_path / "second").exists()
        run(shutil.copy, tmp_path / "first", tmp_path / "third")
        run(shutil.copy, tmp_path / "none", tmp_path / "fourth")
    assert (tmp_path / "third").read_text() == "text"


def test_a_killed_process_of_many_is_reported_in_one_line():
    with pytest.raises(InputError, match="was killed, probably for lack of memory"), Background() as run:
        run(os.getpid)
        run(signal.raise_signal, signal.SIGKILL)


def test_processes_end_when_the_one_that_started_them_is_killed(tmp_path):
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    done = subprocess.run([sys.executable, script, tmp_path / "made"], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    started = int(done.stdout.strip(" []\n"))
    for _ in range(500):
        if not psutil.pid_exists(started) or psutil.Process(started).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.01)
    raise AssertionError(f"process {started} still runs")
