"""Stopping between two steps when asked to: Ctrl-C, the end of a job's time on a cluster, a polite kill."""

import signal
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

# SIGUSR1 is what SLURM sends some time before a limit (--signal=USR1@120); Windows has none.
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))
Step = TypeVar("Step")


class Stopped(Exception):
    """A signal asked for an end; the step in hand was finished. The message is the signal's name."""


def until_stopped(steps: Iterable[Step]) -> Iterator[Step]:
    """The steps, until a signal comes: the step in hand is finished first, then `Stopped` is raised.

    A second signal has its usual effect, at once.
    """
    if threading.current_thread() is not threading.main_thread():  # where Python lets nobody handle signals
        yield from steps
        return
    received = []

    def note(number: int, frame) -> None:
        received.append(signal.Signals(number).name)
        for handled, handler in before.items():
            signal.signal(handled, handler)

    before = {number: signal.signal(number, note) for number in SIGNALS}
    try:
        for step in steps:
            yield step
            if received:
                raise Stopped(received[0])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
