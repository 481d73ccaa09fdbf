"""Run function calls in other processes while this process continues."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.stopping import SIGNALS

ALONE = 8  # first calls, which run in this process because starting another one takes as long
MOST_PROCESSES = 4


def at_once(function: Callable[..., object], *arguments: object) -> None:
    """Call a function in this process; used in place of a `Background`."""
    function(*arguments)


class Background:
    """Calls functions in other processes, one for each core, up to MOST_PROCESSES; use it in a `with` block.

    The first ALONE calls run in this process. Functions and arguments are pickled, and results are discarded. The end
    of the block waits for all calls. The error of a call is raised at a later call or at the end of the block. The
    processes end together with this one, even if it is killed.
    """

    def __init__(self) -> None:
        self._n_calls = 0
        self._n_processes = min(n_cores(), MOST_PROCESSES)
        self._pool: ProcessPoolExecutor | None = None
        self._calls: deque[Future[object]] = deque()

    def __enter__(self) -> Background:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            while kind is None and self._calls:
                self._finish_first()
        finally:
            if self._pool is not None:
                self._pool.shutdown(cancel_futures=True)

    def __call__(self, function: Callable[..., object], *arguments: object) -> None:
        """Call a function: in this process for the first ALONE calls, then in others."""
        self._n_calls += 1
        if self._n_processes == 1 or self._n_calls <= ALONE:
            function(*arguments)
            return
        if self._pool is None:
            # "spawn", because a process with threads (such as Arrow's) must not be forked.
            spawn = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self._n_processes, spawn, _follow_parent)
        self._calls.append(self._pool.submit(function, *arguments))
        if len(self._calls) > 2 * self._n_processes:  # limits the memory that waiting arguments take
            self._finish_first()

    def _finish_first(self) -> None:
        try:
            self._calls.popleft().result()
        except BrokenProcessPool:
            raise InputError(
                "a helper process was killed, probably for lack of memory: free memory, then run this again"
            ) from None


def n_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _follow_parent() -> None:
    """Leave signals to the parent process, and end when it ends."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)
