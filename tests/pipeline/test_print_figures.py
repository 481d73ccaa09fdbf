"""Figures for print: which ones a BASE_DIR gives, what their brackets mean, and what is refused."""

from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
from reports import LLAVA, VIT, chosen_rows
from scripts import PACKAGE, run_here

from brain_activity_prediction.report.plots.comparison_bars import comparison_bars
from brain_activity_prediction.report.plots.drawing import FigureFolder
from brain_activity_prediction.report.plots.voxel_scatter import voxel_scatter
from brain_activity_prediction.report.tables.averages import prompt_scores
from brain_activity_prediction.report.tables.pairwise import ACROSS, best_prompts, read_pairs
from brain_activity_prediction.report.tables.selection import Selection
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.storage.folders import Output


@pytest.fixture
def figure(monkeypatch):
    """Panels, words, values and legend of the last figure that would be saved."""
    last = {}

    def keep(self, figure, words, data, legend=None):
        last.update(panels=figure.axes, words=words, data=data, legend=legend)

    monkeypatch.setattr(FigureFolder, "save", keep)
    return last


def scores_of_prompts(*r):
    """Chosen rows of prompts 1 to 3 in V1v, r of each in subjects 1 and 2."""
    return pd.concat(
        [chosen_rows(model_id=LLAVA, roi="V1v", prompt=n, subject=[1, 2], r=own) for n, own in enumerate(r, 1)],
        ignore_index=True,
    ).astype({"prompt": "Int64"})


def pairs_of_prompts(*rows):
    """Tests of prompts, each row (a, b, difference, q)."""
    table = pd.DataFrame(rows, columns=["prompt_a", "prompt_b", "difference", "q"])
    sides = {f"{name}_{side}": value for side in "ab" for name, value in (("model_id", LLAVA), ("stream", "language"))}
    return table.assign(analysis=ACROSS, layer_choice="best_per_region", roi="V1v", **sides)


def write_differences(base_dir, pairs):
    """Write tests as across_subjects.py does."""
    folder = base_dir / "alignment" / "across_subjects"
    folder.mkdir(parents=True)
    pairs.drop(columns="analysis").to_parquet(folder / "differences.parquet")


PAIRS = pairs_of_prompts((1, 2, 0.1, 0.0005), (1, 3, 0.05, 0.2), (2, 3, -0.05, 0.03))
SCORES = scores_of_prompts([0.3, 0.5], [0.2, 0.4], [0.26, 0.44])


def test_brackets_join_the_pairs_that_differ_and_only_those(figure, tmp_path):
    comparison_bars(PAIRS, SCORES, "Early", ["V1v"], {1: "caption"}, FigureFolder(tmp_path))
    (panel,) = figure["panels"]
    assert [bar.get_height() for bar in panel.patches] == pytest.approx([0.4, 0.3, 0.35])
    brackets = {tuple(line.get_xdata()[[0, -1]]) for line in panel.lines if len(line.get_xdata()) == 4}
    assert brackets == {(0, 1), (1, 2)}
    assert [text.get_text() for text in panel.texts] == ["***", "*"]
    highest_dot = max(max(line.get_ydata()) for line in panel.lines if line.get_marker() == "o")
    assert all(min(line.get_ydata()) > highest_dot for line in panel.lines if len(line.get_xdata()) == 4)
    assert [*figure["legend"]] == ["caption", "prompt 2", "prompt 3", "subject"]
    assert "q < 0.05" in figure["words"].note
    assert "paired t test over subjects" in figure["words"].note
    assert figure["data"]["kind"].value_counts().to_dict() == {"subject 1": 3, "subject 2": 3, "mean": 3, "pair": 3}


def test_tests_of_other_scores_than_those_drawn_are_refused(figure, tmp_path):
    old = pairs_of_prompts((1, 2, 0.2, 0.01))
    with pytest.raises(InputError, match=r"V1v belong to other scores: run across_subjects\.py again"):
        comparison_bars(old, SCORES, "Early", ["V1v"], {}, FigureFolder(tmp_path))


def test_a_prompt_is_best_only_if_it_is_above_every_other_by_a_test():
    rows = prompt_scores(SCORES)
    assert best_prompts(rows, PAIRS) == set()
    assert best_prompts(rows, PAIRS.assign(q=0.01)) == {("V1v", 1)}
    assert best_prompts(rows, PAIRS.assign(q=0.01)[:2]) == {("V1v", 1)}
    assert best_prompts(rows, PAIRS.assign(q=0.01)[:1]) == set()
    assert best_prompts(rows, PAIRS.assign(q=0.01, stream_a="vision")) == set()
    assert best_prompts(rows, PAIRS[:0]) == set()


def test_pairs_are_those_tested_over_exactly_the_subjects_that_are_drawn(tmp_path):
    write_differences(tmp_path, PAIRS.assign(subjects=["1 2", "1", "1 2"]))
    of_two = read_pairs(Output(tmp_path), "standard", SCORES, Selection())
    assert of_two[["prompt_a", "prompt_b"]].to_numpy().tolist() == [[1, 2], [2, 3]]
    assert len(read_pairs(Output(tmp_path), "standard", SCORES, Selection(prompt=(1, 2)))) == 1
    others = SCORES.assign(subject=SCORES["subject"].replace(2, 5))
    assert read_pairs(Output(tmp_path), "standard", others, Selection()).empty
    assert read_pairs(Output(tmp_path), "standard", SCORES[SCORES["subject"] == 1], Selection()).empty


def test_a_region_that_one_subject_lacks_keeps_the_pairs_of_the_others(figure, tmp_path):
    rows = [
        chosen_rows(model_id=LLAVA, roi=roi, prompt=n, subject=subjects, r=np.array(own[: len(subjects)]))
        for roi, subjects in (("V1v", [1, 2, 3]), ("mTL-faces", [1, 3]))
        for n, own in enumerate(([0.3, 0.5, 0.4], [0.2, 0.4, 0.3]), 1)
    ]
    scores = pd.concat(rows, ignore_index=True).astype({"prompt": "Int64"})
    tests = pd.concat(
        [pairs_of_prompts((1, 2, 0.1, 0.01)).assign(roi=roi) for roi in ("V1v", "mTL-faces", "mTL-faces")]
    )
    write_differences(tmp_path, tests.assign(subjects=["1 2 3", "1 3", "1"]))
    pairs = read_pairs(Output(tmp_path), "standard", scores, Selection())
    assert pairs["roi"].tolist() == ["V1v", "mTL-faces"]
    comparison_bars(pairs, scores, "Regions", ["V1v", "mTL-faces"], {}, FigureFolder(tmp_path))
    assert [panel.get_title("left") for panel in figure["panels"]] == ["V1v", "mTL-faces (n = 2)"]
    heights = [[bar.get_height() for bar in panel.patches] for panel in figure["panels"]]
    assert heights == [pytest.approx([0.4, 0.3]), pytest.approx([0.4, 0.3])]
    assert "n = 3 subjects unless another n is given" in figure["words"].note
    assert figure["data"]["kind"].value_counts().to_dict() == {
        "mean": 4, "subject 1": 4, "subject 3": 4, "subject 2": 2, "pair": 2
    }  # fmt: skip


def test_a_condition_that_lacks_a_subject_of_the_region_has_no_bar(figure, tmp_path):
    lacking = SCORES[(SCORES["prompt"] != 3) | (SCORES["subject"] == 1)].assign(roi="hV4")
    pairs, regions = pd.concat([PAIRS, PAIRS[:1].assign(roi="hV4")]), ["V1v", "hV4"]
    comparison_bars(pairs, pd.concat([SCORES, lacking]), "Early", regions, {}, FigureFolder(tmp_path))
    assert [len(panel.patches) for panel in figure["panels"]] == [3, 2]


def test_every_voxel_is_in_a_hexagon_and_the_share_above_the_diagonal_is_given(figure, tmp_path):
    rng = np.random.default_rng(0)
    voxels = {subject: rng.uniform(0, 1, (500, 2)) for subject in (1, 2)}
    voxel_scatter((VIT, LLAVA), voxels, "r", FigureFolder(tmp_path))
    for panel, (subject, own) in zip(figure["panels"], voxels.items(), strict=False):
        assert panel.collections[0].get_array().sum() == pytest.approx(500, abs=2)  # all within the axes' ends
        above = round(100 * np.mean(own[:, 1] > own[:, 0]))
        assert panel.get_title(loc="left") == f"subject {subject}, {above} % above"
        assert panel.get_xlim() == panel.get_ylim()
    assert "500 (subject 1), 500 (subject 2)" in figure["words"].note
    assert figure["data"].columns.tolist() == ["subject", VIT, LLAVA]


def draw(base_dir, *flags):
    """Run the script without PDF files, which take most of the time."""
    with (
        patch("brain_activity_prediction.report.plots.drawing.PNG_DPI", 10),
        patch("brain_activity_prediction.runtime.background.ALONE", 1000),
        patch("brain_activity_prediction.report.plots.drawing.FigureFolder._write_pdf", lambda *words: None),
    ):
        return run_here(PACKAGE / "report" / "figures.py", "-d", base_dir, *flags)


def test_figures_are_written_by_kind_for_the_selected_scores(scored):
    done = draw(scored, "regions", "voxels", "--roi", "V1v", "--columns", "2")
    assert done.returncode == 0, done.stderr
    folder = scored / "report" / "print" / "roi-V1v"
    assert f"{folder}: 2 figures" in done.stdout
    names = {path.stem for path in folder.iterdir()}
    assert names == {"regions_Retinotopic_areas", f"voxels_{VIT.replace('/', '_')}_llava-hf_llava-1_5-13b-hf"} or (
        names == {"regions_Retinotopic_areas", f"voxels_llava-hf_llava-1_5-13b-hf_{VIT.replace('/', '_')}"}
    )


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["bars"], "there is no kind of figure bars; available: regions"),
        (["variance"], "no figure of variance can be drawn, because it needs results of partition_variance.py"),
        (["pairs"], "no figure of pairs can be drawn, because it needs results of across_subjects.py"),
        (["--preset", "study-models"], "no scores of protocol paper: run align_model.py with --protocol paper"),
        (["regions", "--preset", "study-models"], "--preset chooses the kinds of figures"),
        (["--style", "none.toml"], "--style none.toml"),
    ],
)
def test_figures_that_cannot_be_drawn_are_refused_in_one_line(scored, flags, says):
    done = draw(scored, *flags)
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
