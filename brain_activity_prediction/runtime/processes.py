"""Identify processes across machines that share a folder, and find out which of them are still alive."""

import os
import re
import socket
from contextlib import suppress
from functools import cache
from pathlib import Path

NAME = re.compile(r"([\w.-]{1,64}~[\w-]{1,40})~([1-9][0-9]{0,8})~([0-9]{1,20})", re.ASCII)


@cache
def _place() -> str:
    """Return an identifier of the machine's boot and, in containers, of the process namespace."""
    numbers = boot = "0"
    with suppress(OSError):  # not Linux
        numbers = os.readlink("/proc/self/ns/pid").strip("pid:[]")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()[:8]  # two machines may have the same name
    return f"{re.sub('[^a-zA-Z0-9_.-]', '_', socket.gethostname())[:64]}~{boot}-{numbers}"


def _started(pid: int) -> str:
    """Return the start time of a process in clock ticks since boot; it distinguishes processes with the same number."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return "0"  # not Linux: only the process number is known
    return stat.rpartition(")")[2].split()[19]


def own_name() -> str:
    """Return a unique name of this process: machine, process namespace, number and start time, joined by ~."""
    return f"{_place()}~{os.getpid()}~{_started(os.getpid())}"


def is_name(text: str) -> bool:
    """Return whether a text, such as the content of a file, is the name of a process."""
    return NAME.fullmatch(text) is not None


def number_of(name: str) -> int:
    """Return the process number in a process's name."""
    return int(name.split("~")[2])


def is_dead(name: str) -> bool | None:
    """Return whether the process with this `own_name` has ended; None if this machine cannot tell."""
    words = NAME.fullmatch(name)
    if not words or words[1] != _place():
        return None
    pid = int(words[2])
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return _started(pid) != words[3] or _is_zombie(pid)


def end(name: str, script: str, argument: str = "") -> bool:
    """Ask a process to end if it is this user's run of a script; return False for other and for ended processes.

    name      name of the process from a file, which may be wrong; number, start time, user and command are checked
    argument  word that the process's command line must contain

    Raises PermissionError if another user runs the process.
    """
    import psutil

    if is_dead(name) is not False:
        return False
    try:
        # psutil stores the start time, so that a later process with the same number is not signalled.
        process = psutil.Process(number_of(name))
        words = process.cmdline()
        if is_dead(name) is not False or script not in map(os.path.basename, words) or argument not in (*words, ""):
            return False
        if process.uids().real != os.getuid():
            raise PermissionError(name)
        process.terminate()
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        raise PermissionError(name) from None
    return True


def _is_zombie(pid: int) -> bool:
    """Return whether the process has ended but its parent has not yet collected its status."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return False
