"""Store the flags of the last sweep in sweep/sweep.json of the results' folder, where `status` reads them."""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.storage.checked_json import read_json, write_json
from brain_activity_prediction.storage.files import reading
from brain_activity_prediction.sweep.flags import flags, settings_from
from brain_activity_prediction.sweep.records import folder_of
from brain_activity_prediction.sweep.settings import SweepSettings

SETTINGS = "sweep.json"
REMEDY = "start the sweep again"


def remember(settings: SweepSettings) -> None:
    """Store the flags of a sweep for `status`."""
    write_json(folder_of(settings.results_dir) / SETTINGS, settings.recorded(), indent=2)


def remembered(base_dir: Path, output: Path | None = None) -> SweepSettings:
    """Return the settings of the last `local` or `slurm`; raise InputError if there was none.

    The file is parsed like a command line, so that a value that the flags would not accept is refused. Flags that an
    earlier version did not store have their default values.
    """
    path = folder_of(output or base_dir) / SETTINGS
    if not path.exists():
        raise InputError(f"no sweep was started in {output or base_dir}: start one with local or slurm")
    kept = read_json(path, dict[str, Any], REMEDY)
    with reading(path, REMEDY):
        parser = flags()
        parser.error = _refuse
        words = _words(parser, kept)
        place = ["-d", str(base_dir), *(["--output", str(output)] if output else [])]
        arguments = parser.parse_args([str(kept.get("command")), *place, *words])
        if unknown := kept.keys() - vars(arguments).keys():
            raise ValueError(f"field {min(unknown)!r} is unknown")
    return settings_from(arguments)


def _words(parser: argparse.ArgumentParser, kept: Mapping[str, Any]) -> Iterator[str]:
    """Return the flags as words of a command line; raise ValueError for an invalid value."""
    for action in parser._actions:
        value = kept.get(action.dest)
        if action.dest in ("base_dir", "output") or not action.option_strings or (value is None or value is False):
            continue
        flag, is_switch = action.option_strings[-1], action.nargs == 0
        values = value if isinstance(value, list) and not is_switch else [value]
        if not all((one is True) if is_switch else type(one) in (int, str) for one in values):
            raise ValueError(f"field {action.dest!r} is {value!r}")
        if is_switch:
            yield flag
        elif action.nargs == "+":
            if any(str(one).startswith("-") for one in values):
                raise ValueError(f"field {action.dest!r} is {value!r}")
            yield from (flag, *map(str, values))
        elif isinstance(action.default, list):  # the flag is given once for each value
            yield from (f"{flag}={one}" for one in values)
        else:
            yield f"{flag}={','.join(map(str, values))}"


def _refuse(message: str) -> NoReturn:
    raise ValueError(message)
