"""Hours and gigabytes that a sweep still takes: by rates that earlier runs measured, else by stated assumptions."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from brain_activity_prediction.sweep.architectures import ARCHITECTURES, BYTES_A_VALUE
from brain_activity_prediction.sweep.planning.units import ModelUnits, shard_name
from brain_activity_prediction.sweep.records import Record, read_record, records

# What is assumed of a worker where nothing was measured: a data-centre GPU at a third of its float16 peak for the
# models and at half of its float32 peak for the ridge; one core. Weights are read at 1 GB a second.
OPERATIONS_A_SECOND = {"gpu": {"extract": 1e14, "align": 1e13}, "cpu": {"extract": 5e10, "align": 5e10}}
LOADED_BYTES_A_SECOND = 1e9
# A layer of 5120 features, 9000 training images and 15724 voxels; narrower layers are put at their share of the width.
ALIGN_OPERATIONS, ALIGN_WIDTH = 2.8e13, 5120
ASSUMPTIONS = (
    "* assumed: {extract:.3g} operations/s for the models, {align:.3g} for the ridge, weights at "
    f"{LOADED_BYTES_A_SECOND / 1e9:g} GB/s; measured rates take their place once a unit has ended"
)


@dataclass(frozen=True)
class Estimate:
    """Of the units of one model and stage that are left; hours of one worker, None where nothing is known."""

    hours: float | None
    gigabytes: float = 0
    measured: bool = False

    @property
    def hours_text(self) -> str:
        """The hours with a star where they are assumed."""
        return "?" if self.hours is None else f"{self.hours:.2f}{'' if self.measured or not self.hours else '*'}"


def kind_of(device: str) -> str:
    return "cpu" if device == "cpu" else "gpu"


def extraction(base_dir: Path, units: ModelUnits, kind: str) -> Estimate:
    """Gigabytes are those of the states that are not stored yet."""
    values = sum(n * units.values.get(prompt, 0) for prompt, n in units.lacking.items())
    gigabytes = values * BYTES_A_VALUE[kind] / 1e9
    n_images = sum(unit.n_left for unit in units.extract)
    ran = records(base_dir, shard_name(re.escape(units.model), r"\d+", r"\d+"))  # in whatever number of shards
    seconds = measured_seconds(ran.values(), kind)
    if seconds is not None:
        return Estimate(n_images * seconds / 3600, gigabytes, True)
    model = ARCHITECTURES.get(units.model)
    if model is None:
        return Estimate(None, gigabytes)
    image_work = max(units.lacking.values(), default=0) * model.image_operations()
    prompt_work = sum(n * model.prompt_operations() for prompt, n in units.lacking.items() if prompt is not None)
    n_loads = sum(unit.n_left > 0 for unit in units.extract)
    seconds = (image_work + prompt_work) / OPERATIONS_A_SECOND[kind]["extract"]
    seconds += n_loads * model.n_weights() * BYTES_A_VALUE[kind] / LOADED_BYTES_A_SECOND
    return Estimate(seconds / 3600, gigabytes)


def alignment(base_dir: Path, units: ModelUnits, kind: str) -> Estimate:
    """Scores are small beside the states, so that their bytes are not counted."""
    ran = [record for unit in units.align if (record := read_record(base_dir, unit.name))]
    seconds = measured_seconds(ran, kind)
    if seconds is not None:
        return Estimate(sum(unit.n_left for unit in units.align) * seconds / 3600, measured=True)
    per_width = ALIGN_OPERATIONS / ALIGN_WIDTH / OPERATIONS_A_SECOND[kind]["align"]
    seconds = sum(unit.n_left * unit.width * per_width for unit in units.align)
    return Estimate(seconds / 3600)


def measured_seconds(ran: Iterable[Record], kind: str) -> float | None:
    """Seconds an image or layer took in the units that ended well on such a device, loading included."""
    ended = [record for record in ran if record.status == 0 and record.amount and record.kind == kind]
    if not ended:
        return None
    return sum(record.seconds for record in ended) / sum(record.amount for record in ended)
