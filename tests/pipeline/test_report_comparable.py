"""Tables that were made otherwise than most are in no choice and no mean, and are named."""

import re
from pathlib import Path

import pandas as pd
import pytest
from reports import LLAVA, page_text, report

from brain_activity_prediction.report.tables.collecting import Scored
from brain_activity_prediction.report.tables.comparable import made_otherwise
from brain_activity_prediction.storage.settings_file import record_settings, recorded_settings

pytestmark = pytest.mark.slow


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
        **{"1/4": 'criterion is "r2"', "1/5": "sessions are 1"},
        "1/6": "made with other responses (same sessions and scaling: the files of betas",
        **{"1/7": "num_alphas is 30", "2/2": "zscore_sessions is false", "2/3": 'criterion is "r2"'},
    }
    assert made_otherwise([*same, Scored(Path("old"), "standard", LLAVA, 9, 1, {})]) == {}


def test_the_report_names_what_of_the_responses_differs_and_never_a_digest():
    def scored(prompt, digest, sessions=range(1, 41), **files):
        made_from = {"format": 4, "axes": [1, 2, 3], "nsddata/betas_session07.hdf5": [10, 5]} | files
        settings = {"sessions": list(sessions), "responses": digest, "made_from": made_from}
        return Scored(Path(str(prompt)), "standard", LLAVA, prompt, 1, settings)

    lacking_session_20 = scored(2, "ab12", [*range(1, 20), *range(21, 41)])
    others = [
        *(scored(1, "cd34", **{"nsddata/betas_session07.hdf5": [10, 6]}), lacking_session_20),
        *(scored(3, "ef56", axes=[3, 2, 1]), scored(4, "0a1b", format=3), scored(5, "2c3d")),
        scored(6, "4e5f", **{"nsddata/valid_session03.nii.gz": [1, 1]}),
    ]
    said = made_otherwise([*(scored(prompt, "9f8e") for prompt in range(7, 15)), *others])
    assert [said[one].removeprefix("made with ") for one in others] == [
        "other betas of session 7 (size, time of change or content)",
        "sessions are 1-19 21-40, 1-40 in most others",
        "axes = [3, 2, 1], but most others have [1, 2, 3]",
        "responses that another version prepared",
        "responses that another version prepared from the same files",
        "other valid voxels of session 3 (size, time of change or content)",
    ]


def test_what_was_aligned_with_another_criterion_is_named_and_in_no_figure(own_scored):
    """Its training scores, of another kind, would be the highest everywhere."""
    folder = own_scored / "alignment/subj01/prompt_2/llava-hf_llava-1.5-13b-hf"
    for path in own_scored.glob("alignment/*/*/*/settings.json"):
        known = recorded_settings(path.parent, "") | {"criterion": "neg_mean_squared_error"}
        record_settings(path.parent, known | ({"criterion": "r2"} if path.parent == folder else {}))
    table = pd.read_parquet(folder / "scores.parquet")
    table.assign(cv_score=table["cv_score"] + 2, r=0.987).to_parquet(folder / "scores.parquet")
    done = report(own_scored, "--roi", "V1v", "-s", 1)
    assert done.returncode == 0, done.stderr
    html = Path(done.stdout.strip()).read_text()
    missing = html.split('id="missing"')[1]
    assert "subject 1, prompt 2: <strong>left out, criterion is &#34;r2&#34;" in missing
    assert "0.98" not in html
    assert (pd.read_parquet(own_scored / "report/subject-1_roi-V1v/scores.parquet")["r"] == 0.987).any()
    assert "best_prompt_llava-hf_llava-1_5-13b-hf_subj01" not in html


@pytest.mark.parametrize(("setting", "value"), [("ncsnr", "nsd"), ("min_noise_ceiling", 0.3)])
def test_voxel_scores_divided_by_other_ceilings_are_left_out_region_scores_stay(own_scored, setting, value):
    """In subject 2 made otherwise than in subject 1, for both models: scores of all voxels depend on neither."""
    for path in own_scored.glob("alignment/subj*/*/*/scores.parquet"):
        pd.read_parquet(path).assign(r_ceiling=0.6, r_normalised_all_voxels=0.5).to_parquet(path)
    for path in own_scored.glob("alignment/subj02/*/*/scores.parquet"):
        pd.read_parquet(path).assign(**{setting: value}, r_normalised=9.0).to_parquet(path)
    text = page_text(report(own_scored, "--roi", "V1v"))
    assert f"4 of 8 tables were made with --{setting.replace('_', '-')} {value}, most with" in text
    assert "9.000" not in text
    of_one = re.findall(rf"V1v {LLAVA} [\d.]+ [\d.]+ ([\d.]+ \(n = 1\))? ?[\d.]+( \(n = 1\))? ", text)
    assert not any(of_one[0])
    assert "Both are over all voxels of the region" in text
