"""Stopping between two steps when asked to: Ctrl-C, the end of a job's time on a cluster, a polite kill."""

import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

# SIGUSR1 is what SLURM sends some time before a limit (--signal=USR1@120); Windows has none.
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))
STOPPED = 75  # EX_TEMPFAIL of sysexits.h: try again
CONTINUE = "the same command continues"
Step = TypeVar("Step")


class Stopped(BaseException):
    """A signal asked for an end; the message is the signal's name. Not an Exception, which libraries would catch."""


def stopped_line(signal_name: str) -> str:
    """What a script that a signal stopped says on stderr."""
    return f"{Path(sys.argv[0]).name}: stopped by {signal_name}; all that was finished is kept, {CONTINUE}"


def stop_while_importing() -> None:
    """From here on, a signal ends the process with `stopped_line` and STOPPED.

    For scripts until `run_script` takes over: modules are being imported, which takes seconds, and nothing is written.
    """

    def stop(number: int, frame) -> None:
        sys.stderr.write(f"{stopped_line(signal.Signals(number).name)}\n")
        sys.stderr.flush()
        os._exit(STOPPED)

    for number in SIGNALS:
        signal.signal(number, stop)


def until_stopped(steps: Iterable[Step]) -> Iterator[Step]:
    """The steps, until a signal comes: the step in hand is finished first, then `Stopped` is raised.

    A second signal has the effect it had before, at once.
    """
    received = []

    def note(number: int, frame) -> None:
        received.append(signal.Signals(number).name)
        for handled, handler in before.items():
            signal.signal(handled, handler)

    with _handled_by(note) as before:
        for step in steps:
            yield step
            if received:
                raise Stopped(received[0])


@contextmanager
def stopped_at_once() -> Iterator[None]:
    """While the block runs, a signal raises `Stopped` wherever the main thread is, except in `until_stopped`."""

    def stop(number: int, frame) -> None:
        raise Stopped(signal.Signals(number).name)

    with _handled_by(stop):
        yield


@contextmanager
def _handled_by(handler) -> Iterator[dict]:
    """Sets the handler of all SIGNALS; gives those before, which come back at the end."""
    before = {}
    if threading.current_thread() is threading.main_thread():  # elsewhere Python lets nobody handle signals
        before |= {number: signal.signal(number, handler) for number in SIGNALS}
    try:
        yield before
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
