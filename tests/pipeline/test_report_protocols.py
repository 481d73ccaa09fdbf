"""Scores of the study's own protocol in a report: beside ours, never mixed with them."""

import re
import shutil

import pandas as pd
import pytest
from reports import LLAVA, page_text, report

from brain_activity_prediction.report.tables.averages import best_by_training
from brain_activity_prediction.report.tables.collecting import Tables, find_scored
from brain_activity_prediction.report.tables.protocol_comparison import compared_protocols
from brain_activity_prediction.report.tables.selection import Selection
from brain_activity_prediction.report.tables.writing import shown_tables, write_tables
from brain_activity_prediction.storage.settings_file import record_settings

pytestmark = pytest.mark.slow


def test_paper_scores_are_in_the_table_but_not_mixed_into_the_page(own_scored):
    before = report(own_scored, "--table-only", "--roi", "V1v").stdout
    folder = "subj01/no_prompt/google_vit-huge-patch14-224-in21k"
    shutil.copytree(own_scored / "alignment" / folder, own_scored / "alignment_paper" / folder)
    scores = own_scored / "alignment_paper" / folder / "scores.parquet"
    pd.read_parquet(scores).assign(protocol="paper", r=0.9).to_parquet(scores)
    done = report(own_scored, "--table-only", "--roi", "V1v")
    table = pd.read_parquet(own_scored / "report/roi-V1v/scores.parquet")
    assert set(table["protocol"]) == {"standard", "paper"}
    assert (table.loc[table["protocol"] == "paper", "r"] == 0.9).all()
    assert done.stdout == before


def test_a_page_of_the_studys_own_protocol_shows_its_average_of_layers_and_says_so(own_scored):
    (own_scored / "alignment").rename(own_scored / "alignment_paper")
    for path in own_scored.glob("alignment_paper/*/*/*/scores.parquet"):
        table = pd.read_parquet(path).assign(protocol="paper")
        table.loc[table["layer_choice"] == "average", "r"] = 0.123
        table.to_parquet(path)
    text = page_text(report(own_scored, "--roi", "V1v"))
    assert "Streams and prompts are chosen on training images alone; the scores of a stream's layers" in text
    assert "(protocol paper , layer_choice average )" in text
    assert f"V1v {LLAVA} 0.123 0.000" in text
    assert "so that no layer is the best" in text
    maps = {path.name.split("_subj")[0] for path in (own_scored / "report/roi-V1v/figures").glob("*_subj*.svg")}
    of = [f"{kind}_{LLAVA.replace('/', '_').replace('.', '_')}" for kind in ("average_r", "best_prompt")]
    assert maps == {*of, "average_r_google_vit-huge-patch14-224-in21k", "noise_ceiling"}
    assert re.search(
        rf"^V1v +{LLAVA} +language .* - +\d+ +0.123 ", report(own_scored, "--table-only").stdout, re.MULTILINE
    )


def beside_in(scored, folder):
    """Both protocols in V1v."""
    tables = Tables(find_scored(scored))
    selection = Selection(roi=("V1v",))
    return compared_protocols(tables.scored, shown_tables(write_tables(tables, selection, folder), selection))


def test_old_and_new_scores_of_the_same_conditions_stand_side_by_side(own_scored, tmp_path):
    """Of the streams, prompts and subjects that both have, each at the choice of its own protocol."""
    folders = [path for path in own_scored.glob("alignment/*/*/llava*") if path.parent.name != "prompt_2"]
    for folder in folders:
        copy = own_scored / "alignment_paper" / folder.relative_to(own_scored / "alignment")
        shutil.copytree(folder, copy)
        table = pd.read_parquet(copy / "scores.parquet").assign(protocol="paper")
        chosen = (table["layer_choice"] == "average") & (table["stream"] == "language")
        table.loc[chosen, ["r", "cv_score"]] = 0.2, 9
        table.to_parquet(copy / "scores.parquet")
    parts = pd.concat(pd.read_parquet(folder / "scores.parquet") for folder in folders)
    rows = parts[(parts["layer_choice"] == "best_per_region") & (parts["roi"] == "V1v")]
    r = best_by_training(rows, ["subject"])["r"]
    (row,) = beside_in(own_scored, tmp_path).to_dict("records")
    assert (row["model_id"], row["n_subjects"], row["paper"]) == (LLAVA, 2, pytest.approx(0.2))
    assert row["standard"] == pytest.approx(r.mean())
    assert row["difference"] == pytest.approx(0.2 - r.mean())
    assert row["se"] == pytest.approx(abs(r.iloc[0] - r.iloc[1]) / 2)
    text = page_text(report(own_scored, "--roi", "V1v"))
    assert "(protocol standard , layer_choice best_per_region ). Scores of the other protocol, 4 tables" in text
    assert f"V1v {LLAVA} 2 {r.mean():.3f} 0.200" in text
    record_settings(folders[0], {"sessions": [1]})
    other = own_scored / "alignment_paper" / folders[0].relative_to(own_scored / "alignment")
    record_settings(other, {"sessions": [1, 2]})
    left = beside_in(own_scored, tmp_path)
    assert left["standard"].item() != pytest.approx(row["standard"])
