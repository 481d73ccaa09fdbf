"""Find the state of each unit of a sweep. Results show which are done, queue and records which run or failed."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from brain_activity_prediction.runtime.errors import one_line
from brain_activity_prediction.sweep.planning.units import Plan, Unit
from brain_activity_prediction.sweep.records import last_lines, lock_holder, log_of, read_record, submissions
from brain_activity_prediction.sweep.workers.cluster import Task
from brain_activity_prediction.sweep.workers.local_run import ENDS_EARLY

STATES = ("done", "running", "queued", "failed", "left")
STAGES = ("extract", "align", "report")
N_LINES = 12  # lines of a failed unit's log that are shown, enough for most tracebacks
UNFINISHED = ("RUNNING", "COMPLETING", "SUSPENDED")


@dataclass(frozen=True)
class State:
    unit: Unit
    state: str  # one of STATES
    why: str = ""


def states_of(results_dir: Path, plan: Plan, queue: Mapping[str, Task] | None) -> list[State]:
    """Return the state of every unit.

    queue  SLURM's queued tasks; None if SLURM does not answer
    """
    holder = lock_holder(results_dir)
    elsewhere = holder.host if holder is not None and holder.is_dead is None else None
    return [_state_of(results_dir, unit, queue, elsewhere) for unit in plan.units]


def _state_of(results_dir: Path, unit: Unit, queue: Mapping[str, Task] | None, elsewhere: str | None) -> State:
    """Return the state of a unit.

    elsewhere  another machine that runs a local sweep, if there is one
    """
    if not unit.n_left:
        return State(unit, "done")
    record, task = read_record(results_dir, unit.name), (queue or {}).get(unit.name)
    if task is not None:
        if record is not None and record.job == task.job and record.status not in (None, 0, *ENDS_EARLY):
            return State(unit, "failed", f"ended with status {record.status}; its job {task.job} continues")
        if task.state in UNFINISHED:
            return State(unit, "running", f"job {task.job}")
        return State(unit, "queued", f"job {task.job}: {task.reason}")
    if record is None or record.status == 0 or record.status in ENDS_EARLY:
        return State(unit, "left")
    if record.status is not None:
        return State(unit, "failed", f"ended with status {record.status}")
    if record.job is not None and queue is None:
        return State(unit, "running", f"job {record.job}, or killed: SLURM does not answer on this machine")
    if record.runs_here() or (record.job is None and record.host == elsewhere):
        return State(unit, "running", f"process {record.pid} on {record.host}")
    limits = "it may have used too much memory" if record.job is None else "it may have used too much memory or time"
    return State(unit, "failed", f"was killed on {record.host}: {limits}")


def text_of(results_dir: Path, states: list[State]) -> str:
    """Return a table of units by stage and state, the running units, and the last lines of failed units.

    If several units failed with the same last line, the lines before it are shown only for the first one.
    """
    lines = ["".join([f"{'':8}", *(f"{state:>9}" for state in STATES)])]
    for stage in STAGES:
        counts = [sum(s.unit.stage == stage and s.state == state for s in states) for state in STATES]
        lines.append("".join([f"{stage:8}", *(f"{count:9}" for count in counts)]))
    ends: set[str] = set()
    for state in states:
        log = log_of(results_dir, state.unit.name)
        if state.state == "running":
            lines.append(f"running {state.unit.name} ({state.why}): {''.join(last_lines(log, 1))}")
        elif state.state == "failed":
            lines.append(f"FAILED  {state.unit.name} ({state.why}), its log {log} ends with")
            said = last_lines(log, N_LINES)
            # The shards of a model often fail for the same reason. Then only the first one is shown in full.
            if ends.issuperset(said[-1:]):
                said = said[-1:]
            ends.update(said[-1:])
            lines += [f"    {line}" for line in said]
    return "\n".join(map(one_line, [*lines, *_of_jobs(results_dir, states)]))


def _of_jobs(results_dir: Path, states: list[State]) -> list[str]:
    """Return the output of the jobs of the last submission, if a unit failed or did not start."""
    if not any(state.state in ("failed", "left") for state in states):
        return []
    submitted = submissions(results_dir)
    said = [
        f"{path}: {lines[-1]}"
        for path in sorted(submitted[-1].glob("*.out") if submitted else [])
        if (lines := last_lines(path, 1))
    ]
    return ["last output of the jobs of the last submission:", *(f"    {line}" for line in said[:20])] if said else []
