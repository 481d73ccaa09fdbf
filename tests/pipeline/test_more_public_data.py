"""Further sections of the page of public data: their code makes experiments of files as their authors publish them."""

import io
import sys
import tarfile
from types import SimpleNamespace

import h5py
import nibabel
import numpy as np
import pandas as pd
from PIL import Image
from public_data import experiment

RNG = np.random.default_rng(0)


def members(regions):
    return {name: np.flatnonzero(inside).tolist() for name, inside in regions.items()}


def test_volumes_of_things(tmp_path, monkeypatch):
    mask = RNG.random((3, 4, 2)) < 0.5
    (tmp_path / "brainmasks").mkdir()
    image = nibabel.Nifti1Image(mask.astype(np.uint8), np.diag([2.0, 2, 2, 1]))
    nibabel.save(image, tmp_path / "brainmasks/sub-01_space-T1w_brainmask.nii.gz")
    betas = {}
    for session, run, names in ((1, 1, "acb"), (1, 2, "bca"), (10, 1, "cda")):  # c is a catch trial
        folder = tmp_path / f"betas_vol/sub-01/ses-things{session:02}"
        folder.mkdir(parents=True, exist_ok=True)
        stem = f"sub-01_ses-things{session:02}_run-{run:02}"
        betas[session, run] = RNG.standard_normal((3, 4, 2, 3))
        nibabel.save(nibabel.Nifti1Image(betas[session, run], np.diag([2.0, 2, 2, 1])), folder / f"{stem}_betas.nii.gz")
        files = ["catch1.jpg" if name == "c" else f"{name}/{name}_01b.jpg" for name in names]
        (folder / f"{stem}_conditions.tsv").write_text("\n".join(["image_filename", *files]) + "\n")
    dataset = experiment("THINGS-fMRI", tmp_path, monkeypatch)
    assert dataset.trials.images.tolist() == [f"{name}/{name}_01b.jpg" for name in "abbada"]
    assert dataset.sessions("sub-01") == [1, 10]
    assert dataset.test_images("sub-01").tolist() == ["a/a_01b.jpg", "b/b_01b.jpg"]
    units = dataset.units("sub-01")
    np.testing.assert_array_equal(units.mask, mask)
    found = dataset.read_session("sub-01", 1, units)
    np.testing.assert_allclose(found[1], betas[1, 1][mask][:, 2], rtol=1e-6)
    np.testing.assert_allclose(found[3], betas[1, 2][mask][:, 2], rtol=1e-6)


class Epochs:
    """A stand-in for MNE's epochs."""

    def __init__(self, signal, metadata):
        self.signal, self.metadata = signal, metadata
        self.times = np.round(np.arange(-20, 261) / 200, 3)  # -100 to 1300 ms at 200 Hz

    def get_data(self):
        return self.signal


def test_meg_of_things(tmp_path, monkeypatch):
    paths = ["images_meg/dog/dog_01b.jpg", "images_test_meg/coat_rack_13s.jpg", "images_catch_meg/catch.jpg"]
    table = pd.DataFrame(
        {"trial_type": ["exp", "test", "catch"] * 2, "session_nr": [1.0] * 3 + [2] * 3, "image_path": paths * 2}
    )
    signal = RNG.standard_normal((6, 3, 281))
    monkeypatch.setitem(sys.modules, "mne", SimpleNamespace(read_epochs=lambda path: Epochs(signal, table)))
    dataset = experiment("THINGS-MEG", tmp_path, monkeypatch)
    assert dataset.sessions("P1") == [1, 2]
    assert dataset.trials.images.tolist() == ["dog/dog_01b.jpg", "coat_rack/coat_rack_13s.jpg"] * 2
    assert dataset.test_images("P1").tolist() == ["coat_rack/coat_rack_13s.jpg"]
    units = dataset.units("P1")
    assert units.n == 3 * 10
    found = dataset.read_session("P1", 2, units)
    np.testing.assert_allclose(found[0, 10], signal[3, 1, 20:30].mean(), rtol=1e-5)  # sensor 1 from 0 to 45 ms
    np.testing.assert_allclose(found[1, -1], signal[4, 2, 110:120].mean(), rtol=1e-5)


def test_bdata_of_deeprecon(tmp_path, monkeypatch):
    keys, voxels = ["VoxelData", "ROI_V1", "stimulus_id"], RNG.standard_normal((5, 2))
    value = np.full((3, 3), np.nan)
    value[0, :2], value[1, :2], value[2, 2] = 1, [0, 1], 1
    numbers = np.array([1518878.005958, 1443537.022563, 1443537.022563, 1518878.005958, 1943899.024131])
    for part, rows in (("Training", slice(0, 2)), ("Test", slice(3, 5))):
        with h5py.File(tmp_path / f"sub-01_perceptionNaturalImage{part}_original_VC.h5", "w") as file:
            file["dataset"] = np.c_[voxels[rows], numbers[rows]]
            file["metadata/key"], file["metadata/value"] = np.array(keys, dtype="S"), value
    dataset = experiment("Deeprecon", tmp_path, monkeypatch)
    found = dataset.read_session("sub-01", 1, dataset.units("sub-01"))
    np.testing.assert_allclose(found, voxels[[0, 1, 3, 4]], rtol=1e-6)
    assert dataset.trials.images[[0, 3]].tolist() == ["n01518878_5958", "n01943899_24131"]
    assert dataset.test_images("sub-01").tolist() == ["n01518878_5958", "n01943899_24131"]
    assert members(dataset.regions("sub-01")) == {"all": [0, 1], "V1": [1]}


def test_betas_of_the_regions_of_bold5000(tmp_path, monkeypatch):
    betas = {"LHEarlyVis": RNG.standard_normal((6, 3)), "RHPPA": RNG.standard_normal((6, 2))}
    (tmp_path / "BOLD5000_GLMsingle_ROI_betas/py").mkdir(parents=True)
    for area, values in betas.items():
        name = f"CSI1_GLMbetas-TYPED-FITHRF-GLMDENOISE-RR_allses_{area}.npy"
        np.save(tmp_path / "BOLD5000_GLMsingle_ROI_betas/py" / name, values)
    lists = {"sess01/run01": "a.jpg b.JPEG", "sess01/run02": "rep_c.jpg rep_c.jpg", "sess02/run01": "rep_c.jpg d.jpg"}
    for name, images in lists.items():
        session, run = name.split("/")
        path = tmp_path / f"BOLD5000_Stimuli/Stimuli_Presentation_Lists/CSI1/CSI1_{session}/CSI1_{session}_{run}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(images.split()) + "\n")
    dataset = experiment("BOLD5000", tmp_path, monkeypatch)
    assert dataset.trials.images.tolist() == ["a.jpg", "b.JPEG", "c.jpg", "c.jpg", "c.jpg", "d.jpg"]
    assert dataset.test_images("CSI1").tolist() == ["c.jpg"]
    assert members(dataset.regions("CSI1")) == {"all": [0, 1, 2, 3, 4], "LHEarlyVis": [0, 1, 2], "RHPPA": [3, 4]}
    found = dataset.read_session("CSI1", 2, dataset.units("CSI1"))
    np.testing.assert_allclose(found, np.concatenate([*betas.values()], axis=1)[4:], rtol=1e-6)


def test_the_copy_of_nsd_for_mindeye2(tmp_path, monkeypatch):
    betas, pixels = RNG.standard_normal((1600, 4)).astype(np.float32), RNG.random((6, 3, 4, 4)).astype(np.float16)
    trials = {("train", 0): [(2, 0), (5, 751)], ("train", 1): [(2, 3)], ("new_test", 0): [(4, 750), (4, 1599)]}
    for (part, number), rows in trials.items():
        path = tmp_path / f"wds/subj01/{part}/{number}.tar"
        path.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(path, "w") as tar:
            for image, trial in rows:
                for kind, first in (("behav", image), ("past_behav", -1), ("future_behav", -1)):
                    content = io.BytesIO()
                    np.save(content, np.array([[first, 0, 0, 0, 0, trial, 0]], dtype=float))
                    member = tarfile.TarInfo(f"sample{trial:09}.{kind}.npy")
                    member.size = content.tell()
                    content.seek(0)
                    tar.addfile(member, content)
    with h5py.File(tmp_path / "betas_all_subj01_fp32_renorm.hdf5", "w") as file:
        file["betas"] = betas
    with h5py.File(tmp_path / "coco_images_224_float16.hdf5", "w") as file:
        file["images"] = pixels
    dataset = experiment("MindEye2", tmp_path, monkeypatch)
    assert dataset.trials.images.tolist() == ["00002.png", "00002.png", "00004.png", "00005.png", "00004.png"]
    assert dataset.trials.sessions.tolist() == [1, 1, 2, 2, 3]
    assert dataset.test_images("sub-01").tolist() == ["00004.png"]
    np.testing.assert_array_equal(dataset.read_session("sub-01", 2, dataset.units("sub-01")), betas[[750, 751]])
    with dataset.open_images() as images:
        shown = np.asarray(images.images(["00005.png"])[0])
    np.testing.assert_allclose(shown, 255 * np.moveaxis(pixels[5].astype(float), 0, -1), atol=0.51)


def test_neurons_of_majaj_and_hong(tmp_path, monkeypatch):
    ids, responses = ["9981a8", "0b2765", "9981a8"], RNG.standard_normal((2, 3, 1))
    (tmp_path / "DIR/images").mkdir(parents=True)
    names = [f"face0007_rx-20.231_tz+0.1_{one}_256x256.png" for one in ids[:2]]
    for name in names:
        Image.new("L", (4, 4)).save(tmp_path / "DIR/images" / name)

    class Data(dict):
        """A stand-in for xarray's array of neuroids x presentations x time bins."""

        def transpose(self, *axes):
            assert axes == ("presentation", "neuroid", "time_bin")
            return SimpleNamespace(values=responses.transpose(1, 0, 2))

    data = Data(image_id=SimpleNamespace(values=np.array(ids)), region=SimpleNamespace(values=np.array(["V4", "IT"])))
    opened = SimpleNamespace(open_dataset=lambda path: {"dicarlo.MajajHong2015.public": data})
    monkeypatch.setitem(sys.modules, "xarray", opened)
    dataset = experiment("Majaj", tmp_path, monkeypatch)
    assert dataset.trials.images.tolist() == [names[0], names[1], names[0]]
    np.testing.assert_allclose(
        dataset.read_session("monkeys", 1, dataset.units("monkeys")), responses[..., 0].T, rtol=1e-6
    )
    assert members(dataset.regions("monkeys")) == {"all": [0, 1], "V4": [0], "IT": [1]}


def test_calcium_responses_of_the_allen_brain_observatory(tmp_path, monkeypatch):
    traces, scenes = RNG.standard_normal((3, 200)), RNG.integers(0, 256, (2, 4, 6), dtype=np.uint8)
    table = pd.DataFrame({"frame": [1, -1, 0, 1], "start": [10, 17, 24, 150], "end": [17, 24, 31, 157]})
    data = SimpleNamespace(
        get_stimulus_table={"natural_scenes": table}.__getitem__,
        get_stimulus_template={"natural_scenes": scenes}.__getitem__,
        get_dff_traces=lambda: (np.arange(200) / 30, traces),
    )

    class Cache:
        def __init__(self, manifest_file):
            self.get_ophys_experiment_data = {501498760: data}.__getitem__

    monkeypatch.setitem(sys.modules, "allensdk", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "allensdk.core", SimpleNamespace())
    module = SimpleNamespace(BrainObservatoryCache=Cache)
    monkeypatch.setitem(sys.modules, "allensdk.core.brain_observatory_cache", module)
    dataset = experiment("Allen", tmp_path, monkeypatch)
    assert dataset.trials.images.tolist() == ["001.png", "000.png", "001.png"]
    (subject,) = dataset.subjects()
    found = dataset.read_session(subject, 1, dataset.units(subject))
    np.testing.assert_allclose(found[1], traces[:, 24:38].mean(axis=1), rtol=1e-6)
    with dataset.open_images() as images:
        np.testing.assert_array_equal(np.asarray(images.images(["001.png"])[0])[..., 0], scenes[1])
