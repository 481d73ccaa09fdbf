"""Run the script of one unit of a sweep in this process. Output goes to the unit's log, the result to a record.

    run_unit.py RESULTS NAME AMOUNT COMMAND...       a single unit
    run_unit.py RESULTS --item FILE                  the unit in FILE for this SLURM array task and srun task

The process ends with the status of the script. If a signal arrives before the script handles signals, for example while
it imports libraries, the process ends at once with the status of a run that can be continued. Unit and script are one
process, so that a signal from a shell, srun or scancel arrives only once.
"""

import os
import runpy
import shlex
import signal
import socket
import sys
import time
import traceback
from pathlib import Path

from brain_activity_prediction.runtime.errors import InputError, one_line
from brain_activity_prediction.runtime.messages import log, show_messages
from brain_activity_prediction.runtime.processes import own_name
from brain_activity_prediction.runtime.running import STOPPED
from brain_activity_prediction.storage.files import open_for_writing
from brain_activity_prediction.sweep.planning.items import item_of_this_task
from brain_activity_prediction.sweep.records import HEADER, Record, log_of, read_record, write_record


def main() -> int:
    show_messages()
    if len(sys.argv) < 4:
        log.warning("run_unit.py cannot be started directly, only by job.sh and sweep.py: start sweep.py instead")
        return 2
    results_dir = Path(sys.argv[1])
    if sys.argv[2] == "--item":
        item = item_of_this_task(Path(sys.argv[3]))
        if item is None:  # the last job of an array may have fewer units than parallel tasks
            return 0
        name, amount, command = item.name, item.amount, item.command(results_dir)
    else:
        name, amount, command = sys.argv[2], int(sys.argv[3]), sys.argv[4:]
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, lambda *_: sys.exit(STOPPED))
    _write_output_to(log_of(results_dir, name))
    record = _begun(results_dir, name, amount, command)
    _keep(results_dir, name, record)
    # A run that was killed may have left half a line.
    print(
        f"\n{HEADER}{time.strftime('%Y-%m-%d %H:%M:%S')} on {record.host}: {one_line(shlex.join(command))}", flush=True
    )
    record.status = run(command)
    record.seconds += time.time() - record.started
    _keep(results_dir, name, record)
    return record.status


def _keep(results_dir: Path, name: str, record: Record) -> None:
    """Write a unit's record. An error is only reported, because a finished unit stays finished even on a full disk."""
    try:
        write_record(results_dir, name, record)
    except InputError as error:
        log.info(f"run_unit.py: {error}")


def run(command: list[str]) -> int:
    """Run a script in this process and return its status.

    command  words of the command: python, the script, its flags
    """
    sys.argv, sys.path[0] = command[1:], str(Path(command[1]).parent)
    try:
        runpy.run_path(command[1], run_name="__main__")
    except SystemExit as end:
        if isinstance(end.code, int | None):
            return end.code or 0
        log.warning(end.code)
        return 1
    except KeyboardInterrupt:
        return STOPPED
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def _begun(results_dir: Path, name: str, amount: int, command: list[str]) -> Record:
    """Return the record of a new run.

    If the last run was stopped and had the same amount of work, its duration is included.
    """
    last, task = read_record(results_dir, name), os.environ.get("SLURM_ARRAY_TASK_ID")
    continues = last is not None and last.status == STOPPED and last.amount == amount
    return Record(
        host=socket.gethostname(),
        pid=os.getpid(),
        job=None if task is None else f"{os.environ['SLURM_ARRAY_JOB_ID']}_{task}",
        kind="cpu" if command[-2:] == ["-g", "cpu"] else "gpu",
        gpu=os.environ.get("CUDA_VISIBLE_DEVICES"),
        amount=amount,
        started=time.time(),
        seconds=last.seconds if continues else 0,
        process=own_name(),
    )


def _write_output_to(log: Path) -> None:
    """Append everything that this process and its children print to a file."""
    handle = open_for_writing(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as error:
        log.info(one_line(f"run_unit.py: {error}"))
        sys.exit(2)
