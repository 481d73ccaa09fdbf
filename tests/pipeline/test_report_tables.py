"""The tables of every alignment as one, by the command line."""

import re
import shutil

import numpy as np
import pandas as pd
import pytest
from bad_input import ACROSS, PAIRS, REPORT
from reports import LLAVA, VIT, report
from scipy.stats import false_discovery_control
from scripts import run_here

from brain_activity_prediction.report.tables.collecting import Tables, find_scored
from brain_activity_prediction.report.tables.selection import Selection
from brain_activity_prediction.report.tables.writing import shown_tables, write_tables
from brain_activity_prediction.runtime.processes import own_name
from brain_activity_prediction.storage.folders import reported_files
from brain_activity_prediction.storage.made_from import noted, state_of
from brain_activity_prediction.storage.settings_file import fingerprint

pytestmark = pytest.mark.slow

KEY = ["model_id", "prompt", "stream", "layer_choice", "layer", "subject", "roi"]


@pytest.fixture(scope="module")
def collected(scored):
    done = report(scored, "--table-only")
    assert done.returncode == 0, done.stderr
    return pd.read_parquet(scored / "report" / "scores.parquet"), done.stdout


def test_every_row_of_every_table_is_in_the_collected_one_as_it_was(collected, scored_rows):
    table, _ = collected
    assert len(table) == len(scored_rows)
    assert table[["prompt", "layer", "subject"]].dtypes.eq("Int64").all()
    ordered, expected = (part.sort_values(KEY).reset_index(drop=True) for part in (table, scored_rows))
    pd.testing.assert_frame_equal(ordered.drop(columns="q"), expected.drop(columns="q"), check_dtype=False)


def test_regions_of_atlases_are_in_the_files_and_shown_only_if_named(scored, tmp_path):
    tables = Tables(find_scored(scored))
    shown = shown_tables(write_tables(tables, Selection(), tmp_path), Selection())["standard"]
    assert not shown["roi"].str.contains(":").any()
    atlas = pd.read_parquet(tmp_path / "scores.parquet")["roi"].loc[lambda roi: roi.str.contains(":")]
    assert len(atlas) > 0
    of_atlas = Selection(roi=(atlas.iloc[0],))
    asked = shown_tables(write_tables(tables, of_atlas, tmp_path), of_atlas)["standard"]
    assert set(asked["roi"]) == {atlas.iloc[0]}


def test_csv_and_parquet_hold_the_same(scored, collected):
    from_csv = pd.read_csv(scored / "report" / "scores.csv")
    pd.testing.assert_frame_equal(from_csv, collected[0], check_dtype=False)


def test_q_is_adjusted_over_the_whole_base_dir_a_kind_of_row_at_a_time(scored, collected, scored_rows):
    table, _ = collected
    for choice, rows in table.groupby("layer_choice"):
        tested = rows.dropna(subset="p")
        assert Tables(find_scored(scored)).family_sizes.get(("standard", choice), 0) == len(tested)
        np.testing.assert_allclose(tested["q"], false_discovery_control(tested["p"]), err_msg=choice)
    assert not np.allclose(table["q"].dropna(), scored_rows["q"].dropna())  # what each run adjusted by itself


def test_p_of_another_permutation_test_is_adjusted_apart(own_scored):
    one, *_ = find_scored(own_scored)
    table = pd.read_parquet(one.folder / "scores.parquet")
    other = table["layer_choice"] == "each"
    table.assign(n_permutations=np.where(other, 49, 999), permutation_block=1).to_parquet(one.folder / "scores.parquet")
    tables = Tables(find_scored(own_scored))
    rows = next(rows for found, rows in tables.selected(Selection()) if found.folder == one.folder).to_pandas()
    tested = rows[rows["layer_choice"] == "each"].dropna(subset="p")
    np.testing.assert_allclose(tested["q"], false_discovery_control(tested["p"]))


def test_a_region_keeps_its_q_when_it_is_asked_for_alone(scored, collected):
    done = report(scored, "--table-only", "--roi", "V1v", "-s", "2", "-m", LLAVA, "-p", "2", "--stream", "language")
    assert done.returncode == 0, done.stderr
    folder = scored / "report" / "subject-2_model-llava-hf_llava-1.5-13b-hf_prompt-2_stream-language_roi-V1v"
    alone, table = pd.read_parquet(folder / "scores.parquet"), collected[0]
    of = (table["roi"] == "V1v") & (table["subject"] == 2) & (table["model_id"] == LLAVA)
    expected = table[of & (table["prompt"] == 2) & (table["stream"] == "language")].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, expected, check_dtype=False)
    assert len(re.findall(rf"^V1v +{LLAVA} +language +2 +2 ", done.stdout, re.MULTILINE)) == 1


def test_what_is_in_no_table_is_named_with_what_there_is(scored):
    for flag, value, said in (
        *(
            ("--roi", "V9", "no scores of roi V9; available:"),
            ("--model-id", "gpt", "no scores of model gpt; available:"),
        ),
        *(
            ("-s", "7", "no scores of subject 7; available: 1, 2"),
            ("-p", "3", "no scores of prompt 3; available: 1, 2"),
        ),
    ):
        done = report(scored, flag, value)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert said in done.stderr


def test_tables_that_find_no_room_are_one_line_though_the_page_is_drawn_meanwhile(own_scored, monkeypatch):
    def fill_the_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pyarrow.parquet.ParquetWriter.write_table", fill_the_disk)
    done = report(own_scored, "--roi", "V1v")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "scores.parquet (No space left on device): free some space" in done.stderr
    assert [path.name for path in (own_scored / "report/roi-V1v").glob("*scores*")] == []


def test_what_no_table_has_all_of_is_one_line_and_writes_nothing(own_scored):
    for flags in ([], ["--table-only"]):
        done = report(own_scored, *flags, "-m", VIT, "--stream", "language")
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert "no table has all of them together: select fewer names" in done.stderr
        assert not (own_scored / "report").exists()


@pytest.mark.parametrize(("column", "said"), [(None, ""), ("layer_choice", "no column layer_choice")])
def test_a_broken_table_is_named(own_scored, column, said):
    broken = next(own_scored.glob("alignment/*/*/*/scores.parquet"))
    if column:
        pd.read_parquet(broken).drop(columns=column).to_parquet(broken)
    else:
        broken.write_bytes(broken.read_bytes()[:100])
    done = report(own_scored, "--table-only")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert str(broken) in done.stderr
    assert said in done.stderr


def test_tables_of_an_older_version_are_joined_with_what_they_lack_missing(own_scored):
    older = next(own_scored.glob("alignment/subj01/prompt_1/*/scores.parquet"))
    table = pd.read_parquet(older).drop(columns=["r_se", "settings"])
    table.to_parquet(older)
    tables = Tables(find_scored(own_scored))
    ((_, rows),) = list(tables.selected(Selection(subject=(1,), prompt=(1,), stream=("language",))))
    assert rows["r_se"].null_count == rows.num_rows
    assert set(rows["settings"].to_pylist()) == {fingerprint(tables.scored[1].settings)}


def test_a_report_ends_with_a_note_of_its_tables_and_removes_what_a_killed_one_left(own_scored):
    place, number, _ = own_name().rsplit("~", 2)
    left = own_scored / "report/figures" / f".{place}~{number}~1~01234567~bars.png"
    left.parent.mkdir(parents=True)
    left.touch()
    assert report(own_scored, "--table-only").returncode == 0
    assert not left.exists()
    assert noted(own_scored / "report") is None
    assert report(own_scored).returncode == 0
    assert noted(own_scored / "report") == state_of(own_scored, reported_files(own_scored))
    assert not [path for path in own_scored.rglob(".*") if "~" in path.name]


@pytest.mark.parametrize("script", [REPORT, PAIRS, ACROSS], ids=lambda path: path.name)
def test_a_table_of_another_prompt_in_the_place_of_one_is_never_read(own_scored, script):
    """Its numbers would be shown as those of the prompt that the folder is named after."""
    first, second = (own_scored / f"alignment/subj01/prompt_{n}/llava-hf_llava-1.5-13b-hf" for n in (1, 2))
    shutil.copy(second / "scores.parquet", first)
    more = ["-m", LLAVA, "-p", "1", "2"] if script == PAIRS else []
    done = run_here(script, "-d", own_scored, *more)
    assert done.returncode == 2, done.stderr
    assert "prompt_1/llava-hf_llava-1.5-13b-hf/scores.parquet (it is the table of subj01/prompt_2/" in done.stderr
