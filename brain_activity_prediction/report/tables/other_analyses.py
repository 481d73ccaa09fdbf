"""Collect the tables of other analyses for the page: statistics across subjects, comparisons, and similarity."""

from dataclasses import dataclass

import pandas as pd

from brain_activity_prediction.datasets.nsd.regions import of_atlases
from brain_activity_prediction.encoding.protocols import STANDARD
from brain_activity_prediction.report.tables.averages import layer_choice
from brain_activity_prediction.report.tables.page_tables import PageTable, cell
from brain_activity_prediction.report.tables.selection import Selection
from brain_activity_prediction.storage.folders import Output, part_of, scores_name
from brain_activity_prediction.storage.table_files import read_table

LONGEST = 100  # largest number of rows of a table on the page
HEADINGS = {
    **{"roi": "region", "model_id": "model", "n_subjects": "subjects", "r_se": "SE", "se": "SE"},
    **{"layer_choice": "layers"},
    **{
        "p_t": "p (t)",
        "p_sign_flip": "p (signs)",
        "r_normalised_all_voxels": "r / ceiling",
        "cross_subject_r": "other brains r",
    },
    **{"r_over_cross_subject_r": "r / other brains", "ci_low": "from", "ci_high": "to"},
    **{"difference_normalised": "r / ceiling, difference", "difference_normalised_se": "its SE"},
    **{"rsa": "RSA", "rsa_q": "RSA q", "rsa_ceiling": "RSA ceiling"},
    **{"cka": "CKA", "cka_q": "CKA q", "cka_ceiling": "CKA ceiling"},
    **{f"{name}_{side}": title for side in "ab" for name, title in (("stream", "stream"), ("prompt", "prompt"))},
    **{"model_id_a": "first: model", "model_id_b": "second: model"},
}
WORDS = ("roi", "model_id", "stream", "layer_choice", "analysis")  # text columns; all other columns are numeric


@dataclass(frozen=True)
class Kind:
    """A kind of analysis table: its files, the script that writes them, and the columns that the page shows."""

    question: str  # section of the page
    title: str
    places: str  # pattern of its files in BASE_DIR; {scores} is the folder of a protocol's scores
    script: str
    note: str
    columns: tuple[str, ...]
    last_first: str  # column by which rows are sorted in ascending order
    one_layer_choice: bool = False  # whether only rows with the protocol's choice of layers are shown


KINDS = (
    Kind(
        *("how-well", "Across subjects", "{scores}/across_subjects/scores.parquet", "across_subjects.py"),
        "Means over subjects with their standard error. With few subjects, p of the sign-flip test has few possible "
        "values. The t test assumes normally distributed scores. q is p of the t test, adjusted over all models, "
        "prompts, streams and regions (atlases included) of this choice of layers. Other brains r is the correlation "
        "of predictions from the other subjects' responses; it is a ceiling that needs no repeats.",
        (
            *(
                "layer_choice",
                "roi",
                "model_id",
                "stream",
                "prompt",
                "n_subjects",
                "r",
                "r_se",
                "r_normalised_all_voxels",
            ),
            *("cross_subject_r", "r_over_cross_subject_r", "p_t", "p_sign_flip", "q"),
        ),
        "q",
        one_layer_choice=True,
    ),
    Kind(
        *("model", "Differences across subjects", "{scores}/across_subjects/differences.parquet", "across_subjects.py"),
        "r of the first minus r of the second condition, paired over subjects. q is p of the t test, adjusted over all "
        "pairs and regions of one comparison.",
        (
            *("layer_choice", "roi", "model_id_a", "stream_a", "prompt_a", "model_id_b", "stream_b", "prompt_b"),
            *("difference", "se", "q", "difference_normalised", "difference_normalised_se"),
        ),
        "q",
    ),
    Kind(
        *("model", "Differences within subjects", "{scores}/*/comparisons/*.parquet", "compare.py"),
        "r of the first minus r of the second condition, with a 95 % interval from resamples of the test images, which "
        "are the same for both. q is p adjusted over all pairs and regions (atlases included) of one analysis in one "
        "subject.",
        (
            *("analysis", "layer_choice", "subject", "roi"),
            *(f"{name}_{side}" for side in "ab" for name in ("model_id", "stream", "prompt")),
            *("difference", "ci_low", "ci_high", "q", "difference_normalised", "difference_normalised_se"),
        ),
        "q",
    ),
    Kind(
        *(
            "model",
            "Similarity without a fit",
            "alignment/*/*prompt*/*/similarity.parquet",
            "compare_representations.py",
        ),
        "Representational similarity (RSA) and centred kernel alignment (CKA) between layers and regions: 1 for the "
        "same geometry, near 0 for unrelated geometries. A ceiling is the similarity of the region between subjects. q "
        "is p adjusted over all layers and regions of one model, prompt and subject.",
        (
            *("subject", "roi", "model_id", "stream", "prompt", "layer"),
            *(f"{measure}{end}" for measure in ("rsa", "cka") for end in ("", "_ceiling", "_q")),
        ),
        "rsa_q",
    ),
)


@dataclass(frozen=True)
class OtherAnalysis:
    """The rows of one kind of analysis on the page, which has `n_rows` in total; none if its script has not run."""

    kind: Kind
    columns: list[tuple[str, bool]]  # heading, and whether the column is numeric
    rows: list[tuple]
    n_rows: int

    def for_page(self) -> PageTable:
        """Return the table with its cells as text; a text column with one value in all rows is moved to the note."""
        note, rows, shown = self.kind.note, [[*map(cell, row)] for row in self.rows], []
        if self.n_rows > len(rows):
            note += f" These are the {len(rows)} rows with the lowest {self.kind.last_first} of {self.n_rows:,}."
        for number, (name, is_numeric) in enumerate(self.columns):
            values = {row[number] for row in rows}
            if is_numeric or len(values) > 1 or len(rows) == 1:
                shown.append(number)
            else:
                note += f" {name.capitalize()}: {values.pop()}."
        columns, rows = [self.columns[number] for number in shown], [[row[number] for number in shown] for row in rows]
        return PageTable(self.kind.title, columns, rows, 0, note)


def other_tables(output: Output, selection: Selection, protocol: str = STANDARD) -> list[OtherAnalysis]:
    """Return each kind of analysis with its selected rows, ordered by `Kind.last_first`.

    The column `analysis` has the name of the file that a row is from.
    """
    return [_of_kind(kind, output, selection, protocol) for kind in KINDS]


def _of_kind(kind: Kind, output: Output, selection: Selection, protocol: str) -> OtherAnalysis:
    parts = []
    protocol_folder, _, places = kind.places.format(scores=scores_name(protocol)).partition("/")
    for path in sorted(part_of(output, protocol_folder).glob(places)):
        parts.append(read_table(path, f"delete it and run {kind.script} again").assign(analysis=path.stem))
    if not parts:
        return OtherAnalysis(kind, [], [], 0)
    table = pd.concat(parts, ignore_index=True)
    table = selected(table, selection)
    if kind.one_layer_choice:
        table = table[table["layer_choice"] == layer_choice(protocol)]
    columns = [name for name in kind.columns if name in table and table[name].notna().any()]
    if kind.last_first in table:
        table = table.sort_values(kind.last_first, kind="stable")
    headings = [(HEADINGS.get(name, name), not name.startswith(WORDS)) for name in columns]
    return OtherAnalysis(
        kind, headings, list(table[columns].head(LONGEST).itertuples(index=False, name=None)), len(table)
    )


def selected(table: pd.DataFrame, selection: Selection) -> pd.DataFrame:
    """Return the selected rows of a table, by the columns that it has; regions of atlases only if named."""
    for name, wanted in (
        *(("subject", selection.subject), ("roi", selection.roi)),
        *(("model_id", selection.model), ("stream", selection.stream)),
    ):
        if wanted and name in table:
            table = table[table[name].isin(wanted)]
    return table if selection.roi else table[~table["roi"].isin(of_atlases(table["roi"]))]
