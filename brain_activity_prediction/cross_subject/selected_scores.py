"""Read the score tables of several subjects, and select models, prompts and streams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from brain_activity_prediction.cross_subject.ceiling_columns import MADE_WITH
from brain_activity_prediction.encoding.layers import Stream
from brain_activity_prediction.encoding.protocols import BEST_PER_REGION, STANDARD
from brain_activity_prediction.encoding.scores.conditions import NORMALISED, check_responses
from brain_activity_prediction.encoding.scores.unscored import unscored
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.runtime.wording import did_you_mean
from brain_activity_prediction.storage.folders import Output, Subject, scores_folder, subject_folder, subject_of
from brain_activity_prediction.storage.settings_file import OF_RESPONSES, first_difference, recorded_settings
from brain_activity_prediction.storage.table_files import read_score_table

RESPONSES = (*MADE_WITH, "responses")  # settings that define the predicted responses
OF_A_SUBJECT = ("sessions", "responses")  # settings that may differ between subjects
OF_A_CEILING = ("ncsnr", "min_noise_ceiling")  # columns that define normalised scores


@dataclass(frozen=True, kw_only=True)
class GroupSettings:
    """Selection of scores to combine, made once from the flags of across_subjects.py; an empty sequence selects all."""

    output: Output
    subjects: Sequence[Subject]  # whose scores are read
    with_s: bool = False  # True if the user gave -s; every subject must then have scores
    model_ids: Sequence[str] = ()
    prompts: Sequence[int] = ()
    streams: Sequence[str] = ()
    protocol: str = STANDARD
    layer_choice: str = BEST_PER_REGION  # used for differences and for the printed means


def scored_subjects(output: Output, protocol: str) -> list[Subject]:
    """Return the subjects that have score tables, sorted by their folders' names."""
    folders = sorted(
        {path.parents[2].name for path in scores_folder(output, protocol).glob("*/*prompt*/*/scores.parquet")}
    )
    return [subject_of(name) for name in folders]


def read_scores(settings: GroupSettings) -> pd.DataFrame:
    """Read the score tables of all subjects, and add the settings in RESPONSES as columns, with sessions as text.

    Raises InputError if a subject of -s has no scores, or if two tables were made with different settings.
    """
    tables, first_of_kind = [], {}
    for subject in settings.subjects:
        folder = subject_folder(settings.output, subject, settings.protocol)
        for path in sorted(folder.glob("*/*/scores.parquet")):
            table = read_score_table(path, "align again")
            recorded = recorded_settings(path.parent, "align again") or {}
            common = {name: value for name, value in recorded.items() if name not in OF_A_SUBJECT}
            common |= {name: table[name].iloc[0] for name in OF_A_CEILING if name in table}
            kind = path.parent.relative_to(folder).as_posix()
            first, wanted = first_of_kind.setdefault(kind, (path.parent, common))
            if difference := first_difference(wanted, common):
                raise InputError(f"{first} and {path.parent} were made with {difference}: align one of them again")
            if NORMALISED not in table:
                log.warning(f"{path} was written by an earlier version and has no {NORMALISED}: align again")
                table = table.assign(**{NORMALISED: np.nan, "r_ceiling": np.nan})
            responses = {name: recorded.get(name) for name in RESPONSES}
            responses["sessions"] = " ".join(map(str, recorded.get("sessions", ())))
            tables.append(table.assign(**responses))
    if not tables:
        raise InputError(f"no scores under {settings.output.folder} of these subjects: run align_model.py first")
    scores = pd.concat(tables, ignore_index=True)
    if settings.with_s and (missing := sorted(set(settings.subjects) - set(scores["subject"]))):
        raise InputError(
            f"no scores of subject {missing[0]} under {settings.output.folder}: run align_model.py with "
            f"-s {missing[0]} first, or leave it out of -s"
        )
    return scores


def select_scores(scores: pd.DataFrame, settings: GroupSettings) -> pd.DataFrame:
    """Return the rows of the selected models, prompts and streams; rows without a prompt match every prompt."""
    rows = scores["subject"].notna()
    selected = {"model_id": settings.model_ids, "prompt": settings.prompts, "stream": settings.streams}
    for name, wanted in selected.items():
        available = scores[name].dropna().unique().tolist()
        for value in wanted:
            if value not in available:
                listed = ", ".join(map(str, sorted(available))) or "none"
                near = did_you_mean(value, available)
                raise InputError(f"no scores of {name.removesuffix('_id')} {value}{near}; available: {listed}")
        if wanted:
            rows &= scores[name].isin(wanted) | scores[name].isna()
    if not rows.any():
        raise InputError("none of these models has scores of these streams: leave out -m or --stream")
    _log_missing(scores[rows], settings)
    return scores[rows]


def _log_missing(rows: pd.DataFrame, settings: GroupSettings) -> None:
    """Warn of selected scores that some subjects lack; raise InputError if a subject of -s lacks all of them."""
    named = settings.subjects if settings.with_s else ()
    for subject in sorted(set(named) - set(rows["subject"])):
        raise InputError(f"subject {subject} has no scores of these models, prompts and streams: leave it out of -s")
    keys = rows[["model_id", "prompt", "subject"]].drop_duplicates().astype(object)
    keys = keys.where(keys.notna(), None)
    scored = set(keys.itertuples(index=False, name=None))
    missing = unscored(scored, settings.model_ids, settings.prompts, named)
    for stream in settings.streams:
        without = sorted({key[0] for key in scored} - set(rows.loc[rows["stream"] == stream, "model_id"]))
        missing += [f"{model}, stream {stream}" for model in without]
    if missing:
        log.warning(f"no scores of: {'; '.join(missing)}")


def check_comparable(scores: pd.DataFrame) -> None:
    """Raise InputError if two conditions of a subject were scored on different responses."""
    for _, rows in scores.drop_duplicates(["subject", "model_id", "prompt", "stream"]).groupby("subject"):
        settings = (
            row[[name for name in OF_RESPONSES if name in row]].dropna().to_dict() for _, row in rows.iterrows()
        )
        check_responses(zip(map(stream_of, rows.itertuples()), settings, strict=True))


def stream_of(row) -> Stream:
    """Return the model, prompt and stream of a row."""
    return Stream(row.model_id, None if pd.isna(row.prompt) else row.prompt, row.stream)
