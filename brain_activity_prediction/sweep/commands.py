"""The five commands of `sweep.py`."""

import shlex
import shutil
import sys

from brain_activity_prediction.cli.flag_values import gpu_id
from brain_activity_prediction.runtime import devices, processes
from brain_activity_prediction.runtime.errors import InputError, one_line
from brain_activity_prediction.runtime.running import STOPPED
from brain_activity_prediction.runtime.wording import count
from brain_activity_prediction.sweep import rates
from brain_activity_prediction.sweep.planning.plan import make_plan
from brain_activity_prediction.sweep.planning.study import remember, remembered
from brain_activity_prediction.sweep.records import (
    alone,
    last_lines,
    lock_holder,
    log_of,
    records,
)
from brain_activity_prediction.sweep.settings import SweepSettings
from brain_activity_prediction.sweep.status import states_of, text_of
from brain_activity_prediction.sweep.workers import cluster
from brain_activity_prediction.sweep.workers.local_run import RUN_UNIT, LocalRun, Worker


def plan(settings: SweepSettings) -> None:
    """Print the work that is left for each model: units, images or layers, hours of one worker and gigabytes of states.

    A unit is one command of the sweep. With --units every unit is listed with its command.
    """
    workers = workers_of(settings)
    planned = make_plan(settings)
    kind, needs = rates.kind_of(workers[0].device), []
    print(f"{'stage':8}{'model':30}{'units':>7}{'left':>6}{'images, layers':>16}{'left':>8}{'hours':>10}{'GB':>9}")
    for stage, remaining in (("extract", rates.extraction), ("align", rates.alignment)):
        for model in planned.models:
            units, need = getattr(model, stage), remaining(settings.results_dir, model, kind)
            needs.append(need)
            counted = all(unit.is_counted for unit in units)
            print(
                f"{stage:8}{model.model:30}{len(units):7}{sum(unit.n_left > 0 for unit in units):6}"
                f"{_known(sum(unit.n for unit in units) if counted else None, 16)}"
                f"{_known(sum(unit.n_left for unit in units) if counted else None, 8)}"
                f"{_known(need.hours, 10, '.2f')}{_known(need.gigabytes, 9, '.1f')}"
            )
    print(f"{'report':38}{1:7}{planned.report.n_left:6}")
    hours = sum(need.hours or 0 for need in needs)
    gigabytes = sum(need.gigabytes or 0 for need in needs)
    existing = next(path for path in (settings.results_dir, *settings.results_dir.parents) if path.exists())
    free = shutil.disk_usage(existing).free / 1e9
    print(
        f"{hours:.1f} hours of one worker, {hours / len(workers):.1f} with {len(workers)}; "
        f"{gigabytes:.1f} GB to be written, {free:.1f} GB are free"
    )
    if any(None in (need.hours, need.gigabytes) for need in needs):
        print(rates.NOT_MEASURED)
    for unit in planned.units if settings.units else ():
        print(f"{unit.name}: {unit.n_left} of {unit.n} left: {shlex.join(unit.on(workers[0].device))}")


def _known(number: float | None, width: int, spec: str = "d") -> str:
    """Format a number for a column of the given width; a question mark if it is unknown."""
    return f"{'?' if number is None else format(number, spec):>{width}}"


def local(settings: SweepSettings) -> None:
    """Run the unfinished units on this machine; Ctrl-C stops them after their current batches and layers."""
    workers = workers_of(settings)
    for worker in workers:
        devices.check_device(gpu_id(worker.device))
    with alone(settings.results_dir) as lock:
        # A machine without SLURM may compute submitted units, too, because processes share work by claims.
        if shutil.which("squeue") and cluster.may_have_jobs(settings.results_dir):
            cluster.refuse_if_queued(settings.results_dir)
        planned = make_plan(settings)
        remember(settings)
        run = LocalRun(settings.results_dir, planned, workers, lock)
        outcome = run.run()
    counts = f"{len(outcome.done)} succeeded, {len(outcome.failed)} failed"
    print(f"{counts}, {len(outcome.stopped) + len(run.waiting)} left")
    for name in outcome.failed:
        log = log_of(settings.results_dir, name)
        print(f"FAILED  {name}: {''.join(last_lines(log, 1))} (log: {log})")
    for name in [*outcome.stopped, *(unit.name for unit in run.waiting)]:
        print(f"left    {name}")
    if outcome.stopped or (run.waiting and not outcome.failed):  # a signal may arrive when no unit runs
        sys.exit(STOPPED)
    if outcome.failed:
        sys.exit(1)


def slurm(settings: SweepSettings) -> None:
    """Submit the unfinished units to SLURM as job arrays with dependencies, and return."""
    with alone(settings.results_dir):
        cluster.refuse_if_queued(settings.results_dir)
        planned = make_plan(settings)
        if not planned.left:
            print("nothing is left to do")
            return
        remember(settings)
        arrays = cluster.submit(settings, planned)
    for number, what, n_units in arrays:
        print(f"job {number:10} {what:50} {count(n_units, 'unit'):>9}")
    print("status shows their progress, cancel ends them; running the same command again submits what is left")


def status(settings: SweepSettings) -> None:
    """Print which units of the last sweep are done, running, queued, failed and left."""
    planned = make_plan(remembered(settings.base_dir, settings.output))
    queue = cluster.queued_units(settings.results_dir) if cluster.is_there() else None
    print(text_of(settings.results_dir, states_of(settings.results_dir, planned, queue)))
    if queue is None and cluster.was_submitted(settings.results_dir):
        print("SLURM does not answer on this machine: states are read from files, and queued units are counted as left")


def cancel(settings: SweepSettings) -> None:
    """Stop running units and cancel queued jobs; all finished work is kept."""
    n_ended, holder = 0, lock_holder(settings.results_dir)
    if holder is not None and _end(holder.name, "sweep.py"):  # first, because it may be submitting jobs
        print(f"stopping: {holder} and its units, after their current batches and layers")
        n_ended += 1
    else:
        for name, record in records(settings.results_dir).items():
            runs = record.job is None and record.runs_here()  # its sweep process may have been killed
            if runs and _end(record.process, RUN_UNIT.name, str(settings.results_dir)):
                print(one_line(f"ended: {name}"))
                n_ended += 1
    if cluster.may_have_jobs(settings.results_dir) and (tasks := cluster.take_back(settings.results_dir)):
        print(f"ended: {count(len(tasks), 'job')}")
        n_ended += 1
    if not n_ended:
        print("nothing runs here and nothing is queued")
    if holder is not None and holder.is_dead is None:
        raise InputError(f"the sweep is also running as {holder}: cancel it there, too")


def _end(name: str, script: str, argument: str = "") -> bool:
    """Ask a process on this machine that runs a script to end (`processes.end`); refuse if it is another user's."""
    try:
        return processes.end(name, script, argument)
    except PermissionError:
        pid = processes.number_of(name)
        raise InputError(
            f"process {pid}, which runs the sweep, belongs to another user: ask this user to cancel it"
        ) from None


def workers_of(settings: SweepSettings) -> list[Worker]:
    """Return the local workers: one for each GPU, a single one for models on all GPUs, or --workers on the CPU."""
    numbers = range(settings.workers) if settings.on_cpu else settings.devices
    kind = "CPU" if settings.on_cpu else "GPU"
    return [Worker(f"{kind} {number}", device) for number, device in zip(numbers, settings.devices, strict=True)]
