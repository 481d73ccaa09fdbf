"""Estimate the hours and gigabytes that a sweep still needs, from the speed of finished units.

For an extraction without a finished unit, the speed of the model's last test run is used. Without a test run, the hours
are unknown.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from brain_activity_prediction.storage.measured_rate import read_rate
from brain_activity_prediction.sweep.planning.extractions import shard_name
from brain_activity_prediction.sweep.planning.units import ModelUnits
from brain_activity_prediction.sweep.records import Record, read_record, records

BYTES_A_VALUE = {"gpu": 2, "cpu": 4}  # float16 on a GPU, float32 on a CPU
NOT_MEASURED = (
    "?: not measured yet, and not included in the sums. To measure the hours, run the model's script with --test-run "
    "and the flags of its units, or wait until a unit has finished"
)


@dataclass(frozen=True)
class Remaining:
    """Hours of one worker and gigabytes that one stage of a model still needs; None if not measured yet."""

    hours: float | None
    gigabytes: float | None = 0.0


def kind_of(device: str) -> str:
    """Return the kind of a device, gpu or cpu. Speeds are kept for each kind."""
    return "cpu" if device == "cpu" else "gpu"


def extraction(results_dir: Path, units: ModelUnits, kind: str) -> Remaining:
    """Return the hours that the extractions of a model still need, and the size of the missing states in gigabytes."""
    # Units of all earlier sweeps are used, with any number of shards.
    ran = records(results_dir, shard_name(re.escape(units.model), r"\d+", r"\d+"))
    finished = [(record.seconds, record.amount) for record in _finished(ran.values(), kind)]
    if not sum(amount for _, amount in finished):
        finished = _of_test_run(results_dir, units, kind)
    return Remaining(_hours(sum(unit.n_left for unit in units.extract), finished), _gigabytes(units, kind))


def _of_test_run(results_dir: Path, units: ModelUnits, kind: str) -> list[tuple[float, int]]:
    """Return the seconds for an image in the model's last test run; None if its streams or prompts were different."""
    rate = read_rate(results_dir, units.model_id)
    prompts = sorted(prompt for prompt in units.lacking if prompt is not None)
    work = (kind, sorted(units.streams), prompts)
    return [(rate.seconds, 1)] if rate and (rate.kind, rate.streams, sorted(rate.prompts)) == work else []


def alignment(results_dir: Path, units: ModelUnits, kind: str) -> Remaining:
    """Return the hours that the alignments of a model still need. The size of the scores is not counted."""
    finished = []
    for unit in units.align:
        for record in _finished(filter(None, [read_record(results_dir, unit.name)]), kind):
            finished.append((record.seconds, record.amount or unit.n))
    n_left = None if any(unit.n_left and not unit.is_counted for unit in units.align) else 0
    return Remaining(None if n_left is None else _hours(sum(unit.n_left for unit in units.align), finished))


def _finished(ran: Iterable[Record], kind: str) -> list[Record]:
    return [record for record in ran if record.status == 0 and record.kind == kind]


def _hours(n_left: int, finished: Iterable[tuple[float, int]]) -> float | None:
    """Return the hours for `n_left` images or layers, from amounts and seconds (with loading) of finished units."""
    if not n_left:
        return 0.0
    seconds, amounts = (sum(values) for values in zip((0, 0), *finished, strict=True))
    return n_left * seconds / amounts / 3600 if amounts else None


def _gigabytes(units: ModelUnits, kind: str) -> float | None:
    lacking = {prompt: n for prompt, n in units.lacking.items() if n}
    values = [units.values.get(prompt) for prompt in lacking]
    if None in values:
        return None
    return sum(n * value for n, value in zip(lacking.values(), values, strict=True)) * BYTES_A_VALUE[kind] / 1e9
