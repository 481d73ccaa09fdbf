"""Read the pairwise tests of conditions, and find the prompts that are significantly better than all others."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from brain_activity_prediction.encoding.scores.conditions import CONDITION
from brain_activity_prediction.report.tables.averages import SIGNIFICANT
from brain_activity_prediction.report.tables.selection import Selection
from brain_activity_prediction.storage.folders import Output, Subject, across_subjects_folder, subject_folder
from brain_activity_prediction.storage.table_files import read_table

ACROSS = "across subjects"  # analysis of the differences over subjects
A, B = ([f"{name}_{side}" for name in CONDITION] for side in "ab")
KEY = (*CONDITION, "roi")


def read_pairs(output: Output, protocol: str, scores: pd.DataFrame, selection: Selection) -> pd.DataFrame:
    """Read the tests of across_subjects.py over all subjects of `scores` or, for a single subject, of compare.py.

    scores  scores with the columns roi, subject and r

    Tests over only some of the subjects that have a region are left out.

    Returns a row for each region and pair of selected conditions a and b, with the columns `analysis`, `layer_choice`,
    roi, model_id, prompt and stream of a and b, `difference` (r of a minus r of b) and q. Empty without tests.
    """
    known = scores[scores["r"].notna()]
    subjects: list[Subject] = known["subject"].unique().tolist()
    if len(subjects) == 1:
        paths = sorted((subject_folder(output, subjects[0], protocol) / "comparisons").glob("*.parquet"))
        tables = [read_table(path, "delete it and run compare.py again").assign(analysis=path.stem) for path in paths]
    else:
        path = across_subjects_folder(output, protocol) / "differences.parquet"
        tables = [read_table(path, "delete it and run across_subjects.py again")] if path.exists() else []
        tables = [table[_over_all(table, known)].assign(analysis=ACROSS) for table in tables]
    columns = ["analysis", "layer_choice", "roi", *A, *B, "difference", "q"]
    if not tables:
        return pd.DataFrame(columns=columns)
    pairs = pd.concat(tables, ignore_index=True)[columns]
    for side in (A, B):
        taken = [
            selection.takes_states(model, prompt) and (not selection.stream or stream in selection.stream)
            for model, prompt, stream in conditions_in(pairs, side)
        ]
        pairs = pairs[pd.Series(taken, index=pairs.index, dtype=bool)]
    return pairs[pairs["roi"].isin(selection.roi)] if selection.roi else pairs


def _over_all(table: pd.DataFrame, scores: pd.DataFrame) -> pd.Series:
    """Return whether each row was tested over all subjects that have scores in the row's region."""
    of_region = {roi: {*map(str, subjects)} for roi, subjects in scores.groupby("roi")["subject"]}
    tested = [
        {*subjects.split()} == of_region.get(roi)
        for roi, subjects in table[["roi", "subjects"]].itertuples(index=False)
    ]
    return pd.Series(tested, index=table.index, dtype=bool)


def conditions_of(pairs: pd.DataFrame) -> list[tuple]:
    """Return the conditions (model, prompt, stream) of pairs, in order; the prompt may be None."""
    both = [conditions_in(pairs, side) for side in (A, B)]
    return [*dict.fromkeys(one for pair in zip(*both, strict=True) for one in pair)]


def best_prompts(rows: pd.DataFrame, pairs: pd.DataFrame) -> set[tuple[str, int]]:
    """Return (region, prompt) of the prompts with significantly higher r than every other prompt of the model.

    rows   rows of one model from `averages.prompt_scores`
    pairs  tests from `read_pairs`, all with the layer_choice of `rows`
    """
    higher = {}
    for a, b, row in zip(conditions_in(pairs, A), conditions_in(pairs, B), pairs.itertuples(), strict=True):
        if row.q < SIGNIFICANT:
            winner, loser = (a, b) if row.difference > 0 else (b, a)
            higher.setdefault((row.roi, winner), set()).add(loser)
    best = set()
    prompted = rows[rows["prompt"].notna()]
    for roi, of_region in prompted.groupby("roi"):
        ranked = [(row.model_id, int(row.prompt), row.stream) for row in of_region.itertuples()]
        for one in ranked:
            others = set(ranked) - {one}
            if others and one[2] and others <= higher.get((roi, one), set()):
                best.add((roi, one[1]))
    return best


def conditions_in(rows: pd.DataFrame, columns: Sequence[str]) -> list[tuple]:
    """Return the condition (model, prompt, stream) of each row, from columns such as A; the prompt may be None."""
    return [
        (model, None if pd.isna(prompt) else int(prompt), stream)
        for model, prompt, stream in rows[[*columns]].itertuples(index=False, name=None)
    ]
