"""Record in `settings.json` the settings that change a folder's results, so that different results are never mixed."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from brain_activity_prediction.storage.checked_json import checked
from brain_activity_prediction.storage.files import read_bytes, reading, written_whole

NAME, CHECKSUM = "settings.json", "checksum"
LARGEST_BYTES = 2**20
ORIGIN = "made_from"  # key of the input files, which are not settings but explain why a digest differs
RESPONSES, WEIGHTS = "responses", "weights"  # keys of the digests of all responses and of a model's files
OF_RESPONSES = ("sessions", "zscore_sessions", "standardised_by", RESPONSES, ORIGIN)
CONTENT = "content "  # prefix of the digest that names weights without a revision
MOST_NAMED = 3
DEFAULTS = {"split": "own", "trials": "average"}  # settings that are recorded only if they differ from these values
KINDS = {  # types of the settings that are used after reading; all other settings are only compared
    **dict.fromkeys(("model_id", "prompt", "protocol", "criterion", "standardised_by", "dtype", RESPONSES), str),
    **dict.fromkeys(("template", "quantize"), str | None),
    **dict.fromkeys(("num_alphas", "folds", "max_new_tokens"), int),
    **dict.fromkeys(("min_log_10_alpha", "max_log_10_alpha"), float),
    "zscore_sessions": bool,
    "sessions": list[int],
    ORIGIN: dict[str, Any],
}
# Prefix that the settings of hidden states have in the settings of scores.
OF_STATES = re.compile("([A-Z]_)?embeddings_")


def recorded_settings(folder: Path, remedy: str) -> dict | None:
    """Read the recorded settings of a folder; None if there are none. Raise `Damaged` if the file was altered."""
    path = folder / NAME
    if not path.exists():
        return None
    with reading(path, remedy):
        settings = dict(json.loads(read_bytes(path, LARGEST_BYTES)))
        if settings.pop(CHECKSUM, None) != _checksum(settings):
            raise ValueError("it was changed after it was recorded")
        for name, value in settings.items():
            checked(value, KINDS.get(OF_STATES.sub("", name, count=1), Any), f"field {name!r}")
        return settings


def record_settings(folder: Path, settings: Mapping, first: bool = False) -> None:
    """Write `settings.json` with a checksum; with `first`, raise FileExistsError instead of replacing an old file."""
    with written_whole(folder / NAME, first) as path:
        recorded = {**settings, CHECKSUM: _checksum(settings)}
        path.write_text(json.dumps(recorded, indent=2, sort_keys=True) + "\n")


def fingerprint(settings: Mapping) -> str:
    """Return a fingerprint of settings: the letter `s` and eight hexadecimal digits.

    Without the letter, other tools might read `009e9240` as infinity or `12345678` as a number.
    """
    content = json.dumps(comparable(settings), sort_keys=True).encode()
    return f"s{hashlib.blake2b(content, digest_size=4).hexdigest()}"


def comparable(settings: Mapping) -> dict:
    """Return the settings by which two runs are compared: all except the record of the input files."""
    return {name: value for name, value in settings.items() if name != ORIGIN}


def first_difference(known: Mapping, wanted: Mapping) -> str | None:
    """Return `name = value, but this run has value` for the first setting that differs; None if all agree.

    Digests are compared last, because other settings may explain them, and are never shown: if only a digest differs,
    the changed files are named.
    """
    wanted = json.loads(json.dumps(wanted))  # tuples become lists, as they do in the file
    known, wanted = _with_defaults(known), _with_defaults(wanted)
    differing = [name for name in known.keys() & wanted.keys() - {ORIGIN} if known[name] != wanted[name]]
    if not differing:
        return None
    name = min(differing, key=lambda name: (name in (WEIGHTS, RESPONSES), name))
    if name == RESPONSES:
        return _changed_inputs(known.get(ORIGIN), wanted.get(ORIGIN))
    if name == WEIGHTS and (changed := _changed_weights(known.get(ORIGIN), wanted.get(ORIGIN))):
        return changed
    if name.endswith(WEIGHTS) and any(CONTENT in str(side[name]) for side in (known, wanted)):
        return "other weights" if name == WEIGHTS else f"states of other weights ({name})"
    return f"{name} = {known[name]}, but this run has {wanted[name]}"


def _with_defaults(settings: Mapping) -> dict[str, Any]:
    return {**DEFAULTS, **settings}


def other_responses(known: Mapping, wanted: Mapping) -> str | None:
    """Return the `first_difference` of the settings that change the responses; None if these agree."""
    return first_difference(*({name: side[name] for name in OF_RESPONSES if name in side} for side in (known, wanted)))


def _changed_inputs(known: Mapping | None, wanted: Mapping | None) -> str:
    """Describe the inputs, `{name: content identifier}`, that differ between two runs with different responses."""
    if not known or not wanted:
        return "other responses (same sessions and scaling: the files of betas, design or mask have changed)"
    if known.get("format") != wanted.get("format"):
        return "responses that another version prepared"
    if known.get("test_images") != wanted.get("test_images"):
        return "another split into training and test images"
    if difference := first_difference(*(_but_files(inputs) for inputs in (known, wanted))):
        return difference
    changed = [name for name in sorted(known.keys() | wanted.keys()) if known.get(name) != wanted.get(name)]
    if not changed:
        return "responses that another version prepared from the same files"
    return f"other {_some(map(_input_name, changed))} (size, time of change or content)"


def _changed_weights(known: Mapping | None, wanted: Mapping | None) -> str | None:
    """Name the files of two models, `{name: digest}`, that differ; None if the files of either are unknown."""
    before, now = ((side or {}).get("files") for side in (known, wanted))
    if not before or not now:
        return None
    changed = [name for name in sorted(before.keys() | now.keys()) if before.get(name) != now.get(name)]
    return f"other weights, which differ in {_some(changed)}" if changed else None


def _some(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:MOST_NAMED]) + (f" and {len(names) - MOST_NAMED} more" if names[MOST_NAMED:] else "")


def _but_files(inputs: Mapping) -> dict:
    """Return the inputs that are settings, not files; the name of a file has a slash."""
    return {name: value for name, value in inputs.items() if "/" not in name}


def _input_name(path: str) -> str:
    """Return `betas of session 3` or `valid voxels of session 3` for files of sessions, else the path."""
    session = re.search(r"(betas_session|valid_session)(\d+)\.", path)
    if not session:
        return path
    return f"{'betas' if session[1] == 'betas_session' else 'valid voxels'} of session {int(session[2])}"


def _checksum(settings: Mapping) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
