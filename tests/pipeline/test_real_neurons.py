"""Real photographs, real weights and real neurons, through the commands that a lab with its own experiment uses."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scripts import run_here
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore

ROOT = Path(__file__).resolve().parents[2]
REAL_DATA = ROOT.parent / "shared" / "real_data"
BLOCKS = (2, 10, 15)  # three of the benchmark's six: an early one, a middle one and the last
N_IMAGES = 600  # half of the benchmark's
SAMPLING_ERROR = 0.03  # SD of a median over random splits into training and test images, 0.022 of twice as many


pytestmark = [
    pytest.mark.very_slow,
    pytest.mark.skipif(not REAL_DATA.is_dir(), reason=f"no recordings of macaque V4 at {REAL_DATA}"),
]


@pytest.fixture(scope="module")
def macaque(tmp_path_factory):
    """The names of benchmarks/macaque_v4.py, with `base_dir` as its commands leave it and what the alignment said."""
    names = SimpleNamespace(**runpy.run_path(str(ROOT / "benchmarks" / "macaque_v4.py")))
    names.base_dir, names.said = tmp_path_factory.mktemp("macaque"), []
    names.write_experiment(names.base_dir, *(part[:N_IMAGES] for part in names.read_session(REAL_DATA / "macaque_v4")))
    for _, *command in names.commands(names.base_dir, REAL_DATA / "efficientnet_lite0", BLOCKS):
        done = run_here(*command)
        assert done.returncode == 0, done.stderr
        names.said.append(done.stdout)
    return names


def plain_medians(base_dir):
    """The median r over the neurons by scikit-learn alone, from the features of each block."""
    store = EmbeddingStore(next((base_dir / "image_embeddings" / "own").glob("*/*")))
    names = pd.read_csv(base_dir / "trials.csv")["image"].to_numpy(str)
    is_test = np.isin(names, pd.read_csv(base_dir / "split.csv")["image"])
    responses = np.load(base_dir / "responses.npy")[:, ::2]  # without the shuffled ones
    medians = {}
    for block in BLOCKS:
        features = store.read_layer("vision_grid4", block + 1, names)
        ridge = make_pipeline(StandardScaler(), RidgeCV(np.logspace(0, 6, 13), alpha_per_target=True))
        predicted = ridge.fit(features[~is_test], responses[~is_test]).predict(features[is_test])
        observed = responses[is_test]
        r = [np.corrcoef(one, other)[0, 1] for one, other in zip(predicted.T, observed.T, strict=True)]
        medians[block] = np.median(r)
    return medians


def test_macaque_v4_is_best_predicted_from_middle_blocks_as_by_scikit_learn(macaque):
    assert "V4" in macaque.said[1]
    medians = macaque.medians(macaque.base_dir)
    neurons = {block: median for block, (median, _) in medians.items()}
    assert neurons == pytest.approx(plain_medians(macaque.base_dir), abs=0.015)
    assert neurons[10] > max(neurons[2], neurons[15])
    assert all(abs(shuffled) < 2 * SAMPLING_ERROR for _, shuffled in medians.values())


def test_a_middle_block_predicts_of_v4_what_an_early_one_does_and_more(macaque):
    """And each block by itself is fitted as the alignment fits it."""
    parts = macaque.shares(macaque.base_dir)
    early, middle, shared = (parts[spaces][0] for spaces in ("A", "B", "A+B"))
    assert min(shared, middle) > early + 0.05
    assert all(abs(shuffled) < 0.02 for _, shuffled in parts.values())

    table = pd.read_parquet(macaque.base_dir / "alignment/own/monkey/variance_partitioning/early_late/shares.parquet")
    results = macaque.ScoreStore(
        macaque.alignment_folder(macaque.place(macaque.base_dir), macaque.SUBJECT, macaque.MODEL_ID, None)
    )
    for spaces, block in (("A", macaque.EARLY), ("B", macaque.LATE)):
        rows = table[(table["kind"] == "model") & (table["spaces"] == spaces)].set_index("roi")
        aligned = results.read(macaque.STREAM, block + 1)["r2"].mean(dtype=float)
        assert rows.loc["all", "r2"] == pytest.approx(aligned, abs=1e-4)


@pytest.mark.exhaustive
def test_repeats_of_real_neurons_give_their_ceiling_and_scores_stay_below_it(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    repeats = SimpleNamespace(**runpy.run_path(str(ROOT / "benchmarks" / "macaque_repeats.py")))
    photographs, responses = repeats.read_session(REAL_DATA / "macaque_v4", "210325")
    repeats.write_experiment(tmp_path, photographs, responses)
    for _, *command in repeats.commands(tmp_path, REAL_DATA / "efficientnet_lite0"):
        done = run_here(*command)
        assert done.returncode == 0, done.stderr

    ceiling, reliability = repeats.ceilings(tmp_path), repeats.split_half_reliability(responses)
    assert np.abs(ceiling - reliability).max() < 0.02  # the reliability is of all images, the ceiling of those tested
    assert abs(np.mean(ceiling - reliability)) < 0.005

    best, shares = repeats.read_tables(tmp_path)
    neurons, shuffled = best.loc["V4"], best.loc["shuffled"]
    assert 0.5 < neurons["r_normalised"] < 1
    assert repeats.normalised(tmp_path).max() < 1 + 2 / np.sqrt(len(responses) // 5)  # SE of a correlation
    assert neurons["q"] < 0.01
    assert shuffled["q"] > 0.05
    assert abs(shuffled["r"]) < 3 * shuffled["r_se"]
    of_neurons, of_shuffled = repeats.significant_neurons(tmp_path)
    assert of_neurons > 0.9
    assert of_shuffled < 0.05 + 3 * np.sqrt(0.05 * 0.95 / len(ceiling))
    parts = shares["V4"]
    assert parts["A+B"] > parts["B"] > parts["A"] > 0  # V4 is more like the late block
    assert parts.sum() < np.mean(ceiling)
    assert shares["shuffled"].sum() < 0.01
    for name in ("scores.csv", "report.html", "figures/layers_vision_grid4_Other_regions.svg"):
        assert "V4" in (tmp_path / "report" / "own" / name).read_text()
