"""Files of responses as other programs and public datasets write them: read, or refused with a command that works."""

import re
import shlex

import h5py
import nibabel
import numpy as np
import pandas as pd
import pytest
import scipy.io
from nibabel.cifti2 import BrainModelAxis, Cifti2Image, ParcelsAxis, ScalarAxis, SeriesAxis

from brain_activity_prediction.check_data import check_data
from brain_activity_prediction.datasets.find import find_dataset
from brain_activity_prediction.runtime.errors import InputError

N_TRIALS, N_UNITS, N_CHANNELS, N_TIMES = 12, 10, 5, 2
RESPONSES = np.random.default_rng(0).standard_normal((N_TRIALS, N_UNITS)).astype(np.float32)
SURFACE = BrainModelAxis.from_mask(np.ones(2 * N_UNITS, bool), name="CORTEX_LEFT")
PARCELS = ParcelsAxis.from_brain_models([(f"P{k}", SURFACE[2 * k : 2 * k + 2]) for k in range(N_UNITS)])


@pytest.fixture
def folder(tmp_path):
    rows = [f"sub-01,1,image_{number % 6}.png" for number in range(N_TRIALS)]
    (tmp_path / "trials.csv").write_text("\n".join(["subject,session,image", *rows]))
    (tmp_path / "responses").mkdir()
    return tmp_path


def responses_of(folder):
    dataset = find_dataset(folder)
    return dataset.read_session("sub-01", 1, dataset.units("sub-01"))


def cifti(path, units, rows, trials=RESPONSES):
    nibabel.save(Cifti2Image(trials, (rows, units)), path)


def in_runs(folder):
    trials = np.split(RESPONSES, [5])
    for run, part in zip((10, 2), trials[::-1], strict=True):  # run 2 comes first
        cifti(
            folder / f"sub-01_ses-01_task-x_run-{run}_beta.dscalar.nii",
            SURFACE[:N_UNITS],
            ScalarAxis([*"abcdefg"][: len(part)]),
            part,
        )


def hemispheres(folder):
    for side, part in zip("LR", np.split(RESPONSES, [4], axis=1), strict=True):
        arrays = [nibabel.gifti.GiftiDataArray(trial, datatype="NIFTI_TYPE_FLOAT32") for trial in part]
        nibabel.save(nibabel.GiftiImage(darrays=arrays), folder / f"sub-01_hemi-{side}_space-fsnative.func.gii")


def in_a_bids_tree(folder):
    (folder / "sub-01/ses-01/func").mkdir(parents=True)
    in_runs(folder / "sub-01/ses-01/func")
    (folder / "sub-01/ses-01/func/dataset_description.json").write_text("{}")


SCALARS, SERIES = ScalarAxis(list(map(str, range(N_TRIALS)))), SeriesAxis(0, 1, N_TRIALS)
READ = {
    "a table with names of units": lambda to: pd.DataFrame(RESPONSES).to_csv(to / "sub-01.csv", index=False),
    "a table with tabs": lambda to: pd.DataFrame(RESPONSES).to_csv(to / "sub-01.tsv", sep="\t", index=False),
    "trials x channels x times": lambda to: np.save(
        to / "sub-01.npy", RESPONSES.reshape(N_TRIALS, N_CHANNELS, N_TIMES)
    ),
    "parcels": lambda to: cifti(to / "sub-01.pscalar.nii", PARCELS, SCALARS),
    "parcels as a series": lambda to: cifti(to / "sub-01.ptseries.nii", PARCELS, SERIES),
    "grayordinates as a series": lambda to: cifti(to / "sub-01.dtseries.nii", SURFACE[:N_UNITS], SERIES),
    "runs with names of BIDS": in_runs,
    "runs in the folders of BIDS": in_a_bids_tree,
    "hemispheres with names of BIDS": hemispheres,
}


@pytest.mark.parametrize("kind", READ)
def test_responses_of_this_kind_are_read(kind, folder):
    READ[kind](folder / "responses")
    np.testing.assert_allclose(responses_of(folder), RESPONSES, rtol=1e-6)


def test_names_of_units_and_maps_of_parcels_come_from_the_file(folder, capsys):
    READ["trials x channels x times"](folder / "responses")
    find_dataset(folder).units("sub-01")
    assert "sub-01.npy of shape (12, 5, 2) is read as trials x channels x times" in capsys.readouterr().err
    assert find_dataset(folder).units("sub-01").names[:3] == [
        "channel 0 time 0",
        "channel 0 time 1",
        "channel 1 time 0",
    ]
    (folder / "responses/sub-01.npy").unlink()
    READ["parcels"](folder / "responses")
    units = find_dataset(folder).units("sub-01")
    assert units.where(3) == "parcel P3"
    units.write_map(folder / "map", RESPONSES[0])
    written = nibabel.load(folder / "map.pscalar.nii")
    assert written.header.get_axis(1) == PARCELS
    np.testing.assert_array_equal(written.get_fdata()[0], RESPONSES[0])


def hdf5(path, **arrays):
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array


def bdata(path):
    """Write BData as bdpy does: labels of stimuli stand in columns next to the voxels."""
    voxel = np.r_[np.ones(N_UNITS), np.nan]
    keys = np.array(["stimulus_name", "VoxelData"], dtype="S")
    table = {"dataset": np.c_[RESPONSES, np.arange(N_TRIALS)], "metadata/key": keys}
    hdf5(path, **table, **{"metadata/value": np.stack([1 - np.nan_to_num(voxel), voxel])})


def afni(folder):
    (folder / "sub-01+orig.BRIK").write_bytes(RESPONSES.reshape(N_TRIALS, -1).tobytes())
    head = {
        "DATASET_DIMENSIONS": ("integer", [N_UNITS, 1, 1, 0, 0]),
        "DATASET_RANK": ("integer", [3, N_TRIALS]),
        "BRICK_TYPES": ("integer", [3] * N_TRIALS),
        "BRICK_FLOAT_FACS": ("float", [0.0] * N_TRIALS),
        "ORIENT_SPECIFIC": ("integer", [1, 2, 4]),
        "IJK_TO_DICOM_REAL": ("float", np.diag([-1, -1, 1, 1])[:3].ravel()),
        "DELTA": ("float", [1.0] * 3),
        "ORIGIN": ("float", [0.0] * 3),
        "SCENE_DATA": ("integer", [0, 11, 1]),
    }
    blocks = [
        f"type = {kind}-attribute\nname = {name}\ncount = {len(values)}\n {' '.join(map(str, values))}\n"
        for name, (kind, values) in head.items()
    ]
    blocks.append("type = string-attribute\nname = BYTEORDER_STRING\ncount = 10\n'LSB_FIRST~\n")
    (folder / "sub-01+orig.HEAD").write_text("\n".join(blocks))


def folder_of_volumes(folder):
    (folder / "sub-01").mkdir()
    for number, trial in enumerate(RESPONSES):
        nibabel.save(nibabel.Nifti1Image(trial.reshape(-1, 1, 1), np.eye(4)), folder / f"sub-01/beta_{number:04}.nii")


BY_RUN = {
    f"{session:02}/{run:02}/betas": RESPONSES[6 * session + 3 * run :][:3] for session in (0, 1) for run in (0, 1)
}
MASK = {"mask_array": np.ones((N_UNITS, 1, 1)), "mask_affine": np.eye(4)}
OF_EEG = RESPONSES.reshape(6, 2, N_CHANNELS, N_TIMES)
CONVERTED = {
    "an archive of arrays": lambda to: np.savez(to / "sub-01.npz", RESPONSES),
    "a Parquet table": lambda to: pd.DataFrame(RESPONSES).to_parquet(to / "sub-01.parquet"),
    "a pickle": lambda to: pd.to_pickle(RESPONSES, to / "sub-01.pkl"),
    "sub-01.pickle is not read": lambda to: pd.to_pickle((RESPONSES, ["a", "b"]), to / "sub-01.pickle"),
    "plain text": lambda to: np.savetxt(to / "sub-01.txt", RESPONSES),
    "save it in MATLAB with -v7.3": lambda to: scipy.io.savemat(to / "sub-01.mat", {"resp": RESPONSES, "fs": 1}),
    "it holds SNR (1, 10), train_MUA (12, 10)": lambda to: hdf5(
        to / "sub-01.mat", SNR=RESPONSES[:1], train_MUA=RESPONSES
    ),
    "metadata/value (2, 11)": lambda to: bdata(to / "sub-01.h5"),
    "00/01/betas (3, 10)": lambda to: hdf5(to / "sub-01.h5", **BY_RUN, **MASK),
    "a pickle, which runs code": lambda to: np.save(
        to / "sub-01.npy", np.array({"preprocessed_eeg_data": OF_EEG, "ch_names": ["Oz"]})
    ),
    "sub-01.npy is not read: it is a pickle": lambda to: pd.to_pickle(
        {"preprocessed_eeg_data": OF_EEG, "ch_names": ["Oz"]}, to / "sub-01.npy"
    ),
    "a file of AFNI": afni,
    "a folder": folder_of_volumes,
}


@pytest.mark.parametrize("said", CONVERTED)
def test_a_kind_that_is_not_read_is_refused_with_a_command_that_converts_it(said, folder):
    CONVERTED[said](folder / "responses")
    with pytest.raises(InputError, match=re.escape(said)) as error:
        responses_of(folder)
    command, name = re.search(r"convert it with (python -c .*), and move (\S+) away", str(error.value)).groups()
    _, _, code = shlex.split(command)
    exec(code, {})  # what the shell would run
    (folder / "responses" / name).rename(folder / name)
    nibabel.save(nibabel.Nifti1Image(np.ones((N_UNITS, 1, 1), np.uint8), np.eye(4)), folder / "mask.nii.gz")
    np.testing.assert_allclose(responses_of(folder), RESPONSES, rtol=1e-6)


def test_a_file_that_is_no_array_is_refused_as_such(folder):
    (folder / "responses/sub-01.npy").write_text("<html>not found</html>")
    with pytest.raises(InputError, match=r"sub-01.npy is not read: it is no array that numpy.save wrote"):
        responses_of(folder)


def test_an_array_whose_header_is_damaged_is_refused(folder):
    path = folder / "responses/sub-01.npy"
    np.save(path, RESPONSES)
    path.write_bytes(path.read_bytes().replace(b"), }", b"(, }"))
    with pytest.raises(InputError, match=r"cannot read .*sub-01.npy"):
        responses_of(folder)


def test_hdf5_under_another_name_is_recognised(folder, capsys):
    hdf5(folder / "responses/sub-01.nwb", units=RESPONSES, empty=h5py.Empty("f4"))
    with pytest.raises(InputError, match=r"sub-01.nwb is not read: it is HDF5: name it sub-01.h5"):
        responses_of(folder)
    (folder / "responses/sub-01.nwb").rename(folder / "responses/sub-01.h5")
    with pytest.raises(InputError, match=r"sub-01.h5 is not read: it holds empty \(\), units \(12, 10\)"):
        responses_of(folder)


REMEDIES = {
    (6, 2, 5, 2): r"\(6, 2, 5, 2\) seem to be images x repetitions x units: store array.reshape\(12, -1\)",
    (5, 6, 2): r"seem to be units x images x repetitions: store array.reshape\(5, -1\).T",
    (12, 2, 5, 2): r"read as X, Y, Z, trials: store array.reshape\(12, -1\), or, .* array.reshape\(24, -1\), with each",
    (5, 2, 12): r"trials seem to be axis 3 of its axes \(5, 2, 12\): move it to the front",
    (10, 12): "transpose the array",
}


@pytest.mark.parametrize("axes", REMEDIES)
def test_an_array_with_other_axes_is_refused_with_the_line_that_reshapes_it(axes, folder):
    np.save(folder / "responses/sub-01.npy", np.zeros(axes, np.float32))
    with pytest.raises(InputError, match=REMEDIES[axes]):
        find_dataset(folder).units("sub-01")


@pytest.mark.parametrize(
    "names", [("sub-01.npy", "sub-01_1.npy"), ("sub-01_1.npy", "sub-01_ses-01_run-2.npy"), ("01.npy", "sub-01.npy")]
)
def test_trials_in_two_files_are_refused(names, folder):
    for name in names:
        np.save(folder / "responses" / name, RESPONSES)
    if "01.npy" in names:
        (folder / "trials.csv").write_text((folder / "trials.csv").read_text().replace("sub-01,", "01,"))
    with pytest.raises(InputError, match=f"has {names[0]} and {names[1]} for the same trials: keep one of them"):
        find_dataset(folder).subjects() and find_dataset(folder).files


def test_a_run_on_another_grid_is_refused(folder):
    for run, side in ((1, 1), (2, -1)):
        volumes = nibabel.Nifti1Image(np.ones((2, 2, 2, 6), np.float32), np.diag([side, 1, 1, 1]))
        nibabel.save(volumes, folder / f"responses/sub-01_run-{run}.nii.gz")
    with pytest.raises(InputError, match=r"run-2.nii.gz has .* axes LAS.* resample all to one grid"):
        responses_of(folder)


@pytest.mark.parametrize("value", [1, np.nan])
def test_responses_without_any_signal_are_wrong(value, folder, monkeypatch, capsys):
    np.save(folder / "responses/sub-01.npy", np.full((N_TRIALS, 3), value, np.float32))
    monkeypatch.setattr("sys.argv", ["check_data.py", str(folder)])
    with pytest.raises(SystemExit) as end:
        check_data.main()
    assert end.value.code == 2
    assert "subject sub-01: no unit has responses that differ between images" in capsys.readouterr().out


def test_a_folder_without_a_known_dataset_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(
        InputError, match=r"no dataset is recognised in .*; own: trials.csv. .* bap new-dataset NEW_DIR"
    ):
        find_dataset(tmp_path)
