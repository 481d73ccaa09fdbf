"""Tables of scores to tables over subjects: known answers on made-up scores."""

import re

import numpy as np
import pandas as pd
import pytest
from scipy.stats import false_discovery_control, ttest_1samp, ttest_rel

from brain_activity_prediction.cross_subject.ceiling_columns import with_cross_subject_ceiling
from brain_activity_prediction.cross_subject.group_statistics import MEANS, differences, means
from brain_activity_prediction.cross_subject.selected_scores import check_comparable
from brain_activity_prediction.report.tables.averages import region_scores
from brain_activity_prediction.runtime.errors import InputError

SUBJECTS = (1, 2, 5)
VIT = ("google/vit-huge-patch14-224-in21k", pd.NA, "vision")
LLAVA = ("llava-hf/llava-1.5-13b-hf", 3, "language")
R = {("V1v", 1): 0.5, ("V1v", 2): 0.6, ("V1v", 5): 0.4, ("RSC", 1): 0.01, ("RSC", 2): -0.03, ("RSC", 5): 0.05}
R |= {("OWFA", 1): 0.3, ("OWFA", 2): 0.1}  # not every subject has every region


def rows(condition, layer_choice, layer=None, less=0.0, r=R):
    """A row a subject and region, whose r is less by `less` times the subject's number; layers differ by subject."""
    of = dict(zip(("model_id", "prompt", "stream"), condition, strict=True))
    return [
        {"protocol": "standard", **of, "layer_choice": layer_choice, "layer": subject if layer is None else layer}
        | {"subject": subject, "roi": roi, **dict.fromkeys(MEANS[1:7], 0.1), "r": value - less * subject}
        for (roi, subject), value in r.items()
    ]


def table_of(*blocks):
    table = pd.DataFrame([row for block in blocks for row in block]).astype({"prompt": "Int64", "layer": "Int64"})
    made_with = {"sessions": "1 2", "zscore_sessions": True}
    return table.assign(cross_subject_r=np.nan, r_over_cross_subject_r=np.nan, predicted_from=None, **made_with)


@pytest.fixture
def scores():
    return table_of(rows(VIT, "best_per_region"), rows(LLAVA, "best_per_region", less=0.01), rows(VIT, "each", layer=4))


def values(roi):
    return [value for (name, _), value in R.items() if name == roi]


def test_every_condition_choice_and_region_is_one_row_with_any_layers(scores):
    table = means(scores)
    assert len(table) == 3 * 3
    assert not table.duplicated(["model_id", "layer_choice", "roi"]).any()
    assert table.loc[table["layer_choice"] == "best_per_region", "layer"].isna().all()
    assert (table.loc[table["layer_choice"] == "each", "layer"] == 4).all()


def test_a_region_is_averaged_over_the_subjects_that_have_it_with_one_sided_p(scores):
    table = means(scores).set_index(["model_id", "layer_choice", "roi"])
    for roi, subjects in (("V1v", "1 2 5"), ("RSC", "1 2 5"), ("OWFA", "1 2")):
        row, r = table.loc[(VIT[0], "best_per_region", roi)], values(roi)
        assert (row["n_subjects"], row["subjects"]) == (len(r), subjects)
        assert row["r"] == pytest.approx(np.mean(r))
        assert row["r_se"] == pytest.approx(np.std(r, ddof=1) / np.sqrt(len(r)))
        assert row["p_t"] == pytest.approx(ttest_1samp(r, 0, alternative="greater").pvalue)
    assert table.loc[(VIT[0], "best_per_region", "V1v"), "p_sign_flip"] == 1 / 8


def test_q_is_p_of_the_t_test_adjusted_over_the_rows_of_the_same_choice(scores):
    for _, own in means(scores).groupby("layer_choice"):
        np.testing.assert_allclose(own["q"], false_discovery_control(own["p_t"]))


def test_differences_are_of_the_first_less_the_second_within_subjects_and_two_sided(scores):
    table = differences(scores[scores["layer_choice"] == "best_per_region"]).set_index("roi")
    assert len(table) == 3
    assert (table["model_id_a"] == VIT[0]).all()
    assert (table["prompt_b"] == 3).all()
    for roi in ("V1v", "RSC", "OWFA"):
        subjects = [subject for name, subject in R if name == roi]
        other = [value - 0.01 * subject for value, subject in zip(values(roi), subjects, strict=True)]
        row, apart = table.loc[roi], 0.01 * np.array(subjects)
        assert row["n_subjects"] == len(subjects)
        assert row["difference"] == pytest.approx(apart.mean())
        assert row["se"] == pytest.approx(apart.std(ddof=1) / np.sqrt(len(subjects)))
        assert row["p_t"] == pytest.approx(ttest_rel(values(roi), other).pvalue)
        assert row["p_sign_flip"] == 2 / 2 ** len(subjects)
    np.testing.assert_allclose(table["q"], false_discovery_control(table["p_t"]))


def test_each_quantity_is_averaged_over_the_subjects_that_have_it(scores):
    """A subject with too low a ceiling has an r and no normalised one."""
    scores.loc[scores["subject"] == 2, ["noise_ceiling", "r_normalised_all_voxels", "r2_normalised"]] = np.nan
    scores["r_normalised_all_voxels"] += scores["subject"] / 10
    scores.loc[scores["roi"] == "RSC", "r_normalised_all_voxels"] = np.nan
    table = means(scores[scores["layer_choice"] == "best_per_region"]).set_index(["model_id", "roi"])
    row, normalised = table.loc[(VIT[0], "V1v")], np.array([0.1 + 0.1, 0.1 + 0.5])  # of subjects 1 and 5
    assert (row["n_subjects"], row["r_normalised_all_voxels_n"], row["noise_ceiling_n"]) == (3, 2, 2)
    assert row["r2_normalised_n"] == 2
    assert row["r_normalised_all_voxels"] == pytest.approx(normalised.mean())
    assert row["r_normalised_all_voxels_se"] == pytest.approx(normalised.std(ddof=1) / np.sqrt(2))
    assert row["r"] == pytest.approx(np.mean(values("V1v")))
    one = table.loc[(VIT[0], "OWFA")]  # subjects 1 and 2
    assert (one["n_subjects"], one["r_normalised_all_voxels_n"]) == (2, 1)
    assert one["r_normalised_all_voxels"] == pytest.approx(0.2)
    assert np.isnan(one["r_normalised_all_voxels_se"])
    assert table.loc[(VIT[0], "RSC"), "r_normalised_all_voxels_n"] == 0
    assert np.isnan(table.loc[(VIT[0], "RSC"), "r_normalised_all_voxels"])
    reported = region_scores(scores.assign(cv_score=0.0, q=np.nan, n_voxels=9)).set_index(["model_id", "roi"])
    for name in ("r", "r_se", "r_normalised_all_voxels", "noise_ceiling", "n_subjects"):
        pd.testing.assert_series_equal(reported[name].sort_index(), table[name].sort_index(), check_dtype=False)


def test_differences_between_conditions_are_also_given_over_the_ceiling(scores):
    scores = scores[scores["layer_choice"] == "best_per_region"]
    first, v1v = scores["model_id"] == VIT[0], scores["roi"] == "V1v"
    ratio = np.where(first, 0.2 * scores["subject"], 0.1)
    ratio[v1v & (scores["subject"] == 2)] = np.nan  # no signal in that subject
    table = differences(scores.assign(r_normalised_all_voxels=ratio)).set_index("roi")
    of_rsc = 0.2 * np.array(SUBJECTS) - 0.1
    assert table.loc["RSC", "difference_normalised"] == pytest.approx(of_rsc.mean())
    assert table.loc["RSC", "difference_normalised_se"] == pytest.approx(of_rsc.std(ddof=1) / np.sqrt(3))
    assert table.loc["V1v", "difference_normalised"] == pytest.approx((0.1 + 0.9) / 2)
    assert table["difference_normalised_n"].to_dict() == {"V1v": 2, "RSC": 3, "OWFA": 2}
    assert table["n_subjects"].to_dict() == {"V1v": 3, "RSC": 3, "OWFA": 2}


def test_conditions_are_compared_on_the_same_responses_of_a_subject_only(scores):
    alike = scores.assign(responses=scores["subject"].map({1: "a", 2: "b", 5: "c"}))
    check_comparable(alike)
    unlike = alike.assign(
        responses=alike["responses"].where((alike["model_id"] == VIT[0]) | (alike["subject"] != 5), "d")
    )
    with pytest.raises(InputError, match=r"prompt 3 language and google.* were scored on different responses"):
        check_comparable(unlike)


OF_CEILING = ["cross_subject_r", "r_over_cross_subject_r", "predicted_from"]


def write_ceiling(folder, **made_with):
    ceiling = {"subject": [1, 2, 1, 2], "roi": ["V1v", "V1v", "RSC", "RSC"], "cross_subject_r": [0.8, 0.5, 0.0, -0.1]}
    ceiling |= {"predicted_from": ["2", "1"] * 2, "sessions": "1 2", "zscore_sessions": True} | made_with
    pd.DataFrame(ceiling).to_parquet(folder / "cross_subject_ceiling.parquet")


@pytest.mark.parametrize(("name", "value"), [("sessions", "1"), ("zscore_sessions", False)])
def test_a_ceiling_of_other_responses_is_left_out_and_the_setting_is_named(scores, tmp_path, capsys, name, value):
    write_ceiling(tmp_path, **{name: value})
    unlike = with_cross_subject_ceiling(scores.drop(columns=OF_CEILING), tmp_path)
    assert unlike[OF_CEILING].isna().all(axis=None)
    assert re.search(rf"of subjects 1 2: .* {name} = {value}, align_model.py with ", capsys.readouterr().err)
    some = scores.assign(**{name: scores[name].where(scores["model_id"] == VIT[0], value)})
    found = with_cross_subject_ceiling(some.drop(columns=OF_CEILING), tmp_path).groupby("model_id")["cross_subject_r"]
    assert found.count().to_dict() == {VIT[0]: 0, LLAVA[0]: 4}


def test_the_table_says_from_which_others_each_subject_was_predicted(scores, tmp_path, capsys):
    write_ceiling(tmp_path)
    table = means(with_cross_subject_ceiling(scores.drop(columns=OF_CEILING), tmp_path))
    assert capsys.readouterr().err == ""
    of = table.groupby("roi")[["predicted_from", "cross_subject_r_n", "r_over_cross_subject_r_n"]].agg(set)
    assert of.loc["V1v"].tolist() == [{"2; 1"}, {2}, {2}]
    assert of.loc["RSC"].tolist() == [{"2; 1"}, {2}, {0}]
    assert of.loc["OWFA"].tolist() == [{None}, {0}, {0}]


def test_r_is_divided_by_what_other_brains_predict_where_that_is_above_0_and_known(scores, tmp_path):
    write_ceiling(tmp_path)
    found = with_cross_subject_ceiling(scores.drop(columns=OF_CEILING), tmp_path)
    assert len(found) == len(scores)
    found = found[(found["model_id"] == VIT[0]) & (found["layer_choice"] == "each")].set_index(["roi", "subject"])
    ratio = found["r_over_cross_subject_r"]
    assert ratio[("V1v", 1)] == pytest.approx(0.5 / 0.8)
    assert ratio[("V1v", 2)] == pytest.approx(0.6 / 0.5)
    assert ratio.drop([("V1v", 1), ("V1v", 2)]).isna().all()
    assert found.loc[("RSC", 2), "cross_subject_r"] == -0.1
    assert with_cross_subject_ceiling(scores, tmp_path / "none")["cross_subject_r"].isna().all()
