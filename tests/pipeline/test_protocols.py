"""The study's own way of scoring: what it sets is said and recorded, and neither way overwrites the other."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import zscore
from two_layers import FOLDER, align

from brain_activity_prediction.datasets.nsd.design import read_design
from brain_activity_prediction.datasets.nsd.nsd import find_nsd
from brain_activity_prediction.datasets.responses import ResponseChoice, prepare_responses
from brain_activity_prediction.encoding.scores.score_store import ScoreStore
from brain_activity_prediction.ridge.ridge_cv import ridge_cv
from brain_activity_prediction.ridge.scores import pearson_r, r2_score
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore

pytestmark = pytest.mark.slow

PAPER = FOLDER.replace("alignment/", "alignment_paper/")


@pytest.fixture
def both(ready, monkeypatch):
    align(monkeypatch, ready)
    align(monkeypatch, ready, "--protocol", "paper")
    return ready


def plain(base_dir, layer):
    """r and R2 as the study computed them, written out: raw betas, train and test z-scored apart, one ridge a voxel."""
    layout = find_nsd(base_dir)
    responses = prepare_responses(layout, 1, ResponseChoice(zscore=False), base_dir / "plain")
    test = np.isin(responses.image_ids, read_design(layout.design()).shared_ids)
    store = EmbeddingStore(base_dir / "image_embeddings/no_prompt/test_two-layers")
    states = store.read_layer("vision", layer, responses.image_ids)
    (x, y), (x_test, y_test) = ([zscore(part[rows]) for part in (states, responses.betas)] for rows in (~test, test))
    predicted = ridge_cv(x, y, np.logspace(1, 4, 60), fit_intercept=False).predict(x_test).numpy()
    return pearson_r(y_test, predicted), r2_score(y_test, predicted)


def test_the_papers_scores_are_those_of_its_own_statistics_and_averages_over_layers(both):
    expected = [plain(both, layer) for layer in (0, 1)]
    for layer, (r, r2) in enumerate(expected):
        found = ScoreStore(both / PAPER).read("vision", layer)
        np.testing.assert_allclose(found["r"], r, atol=1e-4)
        np.testing.assert_allclose(found["r2"], r2, atol=1e-4)
    table = pd.read_csv(both / PAPER / "scores.csv").set_index(["layer_choice", "roi"])
    assert table.loc[("average", "nsdgeneral"), "r"] == pytest.approx(
        np.mean([r.mean() for r, _ in expected]), abs=1e-4
    )


def test_neither_protocol_overwrites_the_other_and_both_say_what_they_are(both):
    tables = [pd.read_csv(both / folder / "scores.csv") for folder in (FOLDER, PAPER)]
    assert [table["protocol"].unique().tolist() for table in tables] == [["standard"], ["paper"]]
    assert not np.allclose(tables[0]["r"], tables[1]["r"], atol=1e-3)
    recorded = [json.loads((both / folder / "settings.json").read_text()) for folder in (FOLDER, PAPER)]
    assert [settings["standardised_by"] for settings in recorded] == ["training images", "each set's own statistics"]
    assert [settings["zscore_sessions"] for settings in recorded] == [True, False]


def test_every_option_that_the_protocol_sets_is_said_and_another_value_refused(ready, monkeypatch, capsys):
    align(monkeypatch, ready, "--protocol", "paper", "--num-alphas", 60)
    output = capsys.readouterr()
    assert (
        "protocol paper: --min-log-10-alpha 1 --max-log-10-alpha 4 --num-alphas 60 --criterion neg_mean_squared_error "
        "--no-zscore-sessions --layers average, training and test images scaled by each set's own statistics"
    ) in output.err
    assert "layers: average" in output.out
    with pytest.raises(InputError, match="--protocol paper sets --num-alphas 60: remove that flag"):
        align(monkeypatch, ready, "--protocol", "paper", "--num-alphas", 7)
    with pytest.raises(InputError, match="--protocol paper sets --no-zscore-sessions"):
        align(monkeypatch, ready, "--protocol", "paper", "--zscore-sessions")
