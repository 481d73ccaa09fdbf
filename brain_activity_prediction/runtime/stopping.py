"""Stop after the current step on a signal: Ctrl-C, SIGTERM, or the notice before a job's time limit."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

# SLURM sends SIGUSR1 some time before a job's time limit (--signal=USR1@120). Windows lacks this signal.
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))
STOPPED = 75  # EX_TEMPFAIL of sysexits.h: try again
CONTINUE = "the same command continues"
Step = TypeVar("Step")


class Stopped(BaseException):
    """Raised when a signal stops the work; the message is the name of the signal.

    It is a BaseException, because libraries would catch an Exception.
    """


def stopped_line(signal_name: str) -> str:
    """Return the line that a script prints on stderr when a signal has stopped it."""
    return f"{Path(sys.argv[0]).name}: stopped by {signal_name}; all that was finished is kept, {CONTINUE}"


def stop_while_importing() -> None:
    """Make signals end the process with `stopped_line` and STOPPED from now on.

    Scripts use it during imports, which take seconds and write nothing, until `run_script` handles signals.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        sys.stderr.write(f"{stopped_line(signal.Signals(number).name)}\n")
        sys.stderr.flush()
        os._exit(STOPPED)

    for number in SIGNALS:
        signal.signal(number, stop)


def until_stopped(steps: Iterable[Step]) -> Generator[Step, None, None]:
    """Yield the steps; on a signal, finish the current step and then raise `Stopped`.

    A second signal has its usual effect immediately.
    """
    received: list[str] = []

    def note(number: int, frame: FrameType | None) -> None:
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
    """Make signals raise `Stopped` immediately within the block, except while `until_stopped` handles them."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Stopped(signal.Signals(number).name)

    with _handled_by(stop):
        yield


@contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], None]) -> Iterator[dict[int, Any]]:
    """Install a handler for all SIGNALS within the block; yield the previous handlers, restored at the end."""
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():  # Python handles signals in the main thread only
        before |= {number: signal.signal(number, handler) for number in SIGNALS}
    try:
        yield before
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
