import json

import h5py
import nibabel
import numpy as np
import pytest
from scipy.io import loadmat

from brain_activity_prediction.datasets.nsd.design import read_design, stimulus_rows
from brain_activity_prediction.datasets.nsd.nsd import find_nsd
from brain_activity_prediction.datasets.nsd.regions import region_masks
from brain_activity_prediction.datasets.responses import prepare_responses
from brain_activity_prediction.demo.simulation import (
    REGIONS,
    noise_ceiling_r,
    simulate_anatomy,
    simulate_session,
    simulate_signals,
)


def test_the_identities_of_nsds_design_hold(official_nsd):
    layout = find_nsd(official_nsd)
    variables = loadmat(layout.design())
    subjectim, shared = variables["subjectim"], variables["sharedix"]
    assert subjectim.shape == (8, 40)
    assert shared.shape == (1, 12)
    assert (np.diff(shared) > 0).all()
    assert (subjectim[:, :12] == shared).all()
    assert np.unique(subjectim).size == 12 + 8 * 28
    assert subjectim.min() >= 1
    with h5py.File(layout.stimuli()) as file:
        assert subjectim.max() <= len(file["imgBrick"]) == 12 + 8 * 28 + 10
    ordering = variables["masterordering"]
    assert ordering.shape == (1, 120)
    assert (np.bincount(ordering.astype(int).ravel())[1:] == 3).all()
    assert np.array_equal([1, 2, 3] @ variables["basiccnt"], [30] * 4)
    assert variables["stimpattern"].shape[:2] == (4, 12)
    assert np.array_equal(variables["stimpattern"].sum(axis=(1, 2)), [30] * 4)


def test_the_pictures_are_all_different_photographs(official_nsd):
    with h5py.File(find_nsd(official_nsd).stimuli()) as file:
        brick = file["imgBrick"][()]
    assert brick.dtype == np.uint8
    assert brick.shape[1:] == (24, 24, 3)
    assert np.unique(brick.reshape(len(brick), -1), axis=0).shape[0] == len(brick)
    assert brick.std(axis=(1, 2, 3)).min() > 1


def test_both_layouts_hold_the_same_pictures_and_volumes(official_nsd, flat_nsd):
    official, flat = find_nsd(official_nsd), find_nsd(flat_nsd)
    with h5py.File(official.stimuli()) as one, h5py.File(flat.stimuli()) as other:
        assert np.array_equal(one["imgBrick"], other["imgBrick"])
    betas = np.asarray(nibabel.load(official.betas(2, 4)).dataobj)
    with h5py.File(flat.betas(2, 4)) as file:
        assert np.array_equal(file["betas"][()].T, betas)
    assert betas.dtype == np.int16
    one, other = nibabel.load(official.ncsnr_file(1)), nibabel.load(flat.ncsnr_file(1))
    assert np.array_equal(one.get_fdata(), other.get_fdata(), equal_nan=True)


def test_the_planted_truth_is_written_beside_the_data(official_nsd):
    planted = json.loads((official_nsd / "planted.json").read_text())
    assert planted["V1v"] == {
        "source": "early",
        "snr": 1.0,
        "n_voxels": 50,
        "noise_ceiling_r": pytest.approx(0.75**0.5),
    }
    assert planted["RSC"] == {"source": None, "snr": 0.0, "n_voxels": 40, "noise_ceiling_r": 0.0}
    layout = find_nsd(official_nsd)
    responses = prepare_responses(layout, 1, cache_dir=official_nsd.parent / "cache")
    regions = region_masks(layout, 1, responses.units.mask)
    ncsnr = nibabel.load(layout.ncsnr_file(1)).get_fdata()[responses.units.mask]
    for name, truth in planted.items():
        assert regions[name].sum() == truth["n_voxels"]
        np.testing.assert_allclose(ncsnr[regions[name]], truth["snr"], atol=1e-6)


def test_the_signal_to_noise_ratio_of_the_trials_is_the_planted_one():
    rng = np.random.default_rng(0)
    features = {"early": rng.standard_normal((400, 6)), "late": rng.standard_normal((400, 3))}
    region_of_voxel = np.repeat(np.arange(len(REGIONS)), 40)
    signals = simulate_signals(REGIONS, region_of_voxel, features, rng)
    trials = [simulate_session(signals, rng) for _ in range(30)]
    zscored = np.stack([(t - t.mean(axis=0)) / t.std(axis=0) for t in trials])
    noise_variance = zscored.var(axis=0, ddof=1).mean(axis=0)
    snr = np.sqrt((1 - noise_variance).clip(0) / noise_variance)
    for index, region in enumerate(REGIONS):
        assert snr[region_of_voxel == index].mean() == pytest.approx(region.snr, abs=0.03)
    perfect = [
        np.corrcoef(signal, mean)[0, 1]
        for signal, mean in zip(signals.T, zscored[:3].mean(0).T, strict=True)
        if signal.any()
    ]
    expected = [noise_ceiling_r(REGIONS[region].snr) for region in region_of_voxel if REGIONS[region].source]
    assert np.mean(perfect) == pytest.approx(np.mean(expected), abs=0.01)


def test_sessions_differ_in_gain_and_offset_so_that_zscoring_them_matters(official_nsd):
    layout = find_nsd(official_nsd)
    fitted = nibabel.load(layout.nsdgeneral(1)).get_fdata() == 1
    sessions = [nibabel.load(layout.betas(1, n)).get_fdata()[fitted] / 300 for n in (1, 2)]
    ratio = sessions[0].std(axis=1) / sessions[1].std(axis=1)
    assert ratio.max() > 1.5
    assert ratio.min() < 0.67
    assert np.abs(sessions[0].mean(axis=1) - sessions[1].mean(axis=1)).max() > 1


def test_voxels_follow_their_own_source_on_the_images_the_design_names(official_nsd):
    """The chain from picture to design to betas, from nothing of the generator but its pictures."""
    layout = find_nsd(official_nsd)
    responses = prepare_responses(layout, 1, cache_dir=official_nsd.parent / "cache")
    with h5py.File(layout.stimuli()) as file:
        pictures = file["imgBrick"][stimulus_rows(responses.image_ids)] / 255
    sources = {
        "early": np.abs(np.diff(pictures, axis=2)).mean(axis=(1, 2)),
        "late": pictures.mean(axis=(1, 2)),
    }
    regions = region_masks(layout, 1, responses.units.mask)
    explained = {
        (source, name): _explained(features, responses.betas[:, regions[name]])
        for source, features in sources.items()
        for name in ("V1v", "PPA", "RSC")
    }
    assert explained["early", "V1v"] > 0.6 > 0.5 > explained["late", "V1v"]
    assert explained["late", "PPA"] > 0.6 > 0.5 > explained["early", "PPA"]
    assert max(explained["early", "RSC"], explained["late", "RSC"]) < 0.2


def _explained(features, betas):
    """Share of the voxels' variance that an intercept and the features explain by least squares."""
    predictors = np.column_stack([np.ones(len(features)), features])
    residual = betas - predictors @ np.linalg.lstsq(predictors, betas, rcond=None)[0]
    return 1 - residual.var() / betas.var()


def test_subjects_share_pictures_and_trial_order_but_not_their_own_images(official_nsd):
    design = read_design(find_nsd(official_nsd).design())
    common = np.intersect1d(design.image_ids(1), design.image_ids(2))
    assert np.array_equal(common, design.shared_ids)


def test_the_brain_grows_with_the_regions():
    many = REGIONS * 10
    nsdgeneral, region_of_voxel = simulate_anatomy(many)
    assert (nsdgeneral == 1).sum() == 10 * 300 + 30
    assert np.bincount(region_of_voxel[nsdgeneral == 1] + 1)[1:].tolist() == [r.n_voxels for r in many]
