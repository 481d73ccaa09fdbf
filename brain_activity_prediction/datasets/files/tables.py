"""Read CSV and TSV tables of datasets as text; errors name the line."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.wording import did_you_mean
from brain_activity_prediction.storage.files import read_bytes, reading

if TYPE_CHECKING:
    import pandas as pd

LARGEST_BYTES = 2**29


def one_of(folder: Path, names: Sequence[str]) -> Path | None:
    """Return the file of a folder that has one of these names, None without any; raise InputError for two."""
    found = [folder / name for name in names if (folder / name).is_file()]
    if len(found) > 1:
        raise InputError(f"{folder} has {found[0].name} and {found[1].name}: keep one of them")
    return found[0] if found else None


def read_table(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Read a table; return the names of its columns from its header, and the line number and cells of each row.

    Cells are separated by tabs in .tsv files and by commas in others. If the header has no comma, semicolons or tabs
    separate them, as programs write where the comma is the decimal sign. Runs of white space in column names become one
    space. Empty rows are left out. A row of one empty cell in quotes is kept: it is a value in a table of one column.
    """
    with reading(path):
        content = read_bytes(path, LARGEST_BYTES)
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise InputError(f"{path} is not text in UTF-8: store it as CSV in UTF-8") from None
        first = text.split("\n", 1)[0]
        separators = "\t" if path.suffix == ".tsv" else [one for one in ",;\t" if one in first] or ","
        table = csv.reader(io.StringIO(text, newline=""), delimiter=separators[0], strict=True)
        header = [" ".join(name.split()) for name in next(table, [])]
        return header, [(table.line_num, row) for row in table if row == [""] or any(map(str.strip, row))]


def read_rows(path: Path, columns: Sequence[str]) -> list[Mapping[str, str]]:
    """Read a table as `read_table` does; raise InputError if a column is missing or a row has a wrong length."""
    header, rows = read_table(path)
    with reading(path):
        for name in columns:
            if name not in header:
                raise ValueError(f"it has no column {name}{did_you_mean(name, header)}")
        for line, row in rows:
            if len(row) != len(header):
                raise ValueError(f"line {line} has {len(row)} cells, but the header has {len(header)}")
    return [dict(zip(header, row, strict=True)) for _, row in rows]


def read_numbers(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read a CSV table of numbers, faster than `read_rows`; raise InputError for the same faults.

    A column with empty cells is read as floats, NaN in the empty cells.
    """
    import pandas as pd

    with reading(path):
        table = pd.read_csv(io.BytesIO(read_bytes(path, LARGEST_BYTES)), encoding="utf-8-sig", low_memory=False)
        if not isinstance(table.index, pd.RangeIndex):
            raise ValueError("its rows have more cells than the header")
        if (short := table[table.columns[-1]].isna()).any():
            raise ValueError(f"row {short.argmax() + 1} has fewer cells than the header")
        table.columns = [" ".join(str(name).split()) for name in table.columns]
        for name in columns:
            if name not in table.columns:
                raise ValueError(f"it has no column {name}{did_you_mean(name, table.columns)}")
            if table[name].dtype.kind not in "iuf":
                raise ValueError(f"its column {name} holds something other than numbers")
    return table
