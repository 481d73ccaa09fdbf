"""The noise ceilings that a lab estimated itself, in the kinds of files in which they come."""

import nibabel
import numpy as np
import pandas as pd
import pytest
from mean_colours import MODEL, colours, extract
from own_experiment import AFFINE, N_REPEATS, N_UNITS, SUBJECTS, VOLUME, write_experiment
from scripts import ALIGN, PACKAGE, run_here

from brain_activity_prediction.datasets.find import find_dataset
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
    with pytest.raises(InputError, match="has no column for unit 3, a unit of the responses"):
        dataset.ncsnr(SUBJECTS[0], dataset.units(SUBJECTS[0]))


def test_ceilings_follow_the_labs_ncsnr_and_check_data_shows_it(tmp_path):
    write_experiment(tmp_path)
    extract(colours(), tmp_path, "-s", SUBJECTS[0])
    flags = ("-d", tmp_path, "-s", SUBJECTS[0], "-m", MODEL, "--stream", "vision", "-g", "cpu", "--ncsnr", "nsd")
    done = run_here(ALIGN, *flags)
    assert done.returncode == 2
    assert "betas" not in done.stderr
    assert f"ncsnr/{SUBJECTS[0]}.EXT, one value for each unit" in done.stderr
    spaces = [word for layer in (0, 1) for word in ("--space", MODEL, "none", "vision", layer)]
    done = run_here(ALIGN.with_name("partition_variance.py"), *flags[:4], "-n", "layers", *spaces, *flags[-4:])
    assert done.returncode == 2
    assert "betas" not in done.stderr
    assert f"ncsnr/{SUBJECTS[0]}.EXT, one value for each unit" in done.stderr
    write_ncsnr(tmp_path, "npy")
    done = run_here(ALIGN, *flags)
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / f"alignment/own/{SUBJECTS[0]}/no_prompt/{MODEL.replace('/', '_')}/scores.csv")
    signal = np.square(VALUES)
    expected = np.nanmedian(signal / (signal + 1 / (2 * N_REPEATS)))  # of means over two sessions
    np.testing.assert_allclose(table["noise_ceiling"], expected, rtol=1e-5)
    assert set(table["ncsnr"]) == {"nsd"}
    done = run_here(PACKAGE / "check_data/check_data.py", tmp_path)
    assert f"ncsnr of your own file: median {np.nanmedian(VALUES):.3f}" in done.stdout
