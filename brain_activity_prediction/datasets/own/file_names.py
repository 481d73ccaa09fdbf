"""Read the subject, session, run and hemisphere from the name of a file of responses."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from brain_activity_prediction.datasets.own.trials import SESSION_NAME

SIDES = ("lh", "rh")
BIDS_SIDES = {"L": "lh", "R": "rh"}
ENTITY = re.compile(r"([a-zA-Z]+)-([a-zA-Z0-9+]+)")  # such as ses-01 in BIDS names


@dataclass(frozen=True)
class Part:
    """The trials in a file: those of one subject, session and run.

    session, run  None if the file holds all of them
    side          hemisphere of a surface, lh or rh; otherwise empty
    """

    subject: str
    session: int | None
    run: int | None
    side: str


def part_of(stem: str, subjects: Collection[str]) -> Part | None:
    """Return which trials a file holds, by its name without ending; None for a name that fits no subject.

    A name is SUBJECT or SUBJECT_SESSION, and begins with lh. or rh. for surfaces. It can also be a BIDS name, of which
    the entities sub, ses, run and hemi are read; other entities do not matter here.
    """
    side = next((side for side in SIDES if stem.startswith(f"{side}.")), "")
    stem = stem.removeprefix(f"{side}.") if side else stem
    names = {f"sub-{name}": name for name in subjects} | {name: name for name in subjects}
    fitting = [name for name in names if stem == name or stem.startswith(f"{name}_")]
    if not fitting:
        return None
    name = max(fitting, key=len)
    words = stem[len(name) + 1 :].split("_") if stem != name else []
    if words and (session := SESSION_NAME.fullmatch(words[0])):
        words = [f"ses-{session[1]}", *words[1:]]
    entities = {match[1]: match[2] for word in words if (match := ENTITY.fullmatch(word))}
    others = [word for word in words if not ENTITY.fullmatch(word)]
    if words and not (entities and others in ([], words[-1:])):  # a name of BIDS may end in one other word
        return None
    session = SESSION_NAME.fullmatch(entities["ses"]) if "ses" in entities else None
    if "ses" in entities and session is None:
        return None
    run = entities.get("run")
    return Part(
        names[name],
        int(session[1]) if session else None,
        int(run) if run and run.isdecimal() else None,
        side or BIDS_SIDES.get(entities.get("hemi", ""), ""),
    )
