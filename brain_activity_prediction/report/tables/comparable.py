"""Find the score tables that can be compared, because they were computed with the same settings."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import product

import pandas as pd

from brain_activity_prediction.report.tables.collecting import OF_A_TABLE, Scored
from brain_activity_prediction.runtime.wording import ranges
from brain_activity_prediction.storage.settings_file import RESPONSES, other_responses

ALIKE = ("criterion", "zscore_sessions")  # settings that must be the same in all tables
# Settings that must be the same in all tables of a model; models may need different alphas.
ALIKE_IN_A_MODEL = ("min_log_10_alpha", "max_log_10_alpha", "num_alphas")
ALIKE_IN_A_SUBJECT = ("sessions", RESPONSES)
NORMALISED = ("r_normalised", "r_normalised_se", "r2_normalised")
# Columns with the settings of a noise ceiling, and columns that depend on the ceiling.
OF_CEILINGS = {"ncsnr": ("noise_ceiling", *NORMALISED), "min_noise_ceiling": NORMALISED}


def made_otherwise(scored: Sequence[Scored]) -> dict[Scored, str]:
    """Return the tables whose settings differ from those of most tables, with a description of each difference.

    Settings that a table does not record are not compared.
    """
    found: dict[Scored, str] = {}
    for names, within in ((ALIKE, ()), (ALIKE_IN_A_MODEL, ("model_id",)), (ALIKE_IN_A_SUBJECT, ("subject",))):
        groups: dict[tuple, list[Scored]] = {}
        for one in scored:
            groups.setdefault(tuple(getattr(one, name) for name in within), []).append(one)
        for name, group in product(names, groups.values()):
            found |= _differing(name, [one for one in group if one not in found])
    return found


def rows_of(scored: Sequence[Scored], table: pd.DataFrame, *settings: str) -> pd.DataFrame:
    """Return the rows of these alignments in a table of one protocol, with the named settings as JSON columns."""
    kept = pd.DataFrame(
        [
            (one.model_id, one.prompt, one.subject, *(json.dumps(one.settings.get(name)) for name in settings))
            for one in scored
        ],
        columns=[*OF_A_TABLE, *settings],
    ).astype(dict.fromkeys(("prompt", "subject"), pd.Int64Dtype()))
    return table.astype({"subject": pd.Int64Dtype()}).merge(kept, on=OF_A_TABLE)


def with_one_ceiling(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Remove values that depend on a noise ceiling with other settings than in most tables; return messages on them.

    Scores that do not depend on a ceiling are kept.
    """
    messages = []
    for name, depending in OF_CEILINGS.items():
        if name in table and table[name].nunique() > 1:
            usual = table[name].mode()[0]
            other = table[name].notna() & (table[name] != usual)
            n, n_all = (len(rows.drop_duplicates(OF_A_TABLE)) for rows in (table[other], table))
            values = " or ".join(map(str, sorted(table.loc[other, name].unique())))
            messages.append(
                f"{n:,} of {n_all:,} tables were made with --{name.replace('_', '-')} {values}, most with {usual}: "
                "their noise ceilings and r / ceiling are left out. Align them again with the same value."
            )
            lacking = [column for column in (name, *depending) if column in table]
            table = table.assign(**{column: table[column].mask(other) for column in lacking})
    return table, messages


def _differing(name: str, scored: Sequence[Scored]) -> dict[Scored, str]:
    values = {one: json.dumps(one.settings[name]) for one in scored if name in one.settings}
    if len(set(values.values())) < 2:
        return {}
    ((usual, _),) = Counter(values.values()).most_common(1)
    of_most = next(one for one, value in values.items() if value == usual)
    return {one: _difference(name, one.settings, of_most.settings) for one, value in values.items() if value != usual}


def _difference(name: str, settings: Mapping, of_most: Mapping) -> str:
    """Return how a setting differs from that of most tables, as text without digests."""
    if name == RESPONSES:
        return f"made with {other_responses(settings, of_most)}".replace("this run has", "most others have")
    if name == "sessions":
        return f"sessions are {ranges(settings[name])}, {ranges(of_most[name])} in most others"
    return f"{name} is {json.dumps(settings[name])}, {json.dumps(of_most[name])} in most others"
