"""What changes the numbers in a folder, recorded there as `settings.json`, so that nothing else is ever mixed in."""

import json
from collections.abc import Mapping
from pathlib import Path

from brain_activity_prediction.files import reading, written_whole

NAME = "settings.json"


def recorded_settings(folder: Path) -> dict | None:
    """The settings recorded in a folder; None where there are none yet."""
    path = folder / NAME
    if not path.exists():
        return None
    with reading(path, f"restore it, or delete {folder}"):
        return dict(json.loads(path.read_text()))


def record_settings(folder: Path, settings: Mapping) -> None:
    with written_whole(folder / NAME) as path:
        path.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")


def first_difference(known: Mapping, wanted: Mapping) -> str | None:
    """`name = value, this run has value` of the first setting that differs; those only one side has do not clash."""
    wanted = json.loads(json.dumps(wanted))  # tuples become lists, as they do in the file
    for name in sorted(known.keys() & wanted.keys()):
        if known[name] != wanted[name]:
            return f"{name} = {known[name]}, this run has {wanted[name]}"
    return None
