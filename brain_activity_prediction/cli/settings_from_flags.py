"""Make settings from the parsed flags that several scripts share, and apply the values that a protocol fixes."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any, TypeVar

from brain_activity_prediction.cli import dataset_flags
from brain_activity_prediction.cli.model_names import resolved_model_id
from brain_activity_prediction.datasets.dataset import Dataset
from brain_activity_prediction.datasets.find import as_chosen, find_dataset
from brain_activity_prediction.encoding.layers import LayerSelection
from brain_activity_prediction.encoding.protocols import SETS, STANDARDISED_BY
from brain_activity_prediction.encoding.settings import AlphaGrid, ResponseSettings
from brain_activity_prediction.extraction.prompt_selection import select_prompts
from brain_activity_prediction.runtime import devices
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.storage.folders import Subject

Settings = TypeVar("Settings")


def open_dataset(settings: ResponseSettings, *other_subjects: Subject) -> Dataset:
    """Return the dataset that the settings select; InputError if a subject, its sessions or the device is missing."""
    dataset = as_chosen(find_dataset(settings.base_dir, settings.dataset), settings.reading)
    subjects = [settings.subject, *other_subjects]
    dataset.check_subjects(subjects)
    for subject in subjects:
        dataset.sessions(subject)
    devices.check_device(settings.device)
    return dataset


def alpha_grid(arguments: argparse.Namespace) -> AlphaGrid:
    """Return the grid of alphas that the flags of `add_alphas` describe."""
    return AlphaGrid(arguments.min_log_10_alpha, arguments.max_log_10_alpha, arguments.num_alphas)


def layer_selection(arguments: argparse.Namespace) -> LayerSelection:
    """Return the selection of layers that the flags of `add_layers` and `add_prompts` describe."""
    return LayerSelection(
        model_id=resolved_model_id(dataset_flags.output_from(arguments), arguments.model_id),
        prompts=select_prompts(arguments.prompt_number, arguments.prompts_file),
        with_p=bool(arguments.prompt_number),
        streams=arguments.stream,
        numbers=arguments.layer_number,
    )


MADE_FROM_FLAGS: dict[str, Callable[[argparse.Namespace], Any]] = {  # fields that are not simply a flag's value
    "output": dataset_flags.output_from,
    "split": dataset_flags.split_from,
    "reading": dataset_flags.reading_from,
    "alphas": alpha_grid,
    "features": layer_selection,
    "device": attrgetter("gpu_id"),
    "rois": attrgetter("roi"),
    "layer_choice": attrgetter("layers"),
}


def settings_from(kind: type[Settings], arguments: argparse.Namespace, **others: Any) -> Settings:
    """Return the settings of a script.

    The value of each field is taken from `others`, or made by its function in MADE_FROM_FLAGS, or else the value of the
    flag of this name.
    """
    names = [field.name for field in fields(kind) if field.name not in others]
    return kind(**{name: MADE_FROM_FLAGS.get(name, attrgetter(name))(arguments) for name in names}, **others)


def parse_with_protocol(flags: argparse.ArgumentParser, words: Sequence[str] | None) -> argparse.Namespace:
    """Parse a command line, and set the flags that --protocol fixes.

    Raises InputError if the command line gives one of these flags another value.

    words  words of the command line; None for that of this process
    """
    protocol = flags.parse_args(words).protocol
    flags.set_defaults(**SETS[protocol])
    arguments = flags.parse_args(words)
    for name, value in SETS[protocol].items():
        if getattr(arguments, name) != value:
            raise InputError(f"--protocol {protocol} sets {_as_flag(name, value)}: remove that flag")
    return arguments


def log_protocol(protocol: str) -> None:
    """Log the flags that a protocol sets, if any."""
    if SETS[protocol]:
        values = " ".join(_as_flag(name, value) for name, value in SETS[protocol].items())
        scaled = f"training and test images scaled by {STANDARDISED_BY[protocol]}"
        log.info(f"protocol {protocol}: {values}, {scaled}")


def _as_flag(name: str, value: object) -> str:
    """Write a value as on the command line: `--name value`, or `--no-name` for False."""
    flag = name.replace("_", "-")
    return f"--no-{flag}" if value is False else f"--{flag} {value}"
