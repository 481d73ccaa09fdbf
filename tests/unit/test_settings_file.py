import json

import pandas as pd
import pytest
from scripts import ALIGN, run_here
from two_layers import MODEL

from brain_activity_prediction.encoding.scores.score_store import ScoreStore
from brain_activity_prediction.storage.folders import alignment_folder
from brain_activity_prediction.storage.settings_file import fingerprint, first_difference

FILE = "nsddata_betas/ppdata/subj01/func1pt8mm/betas_fithrf_GLMdenoise_RR/betas_session{:02d}.hdf5"


def made_from(**changed):
    """What responses of two sessions come from, with files changed by session."""
    sizes = {FILE.format(session): [100, changed.get(f"session_{session}", 7)] for session in (1, 2)}
    return {"format": 2, "sessions": [1, 2], "zscore": True, "nsd_expdesign.mat": [5, 5]} | sizes


def test_no_program_reads_a_fingerprint_as_a_number(tmp_path):
    """Of 1000 fingerprints of hexadecimal digits alone, some 45 are numbers to pandas, such as 009e9240."""
    prints = [fingerprint({"n": n}) for n in range(1000)]
    assert len(set(prints)) == 1000
    for one in prints:
        with pytest.raises(ValueError, match="could not convert"):
            float(one)
        (tmp_path / "table.csv").write_text(f"settings\n{one}\n")
        assert pd.read_csv(tmp_path / "table.csv")["settings"].tolist() == [one]


def test_a_fingerprint_follows_the_settings_and_not_the_files_they_were_made_from():
    settings = {"sessions": [1, 2], "responses": "ab"}
    assert fingerprint(settings) == fingerprint(settings | {"made_from": made_from()})
    assert fingerprint(settings) != fingerprint(settings | {"responses": "cd"})


@pytest.mark.parametrize(
    ("known", "wanted", "said"),
    [
        ({"sessions": [1]}, {"sessions": (1, 2)}, "sessions = [1], but this run has [1, 2]"),
        ({"zscore_sessions": True}, {"zscore_sessions": False}, "zscore_sessions = True, but this run has False"),
        (
            {"made_from": made_from()},
            {"made_from": made_from(session_2=8)},
            "other betas of session 2 (size, time of change or content)",
        ),
        ({"made_from": made_from()}, {}, "have changed"),
        ({"made_from": made_from()}, {"made_from": made_from() | {"format": 3}}, "another version prepared"),
        ({"made_from": made_from()}, {"made_from": made_from()}, "another version"),
        (
            {"made_from": made_from()},
            {"made_from": made_from() | {"test_images": "all"}},
            "another split into training and test images",
        ),
    ],
)
def test_where_responses_differ_the_reason_is_named_and_never_a_digest(known, wanted, said):
    difference = first_difference(known | {"responses": "ab"}, wanted | {"responses": "cd"})
    assert said in difference
    assert "ab" not in difference.replace("changed", "")
    assert "cd" not in difference


def test_where_a_models_states_are_of_other_weights_no_digest_is_named():
    known, wanted = ({"embeddings_weights": f"content {digest}", "criterion": "r2"} for digest in ("0a1b", "2c3d"))
    assert first_difference(known, wanted) == "states of other weights (embeddings_weights)"
    assert "criterion = mse" in first_difference(known | {"criterion": "mse"}, wanted)


def test_files_that_were_written_again_with_the_same_content_do_not_clash():
    known = {"responses": "ab", "made_from": made_from()}
    assert first_difference(known, known | {"made_from": made_from(session_1=9)}) is None


def align(base_dir, *more):
    return run_here(ALIGN, "-d", base_dir, "-m", MODEL, "-g", "cpu", "--num-alphas", 3, "--bootstrap", 0, *more)


def test_a_refused_alignment_names_sessions_or_the_file_of_betas_that_changed(ready):
    assert align(ready).returncode == 0
    settings = ScoreStore(alignment_folder(ready, 1, MODEL, None)).settings()
    refused = align(ready, "--sessions", 1, 2)
    assert refused.returncode == 2
    assert "sessions = [1, 2, 3, 4], but this run has [1, 2]" in refused.stderr
    first, second = (next(ready.rglob(f"subj01/**/betas_session0{session}.nii.gz")) for session in (1, 2))
    second.write_bytes(first.read_bytes())
    refused = align(ready)
    assert refused.returncode == 2
    assert "scores made with other betas of session 2 (size, time of change or content)" in refused.stderr
    assert settings["responses"] not in refused.stderr
    assert json.loads(json.dumps(settings)) == ScoreStore(alignment_folder(ready, 1, MODEL, None)).settings()
