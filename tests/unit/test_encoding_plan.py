"""Planning an encoding run reads scores and changes none; discarding is an act of its own."""

import argparse
import ast
from types import SimpleNamespace

import numpy as np
import pytest
from scripts import PACKAGE
from two_layers import FOLDER, align

from brain_activity_prediction.align_image_embeddings import align_model
from brain_activity_prediction.encoding import encode, planning
from brain_activity_prediction.encoding.layers import open_layers
from brain_activity_prediction.encoding.scores.score_store import ScoreStore
from brain_activity_prediction.inference.region_statistics import StatisticsRequest
from brain_activity_prediction.runtime.errors import InputError

ROOMS = ("encoding", "rsa", "cross_subject", "variance_partitioning")
MODEL = "test/two-layers"


def flags(base_dir, *more):
    return ["-d", str(base_dir), "-m", MODEL, "-g", "cpu", *more]


@pytest.mark.slow
def test_planning_deletes_no_score_and_discarding_deletes_only_those_named(ready, monkeypatch):
    align(monkeypatch, ready, "--bootstrap", 9)
    store = ScoreStore(ready / FOLDER)
    for layer in (0, 1):
        store.keep_predictions("vision", layer, np.empty(0, int))
    layers = open_layers(ready, align_model.read_settings(flags(ready)).features)
    stores, statistics = {None: store}, StatisticsRequest({}, 0, 1, 9)
    before = {path: path.read_bytes() for path in (ready / FOLDER).rglob("*") if path.is_file()}
    missing = planning.missing_layers(layers, stores, statistics)
    unusable = planning.layers_without_predictions(layers, missing, stores, statistics)
    assert (missing, unusable) == ([], layers)
    assert before == {path: path.read_bytes() for path in (ready / FOLDER).rglob("*") if path.is_file()}
    planning.discard(layers[:1], stores)
    assert planning.missing_layers(layers, stores, statistics) == layers[:1]


@pytest.mark.slow
def test_finished_layers_are_looked_at_once_before_the_first_fit(ready, monkeypatch):
    align(monkeypatch, ready, "-l", 0)
    looked_at, has = [], ScoreStore.has

    def noting(store, stream, layer, statistics=None):
        looked_at.append(layer)
        return has(store, stream, layer, statistics)

    def first_fit(*_, **__):
        raise InputError("the first fit")

    monkeypatch.setattr(ScoreStore, "has", noting)
    monkeypatch.setattr(encode, "ridge_cv", first_fit)
    with pytest.raises(InputError, match="the first fit"):
        align(monkeypatch, ready)
    assert looked_at.count(0) == 1


def test_settings_record_the_same_names_as_version_1_0_0():
    settings = align_model.read_settings(flags("."))
    data = SimpleNamespace(recorded=lambda: {"sessions": (1,), "responses": "digest", "made_from": {}})
    recorded = settings.recorded(data, {"template": None, "made_from": {}})
    assert recorded == {
        "protocol": "standard",
        "min_log_10_alpha": 1,
        "max_log_10_alpha": 4,
        "num_alphas": 60,
        "criterion": "neg_mean_squared_error",
        "folds": 5,
        "sessions": (1,),
        "zscore_sessions": True,
        "standardised_by": "training images",
        "responses": "digest",
        "made_from": {},
        "embeddings_template": None,
    }


@pytest.mark.parametrize("room", ROOMS)
def test_no_parsed_flags_reach_a_room_below_the_scripts(room):
    for path in (PACKAGE / room).rglob("*.py"):
        names = {getattr(node, "attr", getattr(node, "id", "")) for node in ast.walk(ast.parse(path.read_text()))}
        assert not names & {argparse.Namespace.__name__, "arguments"}, path
