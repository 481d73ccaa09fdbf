"""Manage the folder `sweep` in the folder of results: the flags of a sweep, and the log and last result of each unit.

These files do not decide which units are done. They explain failures and record the speed of finished units.
"""

import fcntl
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from brain_activity_prediction.runtime.errors import InputError, one_line
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.runtime.processes import is_dead, is_name, number_of, own_name
from brain_activity_prediction.storage.checked_json import read_json, write_json
from brain_activity_prediction.storage.files import open_for_writing, remove_left_behind

HEADER = "== "  # start of the first line that a run of a unit writes to its log
TAIL_BYTES = 16_384
LONGEST_NAME = 1000  # bytes of a process's name


def folder_of(results_dir: Path) -> Path:
    return results_dir / "sweep"


def log_of(results_dir: Path, unit: str) -> Path:
    return folder_of(results_dir) / "units" / f"{unit}.log"


@dataclass
class Record:
    """The record of a unit's last run. `status` is None while the unit runs, or if it was killed."""

    host: str
    pid: int
    job: str | None  # ARRAY_TASK, the form that SLURM's commands accept
    kind: str  # kind of device: gpu or cpu
    gpu: str | None  # visible GPUs: value of CUDA_VISIBLE_DEVICES
    amount: int  # number of images or layers that were left when the unit was planned; 0 if unknown
    started: float  # seconds since 1970
    seconds: float = 0  # duration, including earlier runs of the same plan that were stopped
    status: int | None = None
    process: str | None = None  # name from `processes.own_name`; None in records of older versions

    def __post_init__(self):
        fitting = {
            "pid": self.pid > 0,
            "job": self.job is None or re.fullmatch("[0-9]+_[0-9]+", self.job),
            "kind": self.kind in ("gpu", "cpu"),
            "amount": self.amount >= 0,
            "process": self.process is None or is_name(self.process),
        }
        for name, fits in fitting.items():
            if not fits:
                raise ValueError(f"field {name!r} is {getattr(self, name)!r}")

    def runs_here(self) -> bool:
        """Return whether the process of this run is alive on this machine."""
        return self.status is None and self.process is not None and is_dead(self.process) is False


def records(results_dir: Path, names: str = ".*") -> dict[str, Record]:
    """Read `{unit name: Record}` for the units whose names match the pattern `names`."""
    ran = sorted(path.name.removesuffix(".log.json") for path in folder_of(results_dir).glob("units/*.log.json"))
    return {name: record for name in ran if re.fullmatch(names, name) and (record := read_record(results_dir, name))}


def write_record(results_dir: Path, unit: str, record: Record) -> None:
    write_json(_record_path(results_dir, unit), record)


def read_record(results_dir: Path, unit: str) -> Record | None:
    path = _record_path(results_dir, unit)
    if not path.exists():
        return None
    return read_json(path, Record, "delete it")


def _record_path(results_dir: Path, unit: str) -> Path:
    return log_of(results_dir, unit).with_suffix(".log.json")


def last_lines(log: Path, n: int) -> list[str]:
    """Return the last n lines of a unit's last run. Of a progress bar, only the last state is returned."""
    if not log.is_file():
        return []
    with log.open("rb") as file:
        file.seek(max(log.stat().st_size - TAIL_BYTES, 0))
        text = file.read().decode(errors="replace")
    lines = [line.rstrip("\r").rpartition("\r")[2] for line in text.rstrip("\n").split("\n")]
    started = max((at for at, line in enumerate(lines) if line.startswith(HEADER)), default=-1)
    return [one_line(line.expandtabs()) for line in lines[started + 1 :] if line.strip()][-n:]


@contextmanager
def alone(results_dir: Path) -> Iterator[int]:
    """Hold the sweep's lock and yield its file descriptor; raise InputError if another process holds it.

    Child processes that inherit the descriptor keep the lock until the last of them has ended. On a file system without
    locks, the process name in the file replaces the lock, and the records of units show which of them still run.
    """
    path = folder_of(results_dir) / "lock"
    with os.fdopen(open_for_writing(path, os.O_RDWR | os.O_APPEND), "rb+", buffering=0) as file:
        holder, more = None, ""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = lock_holder(results_dir) or "another process"
        except OSError as error:
            log.warning(
                f"the file system of {path} has no locks ({error.strerror}): do not start two sweeps at the same moment"
            )
            ran = records(results_dir).items()
            alive = (f"the unit {name}" for name, record in ran if record.job is None and record.runs_here())
            holder, more = lock_holder(results_dir) or next(alive, None), f". If it was killed, delete {path}"
        if holder is not None:
            raise InputError(f"this sweep is being run by {holder}: wait for it (status), or end it with cancel{more}")
        try:
            file.truncate(0)
            file.write(own_name().encode())
        except OSError as error:
            raise InputError(f"cannot write {path} ({error.strerror}): free some space, then run this again") from error
        remove_left_behind(folder_of(results_dir))
        try:
            yield file.fileno()
        finally:
            file.truncate(0)


@dataclass(frozen=True)
class Holder:
    """The process that took the lock. Even if it was killed, its units may still hold the lock."""

    name: str

    @property
    def host(self) -> str:
        return self.name.split("~")[0]

    @property
    def is_dead(self) -> bool | None:
        """Return whether the process has ended; None if this machine cannot tell."""
        return is_dead(self.name)

    def __str__(self) -> str:
        return f"process {number_of(self.name)} on {self.host}"


def lock_holder(results_dir: Path) -> Holder | None:
    """Return the process that took the lock; None if the lock is free, or if its name has not been written yet."""
    path = folder_of(results_dir) / "lock"
    if not path.is_file():
        return None
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return None
        except BlockingIOError:
            is_held = True
        except OSError:  # no locks here: return the process named in the file, unless it has ended
            is_held = False
        name = file.read(LONGEST_NAME).decode(errors="replace")
    return Holder(name) if is_name(name) and (is_held or not is_dead(name)) else None


def stamp() -> str:
    """Return a unique name for a submission: the time in seconds, and the number of this process."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"


def submissions(results_dir: Path) -> list[Path]:
    """Return the folders of submissions to a cluster, the oldest first."""
    return sorted({path.parent for path in folder_of(results_dir).glob("[0-9]*-[0-9]*-[0-9]*/*.json")})
