"""Tables of the analyses beyond scores, as the page shows them: across subjects, compared, and without a fit."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from brain_activity_prediction.files import reading
from brain_activity_prediction.report.selection import Selection

LONGEST = 300  # rows of a table that the page shows


@dataclass(frozen=True)
class Kind:
    """A kind of table: where its files lie, the script that writes them, and which columns the page shows."""

    title: str
    places: str  # below BASE_DIR
    script: str
    note: str
    columns: tuple[str, ...]
    last_first: str  # the column by whose size rows are ordered, its lowest first


KINDS = (
    Kind(
        *("Across subjects", "alignment/across_subjects/scores.parquet", "across_subjects.py"),
        "Means over subjects with their standard error. Few subjects leave a sign-flip test few values of p; the t "
        "test, which assumes more, is beside it.",
        ("roi", "model_id", "stream", "prompt", "layer_choice", "n_subjects", "r", "r_se", "p_t", "p_sign_flip", "q"),
        "q",
    ),
    Kind(
        *("Differences across subjects", "alignment/across_subjects/differences.parquet", "across_subjects.py"),
        "Paired over subjects.",
        ("roi", "model_id_a", "stream_a", "prompt_a", "model_id_b", "stream_b", "prompt_b", "difference", "se", "q"),
        "q",
    ),
    Kind(
        *("Differences within subjects", "alignment/subj*/comparisons/*.parquet", "compare.py"),
        "Both scored on the same resamples of the test photographs.",
        (
            *("subject", "roi", "model_id_a", "stream_a", "prompt_a", "model_id_b", "stream_b", "prompt_b"),
            *("difference", "ci_low", "ci_high", "q"),
        ),
        "q",
    ),
    Kind(
        *("Similarity without a fit", "alignment/subj*/*prompt*/*/similarity.parquet", "compare_representations.py"),
        "Representational similarity (RSA) and centred kernel alignment (CKA) of layers with regions.",
        ("subject", "roi", "model_id", "stream", "prompt", "layer", "rsa", "rsa_q", "cka", "cka_q"),
        "rsa_q",
    ),
)


@dataclass(frozen=True)
class Further:
    """The rows of a kind that the page shows; `n_rows` is how many there are. No rows: its script was not run."""

    kind: Kind
    columns: list[str]
    rows: list[tuple]
    n_rows: int


def further_tables(base_dir: Path, selection: Selection) -> list[Further]:
    """Each kind with its rows of what was selected, the surest first."""
    return [_of_kind(kind, base_dir, selection) for kind in KINDS]


def _of_kind(kind: Kind, base_dir: Path, selection: Selection) -> Further:
    parts = []
    for path in sorted(base_dir.glob(kind.places)):
        with reading(path, f"delete it and run {kind.script} again"):
            parts.append(pd.read_parquet(path))
    if not parts:
        return Further(kind, [], [], 0)
    table = pd.concat(parts, ignore_index=True)
    table = _selected(table, selection)
    columns = [name for name in kind.columns if name in table and table[name].notna().any()]
    if kind.last_first in table:
        table = table.sort_values(kind.last_first, kind="stable")
    return Further(kind, columns, list(table[columns].head(LONGEST).itertuples(index=False, name=None)), len(table))


def _selected(table: pd.DataFrame, selection: Selection) -> pd.DataFrame:
    for name, wanted in (
        *(("subject", selection.subject), ("roi", selection.roi)),
        *(("model_id", selection.model), ("stream", selection.stream)),
    ):
        if wanted and name in table:
            table = table[table[name].isin(wanted)]
    return table if selection.roi else table[~table["roi"].str.contains(":")]  # atlases have too many regions
