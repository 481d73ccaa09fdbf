"""Run a sweep on SLURM as job arrays with dependencies. No process stays on the login node.

The extraction of a model is one array. Its alignments are another array, which waits for the whole first array. The
report waits for all arrays. A failed job cancels only the jobs that depend on it (--kill-on-invalid-dep). `job.sh` is
the batch file.
"""

import hashlib
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.wording import are, count
from brain_activity_prediction.sweep.planning.items import read_items, write_items
from brain_activity_prediction.sweep.planning.units import Plan, Unit
from brain_activity_prediction.sweep.records import folder_of, stamp, submissions
from brain_activity_prediction.sweep.settings import SweepSettings

HERE = Path(__file__).resolve().parent
JOB_FILE = HERE.parent / "job.sh"
USUAL_LARGEST_ARRAY = 1001
NAME_HEAD = "sweep"
LIST = re.compile(r"(\d{8}-\d{6}-\d+)-(\w[\w.+-]*)")  # submission and list in a job's name, after the sweep's key
MAY_HAVE_JOBS = "may have jobs of this sweep"


@dataclass(frozen=True)
class Task:
    """A queued task of one of the sweep's arrays."""

    array: str  # SLURM's job number of the array
    number: str  # number of the task in the array, from 0
    state: str  # PENDING, RUNNING, ...
    name: str
    reason: str

    @property
    def job(self) -> str:
        """Return the task's id for SLURM's commands, ARRAY_TASK. A single number could mean the whole array."""
        return f"{self.array}_{self.number}"


def submit(settings: SweepSettings, plan: Plan) -> list[tuple[str, str, int]]:
    """Submit all unfinished units; return (number, name, units) of each array.

    If SLURM refuses an array, the arrays submitted before it are cancelled.
    """
    folder = folder_of(settings.results_dir) / stamp()
    # The folder is new, so that nobody can have put a link there through which SLURM would write.
    folder.mkdir(mode=0o755, parents=True)
    arrays: list[tuple[str, str, int]] = []

    def queue(what: str, units: Sequence[Unit], dependency: str) -> list[str]:
        numbers = []
        for part, few in enumerate(_parts(units, settings), 1):
            name = what if part == 1 else f"{what}.{part}"
            numbers.append(_sbatch(settings, folder / f"{name}.json", few, dependency))
            arrays.append((numbers[-1], name, len(few)))
        return numbers

    try:
        everything = []
        for model in plan.models:
            extract = queue(f"extract_{model.model}", [unit for unit in model.extract if unit.n_left], "")
            after = f"afterok:{':'.join(extract)}" if extract else ""
            everything += extract + queue(f"align_{model.model}", [unit for unit in model.align if unit.n_left], after)
        if plan.report.n_left:
            queue("report", [plan.report], f"afterany:{':'.join(everything)}" if everything else "")
    except BaseException:  # includes signals
        take_back(settings.results_dir)
        raise
    return arrays


def _parts(units: Sequence[Unit], settings: SweepSettings) -> list[Sequence[Unit]]:
    """Split the units into arrays that are not larger than the site allows."""
    most = largest_array() * settings.units_per_job if units else 1
    return [units[first : first + most] for first in range(0, len(units), most)]


def _sbatch(settings: SweepSettings, items: Path, units: Sequence[Unit], dependency: str) -> str:
    """Submit one array and return its SLURM number."""
    jobs, report = settings.jobs, units[0].stage == "report"
    together = 1 if report else settings.units_per_job
    n_gpus = 0 if report else jobs.gpus_per_job // together
    device = "0" if n_gpus and not settings.on_cpu else "cpu"
    n_tasks = write_items(items, units, together, device)
    at_once = f"%{jobs.at_once}" if jobs.at_once else ""
    options = {
        "job-name": f"{key_of(settings.results_dir)}-{items.parent.name}-{items.stem}",
        "array": f"0-{n_tasks - 1}{at_once}",
        "ntasks": together,
        "output": str(items.parent).replace("%", "%%") + f"/{items.stem}_%a.out",
        "dependency": dependency,
        "kill-on-invalid-dep": "yes" if dependency else "",
        "gpus-per-task": n_gpus or "",
        "cpus-per-task": jobs.cpus_per_task,
        "mem": jobs.memory,
        "time": jobs.time,
        "partition": jobs.partition,
        "account": jobs.account,
    }
    given = [f"--{name}={value}" for name, value in options.items() if value not in (None, "")]
    own = [word for option in jobs.sbatch for word in shlex.split(option)]
    of_job = (settings.results_dir, items, sys.executable, HERE / "run_unit.py", jobs.max_restarts)
    said = ask("sbatch", "--parsable", *given, *own, jobs.job_file or JOB_FILE, *of_job)
    return said.strip().split(";")[0]  # NUMBER or NUMBER;CLUSTER


def largest_array() -> int:
    """Return the largest number of tasks in an array that the site allows."""
    limits = re.findall(r"^MaxArraySize\s*=\s*(\d+)|max_array_tasks=(\d+)", ask("scontrol", "show", "config"), re.M)
    return min((int(a or b) for a, b in limits), default=USUAL_LARGEST_ARRAY)


def queued(results_dir: Path) -> list[Task]:
    """Return the sweep's queued tasks, of all users."""
    listed = ask("squeue", "--noheader", "--array", "--format", "%F|%K|%T|%j|%r")
    found = [Task(*words) for line in listed.splitlines() if len(words := line.split("|", 4)) == 5]
    return [task for task in found if task.name.startswith(f"{key_of(results_dir)}-")]


def take_back(results_dir: Path) -> list[Task]:
    """Cancel all queued tasks of the sweep, and return them."""
    tasks = queued(results_dir)
    if tasks:
        ask("scancel", *sorted({task.array for task in tasks}))
    return tasks


def is_there() -> bool:
    """Return whether SLURM answers on this machine."""
    try:
        ask("squeue", "--noheader", "--me")
    except InputError:
        return False
    return True


def may_have_jobs(results_dir: Path) -> bool:
    """Return whether SLURM answers. If it does not, but may have jobs of the sweep, raise InputError."""
    if is_there():
        return True
    if was_submitted(results_dir):
        if shutil.which("squeue"):
            raise InputError(f"SLURM does not answer, and {MAY_HAVE_JOBS}: try again when squeue shows its queue")
        raise InputError(f"no squeue on this machine, and SLURM {MAY_HAVE_JOBS}: run this on a machine with SLURM")
    return False


def was_submitted(results_dir: Path) -> bool:
    """Return whether jobs of this sweep were ever submitted."""
    return bool(submissions(results_dir))


def queued_units(results_dir: Path) -> dict[str, Task]:
    """Return `{unit name: task}` for all queued units. The names are read from the submitted lists."""
    found, lists = {}, {}
    for task in queued(results_dir):
        where = LIST.fullmatch(task.name.removeprefix(f"{key_of(results_dir)}-"))  # other jobs may have any name
        path = folder_of(results_dir) / where[1] / f"{where[2]}.json" if where else None
        if path not in lists:
            lists[path] = read_items(path) if path and path.exists() else []
        found |= {item.name: task for item in lists[path] if str(item.task) == task.number}
    return found


def refuse_if_queued(results_dir: Path) -> None:
    """Raise InputError if jobs of this sweep are queued."""
    tasks = queued(results_dir)
    if tasks:
        raise InputError(
            f"{count(len(tasks), 'job')} of this sweep {are(len(tasks))} in the queue (first: {tasks[0].job}): "
            "wait for them (status), or end them with cancel"
        )


def key_of(results_dir: Path) -> str:
    """Return the common prefix of all job names of a sweep, unique to it."""
    return f"{NAME_HEAD}_{hashlib.sha256(str(results_dir.resolve()).encode()).hexdigest()[:8]}"


def ask(*command) -> str:
    """Return the output of a SLURM command; raise InputError if it is missing or refuses."""
    command = list(map(str, command))
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise InputError(f"no {command[0]} on this machine: run this on a machine with SLURM, or use local") from None
    if done.returncode:
        reason = " ".join((done.stderr or done.stdout).split())
        raise InputError(f"{command[0]} refused: {reason or f'status {done.returncode}'}")
    return done.stdout
