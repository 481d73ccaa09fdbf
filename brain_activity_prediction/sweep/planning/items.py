"""Store the units of a SLURM job array in a JSON file, one file for each array.

A unit is stored as the name of a script of this package and its flags. The job finds the script by its name and writes
only to the submitted folder of results, so that a changed file cannot make it run other code. The units of one task run
in parallel in one job.
"""

import os
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from brain_activity_prediction.storage.checked_json import read_json, write_json
from brain_activity_prediction.sweep.planning.models import own_script
from brain_activity_prediction.sweep.planning.units import Unit

UNIT_NAME = re.compile(r"\w[\w.+-]{0,199}")


@dataclass(frozen=True)
class Item:
    """A unit of a job array."""

    task: int  # number of its task in the array, from 0
    name: str
    amount: int  # number of images or layers that are left; 0 if unknown
    script: str  # name, without .py
    flags: list[str]
    device: str | None  # value of -g; None for the report, which has no such flag

    def __post_init__(self):
        if self.task < 0 or self.amount < 0:
            raise ValueError("field 'task' or 'amount' is negative")
        if not UNIT_NAME.fullmatch(self.name):
            raise ValueError(f"field 'name' is {self.name!r}, no unit's name")
        own_script(self.script)

    def command(self, results_dir: Path) -> list[str]:
        """Return the command of the unit as a list of words.

        The command ends with -g and the folder of the results, which replace any earlier values of these flags, because
        argparse uses the last value. The folder is given as --output if the sweep has one, otherwise as -d.
        """
        device = [] if self.device is None else ["-g", self.device]
        place = "--output" if "--output" in self.flags else "-d"
        return [sys.executable, str(own_script(self.script)), *self.flags, place, str(results_dir), *device]


def write_items(path: Path, units: Sequence[Unit], units_a_job: int, device: str) -> int:
    """Write the units of an array, and return the number of array tasks."""
    items = []
    for place, unit in enumerate(units):
        _, script, *flags = unit.command
        of_unit = device if unit.stage != "report" else None
        items.append(Item(place // units_a_job, unit.name, unit.amount, Path(script).stem, flags, of_unit))
    write_json(path, [asdict(item) for item in items], indent=1)
    return -(-len(units) // units_a_job)


def read_items(path: Path) -> list[Item]:
    """Read the units of an array, in order."""
    return read_json(path, list[Item], "cancel these jobs and submit again")


def item_of_this_task(path: Path) -> Item | None:
    """Return the unit of this process from SLURM's environment; None if there is none."""
    task, place = int(os.environ["SLURM_ARRAY_TASK_ID"]), int(os.environ["SLURM_PROCID"])
    mine = [item for item in read_items(path) if item.task == task]
    return mine[place] if place < len(mine) else None
