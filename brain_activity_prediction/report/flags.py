"""Flags of the scripts that read finished scores, and the selection of scores that these flags describe."""

from __future__ import annotations

import argparse

from brain_activity_prediction.cli import dataset_flags
from brain_activity_prediction.cli import shared_flags as shared
from brain_activity_prediction.cli.model_names import resolved_model_id
from brain_activity_prediction.report.tables.selection import Selection
from brain_activity_prediction.storage.folders import Output


def parser(description: str) -> argparse.ArgumentParser:
    """Return a parser with flags that select subjects, models, prompts and streams; the default is all with scores."""
    flags = shared.parser(description, several_subjects=True)
    flags.set_defaults(subject=None)
    shared.add_selection(flags)
    return flags


def output_and_selection(arguments: argparse.Namespace) -> tuple[Output, Selection]:
    """Return the output and the selection of scores; raise InputError if --base-dir is not a folder."""
    shared.check_base_dir(arguments.base_dir)
    output = dataset_flags.output_from(arguments)
    selection = Selection(
        subject=tuple(arguments.subject or ()),
        model=tuple(resolved_model_id(output, name) for name in arguments.model_id),
        prompt=tuple(arguments.prompt_number),
        stream=tuple(arguments.stream),
        roi=tuple(getattr(arguments, "roi", None) or ()),
    )
    return output, selection
