import os
import struct

import numpy as np
import pandas as pd
import pytest

from brain_activity_prediction.runtime.errors import Damaged
from brain_activity_prediction.storage.table_files import read_table, write_table


def test_a_table_is_the_same_as_csv_and_as_parquet_which_keeps_types(tmp_path):
    table = pd.DataFrame({"prompt": pd.array([1, None], dtype="Int64"), "r": [0.25, float("nan")]}, index=[7, 7])
    write_table(table, tmp_path / "new", "scores")
    pd.testing.assert_frame_equal(read_table(tmp_path / "new/scores.parquet", "again"), table.reset_index(drop=True))
    assert (tmp_path / "new/scores.csv").read_text() == "prompt,r\n1,0.25\n,\n"


@pytest.mark.parametrize("columns", [None, ["p"]], ids=["is no table", "lacks a column"])
def test_a_file_that_is_not_the_table_asked_for_is_damaged_and_says_what_to_do(tmp_path, columns):
    path = tmp_path / "scores.parquet"
    if columns:
        pd.DataFrame({"r": [0.5]}).to_parquet(path)
    else:
        path.write_bytes(b"<html>")
    with pytest.raises(Damaged, match=r"scores\.parquet.*align again"):
        read_table(path, "align again", columns)


@pytest.mark.exhaustive
def test_no_byte_changed_in_a_table_changes_a_value_unnoticed(tmp_path):
    table = pd.DataFrame({"roi": ["V1", "V2"], "r": [0.25, 0.5]})
    write_table(table, tmp_path, "scores")
    path = tmp_path / "scores.parquet"
    original, noticed = path.read_bytes(), set()
    for at in range(len(original)):
        path.write_bytes(original[:at] + bytes([original[at] ^ 1]) + original[at + 1 :])
        try:
            assert read_table(path, "align again").to_numpy().tolist() == table.to_numpy().tolist()
        except Damaged:
            noticed.add(at)
    assert {original.index(value) for value in (b"V1", b"V2", struct.pack("<d", 0.25))} <= noticed


def test_a_table_of_more_rows_than_any_study_has_is_refused_before_it_is_read(tmp_path):
    """Ten million equal values take a few kB on disk, and gigabytes in memory."""
    path = tmp_path / "scores.parquet"
    pd.DataFrame({"r": np.zeros(10**7)}).to_parquet(path)
    assert path.stat().st_size < 10**5
    with pytest.raises(Damaged, match="more than 2097152 rows"):
        read_table(path, "align again")


def test_a_pipe_in_place_of_a_table_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "scores.parquet")
    with pytest.raises(Damaged, match="not a file"):
        read_table(tmp_path / "scores.parquet", "align again")
