"""Tables over several subjects: mean scores with standard errors, and paired differences between conditions."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pandas as pd

from brain_activity_prediction.cross_subject.ceiling_columns import with_cross_subject_ceiling
from brain_activity_prediction.cross_subject.selected_scores import (
    GroupSettings,
    check_comparable,
    read_scores,
    select_scores,
    stream_of,
)
from brain_activity_prediction.encoding.scores.conditions import CONDITION, NORMALISED
from brain_activity_prediction.inference.false_discovery import adjusted
from brain_activity_prediction.inference.subject_statistics import mean_and_error, sign_flip_p, t_test_p
from brain_activity_prediction.runtime.errors import one_line
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.storage.folders import across_subjects_folder
from brain_activity_prediction.storage.table_files import write_table

KEY = ("protocol", *CONDITION, "layer_choice", "layer", "roi")
MEANS = ("r", "r2", "noise_ceiling", "r_ceiling", "r_normalised", "r2_normalised", "r_normalised_all_voxels")
MEANS += ("cross_subject_r", "r_over_cross_subject_r")
OPTIONAL = MEANS[2:]  # scores that may be missing in a subject that has r
COLUMNS = (*KEY, "n_subjects", "subjects", "r", "r_se", "r2", "r2_se")
COLUMNS += tuple(f"{name}{end}" for name in OPTIONAL for end in ("", "_se", "_n"))
COLUMNS += ("predicted_from", "p_t", "p_sign_flip", "q")
DIFFERENCES = (
    *("protocol", "layer_choice", "roi", *(f"{name}_{side}" for side in "ab" for name in CONDITION)),
    *("n_subjects", "subjects", "difference", "se", "p_t", "p_sign_flip", "q"),
    *("difference_normalised", "difference_normalised_se", "difference_normalised_n"),
)
MOST_PAIRS = 300


def means(scores: pd.DataFrame) -> pd.DataFrame:
    """Average scores over subjects: one row for each model, prompt, stream, choice of layers and region.

    The columns are COLUMNS:

    - Each score is the mean over the subjects that have this score, with its standard error. `subjects` lists the
      `n_subjects` subjects with r and r2. Columns that end in `_n` are the numbers of subjects with the other scores.
    - `p_t`, `p_sign_flip`: one-sided p for a mean r above 0 in the population, by Student's t and by an exact test
      (`subject_statistics`). `q` is p_t adjusted over the rows with the same choice of layers (Benjamini and Hochberg).
    - `layer`: missing if it differs between subjects.
    - `cross_subject_r`: ceiling from cross_subject_ceiling.py. `predicted_from` lists, for each subject, the subjects
      from which it was predicted.
    """
    scores = scores.assign(layer=scores["layer"].where(scores["layer_choice"] == "each"))
    tables = []
    for values, subjects in by_subjects(scores, list(KEY), [*MEANS, "predicted_from"]):
        columns = {"n_subjects": len(subjects), "subjects": " ".join(map(str, subjects))}
        for name in MEANS:
            columns[name], columns[f"{name}_se"] = mean_and_error(values[name].to_numpy(float).T)
        columns |= {f"{name}_n": np.isfinite(values[name].to_numpy(float)).sum(axis=1) for name in OPTIONAL}
        sources = values["predicted_from"].to_numpy()
        columns["predicted_from"] = ["; ".join(one for one in row if isinstance(one, str)) or None for row in sources]
        r = values["r"].to_numpy(float).T
        columns |= {"p_t": t_test_p(r, two_sided=False), "p_sign_flip": sign_flip_p(r, two_sided=False)}
        tables.append(values.index.to_frame(index=False).assign(**columns))
    return _with_q(tables, COLUMNS)


def differences(scores: pd.DataFrame) -> pd.DataFrame:
    """Compare pairs of conditions, a and b: one row for each pair and region, with the columns DIFFERENCES.

    - `difference`, `se`: r of a minus r of b, averaged over subjects, and its standard error.
    - `p_t`, `p_sign_flip`: paired and two-sided, see `means`.
    - `difference_normalised`: the same for r_normalised_all_voxels, which can be compared between regions, over the
      `difference_normalised_n` subjects that have this score.
    """
    shared = ["protocol", "layer_choice", "roi", "subject"]
    groups = [group for _, group in scores.groupby(list(CONDITION), dropna=False, sort=False)]
    tables = []
    for a, b in combinations(groups, 2):
        pair = a.merge(b, on=shared, suffixes=("_a", "_b"))
        pair = pair.assign(
            difference=pair["r_a"] - pair["r_b"],
            difference_normalised=pair[f"{NORMALISED}_a"] - pair[f"{NORMALISED}_b"],
        )
        key = [name for name in DIFFERENCES if name in pair and not name.startswith("difference")]
        for values, subjects in by_subjects(pair, key, ["difference", "difference_normalised"]):
            difference = values["difference"].to_numpy().T
            normalised = values["difference_normalised"].to_numpy(float).T
            mean, error = mean_and_error(difference)
            columns = {"n_subjects": len(subjects), "subjects": " ".join(map(str, subjects)), "difference": mean}
            columns |= {"se": error, "p_t": t_test_p(difference, two_sided=True)}
            columns["p_sign_flip"] = sign_flip_p(difference, two_sided=True)
            mean, error = mean_and_error(normalised)
            columns |= {"difference_normalised": mean, "difference_normalised_se": error}
            columns["difference_normalised_n"] = np.isfinite(normalised).sum(axis=0)
            tables.append(values.index.to_frame(index=False).assign(**columns))
    return _with_q(tables, DIFFERENCES)


def by_subjects(scores: pd.DataFrame, key: list[str], names: list[str]) -> Iterator[tuple[pd.DataFrame, list[int]]]:
    """Split scores into tables whose rows all have scores of the same subjects; yield each table with these subjects.

    A table has one row for each key. Its columns are pairs of name and subject.
    """
    wide = scores.set_index([*key, "subject"])[names].unstack("subject")
    has_score = wide[names[0]].notna()
    for held, rows in has_score.groupby(list(has_score.columns), sort=False):
        subjects = [subject for subject, has in zip(has_score.columns, held, strict=True) if has]
        if subjects:
            yield wide.loc[rows.index].loc[:, (slice(None), subjects)], subjects


def _with_q(tables: list[pd.DataFrame], columns: tuple[str, ...]) -> pd.DataFrame:
    table = pd.concat(tables, ignore_index=True)
    return table.assign(q=table.groupby("layer_choice")["p_t"].transform(adjusted)).reindex(columns=list(columns))


def write_group_tables(settings: GroupSettings) -> None:
    """Write the table of means, and the table of differences if there are at most MOST_PAIRS pairs; print the means."""
    scores = select_scores(read_scores(settings), settings)
    n_conditions = len(scores[list(CONDITION)].drop_duplicates())
    n_pairs = n_conditions * (n_conditions - 1) // 2
    compared = 0 < n_pairs <= MOST_PAIRS
    if compared:
        check_comparable(scores)
    folder = across_subjects_folder(settings.output, settings.protocol)
    scores = with_cross_subject_ceiling(scores, across_subjects_folder(settings.output))
    table = means(scores)
    write_table(table, folder, "scores")
    print(as_text(table[table["layer_choice"] == settings.layer_choice]))
    if n_pairs > MOST_PAIRS:
        log.warning(f"no table of differences for {n_pairs} pairs of conditions: select fewer with -m, -p and --stream")
    elif compared:
        write_table(differences(scores[scores["layer_choice"] == settings.layer_choice]), folder, "differences")
    print(f"\ntables: {folder}/ scores.csv, scores.parquet" + (", differences.*" if compared else ""))


def as_text(table: pd.DataFrame) -> str:
    """Format the table for the terminal, with a line for each model, prompt, stream and region."""
    lines = [
        f"{'model, prompt, stream':<56} {'region':<16} {'subjects':>8} {'r':>7} {'SE':>7} {'r/sqrt(NC)':>10} "
        f"{'p (t)':>7} {'p (signs)':>9}"
    ]
    for row in table.itertuples():
        scores = f"{row.r:>7.3f} {row.r_se:>7.3f} {row.r_normalised_all_voxels:>10.3f}"
        scores += f" {row.p_t:>7.4f} {row.p_sign_flip:>9.4f}"
        scores = scores.replace("nan", "  -")
        lines.append(f"{stream_of(row)!s:<56} {row.roi:<16} {row.n_subjects:>8} {scores}")
    return "\n".join(map(one_line, lines))
