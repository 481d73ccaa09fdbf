"""The command line of RSA and CKA, on a small simulated NSD."""

import numpy as np
import pandas as pd
import pytest
import torch
from analyses import similarities
from two_layers import FOLDER

from brain_activity_prediction.datasets.nsd.design import read_design
from brain_activity_prediction.datasets.nsd.nsd import find_nsd
from brain_activity_prediction.datasets.nsd.regions import region_masks
from brain_activity_prediction.datasets.responses import prepare_responses
from brain_activity_prediction.encoding import subject_data
from brain_activity_prediction.rsa import similarity_table
from brain_activity_prediction.rsa.similarity import centred_kernel, similarity
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore

pytestmark = pytest.mark.slow

STORE = "image_embeddings/no_prompt/test_two-layers"


def shared_ids(base_dir):
    return read_design(find_nsd(base_dir).design()).shared_ids


def test_the_table_is_tidy_and_the_same_in_both_formats(ready, monkeypatch):
    csv = similarities(monkeypatch, ready, "--permutations", 99)
    parquet = pd.read_parquet(ready / FOLDER / "similarity.parquet")
    assert tuple(csv.columns) == similarity_table.COLUMNS == tuple(parquet.columns)
    pd.testing.assert_frame_equal(csv, parquet, check_dtype=False)
    assert not csv.duplicated(["stream", "layer", "roi"]).any()
    assert csv["n_images"].unique().tolist() == [12]
    assert csv["layer_position"].unique().tolist() == [0, 1]
    assert csv["n_permutations"].unique().tolist() == [99]
    assert csv["n_sessions"].unique().tolist() == [4]
    responses = prepare_responses(find_nsd(ready), 1)
    repeats = responses.n_repeats[np.isin(responses.image_ids, shared_ids(ready))].mean()
    assert csv["test_repeats_mean"].unique() == pytest.approx([repeats])
    for measure in ("rsa", "cka"):
        assert (csv[f"{measure}_q"] >= csv[f"{measure}_p"]).all()


def test_each_region_is_most_similar_to_the_layer_that_drives_it(ready, monkeypatch):
    table = similarities(monkeypatch, ready, "--permutations", 199).set_index(["roi", "layer"])
    for region, own, other in (("V1v", 0, 1), ("V1d", 0, 1), ("FFA-1", 1, 0), ("PPA", 1, 0)):
        assert table.loc[(region, own), "cka"] > table.loc[(region, other), "cka"] + 0.1
        assert table.loc[(region, own), "cka_p"] < 0.05
    assert (table.loc["RSC", "cka_p"] > 0.05).all()


def test_states_and_responses_are_z_scored_over_the_shared_images(ready, monkeypatch):
    table = similarities(monkeypatch, ready).set_index(["roi", "layer"])
    responses = prepare_responses(find_nsd(ready), 1)
    rows = np.isin(responses.image_ids, shared_ids(ready))
    voxels = region_masks(find_nsd(ready), 1, responses.units.mask)["PPA"]
    states = EmbeddingStore(ready / STORE).read_layer("vision", 1, responses.image_ids[rows])
    pair = [
        centred_kernel(torch.from_numpy((x - x.mean(0)) / x.std(0)))[None]
        for x in (states.astype(np.float64), responses.betas[rows][:, voxels].astype(np.float64))
    ]
    assert table.loc[("PPA", 1), "cka"] == pytest.approx(float(similarity(*pair)), abs=1e-5)
    assert table.loc[("PPA", 1), "n_voxels"] == voxels.sum()
    assert table[["rsa_p", "rsa_q", "cka_p", "cka_q"]].isna().all(axis=None)


def test_only_states_of_shared_images_are_needed(ready, monkeypatch):
    before = similarities(monkeypatch, ready)
    states = EmbeddingStore(ready / STORE)
    layers = np.stack([states.read_layer("vision", layer, shared_ids(ready)) for layer in (0, 1)], axis=1)
    for path in (ready / STORE).glob("batch_*.h5"):
        path.unlink()
    states.write(shared_ids(ready)[1:], {"vision": layers[1:]})
    with pytest.raises(InputError, match="no vision states for 1 of 12 images"):
        similarities(monkeypatch, ready)
    states.write(shared_ids(ready)[:1], {"vision": layers[:1]})
    pd.testing.assert_frame_equal(before, similarities(monkeypatch, ready))


def test_ceilings_come_from_other_subjects(ready, monkeypatch):
    without = similarities(monkeypatch, ready)
    assert without[["rsa_ceiling", "cka_ceiling"]].isna().all(axis=None)
    table = similarities(monkeypatch, ready, "--ceiling-subjects", 2)
    pd.testing.assert_series_equal(table["cka"], without["cka"])
    assert (table["settings"] != without["settings"]).all()
    ceilings = table[table["layer"] == 0].set_index("roi")["cka_ceiling"]
    assert ceilings[["V1v", "V1d", "FFA-1", "PPA"]].min() > 0.5 > ceilings["RSC"]
    regions = []
    for subject in (1, 2):
        responses = prepare_responses(find_nsd(ready), subject)
        rows = np.isin(responses.image_ids, shared_ids(ready))
        voxels = region_masks(find_nsd(ready), subject, responses.units.mask)["PPA"]
        x = responses.betas[rows][:, voxels].astype(np.float64)
        regions.append(centred_kernel(torch.from_numpy((x - x.mean(0)) / x.std(0)))[None])
    assert ceilings["PPA"] == pytest.approx(float(similarity(*regions)), abs=1e-5)


def test_layers_and_regions_can_be_chosen(ready, monkeypatch):
    table = similarities(monkeypatch, ready, "-l", 1, "--roi", "floc-places")
    assert table["layer"].unique().tolist() == [1]
    assert table["roi"].tolist() == ["nsdgeneral", "PPA", "RSC"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("-l", 2), "has no layer 2: vision has 0 to 1"),
        (("--stream", "language"), "has no stream language; available: vision"),
        (("-m", "another/model"), "no hidden states of another/model"),
        (("-s", 7), "subject 7 has no betas"),
        (("--ceiling-subjects", 7), "subject 7 has no betas"),
        (("--ceiling-subjects", 1), "--ceiling-subjects 1 is also --subject"),
    ],
)
def test_a_mistake_is_one_line_before_any_work(ready, more, message, monkeypatch):
    monkeypatch.setattr(subject_data, "prepare_responses", lambda *_: pytest.fail("responses were read"))
    with pytest.raises(InputError, match=message) as raised:
        similarities(monkeypatch, ready, *more)
    assert "\n" not in str(raised.value)
