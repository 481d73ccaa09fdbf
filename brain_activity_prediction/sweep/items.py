"""The list of units that an array of jobs works through: one text file a submission, a line a unit.

A line holds, between tabs, the array task, the unit's name, how many images or layers it has left, and its command as
a shell takes it. The units of one task run side by side in one job.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from brain_activity_prediction.files import written_whole

if TYPE_CHECKING:
    from brain_activity_prediction.sweep.units import Unit


def write_items(path: Path, units: Sequence[Unit], units_a_job: int, device: str) -> int:
    """Writes the list, and returns how many array tasks it makes."""
    lines = [
        "\t".join([str(place // units_a_job), unit.name, str(unit.n_left), shlex.join(unit.on(device))])
        for place, unit in enumerate(units)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as aside:
        aside.write_text("\n".join(lines) + "\n")
    return -(-len(units) // units_a_job)


def read_items(path: Path) -> list[tuple[int, str, int, list[str]]]:
    """(array task, name, amount, command) of each unit, in order."""
    lines = [line.split("\t") for line in path.read_text().splitlines()]
    return [(int(task), name, int(amount), shlex.split(command)) for task, name, amount, command in lines]


def item_of_this_task(path: Path) -> tuple[str, int, list[str]] | None:
    """Name, amount and command of the unit that is this process's by SLURM's environment; None where there is none."""
    task, place = int(os.environ["SLURM_ARRAY_TASK_ID"]), int(os.environ["SLURM_PROCID"])
    mine = [item[1:] for item in read_items(path) if item[0] == task]
    return mine[place] if place < len(mine) else None
