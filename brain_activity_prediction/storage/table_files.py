"""Store a table as CSV for people, and as Parquet for programs, which keeps types; both have the same rows.

The values in Parquet carry checksums, which are verified on reading.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from brain_activity_prediction.storage.files import reading, remove_left_behind, written_whole
from brain_activity_prediction.storage.folders import (
    FOLDS,
    Subject,
    as_subject,
    model_folder,
    prompt_folder,
    subject_name,
)

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow.parquet

LARGEST_ROWS, LARGEST_BYTES = 2**21, 2**30  # a table of 100 layers, 8 streams and 600 regions has half a million rows


def write_table(table: pd.DataFrame, folder: Path, name: str) -> None:
    """Write `NAME.parquet` and then `NAME.csv`, so that a CSV file always has its Parquet file; omit the index."""
    remove_left_behind(folder)
    with written_whole(folder / f"{name}.parquet") as path:
        table.to_parquet(path, index=False, write_page_checksum=True)
    with written_whole(folder / f"{name}.csv") as path:
        table.to_csv(path, index=False)


def read_table(path: Path, remedy: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Read a Parquet file, or some columns; raise `Damaged` with the remedy if it is broken or lacks a column."""
    import pandas as pd

    with reading(path, remedy):
        open_table(path).close()
        return pd.read_parquet(path, columns=columns, page_checksum_verification=True)


def read_score_table(path: Path, remedy: str) -> pd.DataFrame:
    """Read an alignment's score table; raise `Damaged` if it is broken or belongs to another folder."""
    import pandas as pd

    table = read_table(path, remedy)
    with reading(path, remedy):
        for row in table[["subject", "model_id", "prompt"]].drop_duplicates().itertuples():
            check_place(
                path.parent, as_subject(row.subject), row.model_id, None if pd.isna(row.prompt) else int(row.prompt)
            )
    return table


def check_place(folder: Path, subject: Subject, model_id: str, prompt: int | None) -> None:
    """Raise ValueError if scores do not belong to the subject, prompt and model of their folder or fold."""
    names = (subject_name(subject), prompt_folder(prompt), model_folder(model_id))
    whole = folder.parents[1] if folder.parent.name == FOLDS else folder
    if names != whole.parts[-3:]:
        raise ValueError(f"it is the table of {'/'.join(names)}")


def open_table(path: Path) -> pyarrow.parquet.ParquetFile:
    """Open a Parquet file; raise ValueError if it is larger than any table of scores can be.

    The check is needed because compressed values are small on disk: a small damaged or crafted file could need more
    memory than the machine has.
    """
    import pyarrow.parquet as pq

    if not path.is_file():  # reading a pipe would wait forever
        raise ValueError("not a file")
    file = pq.ParquetFile(path, page_checksum_verification=True)
    groups = (file.metadata.row_group(number) for number in range(file.metadata.num_row_groups))
    if file.metadata.num_rows > LARGEST_ROWS or sum(group.total_byte_size for group in groups) > LARGEST_BYTES:
        raise ValueError(f"it has more than {LARGEST_ROWS} rows or {LARGEST_BYTES} bytes")
    return file
