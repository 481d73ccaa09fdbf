"""From rows of scores to the means that figures show."""

import numpy as np
import pandas as pd
import pytest
from reports import LLAVA, VIT, chosen_rows, of_one_and_of_four

from brain_activity_prediction.report.tables.averages import (
    at_a_glance,
    best_by_training,
    errors_over,
    layer_scores,
    over_subjects,
    region_scores,
)


def test_the_layer_is_chosen_by_the_training_score_not_by_test_images():
    rows = pd.DataFrame({"roi": ["V1v"] * 3, "layer": [0, 1, 2], "cv_score": [0.1, 0.3, 0.2], "r": [0.5, 0.2, 0.9]})
    assert best_by_training(rows, ["roi"])["layer"].tolist() == [1]


def test_bars_are_means_over_subjects_with_the_standard_error_of_the_mean(scored_rows):
    scores = region_scores(scored_rows).set_index(["model_id", "roi"])
    chosen = scored_rows[
        (scored_rows["layer_choice"] == "best_per_region")
        & (scored_rows["roi"] == "hV4")
        & (scored_rows["model_id"] == VIT)
    ]
    assert len(chosen) == 2
    bar = scores.loc[(VIT, "hV4")]
    assert bar["r"] == pytest.approx(chosen["r"].mean())
    assert bar["r_se"] == pytest.approx(abs(chosen["r"].iloc[0] - chosen["r"].iloc[1]) / 2)
    assert bar["n_subjects"] == 2


def test_curves_average_prompts_before_subjects_and_mark_one_layer(scored_rows):
    scores = layer_scores(scored_rows)
    of = (scores["model_id"] == LLAVA) & (scores["stream"] == "language") & (scores["roi"] == "V1v")
    assert scores.loc[of, "chosen"].sum() == 1
    each = scored_rows[
        (scored_rows["layer_choice"] == "each") & (scored_rows["stream"] == "language") & (scored_rows["roi"] == "V1v")
    ]
    expected = each[(each["model_id"] == LLAVA) & (each["layer"] == 2)]["r"].mean()  # as many prompts for both
    assert scores.loc[of & (scores["layer"] == 2), "r"].item() == pytest.approx(expected)


def test_significance_counts_subjects_below_the_level_and_gives_the_largest_q():
    rows = {"model_id": LLAVA, "roi": ["V1v"] * 3 + ["RSC"] * 3, "subject": [1, 2, 5] * 2, "r": 0.1}
    rows |= {
        "r_normalised_all_voxels": 0.2,
        "noise_ceiling": 0.3,
        "n_voxels": 40,
        "q": [0.01, 0.2, 0.049, np.nan, 0.05, 0.6],
    }
    table = over_subjects(pd.DataFrame(rows), ["model_id", "roi"], ["roi"]).set_index("roi")
    assert table.loc["V1v", ["n_subjects", "n_tested", "n_significant", "q"]].tolist() == [3, 3, 2, 0.2]
    assert table.loc["RSC", ["n_subjects", "n_tested", "n_significant", "q"]].tolist() == [3, 2, 0, 0.6]


def test_curves_weigh_subjects_alike_however_many_prompts_each_was_scored_under():
    rows = {"subject": [1, 1, 2], "prompt": [1, 2, 1], "r": [0.2, 0.4, 0.9], "cv_score": 0.1, "layer_choice": "each"}
    rows |= {"model_id": LLAVA, "stream": "language", "roi": "V1v", "layer": 3, "layer_position": 0.5}
    assert layer_scores(pd.DataFrame(rows))["r"].tolist() == pytest.approx([0.6])


def test_models_stand_best_first_with_the_region_that_they_fit_best_in_training():
    rows = {"model_id": ["a", "a", "a", "b", "b", "b"], "roi": ["nsdgeneral", "V1v", "hV4"] * 2, "subject": 1}
    table = chosen_rows(**rows, r=[0.2, 0.5, 0.3, 0.4, 0.5, 0.6], cv_score=[0.1, 0.3, 0.2, 0.1, 0.3, 0.2])
    glance = at_a_glance(table, region_scores(table))
    assert glance[["model_id", "r", "roi", "roi_r"]].to_numpy().tolist() == [
        ["b", 0.4, "V1v", 0.5],  # its held-out r is higher in hV4, which chooses nothing
        ["a", 0.2, "V1v", 0.5],
    ]


def test_a_region_without_responses_is_never_called_the_best():
    rows = {"model_id": "a", "roi": ["nsdgeneral", "V1v", "dead"], "subject": 1}
    table = chosen_rows(**rows, r=[0.2, 0.5, 0.0], cv_score=[-0.8, -0.7, 0.0])
    assert at_a_glance(table, region_scores(table))["roi"].tolist() == ["V1v"]


def test_errors_in_a_panel_are_over_subjects_or_over_photographs_and_not_both():
    table = chosen_rows(**of_one_and_of_four("model_id", "ab"))
    scores = region_scores(table)
    assert errors_over(scores) == "subjects"
    assert scores["r_se"].tolist() == pytest.approx([0.05, np.nan], nan_ok=True)
    alone = region_scores(table[table["subject"] == 1])
    assert errors_over(alone) == "images"
    assert alone["r_se"].tolist() == [0.07, 0.07]
    assert errors_over(region_scores(table[table["subject"] == 1].drop(columns="r_se"))) == ""
    apart = region_scores(table[(table["subject"] == 2) | (table["model_id"] == "b")])
    assert errors_over(apart) == "images"  # one subject each, though there are two
