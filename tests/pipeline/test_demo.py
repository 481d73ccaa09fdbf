"""The demo as a newcomer runs it, once, from the wheel, and the known answers that it must give back."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
import tutorial
from nilearn.datasets import load_fsaverage
from nilearn.surface import load_surf_data
from PIL import Image
from scipy.spatial import cKDTree
from scripts import ALIGN, PACKAGE, run_here

from brain_activity_prediction import __version__
from brain_activity_prediction.demo import __main__ as demo_script
from brain_activity_prediction.demo import dataset, models
from brain_activity_prediction.demo.__main__ import LLAVA, VIT, write
from brain_activity_prediction.demo.cortex import PLACES
from brain_activity_prediction.demo.planted import LAYERS
from brain_activity_prediction.encoding.scores.score_store import QUANTITIES, ScoreStore
from brain_activity_prediction.encoding.tables.layer_figure import COLOURS
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore

pytestmark = pytest.mark.very_slow

ROOT = PACKAGE.parent
N_TRAIN, N_TEST, WIDTH, REPEATS = 250, 100, 96, 3


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy of the tree."""
    source = tmp_path_factory.mktemp("wheel")
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(PACKAGE, source / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
    build = "import sys, setuptools.build_meta as build; print(build.build_wheel(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", build, source], cwd=source, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return source / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def demo(wheel, tmp_path_factory):
    """The demo's folder and what it said, run where only the wheel's files are found."""
    home = tmp_path_factory.mktemp("demo")
    folder = home / "demo data"
    zipfile.ZipFile(wheel).extractall(home / "site")
    command = [sys.executable, "-m", "brain_activity_prediction.demo", "--base-dir", folder]
    environment = os.environ | {"PYTHONPATH": str(home / "site")}
    as_seen = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    done = subprocess.run(command, cwd=home, env=environment, **as_seen, check=False)
    assert done.returncode == 0, done.stdout
    return folder, done.stdout


@pytest.fixture(scope="module")
def table(demo):
    """The language stream's scores, a row a region of the layer chosen on training images."""
    scores = pd.read_parquet(demo[0] / "alignment/subj01/prompt_1" / LLAVA.replace("/", "_") / "scores.parquet")
    return scores[scores["layer_choice"] == "best_per_region"].set_index("roi")


@pytest.fixture(scope="module")
def planted(demo):
    return json.loads((demo[0] / "planted.json").read_text())


def test_the_wheel_holds_every_file_of_the_package_and_its_one_version(wheel):
    held = zipfile.ZipFile(wheel).namelist()
    of_the_package = {name for name in held if name.startswith(PACKAGE.name + "/")}
    tracked = {path for path in PACKAGE.rglob("*.*") if path.is_file() and "__pycache__" not in path.parts}
    assert of_the_package == {path.relative_to(ROOT).as_posix() for path in tracked}
    assert wheel.name.startswith(f"brain_activity_prediction-{__version__}-")
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text().splitlines()


def test_the_planted_layer_wins_in_every_region(table, planted):
    for region, truth in planted.items():
        if truth["source"]:
            assert table.loc[region, "layer"] == LAYERS[truth["source"]], region


def test_scores_reach_what_noise_and_sample_size_allow(table, planted):
    """A perfect prediction has r = sqrt(NC); least squares of D features on n images adds D / n of the noise to it."""
    for region, truth in planted.items():
        if truth["source"]:
            noise = 1 / (truth["snr"] ** 2 * REPEATS)
            most = truth["noise_ceiling_r"]
            least = most / np.sqrt(1 + noise * WIDTH / N_TRAIN)
            sampling = (1 - most**2) / np.sqrt(N_TEST)
            assert least - sampling < table.loc[region, "r"] < most + sampling, region


def test_the_region_of_noise_is_at_zero(table, planted):
    noise = [region for region, truth in planted.items() if not truth["source"]]
    assert noise
    for region in noise:
        assert abs(table.loc[region, "r"]) < 3 / np.sqrt(N_TEST * table.loc[region, "n_voxels"])
        assert table.loc[region, "r2"] < 0.01


def test_fitted_voxels_outside_the_regions_are_at_zero(demo):
    rois = sorted((demo[0] / "nsddata/ppdata/subj01/func1pt8mm/roi").glob("*.nii.gz"))
    labels = {path.name: nibabel.load(path).get_fdata() for path in rois}
    fitted = labels.pop("nsdgeneral.nii.gz") == 1
    outside = fitted & ~np.any([volume > 0 for volume in labels.values()], axis=0)
    maps = demo[0] / "alignment/subj01/prompt_1" / LLAVA.replace("/", "_") / "maps"
    r = nibabel.load(maps / "language_layers_r.nii.gz").get_fdata()[outside]
    assert len(r) > 1000
    for layer in LAYERS.values():
        assert abs(r[:, layer].mean()) < 3 / np.sqrt(N_TEST * len(r))


def test_the_demo_prints_the_region_table_and_where_everything_lies(demo, table):
    folder, said = demo
    for region in table.index:
        assert f" {region} " in said
    for name in ("layers.png", "scores.csv", "scores.parquet"):
        assert name in said
        for model, prompt in ((LLAVA, "prompt_1"), (LLAVA, "no_prompt"), (VIT, "no_prompt")):
            assert (folder / "alignment/subj01" / prompt / model.replace("/", "_") / name).stat().st_size > 500


def test_no_two_lines_in_a_row_are_blank_on_the_screen(demo):
    assert "\n\n\n" not in demo[1]


def test_the_pages_picture_has_the_size_and_colours_of_the_demos_drawing(demo):
    drawn = demo[0] / "alignment/subj01/prompt_1" / LLAVA.replace("/", "_") / "layers.png"
    ours, shown = (Image.open(path).convert("RGB") for path in (drawn, ROOT / "docs/demo_layers.png"))
    assert ours.size == shown.size
    colours = {tuple(bytes.fromhex(colour[1:])) for colour in COLOURS}
    for picture in (ours, shown):
        assert colours <= {colour for _, colour in picture.getcolors(picture.width * picture.height)}


def test_the_demo_ends_with_a_report_of_both_models_in_which_nothing_was_left_out(demo, table):
    folder, said = demo
    page = folder / "report" / "report.html"
    assert said.splitlines()[-1].startswith(f"Open {page} in a browser")
    html = page.read_text()
    assert "2 models, 2 subjects" in html
    assert "not extracted" not in html
    assert "not aligned" not in html
    collected = pd.read_parquet(folder / "report" / "scores.parquet")
    collected = collected[(collected["stream"] == "language") & (collected["subject"] == 1)]
    best = collected[collected["layer_choice"] == "best_per_region"]
    assert dict(zip(best["roi"], best["layer"], strict=True)) == table["layer"].to_dict()


def test_the_demo_says_that_it_is_simulated_in_page_head_figures_and_model_ids(demo, table):
    page = (demo[0] / "report" / "report.html").read_text()
    head = page[: page.index("<h1>")]
    assert "<title>Simulated data: " in head
    assert "<strong>Simulated data.</strong>" in head
    figures = list((demo[0] / "report" / "figures").glob("*.svg"))
    assert len(figures) > 5
    for path in figures:
        assert "<dc:title>Simulated data: " in path.read_text(), path
    assert table["model_id"].str.startswith("simulated/").all()
    assert "llava-hf/" not in page
    assert "google/" not in page


def test_a_model_that_was_not_asked_to_answer_has_no_answers_stored(demo):
    states = EmbeddingStore(demo[0] / "image_embeddings/prompt_1" / LLAVA.replace("/", "_"))
    assert len(states.image_ids(["language"])) == 2 * N_TRAIN + N_TEST
    assert states.read_answers() == {}


def test_the_map_of_the_best_layer_shows_the_planted_layers(demo, planted):
    folder, _ = demo
    best = nibabel.load(
        folder / "alignment/subj01/prompt_1" / LLAVA.replace("/", "_") / "maps/language_best_layer.nii.gz"
    ).get_fdata()
    labels = nibabel.load(folder / "nsddata/ppdata/subj01/func1pt8mm/roi/prf-visualrois.nii.gz").get_fdata()
    v1v = best[(labels == 1) & np.isfinite(best)]
    assert len(v1v) == planted["V1v"]["n_voxels"]
    assert np.mean(np.abs(v1v - LAYERS["early"]) <= 1) > 0.8


@pytest.mark.parametrize("subject", [1, 2])
def test_the_demo_leaves_the_planted_layers_on_their_places_of_fsaverage5(demo, planted, subject):
    folder, mesh = demo[0] / f"alignment/subj0{subject}", load_fsaverage("fsaverage5")
    maps = folder / "prompt_1" / LLAVA.replace("/", "_") / "surfaces/fsaverage5"
    for side, part in (("lh", "left"), ("rh", "right")):
        layers = load_surf_data(maps / f"{side}.language_best_layer.func.gii")
        white, sphere = (mesh[kind].parts[part].coordinates for kind in ("white_matter", "sphere"))
        for region in ("FFA-1", "EBA", "PPA", "V1v"):
            vertex = cKDTree(white).query(np.array(PLACES[region][0]) * [-1 if side == "lh" else 1, 1, 1])[1]
            near = layers[cKDTree(sphere).query(sphere[vertex], 7)[1]]
            assert abs(np.median(near) - LAYERS[planted[region]["source"]]) <= 1, (side, region)


def test_every_folder_and_file_that_the_demo_names_is_there(demo):
    folder, said = demo
    named = re.findall(rf"{re.escape(str(folder))}(?:/([\w.*/-]+))?", said)
    assert {"report/report.html", "alignment/across_subjects/**/surfaces"} <= {*named}
    lost = [path for path in named if path and next(folder.glob(path.rstrip(".")), None) is None]
    assert not lost


def test_the_page_of_the_demo_shows_both_subjects_on_the_cortex(demo):
    names = {path.name for path in (demo[0] / "report/figures").glob("*.svg")}
    assert {f"{kind}_{LLAVA.replace('/', '_').replace('.', '_')}.svg" for kind in ("flat_r", "views_r")} <= names
    assert "no transforms" not in (demo[0] / "report" / "report.html").read_text()


def test_the_tutorial_prints_what_it_shows_and_draws_its_pictures(demo, tmp_path, monkeypatch):
    (tmp_path / "demo_data").symlink_to(demo[0])
    monkeypatch.chdir(tmp_path)
    tutorial.run()
    pictures = re.findall(r"\]\(pictures/(.+\.png)\)", tutorial.PAGE.read_text())
    assert len(pictures) == 2
    for name in pictures:
        assert (tmp_path / name).stat().st_size > 10_000
        assert (tutorial.PAGE.parent / "pictures" / name).exists()


def test_what_a_region_was_not_planted_with_predicts_nothing_of_it_alone(demo, planted):
    folder, _ = demo
    spaces = [word for layer in LAYERS.values() for word in ("--space", LLAVA, 1, "language", layer)]
    done = run_here(ALIGN.with_name("partition_variance.py"), "-d", folder, "-g", "cpu", "-n", "early_late", *spaces)
    assert done.returncode == 0, done.stderr
    table = pd.read_parquet(folder / "alignment/subj01/variance_partitioning/early_late/shares.parquet")
    parts = table[table["kind"] == "part"].pivot(index="roi", columns="spaces", values="r2")
    own = dict(zip(LAYERS, ("A", "B"), strict=True))
    for region, truth in planted.items():
        for source, spaces in own.items():
            if source == truth["source"]:
                assert parts.loc[region, spaces] > 0.1
            else:
                assert abs(parts.loc[region, spaces]) < 0.01


def test_the_planted_layer_or_its_neighbour_is_the_most_similar_one_without_any_fit(demo, planted):
    folder, _ = demo
    flags = ("-d", folder, "-g", "cpu", "-m", LLAVA, "--stream", "language")
    done = run_here(ALIGN.with_name("compare_representations.py"), *flags)
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(folder / "alignment/subj01/prompt_1" / LLAVA.replace("/", "_") / "similarity.csv")
    for measure in ("rsa", "cka"):
        most = table.loc[table.groupby("roi")[measure].idxmax()].set_index("roi")
        for region, truth in planted.items():
            if truth["source"]:
                assert abs(most.loc[region, "layer"] - LAYERS[truth["source"]]) <= 1
            else:
                assert most.loc[region, measure] < 0.02


def test_every_score_of_every_layer_is_a_volume_where_the_subject_s_brain_is(demo):
    folder, _ = demo
    results = ScoreStore(folder / "alignment/subj01/prompt_1" / LLAVA.replace("/", "_"))
    nsdgeneral = nibabel.load(folder / "nsddata/ppdata/subj01/func1pt8mm/roi/nsdgeneral.nii.gz")
    fitted = nsdgeneral.get_fdata() == 1
    for name in QUANTITIES:
        image = nibabel.load(results.folder / "maps" / f"language_layers_{name}.nii.gz")
        np.testing.assert_array_equal(image.affine, nsdgeneral.affine)
        volumes = image.get_fdata()
        assert np.isnan(volumes[~fitted]).all()
        for layer in range(volumes.shape[3]):
            np.testing.assert_array_equal(volumes[fitted, layer], results.read("language", layer)[name])
    tested = nibabel.load(results.folder / "maps" / "language_layers_p.nii.gz").get_fdata()[fitted]
    np.testing.assert_array_equal(tested[:, 7], results.read_statistics("language", 7).p.astype(np.float32))


def test_the_demo_replaces_itself_and_nothing_else(tmp_path):
    (tmp_path / "thesis.txt").write_text("three years of work")
    with pytest.raises(InputError, match="not a demo"):
        write(tmp_path, "official")
    assert (tmp_path / "thesis.txt").exists()


@pytest.mark.parametrize("step", ["removal", "write_llava", "write_vit", "write_dataset"])
def test_a_demo_killed_while_it_writes_can_be_started_again(step, tmp_path, monkeypatch):
    def killed(folder, *_):
        raise KeyboardInterrupt

    def removal(folder):  # of files in any order, the mark of a demo first
        (Path(folder) / "planted.json").unlink(missing_ok=True)
        raise KeyboardInterrupt

    def write_name(folder, name):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()

    steps = {"write_llava": models, "write_vit": models, "write_dataset": dataset}
    for name, module in steps.items():
        monkeypatch.setattr(module, name, lambda folder, *_, name=name: write_name(folder, name))
    folder = tmp_path / "demo"
    (folder / "report").mkdir(parents=True)
    (folder / "planted.json").write_text("{}")
    (folder / "report" / "report.html").touch()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        if step == "removal":
            patch.setattr(shutil, "rmtree", removal)
        else:
            patch.setattr(steps[step], step, killed)
        write(folder, "official")
    write(folder, "official")
    assert (folder / "write_dataset").exists()
    assert not (folder / "report").exists()


@pytest.mark.parametrize(("told", "threads"), [(None, "1"), ("3", "3")])
def test_the_demo_runs_on_one_thread_unless_told_otherwise(told, threads, tmp_path):
    """The number must be set before NumPy and torch are imported."""
    code = (
        "import sys; from brain_activity_prediction.demo import __main__ as demo; assert 'numpy' not in sys.modules; "
    )
    code += "demo.write = lambda *_: print(demo.os.environ['OMP_NUM_THREADS']); demo.main()"
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    environment |= {} if told is None else {"OMP_NUM_THREADS": told}
    command = [sys.executable, "-c", code, "--data-only", "-d", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.stdout == f"{threads}\n", done.stderr


def test_a_script_that_fails_ends_the_demo_with_its_status(tmp_path, monkeypatch):
    monkeypatch.setattr(demo_script, "PACKAGE", tmp_path)
    monkeypatch.setattr(sys, "argv", sys.argv)
    script = tmp_path / "script.py"
    script.write_text("import sys; sys.exit(int(sys.argv[1]))")
    demo_script.run(script, "0")
    with pytest.raises(SystemExit, match="2"):
        demo_script.run(script, "2")
