"""Run programs in processes that can be killed at any call that changes a file.

Processes are forked from one that has imported all libraries, so that each starts in less than a second.
"""

import builtins
import io
import mmap
import os
import signal
import struct
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path

import numpy as np
from tqdm import tqdm

from brain_activity_prediction.extraction.runner import Runner
from brain_activity_prediction.storage import sealed_hdf5

CHANGES = ("fsync", "replace", "rename", "symlink", "unlink", "mkdir", "rmdir", "open")
HANGS_S = 300  # a run that takes longer is ended


class Tally:
    """Counters that a process shares with its parent: calls that change a file, and computed images."""

    def __init__(self):
        self._memory = mmap.mmap(-1, 16)

    def read(self):
        return struct.unpack("qq", self._memory[:16])

    def add(self, steps=0, images=0):
        self._memory[:16] = struct.pack("qq", *np.add(self.read(), (steps, images)))
        return self.read()[0]


def instrument(tally, last_step):
    """Count the calls that change a file and the computed images, and die at the given call."""

    def step():
        if tally.add(steps=1) == last_step:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(function, changes=lambda *arguments: True):
        def wrapped(*arguments, **named):
            if not changes(*arguments):
                return function(*arguments, **named)
            step()
            result = function(*arguments, **named)
            step()
            return result

        return wrapped

    for name in CHANGES:
        setattr(os, name, around(getattr(os, name)))
    opens = around(builtins.open, lambda path, mode="r", *more: any(letter in mode for letter in "wax+"))
    builtins.open = io.open = opens
    write, encode = sealed_hdf5._Writable.write, Runner.encode

    def write_in_two(file, content):
        content = memoryview(content).cast("B")
        for part in (content[: len(content) // 2], content[len(content) // 2 :]):
            step()
            write(file, part)
        return len(content)

    def counted(runner, pixels, prompts):
        tally.add(images=len(pixels))
        return encode(runner, pixels, prompts)

    sealed_hdf5._Writable.write, Runner.encode = write_in_two, counted


class Process:
    """A program in a forked process, and its exit status after `wait`."""

    def __init__(self, program, base_dir, last_step=0):
        self._tally, self._start = Tally(), time.perf_counter()
        self._said = Path(tempfile.mkstemp(dir=base_dir.parent)[1])
        self._pid = os.fork()
        if self._pid == 0:
            self._run(program, base_dir, last_step)

    def _run(self, program, base_dir, last_step):
        code = 1
        try:
            with self._said.open("w") as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
            tqdm.set_lock(threading.RLock())  # forks share tqdm's lock, and a killed fork would keep it
            signal.alarm(HANGS_S)
            instrument(self._tally, last_step)
            program(base_dir)
            code = 0
        except SystemExit as ended:
            code = ended.code or 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)

    def kill(self):
        os.kill(self._pid, signal.SIGKILL)

    def wait(self):
        _, status = os.waitpid(self._pid, 0)
        self.status = os.waitstatus_to_exitcode(status)  # negative if a signal ended it
        self.seconds = time.perf_counter() - self._start
        self.steps, self.images = self._tally.read()
        self.said = self._said.read_text()
        self._said.unlink()
        return self
