"""Figures drawn side by side, in processes of their own, where there are many of them and the machine has the cores."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context

from brain_activity_prediction.errors import InputError

# A process takes two seconds to begin, a figure a quarter of one: with fewer figures a process it is not worth it.
FIGURES_A_PROCESS = 30


@contextlib.contextmanager
def drawing(n_figures: int) -> Iterator[Callable]:
    """While the block runs, `draw(function, *arguments)` has a figure drawn; what it gives returns what came of it.

    The function and its arguments go to another process, unless `n_figures`, about how many there will be, are few.
    """
    n_processes = min(n_cores(), n_figures // FIGURES_A_PROCESS)
    if n_processes < 2:
        yield _now
        return
    pool = ProcessPoolExecutor(n_processes, get_context("spawn"), _end_with, (os.getpid(),))
    try:
        _begin(pool, n_processes)
        yield lambda function, *arguments: partial(_result, pool.submit(function, *arguments))
    finally:
        pool.shutdown(cancel_futures=True)


def n_cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _now(function, *arguments):
    drawn = function(*arguments)
    return lambda: drawn


def _result(future):
    try:
        return future.result()
    except BrokenProcessPool:
        raise InputError("a process that drew figures was ended, by a lack of memory perhaps: run it again") from None


def _begin(pool, n_processes):
    """Starts the processes, deaf to Ctrl-C, which a terminal sends to them, too: it is for this one to end them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        for _ in range(n_processes):  # each begins one
            pool.submit(os.getpid)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with(parent):
    """Ends this process, from a thread, soon after its parent, which may have been killed."""

    def watch():
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
