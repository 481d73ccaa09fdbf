"""A lab's own experiment, from pictures and responses to scores."""

import csv
import re
import textwrap
import unicodedata
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pandas as pd
import pytest
from mean_colours import MODEL, colours, extract
from own_experiment import AFFINE, KINDS, N_IMAGES, N_UNITS, SUBJECTS, VOLUME, image_names, write_experiment
from PIL import Image
from scripts import PACKAGE, run_here

from brain_activity_prediction.align_image_embeddings import align_model
from brain_activity_prediction.datasets.find import find_dataset
from brain_activity_prediction.datasets.responses import ResponseChoice, prepare_responses
from brain_activity_prediction.report import export_maps, report
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore


@pytest.fixture
def folder(tmp_path):
    write_experiment(tmp_path)
    return tmp_path


def align(monkeypatch, folder, *more):
    words = ["-d", folder, "-g", "cpu", "-s", SUBJECTS[0], "-m", MODEL, "--stream", "vision", "--bootstrap", 0, *more]
    monkeypatch.setattr("sys.argv", ["align_model.py", *map(str, words)])
    align_model.main()


def scores(output, subject=SUBJECTS[0]):
    return pd.read_csv(output / f"alignment/own/{subject}/no_prompt/test_mean-colours/scores.csv")


def rename_subject(folder, old, new):
    """Rename a subject in the table of trials and in the names of files."""
    table = folder / "trials.csv"
    table.write_text(table.read_text().replace(f"{old},", f"{new},"))
    for path in [*folder.glob(f"*/{old}*")]:
        path.rename(path.with_name(path.name.replace(old, new)))


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """The scores of the experiment whose responses are in one array."""
    base = tmp_path_factory.mktemp("expected")
    write_experiment(base, "responses.npy")
    with pytest.MonkeyPatch.context() as patch:
        extract(colours(), base, "-s", *SUBJECTS)
        align(patch, base)
    return base


def test_states_and_scores_lie_under_the_datasets_name(expected):
    store = EmbeddingStore(expected / "image_embeddings/own/no_prompt/test_mean-colours")
    ids = store.image_ids(["vision"])
    assert sorted(ids.tolist()) == sorted(image_names())
    names = sorted(image_names())[::-1]
    layer = store.read_layer("vision", 1, names)
    means = [np.asarray(Image.open(expected / "images" / name)).mean((0, 1)) * 2 for name in names]
    np.testing.assert_allclose(layer, means, rtol=1e-6)
    table = scores(expected)
    assert set(table["subject"]) == {"sub-01"}
    assert set(table["n_train"]) == {40}
    assert set(table["n_test"]) == {20}
    assert table["r"].max() > 0.8


@pytest.mark.parametrize("kind", KINDS[1:])
def test_every_kind_of_file_gives_the_same_responses_and_maps_of_its_kind(kind, expected, tmp_path):
    """The scores of `expected` follow from them."""
    write_experiment(tmp_path, kind)
    one, other = (prepare_responses(find_dataset(base), "sub-01", cache_dir=tmp_path) for base in (expected, tmp_path))
    np.testing.assert_allclose(other.betas, one.betas, rtol=1e-5, atol=1e-6)
    endings = {"nii.gz": ".nii.gz", "glmsingle": ".nii.gz", "matlab": ".nii.gz", "mgz": ".func.gii", "gii": ".func.gii"}
    ending = endings.get(kind.split()[0], ".dscalar.nii" if kind == "dscalar" else ".csv")
    other.units.write_map(tmp_path / "maps_r", other.betas[0])
    maps = [path for path in tmp_path.iterdir() if path.name.endswith(f"maps_r{ending}")]
    assert len(maps) == (2 if ending == ".func.gii" else 1)
    if ending == ".nii.gz":
        image = nibabel.load(maps[0])
        assert image.shape == VOLUME
        np.testing.assert_allclose(image.affine, AFFINE)
        np.testing.assert_allclose(image.get_fdata().ravel(), one.betas[0], rtol=1e-5, atol=1e-6)
    if ending == ".func.gii":
        sizes = {path.name[:2]: nibabel.load(path).darrays[0].data.size for path in maps}
        assert sizes == {"lh": 10, "rh": N_UNITS - 10}
        structures = {path.name[:2]: nibabel.load(path).meta["AnatomicalStructurePrimary"] for path in maps}
        assert structures == {"lh": "CortexLeft", "rh": "CortexRight"}


def test_the_report_shows_the_experiment(expected, monkeypatch):
    monkeypatch.setattr("sys.argv", ["report.py", "-d", str(expected)])
    report.main()
    assert (expected / "report/own/report.html").stat().st_size > 10_000
    assert "sub-01" in (expected / "report/own/scores.csv").read_text()


@pytest.mark.parametrize(("subject", "name"), [(SUBJECTS[0], SUBJECTS[0]), ("1", "subj01")])
def test_volumes_of_the_experiment_are_exported_for_pycortex(subject, name, expected, tmp_path, monkeypatch, caplog):
    write_experiment(tmp_path, "nii.gz")
    (tmp_path / "image_embeddings").symlink_to(expected / "image_embeddings")
    rename_subject(tmp_path, SUBJECTS[0], subject)
    align(monkeypatch, tmp_path, "-s", subject)
    monkeypatch.setattr("sys.argv", ["export_maps.py", "pycortex", "-d", str(tmp_path), "--map", "*_best_layer_r"])
    export_maps.main()
    assert f"subject {subject} is not of NSD" in caplog.text
    with h5py.File(tmp_path / f"report/own/pycortex/{name}.hdf") as file:
        (stored,) = file["data"].values()
        assert stored.attrs["subject"] == name
        maps = tmp_path / f"alignment/own/{name}/no_prompt/test_mean-colours/maps"
        np.testing.assert_array_equal(
            stored[:].T, nibabel.load(maps / "vision_best_layer_r.nii.gz").get_fdata(dtype=np.float32)
        )
    done = run_here(PACKAGE / "report" / "surface_maps.py", "-d", tmp_path)
    assert done.returncode == 2
    assert f"subject {subject} is not of NSD" in done.stderr


@pytest.mark.parametrize("script", [("export_maps.py", "pycortex"), ("surface_maps.py",)])
def test_maps_of_units_are_not_called_absent_by_what_carries_volumes(script, expected):
    done = run_here(PACKAGE / "report" / script[0], *script[1:], "-d", expected)
    assert done.returncode == 2
    assert "are .csv files, but only volumes (.nii.gz) and maps of vertices (.func.gii) can be written" in done.stderr


def test_results_can_lie_apart_from_read_only_data(folder, tmp_path_factory, monkeypatch):
    output = tmp_path_factory.mktemp("output")
    before = sorted(path for path in folder.rglob("*"))
    extract(colours(), folder, "-s", "sub-01", "--output", output)
    align(monkeypatch, folder, "--output", output)
    assert sorted(path for path in folder.rglob("*")) == before
    assert len(scores(output)) > 0
    assert (output / "alignment/own/responses").is_dir()


def test_responses_are_the_mean_of_an_images_trials(folder):
    dataset = find_dataset(folder)
    found = prepare_responses(dataset, "sub-02", ResponseChoice([2], zscore=False), folder / "cache")
    with open(folder / "trials.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if (row["subject"], row["session"]) == ("sub-02", "ses-02")]
    shown = np.array([row["image"] for row in rows])
    stored = np.load(folder / "responses/sub-02_ses-02.npy")
    for place, name in enumerate(found.image_ids):
        np.testing.assert_allclose(found.betas[place], stored[shown == name].mean(axis=0), rtol=1e-5, atol=1e-6)
    assert len(found.image_ids) == N_IMAGES
    again = prepare_responses(dataset, "sub-02", ResponseChoice([2], zscore=False), folder / "cache")
    np.testing.assert_array_equal(again.betas, found.betas)
    assert again.image_ids.tolist() == found.image_ids.tolist()


def test_regions_come_from_tables_of_units(folder):
    (folder / "regions").mkdir()
    rows = ["region,motion", *(f"{'V1' if number < 5 else ''},{int(number % 2)}" for number in range(N_UNITS))]
    (folder / "regions/areas.csv").write_text("\n".join(rows))
    regions = find_dataset(folder).regions("sub-01")
    assert list(regions) == ["all", "V1", "motion"]
    assert np.flatnonzero(regions["V1"]).tolist() == [0, 1, 2, 3, 4]
    assert regions["motion"].sum() == N_UNITS // 2
    assert list(find_dataset(folder).regions("sub-01", ["V1"])) == ["all", "V1"]
    assert list(find_dataset(folder).regions("sub-01", ["areas"])) == ["all", "V1", "motion"]


def test_regions_of_volumes_are_label_files_on_the_same_grid(tmp_path):
    write_experiment(tmp_path, "nii.gz")
    (tmp_path / "regions/sub-01").mkdir(parents=True)
    labels = np.arange(N_UNITS).reshape(VOLUME) % 3
    flipped = nibabel.Nifti1Image(labels[::-1].astype(np.int16), AFFINE @ np.array([[-1, 0, 0, 3], *np.eye(4)[1:]]))
    nibabel.save(flipped, tmp_path / "regions/sub-01/prf.nii.gz")
    (tmp_path / "regions/sub-01/prf.ctab").write_text("1 V1\n2 V2\n")
    regions = find_dataset(tmp_path).regions("sub-01")
    assert list(regions) == ["all", "V1", "V2"]
    for number, name in ((1, "V1"), (2, "V2")):
        np.testing.assert_array_equal(regions[name], labels.ravel() == number)


def test_the_mask_of_a_list_of_voxels_has_as_many_of_them(tmp_path):
    write_experiment(tmp_path, "glmsingle list")
    mask = np.ones(VOLUME, np.uint8)
    mask[0] = 0
    nibabel.save(nibabel.Nifti1Image(mask, AFFINE), tmp_path / "masks/sub-01.nii.gz")
    with pytest.raises(InputError, match=r"sub-01.nii.gz marks 18 voxels, but .* has 24 responses per trial: use the"):
        find_dataset(tmp_path).units("sub-01")


SPOILS = {
    "two names of one picture": (
        lambda base: (base / "trials.csv").write_text(
            "subject,image\nsub-01,class 0/picture_00\nsub-01,class 0/picture_00.png\n"
        ),
        "'class 0/picture_00' and 'class 0/picture_00.png' both name the file",
    ),
    "two columns of images": (
        lambda base: (base / "trials.csv").write_text("subject,image,image\nsub-01,a.png,b.png\n"),
        "trials.csv has 2 columns image: keep one of them",
    ),
    "two names of one subject": (
        lambda base: (base / "trials.csv").write_text("subject,image\nsub-01,a.png\n1,a.png\n"),
        "trials.csv names subjects sub-01 and 1: give each subject one name",
    ),
    "a blank trial of BIDS": (
        lambda base: (base / "trials.csv").write_text("subject,image\nsub-01,n/a\n"),
        "trials.csv, line 2, names no image: delete the lines",
    ),
    "a row without an image": (
        lambda base: (base / "trials.csv").write_text("subject,image\nsub-01,\n"),
        "trials.csv, line 2, names no image",
    ),
    "no column image": (
        lambda base: (base / "trials.csv").write_text("subject,stimulus\nsub-01,a.png\n"),
        "trials.csv has no column image: it has subject, stimulus",
    ),
    "a session by a word": (
        lambda base: (base / "trials.csv").write_text("subject,session,image\nsub-01,first,a.png\n"),
        "trials.csv, line 2: 'first' is not a session",
    ),
    "trials and responses differ": (
        lambda base: np.save(base / "responses/sub-01_ses-01.npy", np.zeros((3, N_UNITS), np.float32)),
        "sub-01_ses-01.npy holds 3 trials, but trials.csv has 120 of subject sub-01, session 1",
    ),
    "a pickle": (
        lambda base: np.save(base / "responses/sub-01_ses-01.npy", np.array({"betasmd": 1})),
        "is a pickle, which runs code .* convert it with python -c",
    ),
    "two files for a session": (
        lambda base: np.save(base / "responses/sub-01_1.npy", np.zeros((3, 2))),
        "sub-01_1.npy and sub-01_ses-01.npy for the same trials",
    ),
    "a file without responses": (
        lambda base: [
            (base / "responses/sub-01_ses-01.npy").unlink(),
            h5py.File(base / "responses/sub-01_1.h5", "w").close(),
        ],
        "sub-01_1.h5 is not read: it holds no array",
    ),
    "trials in columns": (
        lambda base: np.save(base / "responses/sub-01_ses-01.npy", np.zeros((N_UNITS, 120), np.float32)),
        "trials.csv has 120 of subject sub-01, session 1: trials seem to be the second axis: transpose the array",
    ),
    "a table in UTF-16": (
        lambda base: (base / "trials.csv").write_text("subject,image\nsub-01,a.png\n", encoding="utf-16"),
        "trials.csv is not text in UTF-8: store it as CSV in UTF-8",
    ),
    "no responses": (
        lambda base: [path.unlink() for path in (base / "responses").glob("sub-01*")],
        "subject sub-01 has no responses: expected .*responses/sub-01.EXT or sub-01_SESSION.EXT",
    ),
    "an unknown image in the split": (
        lambda base: (base / "split.csv").write_text("image,split\nnone.png,test\n"),
        "split.csv, line 2: no trial shows 'none.png'",
    ),
    "no split": (
        lambda base: (base / "split.csv").unlink(),
        "subject sub-01 of your own experiment has no test images: choose them with --test-images FILE",
    ),
}


@pytest.mark.parametrize("spoil", SPOILS)
def test_what_is_wrong_is_said_in_one_line(spoil, folder):
    change, said = SPOILS[spoil]
    change(folder)
    with pytest.raises(InputError, match=said) as error:
        dataset = find_dataset(folder)
        dataset.open_images()
        prepare_responses(dataset, "sub-01")
    assert "\n" not in str(error.value)


def test_images_without_a_file_and_with_transparency_are_refused(folder):
    path = folder / "images" / image_names()[7]
    Image.new("RGBA", (4, 4), (1, 2, 3, 0)).save(path)
    with find_dataset(folder).open_images() as images:
        with pytest.raises(InputError, match=r"picture_07.png .*transparent pixels"):
            images.images([image_names()[7]])
        path.unlink()
        with pytest.raises(InputError, match=r"images lacks 1 of 60 images \(first: class 1/picture_07.png\)"):
            images.check(image_names())


def test_a_table_as_a_spreadsheet_writes_it_is_read(folder):
    """With semicolons where a comma is the decimal sign, a mark in front, and Windows' ends of lines."""
    expected = find_dataset(folder).trials
    for name in ("trials.csv", "split.csv"):
        text = (folder / name).read_text().replace(",", ";").replace("\n", "\r\n")
        (folder / name).write_text(text, encoding="utf-8-sig", newline="")
    found = find_dataset(folder)
    for column in ("subjects", "sessions", "images"):
        np.testing.assert_array_equal(getattr(found.trials, column), getattr(expected, column))
    assert found.test_images("sub-01").size == 20


def test_a_file_of_responses_that_no_trial_names_is_reported(folder, capsys):
    np.save(folder / "responses/sub-1_ses-01.npy", np.zeros((120, N_UNITS)))
    np.save(folder / "responses/sub-01_ses-07.npy", np.zeros((120, N_UNITS)))
    assert find_dataset(folder).sessions("sub-01") == [1, 2]
    said = capsys.readouterr().err
    for name in ("sub-1_ses-01.npy", "sub-01_ses-07.npy"):
        assert f"{name} is not read: trials.csv has no trials of this subject and session" in said


def test_names_of_images_may_be_spelt_as_another_system_does(tmp_path):
    names = [r"class é\one.png", "class é/two.png"]
    (tmp_path / "trials.csv").write_text("subject,image\n" + "".join(f"s,{name}\n" for name in names), encoding="utf-8")
    folder = tmp_path / "images" / unicodedata.normalize("NFD", "class é")
    folder.mkdir(parents=True)
    for stem in ("one", "two"):
        Image.new("RGB", (4, 4)).save(folder / f"{stem}.png")
    with find_dataset(tmp_path).open_images() as images:
        assert [image.size for image in images.images(names)] == [(4, 4), (4, 4)]
    (tmp_path / "trials.csv").write_text("subject,image\ns,..\\secret.png\n")
    with pytest.raises(InputError, match=r"secret.png' is not the name of a file"):
        find_dataset(tmp_path).open_images()


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("images/cat_01.png", "animals/cat_01.png"),
        ("cat_01.PNG", "animals/cat_01.png"),
        ("cat_01", "animals/cat_01.png"),
        ("7", "007.png"),
        ("7.0", "007.png"),
    ],
)
def test_a_name_without_a_picture_is_refused_with_the_similar_one(name, meant, tmp_path):
    for picture in ("animals/cat_01.png", "007.png"):
        (tmp_path / "images" / picture).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / "images" / picture)
    (tmp_path / "trials.csv").write_text(f"subject,image\nsub-01,{name}\n")
    with pytest.raises(InputError, match=rf"lacks 1 of 1 image \(first: {name}\) \(did you mean {meant}\?\)"):
        find_dataset(tmp_path).open_images().check([name])


def test_a_name_without_ending_finds_a_picture_whose_ending_is_in_capitals(tmp_path):
    (tmp_path / "images").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "images/n01_7.JPEG")
    (tmp_path / "trials.csv").write_text("subject,image\nsub-01,n01_7\n")
    assert find_dataset(tmp_path).open_images().has("n01_7")


def test_lines_that_are_not_in_the_order_of_onsets_are_reported(tmp_path, capsys):
    rows = ["1,0,a.png", "1,4,b.png", "2,0,c.png", "2,6,d.png", "2,3,e.png"]
    (tmp_path / "trials.csv").write_text("\n".join(["subject,run,onset,image", *(f"s,{row}" for row in rows)]))
    find_dataset(tmp_path)
    said = capsys.readouterr().err
    assert "trials.csv, line 6: the onset is earlier than in the line before" in said
    assert said.count("earlier") == 1


def test_the_tutorial_makes_trials_in_the_order_of_runs_and_onsets(tmp_path, monkeypatch):
    page = (Path(__file__).resolve().parents[2] / "docs/datasets.md").read_text()
    code = textwrap.dedent(re.search(r"`run-10`.*\n(?:.+\n)*\n((?: {7}.*\n|\n)+)", page)[1])
    (tmp_path / "DIR").mkdir()
    for session, run, names in ((1, 10, "c"), (1, 2, "b-a"), (2, 1, "d")):
        path = tmp_path / f"bids/sub-01/ses-{session:02}/func/sub-01_ses-{session:02}_task-images_run-{run}_events.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [f"{9 - k}\t3\t{'n/a' if name == '-' else f'{name}.png'}" for k, name in enumerate(names)]
        path.write_text("\n".join(["onset\tduration\tstim_file", *rows]))
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    trials = find_dataset(tmp_path / "DIR").trials
    assert trials.images.tolist() == ["a.png", "b.png", "c.png", "d.png"]
    assert trials.sessions.tolist() == [1, 1, 1, 2]
    assert set(trials.subjects) == {"sub-01"}


def test_an_unknown_subject_is_refused_with_the_known_ones(folder, monkeypatch):
    with pytest.raises(
        InputError,
        match=r"--subject sub-3: your own experiment has no such subject .*; its subjects are sub-01, sub-02",
    ):
        extract(colours(), folder, "-s", "sub-3")


@pytest.mark.parametrize(
    ("more", "n_test"),
    [
        (["--test-images", "test.txt"], 12),
        (["--test-images", "test.txt", "--exclude-images", "out.txt"], 10),
        (["--min-repeats", "4", "--in-subjects", "all"], 20),
    ],
)
def test_the_test_images_can_be_chosen(more, n_test, expected, tmp_path, monkeypatch):
    write_experiment(tmp_path, "responses.npy")
    (tmp_path / "image_embeddings").symlink_to(expected / "image_embeddings")
    (tmp_path / "test.txt").write_text("\n".join(image_names()[5:17]) + "\n")
    (tmp_path / "out.txt").write_text("\n".join(image_names()[15:20]))
    monkeypatch.chdir(tmp_path)
    align(monkeypatch, tmp_path, *more)
    assert set(scores(tmp_path)["n_test"]) == {n_test}
