"""The study's own way of scoring beside this project's: r of the same conditions under both protocols."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from brain_activity_prediction.align_image_embeddings.protocols import PAPER, STANDARD
from brain_activity_prediction.report.averages import KEY, best_by_training, layer_choice
from brain_activity_prediction.report.collecting import Tables
from brain_activity_prediction.report.comparable import made_otherwise
from brain_activity_prediction.report.selection import Selection
from brain_activity_prediction.report.writing import shown_regions

COLUMNS = ("roi", "model_id", "n_subjects", "standard", "paper", "difference", "se")


def beside(tables: Tables, selection: Selection) -> pd.DataFrame:
    """A row a region and model, columns COLUMNS: mean r over subjects as each protocol means it, and paper - standard.

    Of the streams, prompts and subjects that both protocols have of the same sessions; each protocol chooses stream and
    prompt by its own cv_score. `se` is the standard error of the difference over subjects, missing for one. Empty where
    there are not both.
    """
    if {one.protocol for one in tables.scored} != {STANDARD, PAPER}:
        return pd.DataFrame(columns=COLUMNS)
    of_protocol = {STANDARD: [], PAPER: []}
    otherwise = set()
    for protocol in of_protocol:
        otherwise |= made_otherwise([one for one in tables.scored if one.protocol == protocol]).keys()
    for one, rows in tables.selected(selection):
        if one not in otherwise:
            rows = shown_regions(rows, selection)
            rows = rows.filter(pc.equal(rows["layer_choice"], layer_choice(one.protocol)))
            part = rows.select([*KEY, "r", "cv_score"]).to_pandas().astype({"prompt": "Int64"})
            of_protocol[one.protocol].append(part.assign(sessions=json.dumps(one.settings.get("sessions"))))
    if not all(of_protocol.values()):
        return pd.DataFrame(columns=COLUMNS)
    standard, paper = (pd.concat(parts).dropna(subset=["r", "cv_score"]) for parts in of_protocol.values())
    both = standard.merge(paper, on=[*KEY, "sessions"], suffixes=("_standard", "_paper"))
    of_subject = ["roi", "model_id", "subject"]
    chosen = [
        best_by_training(both.rename(columns={f"cv_score_{name}": "cv_score"}), of_subject).set_index(of_subject)
        for name in of_protocol
    ]
    pairs = pd.DataFrame({name: rows[f"r_{name}"] for name, rows in zip(of_protocol, chosen, strict=True)})
    pairs["difference"] = pairs["paper"] - pairs["standard"]
    groups = pairs.groupby(["roi", "model_id"], sort=False)
    n = groups.size()
    means = groups.mean().assign(n_subjects=n, se=groups["difference"].std() / np.sqrt(n))
    return means.reset_index()[list(COLUMNS)]
