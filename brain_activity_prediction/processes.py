"""Telling processes apart, across the machines that share a folder, and the living from the dead."""

import os
import socket
from contextlib import suppress
from functools import cache
from pathlib import Path


@cache
def _place() -> str:
    """The machine since it was started, and where there are containers the one whose process numbers are those here."""
    numbers = boot = "0"
    with suppress(OSError):  # not Linux
        numbers = os.readlink("/proc/self/ns/pid").strip("pid:[]")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()[:8]  # two machines may have the same name
    return f"{socket.gethostname().replace('~', '_')}~{boot}-{numbers}"


def _started(pid: int) -> str:
    """When a process began, in ticks since the machine did: a number used again is not taken for the old process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return "0"  # not Linux: the number alone has to do
    return stat.rpartition(")")[2].split()[19]


def own_name() -> str:
    """A name no other process has, four words joined by ~: machine, its process numbering, process, its start."""
    return f"{_place()}~{os.getpid()}~{_started(os.getpid())}"


def is_dead(name: str) -> bool | None:
    """Whether the process of an `own_name` has ended; None where this machine cannot know."""
    place, pid, started = name.rsplit("~", 2)
    if place != _place():
        return None
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return _started(int(pid)) != started or _is_zombie(int(pid))


def _is_zombie(pid: int) -> bool:
    """Killed, but its parent has not looked yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return False
