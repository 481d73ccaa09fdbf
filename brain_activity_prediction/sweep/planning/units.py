"""The units of a sweep.

A unit is one command. It extracts the states of one model for one shard of the images with all prompts, or aligns one
model's states under one prompt (or none) with one subject, or writes the report.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Unit:
    """One command of a sweep, and the number of images or layers that it has not finished."""

    name: str
    stage: str  # extract, align or report
    model: str  # the name of its script; empty for the report
    n: int
    n_left: int
    command: tuple[str, ...]  # command without the flag for the device
    is_counted: bool = True  # False for an alignment whose states are not extracted: its number of layers is unknown

    @property
    def amount(self) -> int:
        """Return the number of images or layers that this unit has to process; 0 if unknown."""
        return self.n_left if self.is_counted else 0

    def on(self, device: str) -> list[str]:
        """Return the command for a device, given as a value of -g."""
        return [*self.command, *([] if self.stage == "report" else ["-g", device])]


@dataclass(frozen=True)
class ModelUnits:
    """The units of one model."""

    model: str  # its name in the sweep
    model_id: str
    extract: list[Unit]
    align: list[Unit]
    lacking: Mapping[int | None, int]  # {prompt or None: number of images without states}
    values: Mapping[int | None, int | None]  # {prompt or None: number of values per image}; None before the first image
    streams: Sequence[str] = ()  # streams of the model's states


@dataclass(frozen=True)
class Plan:
    models: list[ModelUnits]
    report: Unit

    @property
    def units(self) -> list[Unit]:
        """All units of the model, extractions first."""
        extract, align = ([unit for model in self.models for unit in getattr(model, s)] for s in ("extract", "align"))
        return [*extract, *align, self.report]

    @property
    def left(self) -> list[Unit]:
        return [unit for unit in self.units if unit.n_left]
