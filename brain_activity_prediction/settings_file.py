"""What changes the numbers in a folder, recorded there as `settings.json`, so that nothing else is ever mixed in."""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path

from brain_activity_prediction.files import read_bytes, reading, written_whole

NAME, CHECKSUM = "settings.json", "checksum"
LARGEST_BYTES = 2**20
ORIGIN = "made_from"  # the input files: they explain why a digest differs, and are no setting themselves
RESPONSES = "responses"  # digest of all responses
OF_RESPONSES = ("sessions", "zscore_sessions", "standardised_by", RESPONSES, ORIGIN)
MOST_NAMED = 3


def recorded_settings(folder: Path, remedy: str) -> dict | None:
    """The settings recorded in a folder; None where there are none yet. `Damaged` if altered since."""
    path = folder / NAME
    if not path.exists():
        return None
    with reading(path, remedy):
        settings = dict(json.loads(read_bytes(path, LARGEST_BYTES)))
        if settings.pop(CHECKSUM, None) != _checksum(settings):
            raise ValueError("it is not what was recorded")
        return settings


def record_settings(folder: Path, settings: Mapping, first: bool = False) -> None:
    """Writes `settings.json` with a checksum, in place of what was there; with `first` FileExistsError where one is."""
    with written_whole(folder / NAME, first) as path:
        recorded = {**settings, CHECKSUM: _checksum(settings)}
        path.write_text(json.dumps(recorded, indent=2, sort_keys=True) + "\n")


def fingerprint(settings: Mapping) -> str:
    """Return `s` and eight hexadecimal digits that tell these settings from any others.

    The letter is part of no number, so that tools do not read `009e9240` as infinity or `12345678` as a count.
    """
    content = json.dumps(comparable(settings), sort_keys=True).encode()
    return f"s{hashlib.blake2b(content, digest_size=4).hexdigest()}"


def comparable(settings: Mapping) -> dict:
    """The settings without the input files that they were made from."""
    return {name: value for name, value in settings.items() if name != ORIGIN}


def first_difference(known: Mapping, wanted: Mapping) -> str | None:
    """`name = value, this run has value` of the first setting that differs; those only one side has do not clash.

    The digest of the responses comes last, since sessions or scaling explain it; where it differs alone, the files
    that have changed are named.
    """
    wanted = json.loads(json.dumps(wanted))  # tuples become lists, as they do in the file
    differing = [name for name in known.keys() & wanted.keys() - {ORIGIN} if known[name] != wanted[name]]
    if not differing:
        return None
    name = min(differing, key=lambda name: (name == RESPONSES, name))
    if name == RESPONSES:
        return _changed_inputs(known.get(ORIGIN), wanted.get(ORIGIN))
    return f"{name} = {known[name]}, this run has {wanted[name]}"


def other_responses(known: Mapping, wanted: Mapping) -> str | None:
    """What `first_difference` says of the settings that change the responses alone."""
    return first_difference(*({name: side[name] for name in OF_RESPONSES if name in side} for side in (known, wanted)))


def _changed_inputs(known: Mapping | None, wanted: Mapping | None) -> str:
    """Names the inputs, `{name: what tells its content}`, that differ between two runs whose responses differ."""
    if not known or not wanted:
        return "other responses (same sessions and scaling: the files of betas, design or mask have changed)"
    if difference := first_difference(*(_but_files(inputs) for inputs in (known, wanted))):
        return difference
    changed = [name for name in sorted(known.keys() | wanted.keys()) if known.get(name) != wanted.get(name)]
    if not changed:
        return "responses that another version prepared from the same files"
    named = ", ".join(_input_name(name) for name in changed[:MOST_NAMED])
    more = f" and {len(changed) - MOST_NAMED} more" if changed[MOST_NAMED:] else ""
    return f"other {named}{more} (size, time of change or content)"


def _but_files(inputs: Mapping) -> dict:
    """The inputs that are settings; a file is named with a slash and has [size, time of change]."""
    return {name: value for name, value in inputs.items() if "/" not in name}


def _input_name(path: str) -> str:
    """`betas of session 3` for a file of betas, and a path for any other."""
    session = re.search(r"betas_session(\d+)\.", path)
    return f"betas of session {int(session[1])}" if session else path


def _checksum(settings: Mapping) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
