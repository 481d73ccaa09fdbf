"""What the report's figures and tables make of the tables of analyses."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from brain_activity_prediction.align_image_embeddings.outputs.figures import COLOURS
from brain_activity_prediction.report import figures
from brain_activity_prediction.report.averages import (
    at_a_glance,
    errors_over,
    layer_scores,
    over_subjects,
    prompt_scores,
    region_scores,
)
from brain_activity_prediction.report.collecting import Scored
from brain_activity_prediction.report.comparable import made_otherwise
from brain_activity_prediction.report.further import further_tables
from brain_activity_prediction.report.page import cell
from brain_activity_prediction.report.selection import Selection
from brain_activity_prediction.report.variance import errors_of, read_shares, shares_over_subjects, spaces_of

LLAVA = "llava-hf/llava-1.5-13b-hf"
OF_TWO = {"n_subjects": 2, "n_ceiling": 2, "n_possible": 2, "complete": True}


def test_across_subjects_the_page_shows_the_chosen_layers_with_what_other_brains_predict(tmp_path):
    folder = tmp_path / "alignment/across_subjects"
    folder.mkdir(parents=True)
    rows = {"roi": ["V1v", "hV4", "V1v"], "layer_choice": ["each", "best_per_region", "best_per_region"]}
    table = pd.DataFrame(rows | {"r": [0.9, 0.5, 0.4], "cross_subject_r": 0.6, "q": [0.001, 0.04, 0.02]})
    table.to_parquet(folder / "scores.parquet")
    shown = further_tables(tmp_path, Selection())[0]
    assert [heading for heading, _ in shown.columns] == ["layers", "region", "r", "other brains r", "q"]
    assert shown.rows == [("best_per_region", "V1v", 0.4, 0.6, 0.02), ("best_per_region", "hV4", 0.5, 0.6, 0.04)]
    assert shown.n_rows == 2


def test_shares_are_averaged_over_subjects_whose_best_layers_differ():
    rows = {"analysis": "prompts", "roi": "V1v", "spaces": ["A", "A+B", "A", "A+B"], "subject": [1, 1, 2, 2]}
    names = ["llava layer 3", "llava layer 3 + vit layer 1", "llava layer 5", "llava layer 5 + vit layer 1"]
    means = shares_over_subjects(pd.DataFrame(rows | {"names": names, "r2": [0.1, 0.3, 0.3, 0.3], "cv_r2": 0.2}))
    assert means["spaces"].tolist() == ["A", "A+B"]
    assert means["r2"].tolist() == pytest.approx([0.2, 0.3])
    assert means["r2_se"].tolist() == pytest.approx([0.1, 0])
    assert means["n_subjects"].tolist() == [2, 2]
    assert spaces_of("prompts", means) == [("A", "llava layer 3; or llava layer 5")]


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
        "Mean of 2 subjects; lines are one standard error over subjects.",
        "One subject; lines are one standard error over photographs.",
    ]


def test_a_region_of_one_subject_has_no_error_among_those_of_several():
    rows = {"analysis": "prompts", "roi": ["V1v", "V1v", "OFA"], "spaces": "A", "names": "llava", "r2_se": 0.07}
    means = shares_over_subjects(pd.DataFrame(rows | {"subject": [1, 2, 1], "r2": 0.1, "cv_r2": 0.1}))
    assert means["r2_se"].tolist() == pytest.approx([0, np.nan], nan_ok=True)
    assert means[["n_subjects", "n_possible"]].to_numpy().tolist() == [[2, 2], [1, 2]]


def test_shares_are_the_parts_not_the_joint_fits_of_the_subjects_and_regions_asked_for(tmp_path):
    for subject in (1, 2):
        folder = tmp_path / f"alignment/subj{subject:02d}/variance_partitioning/prompts"
        folder.mkdir(parents=True)
        rows = {"kind": ["model", "part", "part"], "roi": ["V1v", "V1v", "HCP_MMP1:V1"], "r2": [0.5, 0.1, 0.2]}
        pd.DataFrame(rows | {"subject": subject}).to_parquet(folder / "shares.parquet")
    assert read_shares(tmp_path, Selection())[["subject", "r2"]].to_numpy().tolist() == [[1, 0.1], [2, 0.1]]
    asked = read_shares(tmp_path, Selection(subject=(2,), roi=("HCP_MMP1:V1",)))
    assert asked[["subject", "r2"]].to_numpy().tolist() == [[2, 0.2]]


def test_of_one_subject_shares_keep_their_own_error():
    rows = {"analysis": "prompts", "roi": "V1v", "spaces": ["A"], "names": "llava", "subject": [1], "r2_se": 0.07}
    assert shares_over_subjects(pd.DataFrame(rows | {"r2": 0.1, "cv_r2": 0.1}))["r2_se"].tolist() == [0.07]


def test_a_small_p_is_not_written_as_0():
    values = (0.0004, 0.0006, -0.0004, 0.25, 3.0, 7, None, "V1v")
    assert [*map(cell, values)] == ["< 0.001", "0.001", "−0.000", "0.250", "3", "7", "–", "V1v"]


def test_significance_over_subjects_is_the_number_of_subjects_below_the_level_and_the_largest_q():
    rows = {"model_id": LLAVA, "roi": ["V1v"] * 3 + ["RSC"] * 3, "subject": [1, 2, 5] * 2, "r": 0.1}
    rows |= {"r_normalised": 0.2, "noise_ceiling": 0.3, "n_voxels": 40, "q": [0.01, 0.2, 0.049, np.nan, 0.05, 0.6]}
    table = over_subjects(pd.DataFrame(rows), ["model_id", "roi"], ["roi"]).set_index("roi")
    assert table.loc["V1v", ["n_subjects", "n_tested", "n_significant", "q"]].tolist() == [3, 3, 2, 0.2]
    assert table.loc["RSC", ["n_subjects", "n_tested", "n_significant", "q"]].tolist() == [3, 2, 0, 0.6]


def test_curves_weigh_subjects_alike_however_many_prompts_each_was_scored_under():
    rows = {"subject": [1, 1, 2], "prompt": [1, 2, 1], "r": [0.2, 0.4, 0.9], "cv_score": 0.1, "layer_choice": "each"}
    rows |= {"model_id": LLAVA, "stream": "language", "roi": "V1v", "layer": 3, "layer_position": 0.5}
    assert layer_scores(pd.DataFrame(rows))["r"].tolist() == pytest.approx([0.6])


def chosen_rows(**columns):
    """Rows of chosen layers, with what the columns leave out."""
    rest = {"prompt": 3, "cv_score": 0.1, "r_normalised": 0.2, "n_voxels": 40, "q": 0.01, "stream": "language"}
    return pd.DataFrame(rest | {"protocol": "standard", "layer_choice": "best_per_region"} | columns)


def test_models_stand_best_first_with_the_region_that_they_fit_best_in_training():
    rows = {"model_id": ["a", "a", "a", "b", "b", "b"], "roi": ["nsdgeneral", "V1v", "hV4"] * 2, "subject": 1}
    table = chosen_rows(**rows, r=[0.2, 0.5, 0.3, 0.4, 0.5, 0.6], cv_score=[0.1, 0.3, 0.2, 0.1, 0.3, 0.2])
    glance = at_a_glance(table, region_scores(table))
    assert glance[["model_id", "r", "roi", "roi_r"]].to_numpy().tolist() == [
        ["b", 0.4, "V1v", 0.5],  # its held-out r is higher in hV4, which chooses nothing
        ["a", 0.2, "V1v", 0.5],
    ]


def of_one_and_of_four(name, values):
    """The first condition in subjects 1, 2, 5 and 7, the second in subject 1 alone, with a higher mean."""
    rows = {name: [*[values[0]] * 4, values[1]], "subject": [1, 2, 5, 7, 1], "r": [0.5, 0.3, 0.3, 0.3, 0.45]}
    return {"model_id": LLAVA, "roi": "nsdgeneral", "r_se": 0.07, "r_ceiling": 0.8} | rows


def test_a_model_of_fewer_subjects_stands_last_says_so_and_is_in_no_sentence_the_highest(panels, tmp_path):
    table = chosen_rows(**of_one_and_of_four("model_id", "ab"))
    scores = region_scores(table)
    glance = at_a_glance(table, scores)
    assert glance["model_id"].tolist() == ["a", "b"]
    assert glance[["n_subjects", "n_possible"]].to_numpy().tolist() == [[4, 4], [1, 4]]
    assert figures.highest(scores, "{model_id}") == "The highest is 0.35, a."
    figures.region_bars("All", ["nsdgeneral"], scores, ["a", "b"], tmp_path)
    assert [text.get_text() for text in panels[0].texts] == ["n = 1"]


def test_errors_in_a_panel_are_over_subjects_or_over_photographs_and_not_both():
    table = chosen_rows(**of_one_and_of_four("model_id", "ab"))
    scores = region_scores(table)
    assert errors_over(scores) == "subjects"
    assert scores["r_se"].tolist() == pytest.approx([0.05, np.nan], nan_ok=True)
    alone = region_scores(table[table["subject"] == 1])
    assert errors_over(alone) == "photographs"
    assert alone["r_se"].tolist() == [0.07, 0.07]
    assert errors_over(region_scores(table[table["subject"] == 1].drop(columns="r_se"))) == ""
    apart = region_scores(table[(table["subject"] == 2) | (table["model_id"] == "b")])
    assert errors_over(apart) == "photographs"  # one subject each, though there are two


def test_a_mean_of_normalised_scores_or_ceilings_knows_in_how_many_subjects_they_are(panels, tmp_path):
    rows = chosen_rows(model_id=LLAVA, roi="V1v", subject=[1, 2], r=0.3, r_normalised=[0.5, np.nan])
    scores = region_scores(rows.assign(r_ceiling=[0.6, np.nan]))
    assert scores[["n_subjects", "n_normalised", "n_ceiling"]].to_numpy().tolist() == [[2, 1, 1]]
    figures.region_bars("All", ["V1v"], scores, [LLAVA], tmp_path)
    figures.region_bars("All", ["V1v"], scores.assign(n_ceiling=2), [LLAVA], tmp_path)
    drawn = [[np.isfinite(line.get_xdata().astype(float)).all() for line in ceilings(panel)] for panel in panels]
    assert drawn == [[False], [True]]  # a ceiling of one subject is not held against a mean over two


def ceilings(panel):
    return [line for line in panel.lines if line.get_linestyle() == "--" and line.get_linewidth() == 1.4]


def test_bars_are_held_against_the_mean_r_of_a_perfect_model_in_their_own_subjects(panels, tmp_path):
    table = chosen_rows(**of_one_and_of_four("model_id", "ab") | {"r_ceiling": [0.8, 0.6, 0.6, 0.6, 0.8]})
    figures.region_bars("All", ["nsdgeneral"], region_scores(table.assign(noise_ceiling=0)), ["a", "b"], tmp_path)
    (line,) = ceilings(panels[0])
    assert line.get_xdata() == pytest.approx([0.65, 0.65, 0.8, 0.8])


def test_the_bold_prompt_is_one_of_all_subjects_and_another_says_of_how_many_it_is(panels, tmp_path):
    scores = prompt_scores(chosen_rows(**of_one_and_of_four("prompt", [1, 2])))
    figures.prompt_map(LLAVA, scores, ["nsdgeneral"], (0, 0.5), tmp_path)
    texts = [(text.get_text(), text.get_weight()) for text in panels[0].texts]
    assert texts == [(".35", "bold"), (".45", "normal"), ("1", "normal")]
    assert "The highest" not in figures.highest(scores[scores["prompt"] == 2], "prompt")


def test_a_model_s_best_prompt_is_bold_though_other_models_and_streams_have_more_subjects(panels, tmp_path):
    """Model b in subject 1 alone, its stream without a prompt in both subjects."""
    of_b = chosen_rows(
        model_id="b", roi="V1v", prompt=[1, 2, pd.NA, pd.NA], subject=[1, 1, 1, 2], r=[0.3, 0.4, 0.5, 0.5]
    )
    table = pd.concat([of_b, chosen_rows(model_id="a", roi="V1v", prompt=1, subject=[1, 2], r=0.6)])
    figures.prompt_map("b", prompt_scores(table.astype({"prompt": "Int64"})), ["V1v"], (0, 0.6), tmp_path)
    texts = [(text.get_text(), text.get_weight()) for text in panels[0].texts]
    assert texts == [(".30", "normal"), ("1", "normal"), (".40", "bold"), ("1", "normal"), (".50", "normal")]


def test_prompts_that_no_two_subjects_share_have_no_best(panels, tmp_path):
    table = chosen_rows(model_id=LLAVA, roi="V1v", prompt=[1, 2], subject=[1, 2], r=[0.3, 0.5])
    figures.prompt_map(LLAVA, prompt_scores(table), ["V1v"], (0, 0.5), tmp_path)
    assert {text.get_weight() for text in panels[0].texts} == {"normal"}


def test_a_region_that_some_subjects_lack_says_in_how_many_it_is():
    table = chosen_rows(model_id=LLAVA, roi=["V1v", "V1v", "OFA"], subject=[1, 2, 1], r=0.3)
    assert figures.region_labels(["V1v", "OFA"], region_scores(table)) == ["V1v", "OFA (n = 1)"]


def test_a_layer_of_fewer_subjects_or_prompts_is_in_no_line_and_not_chosen(panels, tmp_path):
    """Layer 1 is of subject 1 alone, layer 2 lacks a prompt."""
    rows = {"layer": [0, 0, 0, 1, 1, 2, 2, 3, 3, 3], "subject": [1, 1, 2, 1, 1, 1, 2, 1, 1, 2]}
    rows |= {"prompt": [1, 2, 1, 1, 2, 1, 1, 1, 2, 1], "cv_score": [0.1] * 3 + [0.9] * 4 + [0.2] * 3}
    rows |= {"r": 0.2, "model_id": LLAVA, "stream": "language", "roi": "V1v", "layer_choice": "each"}
    scores = layer_scores(pd.DataFrame(rows).assign(layer_position=np.array(rows["layer"]) / 3))
    assert scores["complete"].tolist() == [True, False, False, True]
    assert scores["chosen"].tolist() == [False, False, False, True]
    figures.layer_curves("language", "V1v", scores, [LLAVA], tmp_path)
    line, hollow = panels[0].lines[:2]
    assert np.isfinite(line.get_ydata()).tolist() == [True, False, False, True]
    assert hollow.get_xdata().tolist() == pytest.approx([1 / 3, 2 / 3])


def test_a_curve_of_fewer_subjects_than_others_says_of_how_many_it_is(panels, tmp_path):
    rows = {"model_id": ["a", "a", "b"] * 2, "subject": [1, 2, 1] * 2, "layer": [0] * 3 + [1] * 3, "r": 0.2}
    rows |= {"cv_score": 0.1, "prompt": 1, "stream": "language", "roi": "V1v", "layer_choice": "each"}
    scores = layer_scores(pd.DataFrame(rows).assign(layer_position=rows["layer"]))
    figures.layer_curves("language", "V1v", scores, ["a", "b"], tmp_path)
    assert [text.get_text() for text in panels[0].texts] == ["n = 1"]


def test_chosen_between_are_tables_whose_training_scores_are_alike():
    common = {"criterion": "neg_mean_squared_error", "zscore_sessions": True, "sessions": [1, 2], "responses": "aa"}
    common |= {"num_alphas": 60}

    def scored(prompt, subject=1, model=LLAVA, **settings):
        return Scored(Path(f"{subject}/{prompt}"), "standard", model, prompt, subject, common | settings)

    same = [scored(1), scored(2), scored(3), scored(1, subject=2, sessions=[1], responses="bb")]
    same.append(scored(9, model="vit", num_alphas=30))  # a model's features may need alphas of their own
    assert made_otherwise(same) == {}
    others = [
        *(scored(4, criterion="r2"), scored(5, sessions=[1], responses="cc"), scored(6, responses="dd")),
        *(scored(7, num_alphas=30), scored(2, subject=2, zscore_sessions=False), scored(3, subject=2, criterion="r2")),
    ]
    assert {one.folder.as_posix(): what.split(",")[0] for one, what in made_otherwise(same + others).items()} == {
        **{"1/4": 'criterion is "r2"', "1/5": "sessions is [1]", "1/6": 'responses is "dd"'},
        **{"1/7": "num_alphas is 30", "2/2": "zscore_sessions is false", "2/3": 'criterion is "r2"'},
    }
    assert made_otherwise([*same, Scored(Path("old"), "standard", LLAVA, 9, 1, {})]) == {}


@pytest.fixture
def panels(monkeypatch):
    """Every panel that is drawn."""
    drawn = []

    def draw(name, title, text, height, paint, folder, **_):
        drawn.append(Figure().add_subplot())
        paint(drawn[-1])

    monkeypatch.setattr(figures, "draw", draw)
    return drawn


def test_panels_of_a_kind_have_one_scale(panels, tmp_path):
    """RSC is of noise: on a scale of its own it would look like signal."""
    scores = pd.DataFrame({"roi": ["V1v", "RSC"], "model_id": LLAVA, "r": [0.6, 0.01], "r_se": [0.05, 0.02]})
    scores = scores.assign(r_ceiling=[0.9, 0.1], n_significant=[2, 0], **OF_TWO)
    for roi in ("V1v", "RSC"):
        figures.region_bars(roi, [roi], scores, [LLAVA], tmp_path)
    assert panels[0].get_xlim() == panels[1].get_xlim()
    assert panels[0].get_xlim()[1] > 0.9
    layers = [scores.assign(layer=n, layer_position=n, stream="language", chosen=n == 1) for n in (0, 1)]
    for roi in ("V1v", "RSC"):
        figures.layer_curves("language", roi, pd.concat(layers, ignore_index=True), [LLAVA], tmp_path)
    assert panels[2].get_ylim() == panels[3].get_ylim()
    assert panels[2].get_ylim()[1] > 0.65


def test_a_star_stands_beside_the_end_of_its_error_hollow_where_not_every_subject_has_it(panels, tmp_path):
    scores = pd.DataFrame({"roi": ["V1v", "V2v"], "model_id": LLAVA, "r": [0.6, 0.3], "r_se": [0.05, 0.05]})
    scores = scores.assign(r_ceiling=0.9, n_significant=[2, 1], **OF_TWO)
    figures.region_bars("Retinotopic areas", ["V1v", "V2v"], scores, [LLAVA], tmp_path)
    stars = [line for line in panels[0].lines if line.get_marker() == "*"]
    assert [line.get_markerfacecolor() == "none" for line in stars] == [False, True]
    for line, end in zip(stars, (0.65, 0.35), strict=True):
        at, error = (transform.transform((end, 0))[0] for transform in (line.get_transform(), panels[0].transData))
        assert at - error > 3  # pixels


def test_a_prompt_s_score_that_rounds_to_0_has_no_sign(panels, tmp_path):
    scores = pd.DataFrame({"model_id": LLAVA, "prompt": [1, 2], "roi": "RSC", "r": [-0.001, -0.02], **OF_TWO})
    figures.prompt_map(LLAVA, scores, ["RSC"], (-0.02, 0.5), tmp_path)
    assert [text.get_text() for text in panels[0].texts] == [".00", "-.02"]


# What becomes of linear RGB without one kind of cone (Machado, Oliveira & Fernandes 2009, severity 1).
SEEN_BY = {
    "all cones": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
XYZ_OF_RGB = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
WHITE = [0.95047, 1, 1.08883]


def linear_rgb(colours):
    rgb = np.array([[int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)] for colour in colours])
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def cielab(rgb):
    xyz = rgb @ np.transpose(XYZ_OF_RGB) / WHITE
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


@pytest.mark.parametrize(("who", "least"), [("all cones", 26), *((who, 16) for who in list(SEEN_BY)[1:])])
def test_any_two_colours_are_far_apart_whatever_cones_the_reader_has(who, least):
    """By distance in CIELAB, where 2.3 is just noticed."""
    seen = cielab(np.clip(linear_rgb(COLOURS) @ np.transpose(SEEN_BY[who]), 0, 1))
    assert min(np.linalg.norm(one - other) for one, other in combinations(seen, 2)) > least


def test_every_colour_stands_out_from_the_dark_page():
    """By the contrast that WCAG asks for of graphics, 3."""
    colours, panel = (linear_rgb(of) @ XYZ_OF_RGB[1] for of in (COLOURS, ["#1b1d22"]))
    assert ((colours + 0.05) / (panel + 0.05)).min() > 3
