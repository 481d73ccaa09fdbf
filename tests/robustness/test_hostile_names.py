"""Names from files never become paths, formulas, terminal commands or mathematics."""

import csv
import os
import re

import numpy as np
import pandas as pd
import pytest
from reports import report
from two_layers import align

from brain_activity_prediction.datasets.nsd.label_tables import label_names
from brain_activity_prediction.datasets.nsd.nsd import find_nsd
from brain_activity_prediction.encoding.scores.score_store import QUANTITIES, ScoreStore
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore
from brain_activity_prediction.storage.sealed_hdf5 import write_sealed
from brain_activity_prediction.storage.settings_file import recorded_settings

OUTSIDE = "../../../../../../outside"


def test_a_stream_named_like_a_path_is_refused_and_nothing_is_written_there(own_nsd, monkeypatch):
    store = EmbeddingStore(own_nsd / "image_embeddings/no_prompt/test_two-layers")
    store.claim({"template": None})
    states = np.random.default_rng(0).random((400, 2, 4), dtype=np.float32)
    ids = np.arange(1, 401)
    about = {"image_ids": ids.tolist(), "settings": {}}
    path = store.folder / "batch_00001-00400_0.h5"
    write_sealed(path, {"image_ids": ids, OUTSIDE: states}, about, {OUTSIDE: (1, 1)})
    before = sorted(own_nsd.parent.rglob("*"))
    with pytest.raises(InputError, match="is not the name of a stream"):
        align(monkeypatch, own_nsd)
    assert sorted(own_nsd.parent.rglob("*")) == before


def test_scores_that_say_they_are_of_another_file_are_refused(tmp_path):
    results = ScoreStore(tmp_path / "scores")
    scores = {name: np.ones(3, np.float32) for name in QUANTITIES}
    results.write("vision", 0, 1, scores)
    about = {"stream": OUTSIDE, "layer": 0, "n_layers": 1}
    write_sealed(tmp_path / "scores/voxels/vision_layer_01.h5", scores, about)
    with pytest.raises(InputError, match="vision_layer_01"):
        results.layers()


@pytest.mark.parametrize("name", ["settings.json", "batch_00001-00002_0.h5"])
def test_a_pipe_among_the_files_is_not_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match=name):
        recorded_settings(tmp_path, "delete it") if name == "settings.json" else EmbeddingStore(tmp_path).streams()


NAMES = {
    "V1v": '=HYPERLINK("http://example.org")',
    "V1d": "$\\frac$",
    "V2v": "\x1b[31mred\x07\u202e",
    "V2d": "R" * 240,
    "hV4": "+a/b\tc",
    "V3v": "@../../x",
    "V3d": "-V3d",
}
UNWANTED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]")


@pytest.fixture(scope="module")
def hostile(synthetic, tmp_path_factory):
    """BASE_DIR whose regions have hostile names, as the label tables of ROI files may."""
    folder = tmp_path_factory.mktemp("hostile")
    synthetic.write_base_dir(folder, synthetic.SMALL)
    for path in folder.glob("alignment/*/*/*/scores.parquet"):
        table = pd.read_parquet(path)
        assert "V1v" in set(table["roi"])
        table.assign(roi=table["roi"].replace(NAMES)).to_parquet(path, index=False)
    return folder


@pytest.mark.very_slow
@pytest.mark.slow
def test_a_report_on_hostile_names_is_drawn_and_holds_no_control_characters(hostile):
    done = report(hostile, drawn=True)
    assert done.returncode == 0, done.stderr
    drawn = [hostile / "report/report.html", *(hostile / "report/figures").glob("*.svg")]
    assert len(drawn) > 10
    for path in drawn:
        assert not UNWANTED.search(path.read_text()), path.name
    assert "$\\frac$" in drawn[0].read_text()
    assert "\\x1b[31mred" in drawn[0].read_text()


@pytest.mark.slow
def test_the_csv_of_a_report_has_no_formulas_and_the_parquet_keeps_names(hostile):
    done = report(hostile, "--table-only", "--stream", "language")
    assert done.returncode == 0, done.stderr
    assert not UNWANTED.search(done.stdout)
    assert "$\\frac$" in done.stdout
    folder = hostile / "report/stream-language"
    with (folder / "scores.csv").open() as file:
        regions = {row["roi"] for row in csv.DictReader(file)}
    present = set(pd.read_parquet(folder / "scores.parquet")["roi"])
    named = present & set(NAMES.values())
    assert {name for name in named if name[0] in "=+-@"}
    assert regions == {f"'{name}" if name[0] in "=+-@" else name for name in present}
    numbers = pd.read_csv(folder / "scores.csv")["r"]
    np.testing.assert_allclose(numbers, pd.read_parquet(folder / "scores.parquet")["r"])


@pytest.mark.slow
def test_a_report_on_a_region_with_a_long_name_goes_to_a_folder_that_the_disk_takes(hostile):
    names = ["R" * 240, "+a/b\tc", "$\\frac$", "\x1b[31mred\x07\u202e"]
    done = report(hostile, "--table-only", "--roi", *names)
    assert done.returncode == 0, done.stderr
    (folder,) = [path for path in (hostile / "report").iterdir() if path.name.startswith("roi-")]
    assert folder.name.isprintable()
    assert (folder / "scores.csv").exists()


def test_a_label_table_gives_regions_no_control_characters(own_nsd):
    layout = find_nsd(own_nsd)
    table = layout.label_table(1, "prf-visualrois")
    table.write_bytes(b"1 V1v\x1b[31m\x07\n2 \xe2\x80\xaeV1d\n")
    names = label_names(layout, 1, "prf-visualrois")
    assert names == {1: "V1v\\x1b[31m\\x07", 2: "\\u202eV1d"}
