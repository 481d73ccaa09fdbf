"""Sentences of the report: numbers from its tables, and nothing that the tables lack."""

import pandas as pd
import pytest

from brain_activity_prediction.report.tables import findings

ROWS = {
    "model_id": ["org/a", "org/b"] * 2,
    "roi": ["nsdgeneral"] * 2 + ["V1v"] * 2,
    "r": [0.3, 0.2, 0.4, 0.5],
    "r_se": 0.01,
    "r_normalised_all_voxels": [0.6, 0.4, 0.7, 0.8],
    "cv_score": [0.1, 0.1, 0.2, 0.2],
    "n_subjects": 2,
    "n_tested": [2, 2, 2, 0],
    "n_significant": [2, 2, 1, 0],
    "complete": True,
}


@pytest.fixture
def scores():
    return pd.DataFrame(ROWS)


def test_how_well_names_the_highest_mean_with_its_error_ceiling_and_range(scores):
    text = findings.how_well(scores, "subjects")
    assert text.startswith("Over all fitted voxels, org/a predicts held-out responses best: mean r is 0.300")
    assert "(SE 0.010 over subjects), 0.60 of the noise ceiling. The 2 models range from 0.200 to 0.300." in text


def test_a_model_that_lacks_subjects_is_not_called_the_best(scores):
    scores.loc[0, "complete"] = False
    text = findings.how_well(scores, "subjects")
    assert "org/b predicts held-out responses with a mean r of 0.200" in text
    assert "org/a" not in text


def test_without_errors_and_ceilings_the_sentence_has_neither(scores):
    text = findings.how_well(scores.assign(r_se=float("nan"), r_normalised_all_voxels=float("nan")), "")
    assert "mean r is 0.300. The" in text


def test_where_counts_regions_that_are_significant_in_every_subject(scores):
    text = findings.where(scores)
    assert text == (
        "By training scores, org/a is best in V1v; held-out r is 0.400 there. "
        "It is above chance (q < 0.05) in every subject in 0 of 1 region."
    )


def test_which_layer_gives_the_best_models_choice_and_the_range_of_depths(scores):
    choices = pd.DataFrame(
        {"model_id": ["org/a", "org/b"], "roi": "nsdgeneral", "stream": "language", "layers": ["3, 4", "9"]}
    ).assign(depth=[0.5, 0.75], n_subjects=2)
    assert findings.which_layer(choices, scores) == (
        "Over all fitted voxels, training images choose layers 3, 4 of language for org/a (mean depth 0.50). "
        "The 2 models range from depth 0.50 to 0.75."
    )
    assert findings.which_layer(choices.assign(depth=0.5), scores).endswith("All 2 models have this depth.")
    assert findings.which_layer(choices.head(0), scores) == ""


def test_which_prompt_gives_the_extremes_of_each_model_among_complete_prompts(scores):
    rows = {"model_id": "org/a", "roi": "nsdgeneral", "prompt": [1, 2, 3], "r": [0.1, 0.3, 0.9]}
    by_prompt = pd.DataFrame(rows).assign(complete=[True, True, False])
    text = findings.which_prompt(by_prompt, scores)
    assert text.endswith(": org/a has 0.300 under prompt 2 and 0.100 under prompt 1.")
    assert findings.which_prompt(by_prompt.head(1), scores) == "Scores are of one prompt, 1."


def test_which_model_pairs_subjects_and_counts_regions(scores):
    table = pd.DataFrame(
        {"model_id": ["org/a", "org/b"] * 2, "subject": [1, 1, 2, 2], "r": [0.4, 0.2, 0.2, 0.2]}
    ).assign(roi="nsdgeneral", protocol="standard", layer_choice="best_per_region", cv_score=0.1)
    assert findings.which_model(table, scores) == (
        "Over all fitted voxels, org/a leads org/b, the next, by 0.100 (SE 0.100, paired over 2 subjects). "
        "It has the highest mean r in 0 of 1 region."
    )


def test_shared_parts_are_those_of_all_voxels_and_sum_to_the_joint_r2():
    shares = pd.DataFrame(
        {"analysis": "two", "roi": "nsdgeneral", "spaces": ["A", "B", "A+B"], "r2": [0.1, -0.02, 0.05]}
    )
    assert findings.what_is_shared(shares) == (
        "Over all fitted voxels, the feature spaces of two predict R² = 0.130 together: "
        "A alone 0.100, B alone −0.020, shared by A+B 0.050."
    )


def test_without_tests_or_ceilings_trust_says_so():
    table = pd.DataFrame({"protocol": ["standard"], "layer_choice": "best_per_region", "roi": "V1v", "subject": 1})
    text = findings.can_it_be_trusted(table.assign(q=float("nan"), r=0.1), {1: 12, 2: 15}, 1)
    assert text == "No score was tested for significance. Scores are from 12 to 15 held-out images. 1 item is missing."
