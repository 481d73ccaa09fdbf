"""What the report's figures draw of means over subjects."""

import numpy as np
import pandas as pd
import pytest
from reports import LLAVA, chosen_rows, of_one_and_of_four

from brain_activity_prediction.report.plots.drawing import FigureFolder
from brain_activity_prediction.report.plots.labels import highest, region_labels
from brain_activity_prediction.report.plots.layer_curves import layer_curves
from brain_activity_prediction.report.plots.prompt_maps import MARK, prompt_map
from brain_activity_prediction.report.plots.region_bars import region_bars
from brain_activity_prediction.report.tables.averages import at_a_glance, layer_scores, prompt_scores, region_scores

OF_TWO = {"n_subjects": 2, "n_normalised": 2, "n_ceiling": 2, "n_possible": 2, "complete": True} | {
    "n_tested": 2,
    "q": 0.01,
}
OLD = {"r_normalised_all_voxels": np.nan}  # tables of 1.0.0 have no such column


def test_a_model_with_fewer_subjects_comes_last_and_is_never_the_highest(panels, figures):
    table = chosen_rows(**of_one_and_of_four("model_id", "ab"), **OLD)
    scores = region_scores(table)
    glance = at_a_glance(table, scores)
    assert glance["model_id"].tolist() == ["a", "b"]
    assert glance[["n_subjects", "n_possible"]].to_numpy().tolist() == [[4, 4], [1, 4]]
    assert highest(scores, "{model_id}") == "The highest is 0.35, a."
    region_bars("All", ["nsdgeneral"], scores, ["a", "b"], figures)
    assert [text.get_text() for text in panels[0].texts] == ["n = 1"]


def test_means_of_normalised_scores_and_ceilings_count_their_subjects(panels, figures):
    rows = chosen_rows(model_id=LLAVA, roi="V1v", subject=[1, 2], r=0.3, r_normalised_all_voxels=[0.5, np.nan])
    scores = region_scores(rows.assign(r_ceiling=[0.6, np.nan]))
    assert scores[["n_subjects", "n_normalised", "n_ceiling"]].to_numpy().tolist() == [[2, 1, 1]]
    region_bars("All", ["V1v"], scores.assign(**OLD), [LLAVA], figures)
    region_bars("All", ["V1v"], scores.assign(n_ceiling=2, **OLD), [LLAVA], figures)
    drawn = [[np.isfinite(line.get_xdata().astype(float)).all() for line in ceilings(panel)] for panel in panels]
    assert drawn == [[False], [True]]  # a ceiling of one subject is not held against a mean over two


def test_regions_are_compared_by_r_over_the_ceiling_of_all_their_voxels(panels, figures):
    """V1v has the higher r, FFA the higher ratio; RSC has no signal to be held against."""
    ratio = [0.5, 0.7, 0.8, 0.8, np.nan, np.nan]
    rows = {"roi": ["V1v", "V1v", "FFA", "FFA", "RSC", "RSC"], "subject": [1, 2] * 3, "r": [0.4, 0.4, 0.2, 0.2, 0, 0]}
    table = chosen_rows(model_id=LLAVA, **rows, r_normalised_all_voxels=ratio, r_ceiling=0.6)
    region_bars("All", ["V1v", "FFA", "RSC"], region_scores(table), [LLAVA], figures)
    (panel,) = panels
    assert [bar.get_width() for bar in panel.patches[:2]] == pytest.approx([0.6, 0.8])
    (error,) = panel.collections[0].get_segments()[:1]
    assert np.ptp(error[:, 0]) == pytest.approx(2 * 0.1)  # of 0.5 and 0.7
    assert [text.get_text() for text in panel.texts] == ["no r / ceiling"]
    assert "r / noise ceiling" in panel.get_xlabel()
    assert panel.get_xlim()[1] > 1


def test_of_one_subject_a_ratio_has_its_own_error_over_images(panels, figures):
    table = chosen_rows(model_id=LLAVA, roi="V1v", subject=1, r=0.3, r_se=0.05, r_normalised_all_voxels_se=[0.125])
    region_bars("All", ["V1v"], region_scores(table), [LLAVA], figures)
    (error,) = panels[0].collections[0].get_segments()
    assert error[:, 0].tolist() == pytest.approx([0.075, 0.325])


def ceilings(panel):
    return [line for line in panel.lines if line.get_linestyle() == "--" and line.get_linewidth() == 1.0]


def test_bars_are_held_against_the_mean_r_of_a_perfect_model_in_their_own_subjects(panels, figures):
    table = chosen_rows(**of_one_and_of_four("model_id", "ab") | {"r_ceiling": [0.8, 0.6, 0.6, 0.6, 0.8]}, **OLD)
    region_bars("All", ["nsdgeneral"], region_scores(table.assign(noise_ceiling=0)), ["a", "b"], figures)
    (line,) = ceilings(panels[0])
    assert line.get_xdata() == pytest.approx([0.65, 0.65, 0.8, 0.8])


def test_prompts_are_marked_if_significant_and_show_n_if_subjects_lack(panels, figures):
    scores = prompt_scores(chosen_rows(**of_one_and_of_four("prompt", [1, 2])))
    prompt_map(LLAVA, scores, ["nsdgeneral"], {1: "caption"}, {("nsdgeneral", 1)}, figures)
    assert [text.get_text() for text in panels[0].texts] == [MARK, "n=1"]
    assert [text.get_text() for text in panels[0].get_xticklabels()] == ["caption", "prompt 2"]
    assert "The highest" not in highest(scores[scores["prompt"] == 2], "prompt")


def test_a_region_that_some_subjects_lack_says_in_how_many_it_is():
    table = chosen_rows(model_id=LLAVA, roi=["V1v", "V1v", "OFA"], subject=[1, 2, 1], r=0.3)
    assert region_labels(["V1v", "OFA"], region_scores(table)) == ["V1v", "OFA (n = 1)"]


def test_a_layer_of_fewer_subjects_or_prompts_is_in_no_line_and_not_chosen(panels, figures):
    """Layer 1 is of subject 1 alone, layer 2 lacks a prompt."""
    rows = {"layer": [0, 0, 0, 1, 1, 2, 2, 3, 3, 3], "subject": [1, 1, 2, 1, 1, 1, 2, 1, 1, 2]}
    rows |= {"prompt": [1, 2, 1, 1, 2, 1, 1, 1, 2, 1], "cv_score": [0.1] * 3 + [0.9] * 4 + [0.2] * 3}
    rows |= {"r": 0.2, "model_id": LLAVA, "stream": "language", "roi": "V1v", "layer_choice": "each"}
    scores = layer_scores(pd.DataFrame(rows).assign(layer_position=np.array(rows["layer"]) / 3))
    assert scores["complete"].tolist() == [True, False, False, True]
    assert scores["chosen"].tolist() == [False, False, False, True]
    layer_curves("language", "Retinotopic areas", ["V1v"], scores, [LLAVA], figures)
    line, hollow = panels[0].lines[:2]
    assert np.isfinite(line.get_ydata()).tolist() == [True, False, False, True]
    assert hollow.get_xdata().tolist() == pytest.approx([1 / 3, 2 / 3])


def test_a_curve_of_fewer_subjects_than_others_says_of_how_many_it_is(panels, figures):
    rows = {"model_id": ["a", "a", "b"] * 2, "subject": [1, 2, 1] * 2, "layer": [0] * 3 + [1] * 3, "r": 0.2}
    rows |= {"cv_score": 0.1, "prompt": 1, "stream": "language", "roi": "V1v", "layer_choice": "each"}
    scores = layer_scores(pd.DataFrame(rows).assign(layer_position=rows["layer"]))
    layer_curves("language", "Retinotopic areas", ["V1v"], scores, ["a", "b"], figures)
    assert [text.get_text() for text in panels[0].texts] == ["n = 1"]


@pytest.fixture
def figures(tmp_path):
    return FigureFolder(tmp_path)


@pytest.fixture
def panels(monkeypatch):
    """The first panel of every figure that would be saved."""
    drawn = []
    monkeypatch.setattr(FigureFolder, "save", lambda self, figure, *words: drawn.append(figure.axes[0]))
    return drawn


def test_panels_of_a_kind_have_one_scale(panels, figures):
    """RSC is of noise: on a scale of its own it would look like signal."""
    scores = pd.DataFrame({"roi": ["V1v", "RSC"], "model_id": LLAVA, "r": [0.6, 0.01], "r_se": [0.05, 0.02]})
    scores = scores.assign(
        r_ceiling=[0.9, 0.1],
        n_significant=[2, 0],
        of_subjects=[((1, 0.6, np.nan),), ((1, 0.01, np.nan),)],
        **OF_TWO,
        **OLD,
    )
    for roi in ("V1v", "RSC"):
        region_bars(roi, [roi], scores, [LLAVA], figures)
    assert panels[0].get_xlim() == panels[1].get_xlim()
    assert panels[0].get_xlim()[1] > 0.9
    layers = [scores.assign(layer=n, layer_position=n, stream="language", chosen=n == 1) for n in (0, 1)]
    layers = pd.concat(layers, ignore_index=True)
    for roi in ("V1v", "RSC"):
        layer_curves("language", roi, [roi], layers, [LLAVA], figures)
    assert panels[2].get_ylim() == panels[3].get_ylim()
    assert panels[2].get_ylim()[1] > 0.65


def test_a_star_follows_its_error_bar_hollow_where_not_every_subject_has_it(panels, figures):
    scores = pd.DataFrame({"roi": ["V1v", "V2v"], "model_id": LLAVA, "r": [0.6, 0.3], "r_se": [0.05, 0.05]})
    scores = scores.assign(r_ceiling=0.9, n_significant=[2, 1], of_subjects=[()] * 2, **OF_TWO, **OLD)
    region_bars("Retinotopic areas", ["V1v", "V2v"], scores, [LLAVA], figures)
    stars = [line for line in panels[0].lines if line.get_marker() == "*"]
    assert [line.get_markerfacecolor() == "none" for line in stars] == [False, True]
    for line, end in zip(stars, (0.65, 0.35), strict=True):
        at, error = (transform.transform((end, 0))[0] for transform in (line.get_transform(), panels[0].transData))
        assert at - error > 3  # pixels


# What becomes of linear RGB without one kind of cone (Machado, Oliveira & Fernandes 2009, severity 1).


def test_each_subject_is_a_dot_on_its_bar(panels, figures):
    table = chosen_rows(model_id=LLAVA, roi="V1v", subject=[1, 2], r=[0.2, 0.4], **OLD)
    region_bars("All", ["V1v"], region_scores(table), [LLAVA], figures)
    dots = [line for line in panels[0].lines if line.get_marker() == "o"]
    assert [dot.get_xdata().tolist() for dot in dots] == [[0.2, 0.4]]


def test_the_regions_of_a_single_model_share_a_panel_with_their_ceilings(panels, figures):
    layers = pd.DataFrame({"roi": ["V1v"] * 2 + ["RSC"] * 2, "layer": [0, 1] * 2, "r": [0.1, 0.2, 0.0, 0.1]})
    layers = layers.assign(stream="language", model_id=LLAVA, layer_position=layers["layer"], r_se=0.05, chosen=False)
    layers = layers.assign(r_ceiling=[0.6, 0.6, 0.3, 0.3], **OF_TWO)
    layer_curves("language", "two", ["V1v", "RSC"], layers, [LLAVA], figures)
    (panel,) = panels
    assert panel.lines[0].get_ydata().tolist() == [0.1, 0.2]
    horizontal = [line.get_ydata()[0] for line in panel.lines if len(set(line.get_ydata())) == 1]
    assert {0.6, 0.3} <= set(horizontal)
    assert panel.get_ylim()[1] > 0.6


def test_more_regions_than_colours_have_panels_of_their_own(panels, figures):
    n = len(figures.style.colours) + 1
    names = [f"region {number}" for number in range(n)]
    layers = pd.DataFrame(
        {"roi": np.repeat(names, 2), "layer": [0, 1] * n, "r": np.arange(2 * n) / 100, "r_se": np.nan}
    )
    layers = layers.assign(stream="language", model_id=LLAVA, layer_position=layers["layer"], chosen=False)
    layer_curves("language", "many", names, layers.assign(r_ceiling=np.nan, **OF_TWO), [LLAVA], figures)
    titled = [panel.get_title(loc="left") for panel in panels[0].figure.axes]
    assert titled[:n] == names
    assert panels[0].lines[0].get_ydata().tolist() == [0, 0.01]


def test_long_names_of_regions_push_no_label_beyond_the_figure(tmp_path, monkeypatch):
    monkeypatch.setattr("brain_activity_prediction.report.plots.drawing.PNG_DPI", 10)
    drawn = []
    figures = FigureFolder(tmp_path, run=lambda write, figure, *rest: drawn.append(figure) or write(figure, *rest))
    long = "a_region_of_a_lab_with_a_long_name"
    scores = region_scores(chosen_rows(model_id=LLAVA, roi=[long], subject=1, r=0.3, r_se=0.01))
    region_bars("All", [long], scores, [LLAVA], figures)
    (figure,) = drawn
    label = figure.axes[0].xaxis.label
    assert label.get_text() == "r / noise ceiling on held-out images"
    assert label.get_window_extent().x1 <= figure.bbox.x1
