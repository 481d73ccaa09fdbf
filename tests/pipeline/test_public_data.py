"""The page of public data of other kinds: its code makes experiments of files as their authors publish them."""

import re
import shlex

import h5py
import nibabel
import numpy as np
import pytest
from nibabel.cifti2 import BrainModelAxis, Cifti2Image, ScalarAxis
from public_data import CODE, experiment
from scipy.io import savemat

from brain_activity_prediction.datasets.find import find_dataset
from brain_activity_prediction.runtime.errors import InputError

RNG = np.random.default_rng(0)


def text_of_matlab(file, name):
    file[f"#refs#/{len(file['#refs#'])}"] = np.frombuffer(name.encode("utf-16-le"), np.uint16)[:, None]
    return file[f"#refs#/{len(file['#refs#']) - 1}"].ref


def test_spikes_of_tvsd(tmp_path, monkeypatch):
    train = ["dog/dog_01b.jpg", "cat/cat_02s.jpg", "cup/cup_03s.jpg"]
    test = ["ant/ant_01b.jpg", "bee/bee_01b.jpg"]
    (tmp_path / "monkeyF/_logs").mkdir(parents=True)
    with h5py.File(tmp_path / "monkeyF/_logs/things_imgs.mat", "w") as file:
        file.create_group("#refs#")
        for group, names in (("train_imgs", train), ("test_imgs", test)):
            references = np.array([text_of_matlab(file, name) for name in names], dtype=h5py.ref_dtype)
            file[f"{group}/things_path"] = references[None]
    responses, repeats = RNG.standard_normal((3, 1024)), RNG.standard_normal((4, 2, 1024))
    with h5py.File(tmp_path / "monkeyF/THINGS_normMUA.mat", "w") as file:
        file["train_MUA"], file["test_MUA_reps"], file["SNR"] = responses, repeats, np.ones((4, 1024))
    dataset = experiment("TVSD", tmp_path, monkeypatch)
    found = dataset.read_session("F", 1, dataset.units("F"))
    assert dataset.trials.images.tolist() == train + test * 4
    np.testing.assert_allclose(found[:3], responses, rtol=1e-6)
    np.testing.assert_allclose(found[4::2], repeats[:, 1], rtol=1e-6)
    assert dataset.test_images("F").tolist() == sorted(test)
    assert {name: inside.sum() for name, inside in dataset.regions("F").items()} == {
        "all": 1024,
        "V1": 512,
        "IT": 320,
        "V4": 192,
    }


def test_eeg_of_things(tmp_path, monkeypatch):
    """The authors' pickles are converted by the commands of the messages that refuse them."""
    eeg = {"training": RNG.standard_normal((3, 4, 2, 5)), "test": RNG.standard_normal((2, 80, 2, 5))}
    for part, responses in eeg.items():
        for number in range(len(responses)):
            path = tmp_path / f"{part}_images/0000{number}_x/x_{number}.jpg"
            path.parent.mkdir(parents=True)
            path.touch()
    experiment("THINGS-EEG2", tmp_path, monkeypatch)
    files = [tmp_path / f"DIR/responses/sub-01_ses-01_run-{run}.npy" for run in (1, 2)]
    for path, responses in zip(files, eeg.values(), strict=True):
        np.save(path, np.array({"preprocessed_eeg_data": responses, "ch_names": ["O1", "O2"]}))
    for path in files:
        with pytest.raises(InputError, match=f"{path.name} is not read: it is a pickle") as error:
            find_dataset(tmp_path / "DIR").units("sub-01")
        exec(shlex.split(re.search(r"python -c (.*), and move", str(error.value))[1])[0], {})
        path.unlink()
    dataset = find_dataset(tmp_path / "DIR")
    units = dataset.units("sub-01")
    found = dataset.read_session("sub-01", 1, units)
    assert dataset.trials.images[3:5].tolist() == ["training_images/00000_x/x_0.jpg", "training_images/00001_x/x_1.jpg"]
    np.testing.assert_allclose(found[5], eeg["training"][1, 1].ravel(), rtol=1e-6)
    np.testing.assert_allclose(found[-1], eeg["test"][1, 79].ravel(), rtol=1e-6)
    assert dataset.test_images("sub-01").tolist() == ["test_images/00000_x/x_0.jpg", "test_images/00001_x/x_1.jpg"]
    assert units.where(7) == "unit channel 1 time 2"


def test_betas_of_cneuromod(tmp_path, monkeypatch):
    mask = RNG.random((3, 4, 2)) < 0.5
    volumes = RNG.standard_normal((8, 3, 4, 2)).astype(np.float32)
    name = "sub-01_task-things_space-T1w_model-fitHrfGLMdenoiseRR_stats-trialBetas_statseries.h5"
    with h5py.File(tmp_path / name, "w") as file:
        file["mask_array"], file["mask_affine"] = mask.astype(float), np.diag([2.0, 2, 2, 1])
        for part, (session, run) in enumerate((("02", "01"), ("02", "02"), ("10", "01"), ("10", "02"))):
            file[f"{session}/{run}/betas"] = volumes[2 * part : 2 * part + 2, mask]
            path = tmp_path / f"sourcedata/things/sub-01/ses-0{session}/func"
            path.mkdir(parents=True, exist_ok=True)
            rows = [f"{9 - k}\t3\timages/cat/cat_{2 * part + 1 - k:02}s.jpg" for k in (0, 1)]
            events = path / f"sub-01_ses-0{session}_task-things_run-{int(run)}_events.tsv"
            events.write_text("\n".join(["onset\tduration\timage_path", *rows]))
    dataset = experiment("CNeuroMod", tmp_path, monkeypatch)
    units = dataset.units("sub-01")
    np.testing.assert_array_equal(units.mask, mask)
    assert dataset.trials.images.tolist() == [f"cat/cat_{k:02}s.jpg" for k in range(8)]
    assert dataset.sessions("sub-01") == [2, 10]
    np.testing.assert_array_equal(dataset.read_session("sub-01", 10, units), volumes[4:, mask])


def test_betas_of_nod(tmp_path, monkeypatch):
    axis = BrainModelAxis.from_mask(np.ones(5, bool), name="CORTEX_LEFT")
    for run in (1, 2, 10):
        stem = f"ses-imagenet01_task-imagenet_run-{run}"
        folder = tmp_path / "derivatives/ciftify/sub-01/results" / stem
        folder.mkdir(parents=True)
        image = Cifti2Image(np.full((2, 5), run, np.float32), (ScalarAxis(["a", "b"]), axis))
        nibabel.save(image, folder / f"{stem}_beta.dscalar.nii")
        events = tmp_path / f"sub-01/ses-imagenet01/func/sub-01_ses-imagenet01_task-imagenet_run-{run:02}_events.tsv"
        events.parent.mkdir(parents=True, exist_ok=True)
        rows = [f"0\t1\t7\timagenet/n0{run}/n0{run}_{k}.JPEG" for k in (0, 1)]
        events.write_text("\n".join(["onset\tduration\ttrial_type\tstim_file", *rows]))
    dataset = experiment("NOD", tmp_path, monkeypatch)
    units = dataset.units("sub-01")
    assert units.noun == "grayordinate"
    assert dataset.read_session("sub-01", 1, units)[:, 0].tolist() == [1, 1, 2, 2, 10, 10]
    assert dataset.trials.images[-1] == "imagenet/n010/n010_1.JPEG"


def test_bdata_of_generic_object_decoding(tmp_path, monkeypatch):
    voxels = RNG.standard_normal((4, 3))
    labels = np.array([[1, 1518878.005958], [1, 13111881.000054], [2, 1443537.022563], [3, 1443537.022563]])
    keys = ["VoxelData", "ROI_V1", "ROI_FFA", "DataType", "stimulus_id"]
    value = np.full((5, 5), np.nan)
    value[0, :3], value[1, :3], value[2, :3], value[3, 3], value[4, 4] = 1, [1, 1, 0], [0, 0, 1], 1, 1
    with h5py.File(tmp_path / "Subject1.h5", "w") as file:
        file["dataset"] = np.c_[voxels, labels]
        file["metadata/key"], file["metadata/value"] = np.array(keys, dtype="S"), value
    dataset = experiment("BData", tmp_path, monkeypatch)
    found = dataset.read_session("Subject1", 1, dataset.units("Subject1"))
    np.testing.assert_allclose(found, voxels[:3], rtol=1e-6)
    assert dataset.trials.images.tolist() == ["n01518878_5958", "n13111881_54", "n01443537_22563"]
    assert dataset.test_images("Subject1").tolist() == ["n01443537_22563"]
    regions = dataset.regions("Subject1")
    assert {name: np.flatnonzero(inside).tolist() for name, inside in regions.items()} == {
        "all": [0, 1, 2],
        "V1": [0, 1],
        "FFA": [2],
    }


def test_estimated_responses_of_vim_1(tmp_path, monkeypatch):
    train, test = np.arange(48).reshape(3, 4, 4) / 47 - 0.5, np.full((2, 4, 4), 0.1)
    savemat(tmp_path / "Stimuli.mat", {"stimTrn": train.astype(np.float32), "stimVal": test.astype(np.float32)})
    responses = RNG.standard_normal((5, 3)).astype(np.float32)
    responses[:, 2] = np.nan
    with h5py.File(tmp_path / "EstimatedResponses.mat", "w") as file:
        file["dataTrnS1"], file["dataValS1"], file["roiS1"] = responses[:3], responses[3:], np.array([[1.0, 7, 0]])
    dataset = experiment("vim-1", tmp_path, monkeypatch)
    np.testing.assert_array_equal(dataset.read_session("S1", 1, dataset.units("S1")), responses)
    assert dataset.test_images("S1").tolist() == ["test_0000.png", "test_0001.png"]
    regions = dataset.regions("S1")
    assert {name: np.flatnonzero(inside).tolist() for name, inside in regions.items()} == {
        "all": [0, 1, 2],
        "V1": [0],
        "LatOcc": [1],
    }
    with dataset.open_images() as images:
        first, last = (np.asarray(image)[..., 0] for image in images.images(["train_0000.png", "train_0002.png"]))
    np.testing.assert_array_equal(first, np.rint(255 * np.arange(16) / 47).reshape(4, 4))
    assert last[-1, -1] == 255


def test_each_section_with_code_has_a_test():
    tested = ("TVSD", "THINGS-EEG2", "CNeuroMod", "NOD", "BData", "vim-1")
    # in test_more_public_data.py:
    tested += ("THINGS-MEG", "Deeprecon", "MindEye2", "Majaj", "BOLD5000", "Allen", "THINGS-fMRI")
    assert len(CODE) == len(tested)
    for title, code in CODE.items():
        assert title.startswith(tested)
        compile(code, title, "exec")
