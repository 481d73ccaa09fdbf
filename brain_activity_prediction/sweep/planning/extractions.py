"""Plan the extractions of a model: one unit for each shard of the images."""

import sys
from collections.abc import Iterable, Sequence

import numpy as np

from brain_activity_prediction.extraction.plan import Work, plan
from brain_activity_prediction.sweep.planning.models import UNTRAINED, Model
from brain_activity_prediction.sweep.planning.passed_on import naming, passed_on
from brain_activity_prediction.sweep.planning.units import Unit
from brain_activity_prediction.sweep.settings import SweepSettings


def extraction_flags(settings: SweepSettings, model: Model) -> list[str]:
    """Return the flags of a model's script, without the shard; raise InputError if --extract has a wrong one."""
    more = passed_on(settings.extract, "--extract", model.parser(), model.script.name)
    if settings.checkpoints:
        more += ["--checkpoint", str(settings.checkpoints / model.name.removesuffix(UNTRAINED))]
    if settings.device_map:
        more += ["--device-map", settings.device_map]
    given = [*settings.place_flags, "-s", *map(str, settings.subject)]
    given += ["-p", *map(str, settings.prompt_number), *prompts_file_flags(settings)]
    return [*given, "-b", str(settings.batch_size), *more, *model.flags]


def prompts_file_flags(settings: SweepSettings) -> list[str]:
    return ["--prompts-file", str(settings.prompts_file)] if settings.prompts_file else []


def planned_work(model: Model, flags: Sequence[str], image_ids: Sequence[int]) -> Work:
    """Return the work of all shards of a model's extraction."""
    with naming("--extract"):
        return plan(*model.read_flags(flags), image_ids)


def extraction_units(
    model: Model, flags: Sequence[str], image_ids: np.ndarray, lacking: Iterable[np.ndarray], n_shards: int
) -> list[Unit]:
    """Plan the extraction of all shards of the images.

    lacking  ids of the images without states
    """
    is_left = np.isin(image_ids, np.concatenate([*lacking, np.empty(0, int)]))
    units = []
    for shard in range(min(n_shards, len(image_ids))):
        left = is_left[shard::n_shards]
        command = (sys.executable, str(model.script), *flags, "--shard", f"{shard}/{n_shards}")
        name = shard_name(model.name, shard + 1, n_shards)
        units.append(Unit(name, "extract", model.name, len(left), int(left.sum()), command))
    return units


def shard_name(model: str, number: int | str, n_shards: int | str) -> str:
    """Return the name of an extraction. If the arguments are regular expressions, the result matches such names."""
    return f"extract_{model}_{number}_of_{n_shards}"
