"""Add the cross-subject ceiling, written by cross_subject_ceiling.py, to tables of models' scores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.runtime.wording import count
from brain_activity_prediction.storage.table_files import read_table

if TYPE_CHECKING:
    import pandas as pd

CEILING = ("cross_subject_r", "predicted_from")
MADE_WITH = ("sessions", "zscore_sessions")  # settings that must be equal for scores and their ceiling


def with_cross_subject_ceiling(scores: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Add the cross-subject ceiling of each subject and region to scores, if cross_subject_ceiling.py has been run.

    A ceiling that was computed from other sessions, or with another z-scoring of responses, is left out with a warning.
    """
    path = folder / "cross_subject_ceiling.parquet"
    if path.exists():
        columns = ["subject", "roi", *CEILING, *MADE_WITH]
        ceiling = read_table(path, "run cross_subject_ceiling.py again", columns)
        scores = scores.merge(ceiling, on=["subject", "roi"], how="left", suffixes=("", "_of_ceiling"))
        for name in MADE_WITH:
            unlike = scores["predicted_from"].notna() & (scores[name] != scores[f"{name}_of_ceiling"])
            if unlike.any():
                _say_unlike(scores[unlike], name)
                scores.loc[unlike, list(CEILING)] = np.nan
    else:
        scores = scores.assign(cross_subject_r=np.nan, predicted_from=None)
    known = scores["cross_subject_r"].where(scores["cross_subject_r"] > 0)
    return scores.assign(r_over_cross_subject_r=scores["r"] / known)


def _say_unlike(scores: pd.DataFrame, name: str) -> None:
    first, subjects = scores.iloc[0], " ".join(map(str, sorted(scores["subject"].unique())))
    of_ceiling = first[f"{name}_of_ceiling"]
    log.warning(
        f"no cross_subject_r for {count(len(scores), 'row')} of subjects {subjects}: cross_subject_ceiling.py was run "
        f"with {name} = {of_ceiling}, align_model.py with {first[name]}; run both with the same flags"
    )
