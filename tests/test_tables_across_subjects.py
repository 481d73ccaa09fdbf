"""Tables of scores to tables over subjects: known answers on made-up scores."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import false_discovery_control, ttest_1samp, ttest_rel

from brain_activity_prediction.align_image_embeddings.across_subjects import (
    MEANS,
    differences,
    means,
    with_cross_subject_ceiling,
)

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
        | {"subject": subject, "roi": roi, **dict.fromkeys(MEANS[1:5], 0.1), "r": value - less * subject}
        for (roi, subject), value in r.items()
    ]


def table_of(*blocks):
    table = pd.DataFrame([row for block in blocks for row in block]).astype({"prompt": "Int64", "layer": "Int64"})
    return table.assign(cross_subject_r=np.nan, r_over_cross_subject_r=np.nan)


@pytest.fixture
def scores():
    return table_of(rows(VIT, "best_per_region"), rows(LLAVA, "best_per_region", less=0.01), rows(VIT, "each", layer=4))


def values(roi):
    return [value for (name, _), value in R.items() if name == roi]


def test_every_condition_choice_and_region_is_one_row_whatever_layer_each_subject_chose(scores):
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


def test_r_is_divided_by_what_other_brains_predict_where_that_is_above_0_and_known(scores, tmp_path):
    ceiling = {"subject": [1, 2, 1, 2], "roi": ["V1v", "V1v", "RSC", "RSC"], "cross_subject_r": [0.8, 0.5, 0.0, -0.1]}
    pd.DataFrame(ceiling).to_parquet(tmp_path / "cross_subject_ceiling.parquet")
    found = with_cross_subject_ceiling(scores.drop(columns=["cross_subject_r", "r_over_cross_subject_r"]), tmp_path)
    assert len(found) == len(scores)
    found = found[(found["model_id"] == VIT[0]) & (found["layer_choice"] == "each")].set_index(["roi", "subject"])
    ratio = found["r_over_cross_subject_r"]
    assert ratio[("V1v", 1)] == pytest.approx(0.5 / 0.8)
    assert ratio[("V1v", 2)] == pytest.approx(0.6 / 0.5)
    assert ratio.drop([("V1v", 1), ("V1v", 2)]).isna().all()
    assert found.loc[("RSC", 2), "cross_subject_r"] == -0.1
    assert with_cross_subject_ceiling(scores, tmp_path / "none")["cross_subject_r"].isna().all()
