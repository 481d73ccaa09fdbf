"""Brings the scores of several subjects together: mean, standard error, and tests over subjects.

With four subjects, Student's t has 3 degrees of freedom and the exact sign-flip test no p below 1/16. Scores are read,
nothing is fitted.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import brain_activity_prediction  # noqa: F401, handles signals from here on

# isort: split
import numpy as np

from brain_activity_prediction.cli import shared_flags as shared
from brain_activity_prediction.cli.model_names import resolved_model_id
from brain_activity_prediction.cross_subject.ceiling_columns import MADE_WITH, with_cross_subject_ceiling
from brain_activity_prediction.encoding.scores.conditions import NORMALISED, check_responses
from brain_activity_prediction.encoding.scores.unscored import unscored
from brain_activity_prediction.encoding.streams import Stream
from brain_activity_prediction.inference.false_discovery import adjusted
from brain_activity_prediction.runtime.errors import InputError, one_line
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.runtime.running import run_script
from brain_activity_prediction.runtime.wording import did_you_mean
from brain_activity_prediction.storage.folders import across_subjects_folder, subject_folder
from brain_activity_prediction.storage.settings_file import OF_RESPONSES, first_difference, recorded_settings
from brain_activity_prediction.storage.table_files import read_score_table, write_table

if TYPE_CHECKING:
    import pandas as pd

CONDITION = ("model_id", "prompt", "stream")
KEY = ("protocol", *CONDITION, "layer_choice", "layer", "roi")
MEANS = ("r", "r2", "noise_ceiling", "r_ceiling", "r_normalised", "r2_normalised", "r_normalised_all_voxels")
MEANS += ("cross_subject_r", "r_over_cross_subject_r")
FEWER = MEANS[2:]  # quantities that a subject with an r may lack
COLUMNS = (*KEY, "n_subjects", "subjects", "r", "r_se", "r2", "r2_se")
COLUMNS += tuple(f"{name}{end}" for name in FEWER for end in ("", "_se", "_n"))
COLUMNS += ("predicted_from", "p_t", "p_sign_flip", "q")
DIFFERENCES = (
    *("protocol", "layer_choice", "roi", *(f"{name}_{side}" for side in "ab" for name in CONDITION)),
    *("n_subjects", "subjects", "difference", "se", "p_t", "p_sign_flip", "q"),
    *("difference_normalised", "difference_normalised_se", "difference_normalised_n"),
)
RESPONSES = (*MADE_WITH, "responses")  # settings that say what was predicted
OF_A_SUBJECT = ("sessions", "responses")  # those that may differ between subjects
OF_A_CEILING = ("ncsnr", "min_noise_ceiling")  # columns that say how normalised scores were made
MOST_PAIRS = 300


def flags() -> argparse.ArgumentParser:
    flags = shared.parser(__doc__, several_subjects=True)
    flags.set_defaults(subject=None)  # all that have scores
    flags.add_argument("-m", "--model-id", nargs="+", metavar="ID", help="these models only")
    shared.add_prompt_numbers(flags, "these prompts only: 3, or 1,2,3, or 1-9")
    flags.add_argument("--stream", nargs="+", metavar="NAME", help="these streams only")
    shared.add_protocol(flags)
    shared.add_layer_choice(flags)
    return flags


def main() -> None:
    arguments = flags().parse_args()
    shared.check_base_dir(arguments.base_dir)
    arguments.model_id = [resolved_model_id(arguments.base_dir, name) for name in arguments.model_id or ()]
    import pandas as pd

    scores = chosen(pd.concat(list(read_scores(arguments)), ignore_index=True), arguments)
    conditions = scores[list(CONDITION)].drop_duplicates()
    n_pairs = len(conditions) * (len(conditions) - 1) // 2
    if 0 < n_pairs <= MOST_PAIRS:
        check_comparable(scores)
    folder = across_subjects_folder(arguments.base_dir, arguments.protocol)
    scores = with_cross_subject_ceiling(scores, across_subjects_folder(arguments.base_dir))
    table = means(scores)
    write_table(table, folder, "scores")
    print(as_text(table[table["layer_choice"] == arguments.layers]))
    if n_pairs > MOST_PAIRS:
        log.warning(f"no differences: {n_pairs} pairs; name fewer with -m, -p and --stream")
    elif n_pairs:
        write_table(differences(scores[scores["layer_choice"] == arguments.layers]), folder, "differences")
    print(f"\ntables: {folder}/ scores.csv, scores.parquet" + (", differences.*" if 0 < n_pairs <= MOST_PAIRS else ""))


def read_scores(arguments: argparse.Namespace) -> Iterator[pd.DataFrame]:
    """The tables of all subjects asked for that have any; an InputError where two were not made alike.

    With the settings in RESPONSES, and the sessions as text.
    """
    first: dict[str, tuple[Path, dict]] = {}
    there: set[int] = set()
    for subject in sorted(set(arguments.subject or shared.SUBJECTS)):
        folder = subject_folder(arguments.base_dir, subject, arguments.protocol)
        for path in sorted(folder.glob("*/*/scores.parquet")):
            table = read_score_table(path, "align again")
            of, known = path.parent.relative_to(folder).as_posix(), recorded_settings(path.parent, "align again") or {}
            settings = {name: value for name, value in known.items() if name not in OF_A_SUBJECT}
            settings |= {name: table[name].iloc[0] for name in OF_A_CEILING if name in table}
            other, wanted = first.setdefault(of, (path.parent, settings))
            if difference := first_difference(wanted, settings):
                raise InputError(f"{other} and {path.parent} were made with {difference}: align one of them again")
            sessions = " ".join(map(str, known.get("sessions", ())))
            there.add(subject)
            if NORMALISED not in table:
                log.warning(f"{path} was written by an earlier version and has no {NORMALISED}: align again")
                table = table.assign(**{NORMALISED: np.nan, "r_ceiling": np.nan})
            yield table.assign(**{name: known.get(name) for name in RESPONSES} | {"sessions": sessions})
    if not first:
        raise InputError(f"no scores under {arguments.base_dir} of these subjects: run align_model.py first")
    if lacking := sorted(set(arguments.subject or ()) - there):
        raise InputError(
            f"no scores of subject {lacking[0]} under {arguments.base_dir}: run align_model.py with -s {lacking[0]} "
            "first, or leave it out of -s"
        )


def chosen(scores: pd.DataFrame, arguments: argparse.Namespace) -> pd.DataFrame:
    """The rows of the models, prompts and streams asked for; what no prompt changes goes with every prompt."""
    rows = scores["subject"] > 0
    asked_for = {"model_id": arguments.model_id, "prompt": arguments.prompt_number, "stream": arguments.stream}
    for name, wanted in asked_for.items():
        there = scores[name].dropna().unique().tolist()
        for value in wanted or ():
            if value not in there:
                what = f"{name.removesuffix('_id')} {value}"
                there = f"{did_you_mean(value, there)}: there are {', '.join(map(str, sorted(there))) or 'none'}"
                raise InputError(f"no scores of {what}{there}")
        if wanted:
            rows &= scores[name].isin(wanted) | scores[name].isna()
    if not rows.any():
        raise InputError("no scores of these models have these streams: leave out -m or --stream")
    _say_what_is_missing(scores[rows], arguments)
    return scores[rows]


def _say_what_is_missing(rows: pd.DataFrame, arguments: argparse.Namespace) -> None:
    """Says on stderr which models, prompts and streams some subjects lack; InputError for a subject without any."""
    for subject in sorted(set(arguments.subject or ()) - set(rows["subject"])):
        raise InputError(f"no scores of subject {subject} of these models, prompts and streams: leave it out of -s")
    keys = rows[["model_id", "prompt", "subject"]].drop_duplicates().astype(object)
    keys = keys.where(keys.notna(), None)
    scored = set(keys.itertuples(index=False, name=None))
    lacking = unscored(scored, arguments.model_id, arguments.prompt_number, arguments.subject)
    for stream in arguments.stream or ():
        without = sorted({key[0] for key in scored} - set(rows.loc[rows["stream"] == stream, "model_id"]))
        lacking += [f"{model}, stream {stream}" for model in without]
    if lacking:
        log.warning(f"no scores of: {'; '.join(lacking)}")


def check_comparable(scores: pd.DataFrame) -> None:
    """Raises InputError where two conditions of a subject were scored on different responses."""
    for _, rows in scores.drop_duplicates(["subject", *CONDITION]).groupby("subject"):
        settings = (
            row[[name for name in OF_RESPONSES if name in row]].dropna().to_dict() for _, row in rows.iterrows()
        )
        check_responses(zip(map(_condition, rows.itertuples()), settings, strict=True))


def means(scores: pd.DataFrame) -> pd.DataFrame:
    """One row a model, prompt, stream, choice of layers and region; columns COLUMNS.

    Each score is the mean over the subjects that have it, with its standard error: n_subjects of them have r and r2, of
    the others as many as the column that ends in _n says. p is one-sided, that the mean r over all subjects there might
    be is above 0: p_t by Student's t, p_sign_flip exactly (`subject_statistics`); q is p_t adjusted over the rows of
    the same choice of layers (Benjamini and Hochberg). `layer` is missing where each subject has its own.
    cross_subject_r is that of cross_subject_ceiling.py; predicted_from says, subject after subject, from which others.
    """
    from brain_activity_prediction.inference.subject_statistics import mean_and_error, sign_flip_p, t_test_p

    scores = scores.assign(layer=scores["layer"].where(scores["layer_choice"] == "each"))
    tables = []
    for values, subjects in by_subjects(scores, list(KEY), [*MEANS, "predicted_from"]):
        columns = {"n_subjects": len(subjects), "subjects": " ".join(map(str, subjects))}
        for name in MEANS:
            columns[name], columns[f"{name}_se"] = mean_and_error(values[name].to_numpy(float).T)
        columns |= {f"{name}_n": np.isfinite(values[name].to_numpy(float)).sum(axis=1) for name in FEWER}
        sources = values["predicted_from"].to_numpy()
        columns["predicted_from"] = ["; ".join(one for one in row if isinstance(one, str)) or None for row in sources]
        r = values["r"].to_numpy(float).T
        columns |= {"p_t": t_test_p(r, two_sided=False), "p_sign_flip": sign_flip_p(r, two_sided=False)}
        tables.append(values.index.to_frame(index=False).assign(**columns))
    return _with_q(tables, COLUMNS)


def differences(scores: pd.DataFrame) -> pd.DataFrame:
    """One row a pair of conditions and region, columns DIFFERENCES: r of a minus r of b within each subject.

    Its mean and standard error over subjects, and two-sided p, paired: p_t and p_sign_flip as in `means`.
    difference_normalised is the same of r_normalised_all_voxels, by which regions compare, over the
    difference_normalised_n subjects that have it.
    """
    from brain_activity_prediction.inference.subject_statistics import mean_and_error, sign_flip_p, t_test_p

    of = ["protocol", "layer_choice", "roi", "subject"]
    groups = [group for _, group in scores.groupby(list(CONDITION), dropna=False, sort=False)]
    tables = []
    for a, b in combinations(groups, 2):
        pair = a.merge(b, on=of, suffixes=("_a", "_b"))
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
    """Scores in columns (name, subject), a row a key, in parts whose rows have scores of the same subjects."""
    wide = scores.set_index([*key, "subject"])[names].unstack("subject")
    there = wide[names[0]].notna()
    for held, rows in there.groupby(list(there.columns), sort=False):
        subjects = [subject for subject, has in zip(there.columns, held, strict=True) if has]
        if subjects:
            yield wide.loc[rows.index].loc[:, (slice(None), subjects)], subjects


def _with_q(tables: list[pd.DataFrame], columns: tuple[str, ...]) -> pd.DataFrame:
    import pandas as pd

    table = pd.concat(tables, ignore_index=True)
    return table.assign(q=table.groupby("layer_choice")["p_t"].transform(adjusted)).reindex(columns=list(columns))


def as_text(table: pd.DataFrame) -> str:
    """A line a condition and region for the terminal."""
    lines = [
        f"{'model, prompt, stream':<56} {'region':<16} {'subjects':>8} {'r':>7} {'SE':>7} {'r/sqrt(NC)':>10} "
        f"{'p (t)':>7} {'p (signs)':>9}"
    ]
    for row in table.itertuples():
        of = _condition(row)
        scores = f"{row.r:>7.3f} {row.r_se:>7.3f} {row.r_normalised_all_voxels:>10.3f}"
        scores += f" {row.p_t:>7.4f} {row.p_sign_flip:>9.4f}"
        scores = scores.replace("nan", "  -")
        lines.append(f"{of!s:<56} {row.roi:<16} {row.n_subjects:>8} {scores}")
    return "\n".join(map(one_line, lines))


def _condition(row) -> Stream:
    import pandas as pd

    return Stream(row.model_id, None if pd.isna(row.prompt) else row.prompt, row.stream)


if __name__ == "__main__":
    run_script(main)
