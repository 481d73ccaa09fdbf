"""A folder of scores belongs to a setting once its first scores are there, not before."""

import json

import numpy as np
import pytest
from two_layers import FOLDER, align, read_scores

from brain_activity_prediction.encoding import encode
from brain_activity_prediction.encoding.scores.score_store import QUANTITIES, ScoreStore
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.variance_partitioning.share_store import QUANTITIES as OF_WEIGHTINGS
from brain_activity_prediction.variance_partitioning.share_store import WeightingScores

SCORES = {name: np.ones(3) for name in QUANTITIES}
FEW, MANY = {"num_alphas": 5}, {"num_alphas": 20}


def test_a_fit_that_fails_at_its_first_layer_leaves_the_folder_to_any_setting(ready, monkeypatch):
    def fail(*_, **__):
        raise InputError("memory does not hold a layer")

    with monkeypatch.context() as during:
        during.setattr(encode, "ridge_cv", fail)
        with pytest.raises(InputError, match="does not hold"):
            align(during, ready, "--num-alphas", 5)
    align(monkeypatch, ready, "--num-alphas", 4)
    assert read_scores(ready)["layer"].nunique() == 2
    assert json.loads((ready / FOLDER / "settings.json").read_text())["num_alphas"] == 4
    with pytest.raises(InputError, match="holds scores made with num_alphas = 4, but this run has 5"):
        align(monkeypatch, ready, "--num-alphas", 5)


def layers(folder):
    results = ScoreStore(folder)
    return results.claim, lambda: results.write("vision", 0, 1, SCORES)


def weightings(folder):
    scores = WeightingScores(folder, np.array([[1.0, 1.0]]))
    return lambda settings: scores.claim(settings, redo=False), lambda: scores.write(
        0, dict.fromkeys(OF_WEIGHTINGS, np.ones(3))
    )


@pytest.mark.parametrize("kind", [layers, weightings])
def test_a_folder_without_scores_is_free_and_one_with_scores_is_not(kind, tmp_path):
    for settings in (FEW, MANY):
        claim, write = kind(tmp_path)
        claim(settings)
    write()
    with pytest.raises(InputError, match="num_alphas = 20, but this run has 5"):
        kind(tmp_path)[0](FEW)


@pytest.mark.parametrize("kind", [layers, weightings])
def test_scores_are_never_written_under_settings_that_another_process_claimed(kind, tmp_path):
    claim, write = kind(tmp_path)
    claim(FEW)
    kind(tmp_path)[0](MANY)
    with pytest.raises(
        InputError, match=r"another process is writing scores in .* num_alphas = 20, but this run has 5"
    ):
        write()
    assert not list(tmp_path.rglob("*.h5"))
