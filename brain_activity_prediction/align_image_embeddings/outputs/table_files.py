"""A table on disk: CSV for people, and Parquet, which keeps types, for programs; both with the same rows.

The values in Parquet carry checksums, which are verified on reading.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from brain_activity_prediction.files import reading, written_whole

if TYPE_CHECKING:
    import pandas as pd


def write_table(table: pd.DataFrame, folder: Path, name: str) -> None:
    """Writes `NAME.parquet` and then `NAME.csv`, without the table's index: where the latter is, the former is."""
    with written_whole(folder / f"{name}.parquet") as path:
        table.to_parquet(path, index=False, write_page_checksum=True)
    with written_whole(folder / f"{name}.csv") as path:
        table.to_csv(path, index=False)


def read_table(path: Path, remedy: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """These columns, or all, of a Parquet file; raises `Damaged`, with the remedy, where it is none or lacks one."""
    import pandas as pd

    with reading(path, remedy):
        return pd.read_parquet(path, columns=columns, page_checksum_verification=True)
