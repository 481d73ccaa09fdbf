"""Shared variance of several subjects, as the page shows it."""

import numpy as np
import pandas as pd
import pytest

from brain_activity_prediction.report.plots.drawing import FigureFolder
from brain_activity_prediction.report.plots.variance import (
    errors_of,
    read_shares,
    shares_over_subjects,
    spaces_of,
    variance_bars,
)
from brain_activity_prediction.report.tables.selection import Selection


def test_shares_are_averaged_over_subjects_whose_best_layers_differ():
    rows = {"analysis": "prompts", "roi": "V1v", "spaces": ["A", "A+B", "A", "A+B"], "subject": [1, 1, 2, 2]}
    names = ["llava layer 3", "llava layer 3 + vit layer 1", "llava layer 5", "llava layer 5 + vit layer 1"]
    means = shares_over_subjects(pd.DataFrame(rows | {"names": names, "r2": [0.1, 0.3, 0.3, 0.3], "cv_r2": 0.2}))
    assert means["spaces"].tolist() == ["A", "A+B"]
    assert means["r2"].tolist() == pytest.approx([0.2, 0.3])
    assert means["r2_se"].tolist() == pytest.approx([0.1, 0])
    assert means["n_subjects"].tolist() == [2, 2]
    assert spaces_of("prompts", means) == [("A", "llava layer 3; or llava layer 5")]


def test_a_space_lists_all_its_layers_where_regions_differ_in_the_best_one():
    names = ["llava layer 11", "vit layer 2", "llava layer 3", "vit layer 2"] * 2
    names[4] = "llava layer 7"  # of the second subject
    rows = {"analysis": "both", "roi": ["V1v", "V1v", "FFA", "FFA"] * 2, "spaces": ["A", "B"] * 4, "names": names}
    means = shares_over_subjects(pd.DataFrame(rows | {"subject": [1] * 4 + [2] * 4, "r2": 0.1, "cv_r2": 0.1}))
    assert means["analysis"].unique().tolist() == ["both"]
    llava = "llava layers 3, 7, 11, the best of each region"
    assert spaces_of("both", means) == [("A", llava), ("B", "vit layer 2")]


@pytest.mark.parametrize(
    "second", [("llava prompt 3 language layer 3", "llava prompt 4 language layer 1"), ("{1}", "{0}")], ids=str
)
def test_partitionings_of_one_name_but_of_other_prompts_are_not_averaged(second):
    """Other prompts in the third subject, or the same with their letters swapped."""
    first = ("llava prompt 1 language layer 3", "llava prompt 2 language layer 5")
    second = tuple(name.format(*first) for name in second)
    parts = [
        {"subject": subject, "spaces": letter, "names": name.replace("layer 3", f"layer {subject}"), "r2": r2}
        for subject, names, r2 in ((1, first, 0.1), (2, first, 0.3), (5, second, 0.9))
        for letter, name in zip("AB", names, strict=True)
    ]
    shares = pd.DataFrame(parts).assign(analysis="prompts", roi="V1v", cv_r2=0.2, r2_se=0.07)
    means = shares_over_subjects(shares).set_index(["analysis", "spaces"])
    assert list(means.index.unique(0)) == ["prompts (subjects 1, 2)", "prompts (subject 5)"]
    assert means["r2"].tolist() == pytest.approx([0.2, 0.2, 0.9, 0.9])
    assert means["r2_se"].tolist() == pytest.approx([0.1, 0.1, 0.07, 0.07])
    kinds = [errors_of(analysis, means.reset_index()) for analysis in means.index.unique(0)]
    assert kinds == [
        "Mean of 2 subjects; error bars are ± 1 SE over subjects.",
        "One subject; error bars are ± 1 SE over images.",
    ]


def test_a_region_of_one_subject_has_no_error_among_those_of_several():
    rows = {"analysis": "prompts", "roi": ["V1v", "V1v", "OFA"], "spaces": "A", "names": "llava", "r2_se": 0.07}
    means = shares_over_subjects(pd.DataFrame(rows | {"subject": [1, 2, 1], "r2": 0.1, "cv_r2": 0.1}))
    assert means["r2_se"].tolist() == pytest.approx([0, np.nan], nan_ok=True)
    assert means[["n_subjects", "n_possible"]].to_numpy().tolist() == [[2, 2], [1, 2]]


def test_shares_are_the_parts_of_the_selected_subjects_and_regions(tmp_path):
    for subject in (1, 2):
        folder = tmp_path / f"alignment/subj{subject:02d}/variance_partitioning/prompts"
        folder.mkdir(parents=True)
        rows = {"kind": ["model", "part"], "roi": "V1v", "r2": [0.5, 0.1]}
        atlas = {"kind": "part", "roi": [f"HCP_MMP1:V{n}" for n in range(180)], "r2": 0.2}
        table = pd.concat([pd.DataFrame(rows), pd.DataFrame(atlas)]).assign(subject=subject)
        table.to_parquet(folder / "shares.parquet")
    assert read_shares(tmp_path, Selection())[["subject", "r2"]].to_numpy().tolist() == [[1, 0.1], [2, 0.1]]
    asked = read_shares(tmp_path, Selection(subject=(2,), roi=("HCP_MMP1:V1",)))
    assert asked[["subject", "r2"]].to_numpy().tolist() == [[2, 0.2]]


def test_each_subject_is_a_dot_on_the_bar_of_a_part_and_a_row_of_its_file(tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(FigureFolder, "save", lambda self, figure, words, *data: saved.append((figure, *data)))
    rows = {"analysis": "prompts", "roi": "V1v", "spaces": ["A", "A", "B", "B"], "names": "llava"}
    rows |= {"subject": [1, 2] * 2, "r2": [0.1, 0.3, -0.2, 0.0], "cv_r2": 0.1}
    means = shares_over_subjects(pd.DataFrame(rows))
    variance_bars("prompts", means, ["V1v"], FigureFolder(tmp_path))
    ((figure, values, legend),) = saved
    dots = [line.get_xdata().tolist() for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert dots == [[0.1, 0.3], [-0.2, 0.0]]
    assert "subject" in legend
    assert values[["spaces", "subject", "r2"]].to_numpy().tolist() == [
        *(["A", "mean", pytest.approx(0.2)], ["B", "mean", -0.1]),
        *(["A", "1", 0.1], ["A", "2", 0.3], ["B", "1", -0.2], ["B", "2", 0.0]),
    ]


def test_of_one_subject_shares_keep_their_own_error():
    rows = {"analysis": "prompts", "roi": "V1v", "spaces": ["A"], "names": "llava", "subject": [1], "r2_se": 0.07}
    assert shares_over_subjects(pd.DataFrame(rows | {"r2": 0.1, "cv_r2": 0.1}))["r2_se"].tolist() == [0.07]
