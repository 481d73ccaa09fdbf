"""The noise ceilings that a lab estimated itself, in the kinds of files in which they come."""

import h5py
import nibabel
import numpy as np
import pandas as pd
import pytest
from mean_colours import MODEL, colours, extract
from own_experiment import AFFINE, N_REPEATS, N_UNITS, SUBJECTS, VOLUME, write_experiment
from scipy.io import savemat
from scripts import ALIGN, PACKAGE, run_here

from brain_activity_prediction.datasets.find import find_dataset
from brain_activity_prediction.datasets.responses import prepare_responses
from brain_activity_prediction.encoding.subject_data import trial_sums
from brain_activity_prediction.inference.noise_ceiling import fitting_better, snr
from brain_activity_prediction.runtime.errors import InputError

VALUES = np.linspace(0.1, 2, N_UNITS)
VALUES[3] = np.nan


def write_ncsnr(folder, kind, values=VALUES, subject=SUBJECTS[0]):
    """Write ncsnr next to responses of a kind, as the programs of that kind write one map; return its first file."""
    (folder / "ncsnr").mkdir()
    stem = folder / "ncsnr" / subject
    if kind == "nii.gz":
        nibabel.save(nibabel.Nifti1Image(values.reshape(VOLUME), AFFINE), path := stem.with_suffix(".nii.gz"))
    elif kind in ("mgz", "gii"):
        for side, part in (("rh", values[10:]), ("lh", values[:10])):
            path = stem.with_name(f"{side}.{subject}.{'func.gii' if kind == 'gii' else kind}")
            if kind == "mgz":
                nibabel.save(nibabel.MGHImage(part.astype("f4")[:, None, None], np.eye(4)), path)
            else:
                array = nibabel.gifti.GiftiDataArray(part.astype("f4"), datatype="NIFTI_TYPE_FLOAT32")
                nibabel.save(nibabel.gifti.GiftiImage(darrays=[array]), path)
    elif kind == "dscalar":
        responses = nibabel.load(next(folder.glob("responses/*.dscalar.nii")))
        axes = nibabel.cifti2.ScalarAxis(["ncsnr"]), responses.header.get_axis(1)
        path = stem.with_suffix(".dscalar.nii")
        nibabel.save(nibabel.Cifti2Image(values[None], axes), path)
    elif kind == "csv":
        path = stem.with_suffix(".csv")
        pd.DataFrame([values], columns=[f"unit {number}" for number in range(len(values))]).to_csv(path, index=False)
    else:
        np.save(path := stem.with_suffix(".npy"), values)
    return path


@pytest.mark.parametrize(
    ("responses", "kind"),
    [("npy", "npy"), ("npy", "csv"), *((kind, kind) for kind in ("nii.gz", "mgz", "gii", "dscalar"))],
)
def test_a_labs_own_ncsnr_is_read_in_the_order_of_the_units(responses, kind, tmp_path):
    write_experiment(tmp_path, responses)
    write_ncsnr(tmp_path, kind)
    dataset = find_dataset(tmp_path)
    np.testing.assert_allclose(dataset.ncsnr(SUBJECTS[0], dataset.units(SUBJECTS[0])), VALUES, rtol=1e-6)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (VALUES * 40, "holds values from 0 to 80"),
        (-VALUES, "holds values from -2 to 0"),
        (VALUES[1:], f"has {N_UNITS - 1} values, but the responses have {N_UNITS} units"),
        (np.stack([VALUES, VALUES]), "values, but the responses have"),
    ],
)
def test_values_that_are_no_ncsnr_of_these_units_are_refused(values, says, tmp_path):
    write_experiment(tmp_path)
    path = write_ncsnr(tmp_path, "npy", values)
    dataset = find_dataset(tmp_path)
    with pytest.raises(InputError, match=says) as refused:
        dataset.ncsnr(SUBJECTS[0], dataset.units(SUBJECTS[0]))
    assert str(path) in str(refused.value)


def test_several_maps_other_units_and_a_second_file_are_refused(tmp_path):
    write_experiment(tmp_path, "dscalar")
    path, dataset = write_ncsnr(tmp_path, "dscalar"), find_dataset(tmp_path)
    axis = nibabel.load(path).header.get_axis(1)
    for names, own, says in ((["ncsnr", "R2"], axis, "holds 2 maps"), (["ncsnr"], axis[::-1], "has other")):
        values = np.ones((len(names), N_UNITS))
        nibabel.save(nibabel.Cifti2Image(values, (nibabel.cifti2.ScalarAxis(names), own)), path)
        with pytest.raises(InputError, match=says):
            dataset.ncsnr(SUBJECTS[0], dataset.units(SUBJECTS[0]))
    np.save(path.with_name(f"{SUBJECTS[0]}.npy"), VALUES)
    with pytest.raises(InputError, match="are both of subject sub-01: keep one of them"):
        dataset.ncsnr(SUBJECTS[0], dataset.units(SUBJECTS[0]))


def test_columns_of_a_table_are_those_of_the_responses_by_name(tmp_path):
    write_experiment(tmp_path)
    names = [f"unit {number}" for number in range(N_UNITS)]
    (tmp_path / "units.csv").write_text("\n".join(["name", *names]))
    path = write_ncsnr(tmp_path, "csv")
    table, dataset = pd.read_csv(path), find_dataset(tmp_path)
    table[names[::-1]].to_csv(path, index=False)
    np.testing.assert_allclose(dataset.ncsnr(SUBJECTS[0], dataset.units(SUBJECTS[0])), VALUES, rtol=1e-6)
    table.rename(columns={"unit 3": "cell 3"}).to_csv(path, index=False)
    with pytest.raises(InputError, match="has no column unit 3, but the responses have this unit"):
        dataset.ncsnr(SUBJECTS[0], dataset.units(SUBJECTS[0]))


@pytest.mark.parametrize(("n_trials", "scale"), [(1, 1), (3, 1), (3, 100), (12, 100)])
def test_noise_ceilings_of_means_over_trials_are_read_as_fractions_or_percent(n_trials, scale, tmp_path):
    """GLMsingle's example gives percent, of means over 3 trials, as an array (X, Y, Z)."""
    write_experiment(tmp_path, "nii.gz")
    ceilings = scale * VALUES**2 / (VALUES**2 + 1 / n_trials)
    (tmp_path / f"ceilings_{n_trials}").mkdir()
    np.save(tmp_path / f"ceilings_{n_trials}/{SUBJECTS[0]}.npy", ceilings.reshape(VOLUME))
    dataset = find_dataset(tmp_path)
    units = dataset.units(SUBJECTS[0])
    np.testing.assert_allclose(dataset.ncsnr(SUBJECTS[0], units), VALUES, rtol=1e-6)
    ceilings[:3] = -0.1, 1.0 * scale, np.inf
    np.save(tmp_path / f"ceilings_{n_trials}/{SUBJECTS[0]}.npy", ceilings)
    np.testing.assert_allclose(dataset.ncsnr(SUBJECTS[0], units), [0, np.nan, np.nan, *VALUES[3:]], rtol=1e-6)
    title = f"means over {n_trials} trials" if n_trials > 1 else "single trials"
    assert str(dataset.ceilings(SUBJECTS[0])) == f"ceilings_{n_trials}/sub-01.npy (noise ceilings of {title})"


@pytest.mark.parametrize("version", ["5", "7.3", "h5"])
@pytest.mark.parametrize("name", ["ncsnr", "noiseceiling"])
def test_arrays_of_matlab_are_read_by_their_names_in_the_order_of_volumes(name, version, tmp_path):
    """A volume, or MATLAB's list of the voxels of a mask, along the first axis first."""
    write_experiment(tmp_path, "nii.gz")
    ratio = VALUES.reshape(VOLUME)
    values = ratio if name == "ncsnr" else 100 * ratio**2 / (ratio**2 + 1 / 3)
    folder = tmp_path / ("ncsnr" if name == "ncsnr" else "ceilings_3")
    folder.mkdir()
    dataset = find_dataset(tmp_path)
    units = dataset.units(SUBJECTS[0])
    for stored in (values, values.ravel(order="F")[:, None]):
        if version == "5":
            savemat(folder / "sub-01.mat", {name: stored, "meta": [1, 2]}, do_compression=True)
        elif version == "7.3":
            with h5py.File(folder / "sub-01.mat", "w", userblock_size=512) as file:
                file[name] = stored.T
        else:
            with h5py.File(folder / "sub-01.h5", "w") as file:
                file[name] = values
        np.testing.assert_allclose(dataset.ncsnr(SUBJECTS[0], units), VALUES, rtol=1e-6)
    if version == "5":
        savemat(folder / "sub-01.mat", {"nc": values})
        with pytest.raises(InputError, match=rf"sub-01.mat has no array {name}: save\('sub-01.mat', '{name}'\)"):
            dataset.ncsnr(SUBJECTS[0], units)


@pytest.mark.parametrize(
    ("names", "values", "says"),
    [
        (["ncsnr/sub-01.npy"], VALUES > 1, "ncsnr/sub-01.npy holds booleans"),
        (["ncsnr/sub-01.npy"], np.rint(VALUES / 2), "ncsnr/sub-01.npy holds only 0 and 1, so it seems to be a mask"),
        (["ceilings_3/sub-01.npy"], VALUES * 60, "holds values from 0 to 120; noise ceilings are 0 to 1, or percent"),
        (["ceilings/sub-01.npy"], VALUES, "ceilings lacks a number of trials: name it"),
        (["ncsnr/sub-01.npy", "ceilings_3/sub-01.npy"], VALUES, "are both of subject sub-01: keep one of them"),
    ],
)
def test_files_that_cannot_be_noise_ceilings_are_refused(names, values, says, tmp_path):
    write_experiment(tmp_path)
    for name in names:
        (tmp_path / name).parent.mkdir()
        np.save(tmp_path / name, values)
    dataset = find_dataset(tmp_path)
    with pytest.raises(InputError, match=says):
        dataset.ncsnr(SUBJECTS[0], dataset.units(SUBJECTS[0]))


def test_files_of_no_subject_of_one_session_or_another_kind_are_reported(tmp_path, capsys):
    write_experiment(tmp_path)
    write_ncsnr(tmp_path, "npy")
    for name in ("sub-1.npy", "sub-01_ses-02.npy", "sub-01.txt", "README"):
        (tmp_path / "ncsnr" / name).touch()
    dataset = find_dataset(tmp_path)
    for _ in range(2):
        dataset.ncsnr(SUBJECTS[0], dataset.units(SUBJECTS[0]))
    said = capsys.readouterr().err
    assert said.count("sub-1.npy is not read: trials.csv has no subject of this name") == 1
    assert said.count("sub-01_ses-02.npy is not read: noise ceilings are of all sessions: name it sub-01.npy") == 1
    assert said.count("sub-01.txt is not read: supported endings are .npy, ") == 1
    assert said.count("is not read") == 4


def test_noise_ceilings_in_the_place_of_ratios_are_recognised_by_the_repeats(tmp_path):
    write_experiment(tmp_path)
    page = (PACKAGE / "check_data/check_data.py", tmp_path, "-s", SUBJECTS[0])
    responses = prepare_responses(find_dataset(tmp_path), SUBJECTS[0], cache_dir=tmp_path / "cache")
    computed = snr(*trial_sums(responses).variances())
    write_ncsnr(tmp_path, "npy", computed * 1.05)  # by another program
    done = run_here(*page)
    assert done.returncode == 0, done.stdout
    assert f"correlation with ours 1.0000, largest difference {0.05 * computed.max():.3f}, median" in done.stdout
    for n_trials in (1, 4):
        np.save(tmp_path / "ncsnr/sub-01.npy", computed**2 / (computed**2 + 1 / n_trials))
        done = run_here(*page)
        assert done.returncode == 2
        of = "1 trial" if n_trials == 1 else "4 trials"
        assert f"fits the repeats of subject sub-01 better as noise ceilings of means over {of}: " in done.stdout


@pytest.mark.parametrize(("n_trials", "scale"), [(1, 1), (1, 100), (3, 100)])
def test_ratios_are_told_from_noise_ceilings_of_any_unit(n_trials, scale):
    """Below an ncsnr of 0.3, percent lie within the range of ratios."""
    rng = np.random.default_rng(1)
    true = rng.uniform(0.05, 0.3, 500)
    estimated, computed = np.maximum(true + 0.02 * rng.standard_normal((2, 500)), 0)
    ceilings = scale * estimated**2 / (estimated**2 + 1 / n_trials)
    percent = " in percent" if scale > 1 else ""
    said = f"noise ceilings of means over {n_trials} trial{'s' if n_trials > 1 else ''}{percent}"
    assert fitting_better(ceilings, computed) == said
    assert fitting_better(estimated, computed) is None
    assert fitting_better(estimated, rng.permutation(computed)) is None
    assert fitting_better(ceilings[:10], computed[:10]) is None
    assert fitting_better(ceilings, np.full(500, np.nan)) is None


def test_ceilings_follow_the_labs_ncsnr_and_check_data_shows_it(tmp_path):
    write_experiment(tmp_path)
    extract(colours(), tmp_path, "-s", SUBJECTS[0])
    flags = ("-d", tmp_path, "-s", SUBJECTS[0], "-m", MODEL, "--stream", "vision", "-g", "cpu", "--ncsnr", "own")
    done = run_here(ALIGN, *flags)
    assert done.returncode == 2
    assert "betas" not in done.stderr
    assert f"ncsnr/{SUBJECTS[0]}.EXT: write one value for each unit" in done.stderr
    spaces = [word for layer in (0, 1) for word in ("--space", MODEL, "none", "vision", layer)]
    done = run_here(ALIGN.with_name("partition_variance.py"), *flags[:4], "-n", "layers", *spaces, *flags[-4:])
    assert done.returncode == 2
    assert "betas" not in done.stderr
    assert f"ncsnr/{SUBJECTS[0]}.EXT: write one value for each unit" in done.stderr
    write_ncsnr(tmp_path, "npy")
    done = run_here(ALIGN, *flags)
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / f"alignment/own/{SUBJECTS[0]}/no_prompt/{MODEL.replace('/', '_')}/scores.csv")
    signal = np.square(VALUES)
    expected = np.nanmedian(signal / (signal + 1 / (2 * N_REPEATS)))  # of means over two sessions
    np.testing.assert_allclose(table["noise_ceiling"], expected, rtol=1e-5)
    assert set(table["ncsnr"]) == {"own"}
    done = run_here(PACKAGE / "check_data/check_data.py", tmp_path)
    shown = f"ncsnr of your own ncsnr/sub-01.npy (ratios ncsnr): median {np.nanmedian(VALUES):.3f}, "
    assert shown in done.stdout
    np.save(tmp_path / "ncsnr/sub-01.npy", VALUES / 2)
    assert run_here(ALIGN, *flags).returncode == 0
    halved = pd.read_csv(tmp_path / f"alignment/own/{SUBJECTS[0]}/no_prompt/{MODEL.replace('/', '_')}/scores.csv")
    assert (halved["noise_ceiling"] < table["noise_ceiling"]).all()
