"""Check the flags that --extract and --align pass on to the scripts. Flags that the sweep itself sets are refused."""

import argparse
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from brain_activity_prediction.runtime.errors import InputError

SET_BY = {  # flags that the sweep sets, and the flags of the sweep that set them
    "base_dir": "-d",
    "dataset": "--dataset",
    "output": "--output",
    "subject": "-s",
    "prompt_number": "-p",
    "prompts_file": "--prompts-file",
    "model_id": "--models",
    "batch_size": "-b",
    "gpu_id": "-g",
    "shard": "--shards",
    "checkpoint": "--checkpoints",
    "device_map": "--device-map",
}
BY_ITSELF = ("repair", "redo", "test_run")  # flags that would delete data in every unit, or compute nothing


@contextmanager
def naming(where: str) -> Iterator[None]:
    """Add the flag of the sweep that passed on a refused flag, such as --extract, to a script's error message."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def passed_on(text: str, where: str, parser: argparse.ArgumentParser, script: str) -> list[str]:
    """Split and check the flags that --extract or --align passes on to a script; return them as words.

    A flag that must not be passed on ends the process with status 2.

    text    the flags
    where   --extract or --align
    script  name of the script
    parser  the script's parser. It cannot be used afterwards, because it is modified to record which flags were given
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise InputError(f"{where}={text}: {str(error).lower()}") from None
    parser.prog = f"in the flags that {where} passes on"
    for action in parser._actions:
        action.required, action.default = False, argparse.SUPPRESS
    for name, value in vars(parser.parse_args(words)).items():
        flag = f"--{name.replace('_', '-')}"
        if name in SET_BY:
            raise InputError(f"{where} cannot contain {flag}, which the sweep sets: use {SET_BY[name]}")
        if name in BY_ITSELF:
            raise InputError(f"{where} cannot contain {flag}: run {script} itself with this flag")
        for path in value if isinstance(value, list) else [value]:
            if isinstance(path, Path) and not path.is_absolute():  # jobs run in another folder
                raise InputError(f"{where} {flag} {path}: give an absolute path")
    return words
