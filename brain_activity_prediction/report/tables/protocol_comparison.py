"""Compare r of the same conditions under the two protocols: the study's scoring and this project's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from brain_activity_prediction.encoding.protocols import PAPER, STANDARD
from brain_activity_prediction.report.tables.averages import KEY, best_by_training, chosen_layers
from brain_activity_prediction.report.tables.collecting import Scored
from brain_activity_prediction.report.tables.comparable import made_otherwise, rows_of

COLUMNS = ("roi", "model_id", "n_subjects", "standard", "paper", "difference", "se")


def compared_protocols(scored: Sequence[Scored], shown: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return a row for each region and model: mean r over subjects under each protocol, and their difference.

    shown  result of `writing.shown_tables` for the tables `scored`

    The means are over streams, prompts and subjects that both protocols have for the same sessions. Each protocol
    chooses stream and prompt by its own cv_score. `se` is the standard error of the difference over subjects, missing
    for one. The table is empty unless both protocols have scores.
    """
    if shown.keys() != {STANDARD, PAPER}:
        return pd.DataFrame(columns=COLUMNS)
    parts = [_chosen([one for one in scored if one.protocol == name], shown[name]) for name in (STANDARD, PAPER)]
    both = parts[0].merge(parts[1], on=[*KEY, "sessions"], suffixes=(f"_{STANDARD}", f"_{PAPER}"))
    of_subject = ["roi", "model_id", "subject"]
    chosen = [
        best_by_training(both.rename(columns={f"cv_score_{name}": "cv_score"}), of_subject).set_index(of_subject)
        for name in shown
    ]
    pairs = pd.DataFrame({name: rows[f"r_{name}"] for name, rows in zip(shown, chosen, strict=True)})
    pairs["difference"] = pairs["paper"] - pairs["standard"]
    groups = pairs.groupby(["roi", "model_id"], sort=False)
    n = groups.size()
    means = groups.mean().assign(n_subjects=n, se=groups["difference"].std() / np.sqrt(n))
    return means.reset_index()[list(COLUMNS)]


def _chosen(scored: Sequence[Scored], table: pd.DataFrame) -> pd.DataFrame:
    """Return r, cv_score, KEY and `sessions` of a protocol's chosen layers, from comparable tables only."""
    otherwise = made_otherwise(scored)
    alike = [one for one in scored if one not in otherwise]
    rows = rows_of(alike, chosen_layers(table), "sessions")
    return rows[[*KEY, "r", "cv_score", "sessions"]].dropna(subset=["r", "cv_score"])
