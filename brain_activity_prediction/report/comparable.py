"""Which tables of scores may be chosen between: cv_score says which is better only where it was made alike."""

import json
from collections import Counter
from collections.abc import Sequence

from brain_activity_prediction.report.collecting import Scored

ALIKE = ("criterion", "zscore_sessions")  # in all tables
ALIKE_IN_A_SUBJECT = ("sessions", "responses")


def made_otherwise(scored: Sequence[Scored]) -> dict[Scored, str]:
    """The tables whose cv_score is of another kind than that of most, and what differs.

    A setting that a table does not record is not held against it.
    """
    found: dict[Scored, str] = {}
    for name in ALIKE:
        found |= _differing(name, [one for one in scored if one not in found])
    for subject in dict.fromkeys(one.subject for one in scored):
        for name in ALIKE_IN_A_SUBJECT:
            found |= _differing(name, [one for one in scored if one.subject == subject and one not in found])
    return found


def _differing(name: str, scored: Sequence[Scored]) -> dict[Scored, str]:
    values = {one: json.dumps(one.settings[name]) for one in scored if name in one.settings}
    if len(set(values.values())) < 2:
        return {}
    ((usual, _),) = Counter(values.values()).most_common(1)
    return {
        one: f"{name} is {_short(value)}, {_short(usual)} in most others"
        for one, value in values.items()
        if value != usual
    }


def _short(value: str) -> str:
    return value if len(value) < 40 else f"{value[:18]} ... {value[-18:]}"
