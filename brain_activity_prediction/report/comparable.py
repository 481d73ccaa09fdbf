"""Which tables of scores may be chosen between and averaged: cv_score and r compare only where they were made alike."""

import json
from collections import Counter
from collections.abc import Sequence
from itertools import product

from brain_activity_prediction.report.collecting import Scored

ALIKE = ("criterion", "zscore_sessions")  # in all tables
# Models differ in the alphas that their features need.
ALIKE_IN_A_MODEL = ("min_log_10_alpha", "max_log_10_alpha", "num_alphas")
ALIKE_IN_A_SUBJECT = ("sessions", "responses")


def made_otherwise(scored: Sequence[Scored]) -> dict[Scored, str]:
    """The tables whose scores are of another kind than those of most, and what differs.

    A setting that a table does not record is not held against it.
    """
    found: dict[Scored, str] = {}
    for names, of in ((ALIKE, ()), (ALIKE_IN_A_MODEL, ("model_id",)), (ALIKE_IN_A_SUBJECT, ("subject",))):
        groups: dict[tuple, list[Scored]] = {}
        for one in scored:
            groups.setdefault(tuple(getattr(one, name) for name in of), []).append(one)
        for name, group in product(names, groups.values()):
            found |= _differing(name, [one for one in group if one not in found])
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
