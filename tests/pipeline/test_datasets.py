"""One planted brain gives the same scores from every dataset's layout."""

import json
from pathlib import Path

import dataset_trees
import h5py
import nibabel
import numpy as np
import pandas as pd
import pytest
from dataset_trees import AFFINE, INSIDE, REGION, TEST, TREES, save_nifti
from mean_colours import MODEL, colours, extract
from PIL import Image

from brain_activity_prediction.align_image_embeddings import align_model
from brain_activity_prediction.datasets.dataset import Reading
from brain_activity_prediction.datasets.find import as_chosen, find_dataset
from brain_activity_prediction.datasets.public.bold5000 import BETAS
from brain_activity_prediction.datasets.responses import ResponseChoice, prepare_responses
from brain_activity_prediction.datasets.splits import SplitChoice, split_images
from brain_activity_prediction.datasets.units import Voxels
from brain_activity_prediction.runtime.errors import InputError

SHARED = Path(__file__).resolve().parents[3] / "shared"
COLUMNS = ("roi", "n_voxels", "r", "r2", "cv_score", "noise_ceiling", "r_normalised", "n_train", "n_test", "n_sessions")


def scores_of(folder, subject, *more):
    """Extract and align, and return the score table."""
    extract(colours(), folder, "-s", subject)
    words = ["-d", folder, "-g", "cpu", "-s", subject, "-m", MODEL, "--stream", "vision", "--bootstrap", 0, *more]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["align_model.py", *map(str, words)])
        align_model.main()
    (path,) = folder.glob("alignment/*/*/no_prompt/test_mean-colours/scores.csv")
    return pd.read_csv(path)


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    return scores_of(folder, TREES["own"](folder))


@pytest.mark.parametrize("name", [name for name in TREES if name != "own"])
def test_every_layout_gives_the_same_scores(name, expected, tmp_path):
    subject = TREES[name](tmp_path)
    dataset = find_dataset(tmp_path)
    assert dataset.name == name.split(",")[0]
    more = []
    if name == "bold5000":
        (tmp_path / "test.txt").write_text("\n".join(TEST))
        more = ["--test-images", tmp_path / "test.txt"]
    found = scores_of(tmp_path, subject, *more)
    assert set(found["subject"]) == {subject}
    for column in COLUMNS[1:]:
        np.testing.assert_allclose(found[column], expected[column], rtol=1e-5, atol=1e-6, err_msg=column)
    assert found["roi"].tolist() == expected["roi"].tolist()
    units = dataset.units(subject)
    assert isinstance(units, Voxels)
    np.testing.assert_array_equal(units.mask, INSIDE)
    np.testing.assert_allclose(units.affine, AFFINE, rtol=1e-6)
    np.testing.assert_array_equal(dataset.regions(subject)["V1"], REGION)


def test_the_challenges_averages_are_read_on_fsaverage(tmp_path, capsys):
    subject = dataset_trees.algonauts2023(tmp_path)
    dataset = find_dataset(tmp_path)
    test = (np.arange(0, 60, 3) * 7 + 1).tolist()  # the names count from 0, ids from 1
    (tmp_path / "test.txt").write_text("\n".join(map(str, test)))
    choice = ResponseChoice(split=SplitChoice(test_images=tmp_path / "test.txt"), zscore=False)
    responses = prepare_responses(dataset, subject, choice, tmp_path / "cache")
    assert responses.image_ids.tolist() == (np.arange(60) * 7 + 1).tolist()
    np.testing.assert_allclose(responses.betas, dataset_trees.averages(), rtol=1e-6)
    regions = dataset.regions(subject)
    assert {name: int(members.sum()) for name, members in regions.items()} == {"all": 22, "V1v": 8, "hV4": 4}
    with pytest.raises(InputError, match=r"Algonauts 2023 has no test images: choose them with --test-images FILE"):
        prepare_responses(dataset, subject)
    table = scores_of(tmp_path, subject, "--test-images", tmp_path / "test.txt", "--trials", "single")
    assert "--trials single changes nothing: every training image has one trial" in capsys.readouterr().err
    assert table["r"].max() > 0.7
    assert table["noise_ceiling"].isna().all()
    maps = tmp_path / "alignment/algonauts2023/subj01/no_prompt/test_mean-colours/maps"
    assert (maps / "lh.vision_best_layer_r.func.gii").exists()


def test_states_that_were_computed_for_nsd_serve_the_challenge(own_nsd, tmp_path, capsys):
    """Pictures of the same ids are the same, whether NSD's file or the challenge's pictures were read."""
    extract(colours(), own_nsd, "-s", 1, "--output", tmp_path)
    ids = find_dataset(own_nsd).image_ids(1)[:12]
    folder = tmp_path / "challenge/subj01/training_split/training_images"
    folder.mkdir(parents=True)
    with find_dataset(own_nsd).open_images() as images:
        for place, (number, image) in enumerate(zip(ids, images.images(ids), strict=True)):
            image.save(folder / f"train-{place + 1:04d}_nsd-{number - 1:05d}.png")
    extract(colours(), tmp_path / "challenge", "-s", 1, "--output", tmp_path)
    assert "Algonauts 2023: 12 images, prompt 1: 12 images were done before, 0 are left" in capsys.readouterr().err


@pytest.mark.parametrize("name", [name for name in TREES if name != "own"])
def test_a_mask_file_chooses_voxels_of_any_volumes(name, tmp_path):
    subject = TREES[name](tmp_path)
    chosen = np.zeros(INSIDE.shape, bool)
    chosen[1:3] = True
    flipped = AFFINE @ np.array([[-1, 0, 0, len(chosen) - 1], *np.eye(4)[1:]])
    save_nifti(chosen[::-1].astype(np.uint8), tmp_path / "mine.nii.gz", flipped)
    (tmp_path / "test.txt").write_text("\n".join(TEST))
    choice = ResponseChoice(split=SplitChoice(test_images=tmp_path / "test.txt"))
    whole = find_dataset(tmp_path)
    masked = as_chosen(whole, Reading(mask=(str(tmp_path / "mine.nii.gz"),)))
    every, own = (prepare_responses(one, subject, choice, tmp_path / "cache") for one in (whole, masked))
    kept = chosen[INSIDE]
    np.testing.assert_array_equal(own.units.mask, INSIDE & chosen)
    np.testing.assert_allclose(own.betas, every.betas[:, kept])
    np.testing.assert_array_equal(masked.regions(subject)["V1"], REGION[kept])
    assert len(list((tmp_path / "cache").glob("*.h5"))) == 2
    with pytest.raises(InputError, match="has one kind of responses: leave out --mask"):
        as_chosen(whole, Reading(mask=("V1",)))


def test_a_mask_file_needs_volumes(tmp_path):
    subject = TREES["own"](tmp_path)
    save_nifti(INSIDE.astype(np.uint8), tmp_path / "mine.nii.gz")
    masked = as_chosen(find_dataset(tmp_path), Reading(mask=(str(tmp_path / "mine.nii.gz"),)))
    with pytest.raises(InputError, match=r"--mask .*mine.nii.gz: subject a of your own experiment has no volumes"):
        prepare_responses(masked, subject, cache_dir=tmp_path / "cache")


def test_nothing_of_things_is_unpickled(tmp_path, monkeypatch):
    subject = TREES["things"](tmp_path)
    monkeypatch.setattr("tables.open_file", None)  # through which pandas reads HDF5, and unpickles columns of objects
    responses = prepare_responses(find_dataset(tmp_path), subject, cache_dir=tmp_path / "cache")
    assert responses.betas.shape == (60, 22)


def test_trials_numbered_anew_in_each_run_are_read_by_row_as_the_authors_do(tmp_path):
    subject = TREES["things"](tmp_path)
    expected = prepare_responses(find_dataset(tmp_path), subject, cache_dir=tmp_path / "cache").betas
    path = tmp_path / "betas_csv/sub-01_StimulusMetadata.csv"
    table = pd.read_csv(path)
    table["trial_id"] = table.groupby(["session", "run"]).cumcount()
    table.to_csv(path, index=False)
    found = prepare_responses(find_dataset(tmp_path), subject, cache_dir=tmp_path / "another")
    np.testing.assert_array_equal(found.betas, expected)


def test_ceilings_in_percent_become_fractions(tmp_path):
    for name, ceiling, n_trials in (("things", 0.2, 1), ("laion_fmri", 0.5, 4)):
        folder = tmp_path / name
        subject = TREES[name](folder)
        dataset = find_dataset(folder)
        ncsnr = dataset.ncsnr(subject, dataset.units(subject))
        np.testing.assert_allclose(ncsnr**2 / (ncsnr**2 + 1 / n_trials), ceiling, rtol=1e-6)


def test_bold5000s_responses_that_lie_off_the_brain_mask_are_fitted_where_they_are(tmp_path, capsys):
    subject = TREES["bold5000"](tmp_path)
    dataset_trees.save_nifti(np.roll(INSIDE, 1, axis=1).astype(np.uint8), tmp_path / "CSI9_brainmask.nii.gz")
    np.testing.assert_array_equal(find_dataset(tmp_path).units(subject).mask, INSIDE)
    assert "2 of the brain mask's 22 voxels have no responses, so the 22 voxels with" in capsys.readouterr().err


def test_laions_transparent_pictures_show_the_grey_screen(tmp_path):
    """PsychoPy's colour (0, 0, 0) is grey, half of 255; half of it shines through a half transparent pixel."""
    subject = TREES["laion_fmri"](tmp_path)
    picture = np.zeros((8, 8, 4), np.uint8)
    picture[4:, :, 3] = 128
    with h5py.File(tmp_path / "stimuli/task-images_stimuli.h5", "r+") as file:
        Image.fromarray(picture).save(tmp_path / "one.png")
        file["images"][0] = np.frombuffer((tmp_path / "one.png").read_bytes(), np.uint8)
    name = pd.read_csv(tmp_path / "stimuli/task-images_metadata.csv")["image_name"][0]
    with find_dataset(tmp_path).open_images() as images:
        (image,) = images.images([name])
        shown = np.asarray(image)
        assert set(shown[:4].ravel()) == {128}
        assert abs(int(shown[7, 0, 0]) - 64) <= 1
        with pytest.raises(InputError, match=r"metadata.csv lacks 1 of 1 image \(first: picture_99s.jpg\)"):
            images.check(["picture_99s.jpg"])
    assert find_dataset(tmp_path).subjects() == [subject]


def test_laions_voxels_pass_15_percent_also_where_r2_is_a_fraction(tmp_path):
    subject = TREES["laion_fmri"](tmp_path)
    path = next(tmp_path.rglob("*R2mean*"))
    dataset_trees.save_nifti(np.where(INSIDE, 0.4, 0.1).astype(np.float32), path)
    np.testing.assert_array_equal(find_dataset(tmp_path).units(subject).mask, INSIDE)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the authors' split files are not here")
def test_the_splits_of_laion_fmri_are_read_as_published(tmp_path):
    TREES["laion_fmri"](tmp_path)
    (tmp_path / "laion_fmri_splits").symlink_to(SHARED / "laion_fmri_splits")
    dataset = find_dataset(tmp_path)
    assert {"tau", "ood", "ood:gabor", "ood:illusion-natural"} <= set(dataset.split_names())
    train, test = dataset.split("ood", "sub-05")
    assert (train.size, test.size) == (1121, 371)
    train, test = dataset.split("tau", "sub-05")
    assert (train.size, test.size) == (897, 224)
    assert [part.size for part in dataset.split("shared/tau", "sub-03")] == [897, 224]
    assert [part.size for part in dataset.split("tau", "sub-03")] == [40, 20]
    types = [name for name in dataset.split_names() if name.startswith("ood:")]
    parts = [dataset.split(name, "sub-05")[1] for name in types]
    assert sum(map(len, parts)) == 371
    assert all(map(len, parts))


def test_laions_installed_package_gives_the_splits_without_being_imported(tmp_path, monkeypatch):
    subject = TREES["laion_fmri"](tmp_path / "data")
    package = tmp_path / "site/laion_fmri"
    package.mkdir(parents=True)
    (tmp_path / "data/laion_fmri/splits").rename(package / "splits")
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path / "site")
    dataset = find_dataset(tmp_path / "data")
    assert [part.size for part in dataset.split("tau", subject)] == [40, 20]
    assert dataset.test_images(subject).tolist() == sorted(TEST)


WRONG = {
    "a session's table of other trials": (
        "laion_fmri",
        lambda base: next(base.rglob("*ses-02*_trials.tsv")).write_text("beta_index\tlabel\n0\tpicture_00s.jpg\n"),
        r"ses-02.*SingletrialBetas_statmap.nii.gz has shape \(4, 3, 2, 120\) instead of \(4, 3, 2, 1\)",
    ),
    "beta_index from 1": (
        "laion_fmri",
        lambda base: next(base.rglob("*ses-02*_trials.tsv")).write_text("beta_index\tlabel\n1\tpicture_00s.jpg\n"),
        "beta_index is not 0 to 0 in order",
    ),
    "two absent sessions": (
        "bold5000",
        lambda base: (base / "CSI9_imgnames.txt").write_text("picture_00s.jpg\n"),
        "the files of sessions hold 240 trials, but CSI9_imgnames.txt has 1 names",
    ),
    "sessions counted from 0": (
        "bold5000",
        lambda base: next(base.glob("*ses-02.nii.gz")).rename(base / f"CSI9_{BETAS}_ses-00.nii.gz"),
        "subject CSI9 has sessions 1 to 2, but .*ses-00.nii.gz exists",
    ),
    "voxels in another order": (
        "things",
        lambda base: (base / "betas_csv/sub-01_VoxelMetadata.csv").write_text(
            "".join(
                (lines := (base / "betas_csv/sub-01_VoxelMetadata.csv").read_text().splitlines(keepends=True))[:2]
                + lines[:1:-1]
            )
        ),
        "brainmask.nii.gz does not mark the 22 voxels of .*VoxelMetadata.csv in the same order",
    ),
    "a truncated frame": (
        "things",
        lambda base: (base / "betas_csv/sub-01_ResponseData.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100)),
        "cannot read .*ResponseData.h5",
    ),
    "a table of voxels that was cut": (
        "things",
        lambda base: (path := base / "betas_csv/sub-01_VoxelMetadata.csv").write_text(path.read_text()[:-6]),
        r"VoxelMetadata.csv \(row 22 has fewer cells than the header\)",
    ),
    "fewer trials than columns": (
        "things",
        lambda base: (base / "betas_csv/sub-01_StimulusMetadata.csv").write_text(
            "".join((base / "betas_csv/sub-01_StimulusMetadata.csv").read_text().splitlines(keepends=True)[:100])
        ),
        "it has no block of 22 voxels x 99 trials",
    ),
}


def scale_down(path, column="nc_singletrial"):
    """Write percent as fractions, in a table or in a volume."""
    if path.suffix == ".csv":
        table = pd.read_csv(path)
        table[column] /= 100
        table.to_csv(path, index=False)
    else:
        save_nifti(nibabel.load(path).get_fdata(dtype=np.float32) / 100, path)


@pytest.mark.parametrize(("name", "file"), [("things", "*VoxelMetadata.csv"), ("laion_fmri", "*Noiseceiling4rep*")])
def test_ceilings_that_are_fractions_are_not_taken_for_percent(name, file, tmp_path, capsys):
    subject = TREES[name](tmp_path)
    units = find_dataset(tmp_path).units(subject)
    expected = find_dataset(tmp_path).ncsnr(subject, units)
    scale_down(next(tmp_path.rglob(file)))
    dataset = find_dataset(tmp_path)
    np.testing.assert_allclose(dataset.ncsnr(subject, units), expected, rtol=1e-6)
    dataset.check_ncsnr(subject)
    assert capsys.readouterr().err.count("values are read as fractions, not as percent") == 1


EVERY = {**TREES, "algonauts2023": dataset_trees.algonauts2023}


@pytest.mark.parametrize("name", EVERY)
def test_a_session_that_does_not_exist_is_refused(name, tmp_path):
    subject = EVERY[name](tmp_path)
    with pytest.raises(InputError, match=r"session 9|ses-09|leave out --sessions"):
        prepare_responses(find_dataset(tmp_path), subject, ResponseChoice([1, 9]), tmp_path / "cache")


@pytest.mark.parametrize("name", EVERY)
def test_a_truncated_file_of_responses_is_refused(name, tmp_path):
    subject = EVERY[name](tmp_path)
    path = find_dataset(tmp_path).response_files(subject, [1])[0 if name != "bold5000" else 2]
    if name == "own":
        path = tmp_path / "responses.npy"
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    (tmp_path / "test.txt").write_text(f"{find_dataset(tmp_path).image_ids(subject)[0]}\n")
    choice = ResponseChoice([1], split=SplitChoice(test_images=tmp_path / "test.txt"))
    with pytest.raises(InputError, match=f"{path.name} ") as error:
        prepare_responses(find_dataset(tmp_path), subject, choice, tmp_path / "cache")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", TREES)
def test_an_image_without_a_file_is_named(name, tmp_path):
    subject = TREES[name](tmp_path)
    if name == "laion_fmri":
        path = tmp_path / "stimuli/task-images_metadata.csv"
        path.write_text(path.read_text().replace("picture_07s", "picture_77s"))
    else:
        next(tmp_path.rglob("picture_07s.*")).unlink()
    dataset = find_dataset(tmp_path)
    with (
        dataset.open_images() as images,
        pytest.raises(InputError, match=r"lacks 1 of 60 images \(first: picture_07s.jpg\)"),
    ):
        images.check(dataset.image_ids(subject))


def test_two_pictures_of_the_challenge_under_one_number_are_refused(tmp_path):
    dataset_trees.algonauts2023(tmp_path)
    (own,) = tmp_path.glob("subj01/training_split/training_images/train-0003_*")
    other = tmp_path / "subj02/training_split/training_images" / own.name.replace("0003", "0001")
    other.parent.mkdir(parents=True)
    other.write_bytes(own.read_bytes() + b"more")  # the same picture in more bytes
    assert find_dataset(tmp_path).open_images().has(15)
    Image.new("RGB", (12, 12), (1, 2, 3)).save(other)
    with pytest.raises(InputError, match=r"train-0003_nsd-00014.png and .*show different pictures under the same"):
        find_dataset(tmp_path).open_images()
    other.rename(other.with_name("train-0001_nsd-73000.png"))
    with pytest.raises(InputError, match="NSD's images are numbered from 0 to 72999 in these names"):
        find_dataset(tmp_path).open_images()


@pytest.mark.parametrize("wrong", WRONG)
def test_files_that_contradict_each_other_are_refused_in_one_line(wrong, tmp_path):
    name, spoil, said = WRONG[wrong]
    subject = TREES[name](tmp_path)
    spoil(tmp_path)
    with pytest.raises(InputError, match=said) as error:
        prepare_responses(find_dataset(tmp_path), subject, cache_dir=tmp_path / "cache")
    assert "\n" not in str(error.value)


def test_two_datasets_in_one_folder_need_a_choice(tmp_path):
    TREES["own"](tmp_path)
    TREES["bold5000"](tmp_path)
    with pytest.raises(InputError, match="files of several datasets: choose one with --dataset: bold5000, own"):
        find_dataset(tmp_path)
    assert find_dataset(tmp_path, "own").name == "own"


def test_shared_images_with_enough_trials_are_those_of_the_design(official_nsd):
    """Counted by hand from the design's arrays, over all sessions that each subject took part in."""
    nsd = find_dataset(official_nsd)
    counts = []
    for subject in nsd.subjects():
        shown = nsd.trials_run(subject)
        counts.append([(shown == image).sum() for image in nsd.test_images(1)])
    least = np.min(counts, axis=0)
    seen = nsd.image_ids(1)
    for n in (1, 2, 3):
        split = split_images(nsd, 1, seen, SplitChoice(min_repeats=n, in_subjects=()))
        assert split.test.size == (least >= n).sum()


def test_a_list_of_images_counted_from_0_is_recognised(official_nsd, tmp_path, capsys):
    nsd, path = find_dataset(official_nsd), tmp_path / "test.txt"
    seen = nsd.image_ids(1)
    seen = seen[seen > 1]
    path.write_text("\n".join(str(number - 1) for number in nsd.test_images(1)))
    sparse = np.setdiff1d(seen, nsd.test_images(1) - 1)  # the small tree shows almost every image
    with pytest.raises(
        InputError, match=r"test.txt seems to count images from 0: the subject saw 0 of .* Ids count from 1"
    ):
        split_images(nsd, 1, sparse, SplitChoice(test_images=path))
    path.write_text(f"{seen[0]}\n{seen[4]}\n99999\n")
    for _ in range(2):
        split = split_images(nsd, 1, seen, SplitChoice(test_images=path))
    assert split.test.tolist() == [seen[0], seen[4]]
    assert capsys.readouterr().err.count("the subject saw 2 of 3 images; only these are used") == 1


def test_a_split_file_that_is_not_json_is_refused(tmp_path):
    subject = TREES["laion_fmri"](tmp_path)
    next(tmp_path.rglob("tau.json")).write_text(json.dumps({"variants": []}))
    with pytest.raises(InputError, match=r"tau.json .*it has no variants"):
        prepare_responses(find_dataset(tmp_path), subject, cache_dir=tmp_path / "cache")
