"""Write the collected score table, and select the rows that a report or the terminal shows."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import csv

from brain_activity_prediction.datasets.nsd.regions import of_atlases
from brain_activity_prediction.report.tables.averages import chosen_layers
from brain_activity_prediction.report.tables.collecting import Scored, Tables
from brain_activity_prediction.report.tables.selection import Selection
from brain_activity_prediction.runtime.errors import one_line
from brain_activity_prediction.storage.files import written_whole

LONGEST = 200  # largest number of printed rows
FORMULA = r"^([=+@\t\r-])"
# Type that keeps prompts and layers whole numbers in pandas, although some rows have none.
KINDS = {pa.int64(): pd.Int64Dtype()}.get


def write_tables(tables: Tables, selection: Selection, folder: Path) -> Iterator[tuple[Scored, pa.Table]]:
    """Write the selected rows, table by table, to `scores.csv` and `scores.parquet`; yield each table after writing."""
    text = [column.name for column in tables.schema if pa.types.is_string(column.type)]
    # Dictionary encoding is used only for text, because numbers rarely repeat.
    of_parquet = {"use_dictionary": text, "write_page_checksum": True}
    with (
        written_whole(folder / "scores.csv") as csv_path,
        written_whole(folder / "scores.parquet") as parquet_path,
        csv.CSVWriter(csv_path, tables.schema) as csv_file,
        pq.ParquetWriter(parquet_path, _for_pandas(tables.schema), **of_parquet) as parquet_file,
    ):
        for one, rows in tables.selected(selection):
            csv_file.write_table(without_formulas(rows))
            parquet_file.write_table(rows)
            yield one, rows


def shown_tables(parts: Iterable[tuple[Scored, pa.Table]], selection: Selection) -> dict[str, pd.DataFrame]:
    """Return the rows to show, by protocol; `standard` comes first if it has scores.

    parts  result of `Tables.selected` or `write_tables`

    Regions of atlases are left out unless the selection names them.
    """
    shown = {}
    for one, rows in parts:
        shown.setdefault(one.protocol, []).append(shown_regions(rows, selection))
    tables = (pa.concat_tables(rows).combine_chunks().to_pandas(types_mapper=KINDS) for rows in shown.values())
    return {name: _printable(table) for name, table in zip(shown, tables, strict=True)}


def _printable(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with control characters escaped in names of regions and streams, which come from files."""
    for name in ("roi", "stream"):
        odd = {text: one_line(text) for text in table[name].unique() if not text.isprintable()}
        table = table.assign(**{name: table[name].replace(odd)}) if odd else table
    return table


def without_formulas(rows: pa.Table) -> pa.Table:
    """Return the rows with an apostrophe before each text that a spreadsheet would read as a formula."""
    for place, column in enumerate(rows.schema):
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            begins = pc.match_substring_regex(pc.unique(rows[column.name]), FORMULA)
            if pc.any(begins).as_py():
                harmless = pc.replace_substring_regex(rows[column.name], FORMULA, r"'\1")
                rows = rows.set_column(place, column, harmless)
    return rows


def _for_pandas(schema: pa.Schema) -> pa.Schema:
    """Return the schema with the metadata from which pandas restores column types."""
    empty = schema.empty_table().to_pandas(types_mapper=KINDS)
    return schema.with_metadata(pa.Schema.from_pandas(empty, preserve_index=False).metadata)


def shown_regions(rows: pa.Table, selection: Selection) -> pa.Table:
    """Return the rows of the regions that a page shows: the selected regions, or all except those of atlases."""
    if selection.roi:
        return rows
    hidden = pa.array(of_atlases(pc.unique(rows["roi"]).to_pylist()), pa.string())
    return rows.filter(pc.invert(pc.is_in(rows["roi"], hidden)))


def as_text(table: pd.DataFrame) -> str:
    """Format the rows of the layers chosen on training images as a table for the terminal."""
    chosen = chosen_layers(table).sort_values(["roi", "model_id", "stream", "subject", "prompt"])
    width = max(map(len, chosen["model_id"]))
    lines = [
        f"{'region':<16} {'model':<{width}} {'stream':<14} {'prompt':>6} {'subject':>7} {'layer':>5} {'voxels':>6} "
        f"{'r':>6} {'ceiling':>7} {'r/ceil.':>7} {'p':>7} {'q':>7}"
    ]
    for row in chosen.head(LONGEST).itertuples():
        prompt, layer = ("-" if pd.isna(value) else value for value in (row.prompt, row.layer))
        lines.append(
            f"{row.roi:<16} {row.model_id:<{width}} {row.stream:<14} {prompt:>6} {row.subject:>7} {layer:>5} "
            f"{row.n_voxels:>6} {number(row.r)} {number(row.r_ceiling, 7)} {number(row.r_normalised_all_voxels, 7)} "
            f"{number(row.p, 7, 4)} {number(row.q, 7, 4)}"
        )
    if len(chosen) > LONGEST:
        lines.append(f"and {len(chosen) - LONGEST} more rows: select fewer with --roi, --model-id, --stream, -s or -p")
    return "\n".join(map(one_line, lines))


def number(value: float, width: int = 6, digits: int = 3) -> str:
    return f"{'-' if pd.isna(value) else f'{value:.{digits}f}':>{width}}"
