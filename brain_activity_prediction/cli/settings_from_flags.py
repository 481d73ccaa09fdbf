"""Turn parsed flags that several scripts share into settings, and apply the values that a protocol fixes."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, TypeVar

from brain_activity_prediction.cli import dataset_flags
from brain_activity_prediction.cli.model_names import resolved_model_id
from brain_activity_prediction.encoding.layers import LayerSelection
from brain_activity_prediction.encoding.protocols import SETS, STANDARDISED_BY
from brain_activity_prediction.encoding.settings import AlphaGrid
from brain_activity_prediction.extraction.prompt_selection import select_prompts
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.messages import log

Settings = TypeVar("Settings")


def settings_from(kind: type[Settings], arguments: argparse.Namespace, **others: Any) -> Settings:
    """Return the settings of a script: each field is the flag of its name, unless `others` has it.

    `output`, `split` and `reading` are made from the flags of `add_dataset`, `add_split` and `add_responses`.
    """
    names = {field.name for field in fields(kind)} - others.keys()
    if "output" in names:
        others["output"] = dataset_flags.output_from(arguments)
    if "split" in names:
        others["split"] = dataset_flags.split_from(arguments)
    if "reading" in names:
        others["reading"] = dataset_flags.reading_from(arguments)
    flags = names - others.keys()
    return kind(**{name: getattr(arguments, name) for name in flags}, **others)


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


def parse_with_protocol(flags: argparse.ArgumentParser, words: Sequence[str] | None) -> argparse.Namespace:
    """Parse command-line words, and give the flags that --protocol fixes their values.

    Raises InputError if the words give one of these flags another value.

    words  None for the command line of this process
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
