"""Tables of the analyses beyond scores, on the page."""

from pathlib import Path

import pandas as pd
import pytest
from reports import VIT, report

from brain_activity_prediction.report.tables.other_analyses import other_tables
from brain_activity_prediction.report.tables.page_tables import cell
from brain_activity_prediction.report.tables.selection import Selection

pytestmark = pytest.mark.slow


def test_the_page_shows_chosen_layers_across_subjects_with_other_brains(tmp_path):
    folder = tmp_path / "alignment/across_subjects"
    folder.mkdir(parents=True)
    rows = {"roi": ["V1v", "hV4", "V1v"], "layer_choice": ["each", "best_per_region", "best_per_region"]}
    table = pd.DataFrame(rows | {"r": [0.9, 0.5, 0.4], "cross_subject_r": 0.6, "q": [0.001, 0.04, 0.02]})
    table.to_parquet(folder / "scores.parquet")
    shown = other_tables(tmp_path, Selection())[0]
    assert [heading for heading, _ in shown.columns] == ["layers", "region", "r", "other brains r", "q"]
    assert shown.rows == [("best_per_region", "V1v", 0.4, 0.6, 0.02), ("best_per_region", "hV4", 0.5, 0.6, 0.04)]
    assert shown.n_rows == 2
    on_page = shown.for_page()
    assert [heading for heading, _ in on_page.headings] == ["region", "r", "other brains r", "q"]
    assert on_page.rows == [["V1v", "0.400", "0.600", "0.020"], ["hV4", "0.500", "0.600", "0.040"]]
    assert on_page.note.endswith(" Layers: best_per_region.")


def test_comparisons_of_one_pair_name_their_analysis_and_choice_of_layers(tmp_path):
    for protocol, difference in (("alignment", 0.1), ("alignment_paper", 0.7)):
        folder = tmp_path / protocol / "subj01" / "comparisons"
        folder.mkdir(parents=True)
        for name, choice in (("a", "best_per_region"), ("b", "average")):
            rows = {"subject": [1], "roi": "V1v", "layer_choice": choice, "difference": difference, "q": 0.5}
            pd.DataFrame(rows).to_parquet(folder / f"{name}.parquet")
    table = other_tables(tmp_path, Selection())[2]
    assert [heading for heading, _ in table.columns[:2]] == ["analysis", "layers"]
    assert [row[:2] for row in table.rows] == [("a", "best_per_region"), ("b", "average")]
    assert "one analysis in one subject" in table.kind.note
    assert {row[-2] for row in other_tables(tmp_path, Selection(), "paper")[2].rows} == {0.7}


def test_analyses_beyond_scores_are_shown_the_surest_first_or_named_as_missing(own_scored):
    comparisons = own_scored / "alignment/subj01/comparisons"
    comparisons.mkdir()
    rows = {"subject": 1, "roi": ["V1v", "hV4"], "difference": [0.1, 0.2], "q": [0.5, 0.01]}
    atlas = {"subject": 1, "roi": [f"HCP_MMP1:{n}" for n in range(180)], "difference": 0.3, "q": 0.001}
    pd.concat([pd.DataFrame(rows), pd.DataFrame(atlas)]).to_parquet(comparisons / "models.parquet")
    shown = {table.kind.title: table for table in other_tables(own_scored, Selection())}
    headings = [("analysis", False), ("subject", True), ("region", False), ("difference", True), ("q", True)]
    assert shown["Differences within subjects"].columns == headings
    rows = [("models", 1, "hV4", 0.2, 0.01), ("models", 1, "V1v", 0.1, 0.5)]
    assert shown["Differences within subjects"].rows == rows
    assert shown["Across subjects"].rows == []
    assert other_tables(own_scored, Selection(subject=(2,)))[2].rows == []
    html = Path(report(own_scored, "--roi", "V1v", "--model-id", VIT).stdout.strip()).read_text()
    assert "<code>across_subjects.py</code> was not run" in html
    assert "<td>V1v</td>" in html.split('id="model"')[1].split("</section>")[0]


def test_a_small_p_is_not_written_as_0():
    values = (0.0004, 0.0006, -0.0004, 0.25, 3.0, 7, None, "V1v")
    assert [*map(cell, values)] == ["< 0.001", "0.001", "−0.000", "0.250", "3", "7", "–", "V1v"]
