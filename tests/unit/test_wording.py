"""Messages agree with their counts and suggest what was meant."""

import pytest

from brain_activity_prediction.runtime.wording import are, count, did_you_mean, no_such_path


def test_a_count_agrees_with_its_noun_and_its_verb():
    assert [f"{count(n, 'layer')} {are(n)} left" for n in (0, 1, 1200)] == [
        "0 layers are left",
        "1 layer is left",
        "1,200 layers are left",
    ]
    assert count(2, "analysis", "analyses") == "2 analyses"


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("langauge", "language"),
        ("V1", "V1v or V1d"),
        ("ffa1", "FFA-1"),
        ("prf_visualrois", "prf-visualrois"),
        ("8bits", None),
        ("", None),
    ],
)
def test_a_near_miss_of_a_name_is_answered_with_the_name(word, meant):
    known = ["language", "vision", "V1v", "V1d", "hV4", "FFA-1", "FFA-2", "prf-visualrois"]
    assert did_you_mean(word, known) == (f" (did you mean {meant}?)" if meant else "")


def test_a_misspelt_folder_or_file_is_answered_with_the_one_beside_it(tmp_path):
    (tmp_path / "nsd_data").mkdir()
    (tmp_path / "nsd_data" / "captions.csv").touch()
    for wrong, right in (("nsd_dta", "nsd_data"), ("nsd-data/x/y", "nsd_data"), ("nsd_data/caption.csv",) * 2):
        said = no_such_path(tmp_path / wrong)
        right = right.replace("caption.", "captions.")
        assert said == f"{tmp_path / wrong} does not exist (did you mean {tmp_path / right}?)"
    assert no_such_path(tmp_path / "elsewhere") == f"{tmp_path / 'elsewhere'} does not exist"
