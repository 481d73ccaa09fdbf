"""Read CSV and TSV tables of datasets as text; errors name the line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brain_activity_prediction.runtime.wording import did_you_mean
from brain_activity_prediction.storage.files import read_bytes, reading

if TYPE_CHECKING:
    import pandas as pd

LARGEST_BYTES = 2**29


def read_rows(path: Path, columns: Sequence[str]) -> list[Mapping[str, str]]:
    """Read a table with a header; raise InputError if it has none of `columns`, or a row with other cells.

    White space in names of columns is one space: some tables have line breaks in them. Tables end in .csv or .tsv.
    """
    with reading(path):
        text = read_bytes(path, LARGEST_BYTES).decode("utf-8-sig")
        table = csv.reader(io.StringIO(text, newline=""), delimiter="\t" if path.suffix == ".tsv" else ",", strict=True)
        header = [" ".join(name.split()) for name in next(table, [])]
        for name in columns:
            if name not in header:
                raise ValueError(f"it has no column {name}{did_you_mean(name, header)}")
        return list(_rows(table, header))


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


def _rows(table: Any, header: Sequence[str]) -> Iterator[Mapping[str, str]]:
    for row in table:
        if not any(row):
            continue
        if len(row) != len(header):
            raise ValueError(f"line {table.line_num} has {len(row)} cells, the header {len(header)}")
        yield dict(zip(header, row, strict=True))
