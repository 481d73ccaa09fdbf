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
    """Read a table; return the names of its columns from its header, and the line and cells of each row.

    Cells are separated by tabs in .tsv files, otherwise by commas, or by semicolons or tabs if the header has no comma:
    programs write them where a comma is the decimal sign. White space in names of columns is one space. Empty rows are
    left out, but not those of an empty cell in quotes, which is a value of a table of one column.
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
    """Read a table as `read_table` does; raise InputError if it lacks one of `columns`, or a row has other cells."""
    header, rows = read_table(path)
    with reading(path):
        for name in columns:
            if name not in header:
                raise ValueError(f"it has no column {name}{did_you_mean(name, header)}")
        for line, row in rows:
            if len(row) != len(header):
                raise ValueError(f"line {line} has {len(row)} cells, the header {len(header)}")
    return [dict(zip(header, row, strict=True)) for _, row in rows]


def read_numbers(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read a CSV table of numbers that is too large for `read_rows`; raise InputError as it does.

    Numbers of columns with gaps are floats, NaN in the gaps.
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
