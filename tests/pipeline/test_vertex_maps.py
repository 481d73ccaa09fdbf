"""Maps of responses on a surface, in `bap surface`, `bap export pycortex` and the report."""

import shutil
from types import SimpleNamespace
from unittest.mock import patch

import nibabel
import numpy as np
import pytest
from nilearn.surface import load_surf_data
from reports import LLAVA, VIT, page_text, report
from scipy import stats
from scripts import PACKAGE, run_here
from surface_transforms import N_FSAVERAGE, write_mgz

from brain_activity_prediction.datasets.dataset import Reading
from brain_activity_prediction.datasets.find import find_dataset
from brain_activity_prediction.datasets.units import Vertices
from brain_activity_prediction.report.contents import Contents, values_of_settings
from brain_activity_prediction.report.cortex import cortex_figures, group_figures
from brain_activity_prediction.report.cortex.cortices import read_cortices
from brain_activity_prediction.report.map_files import read_sides
from brain_activity_prediction.report.source import Source
from brain_activity_prediction.report.tables.collecting import Scored
from brain_activity_prediction.report.voxel_maps import voxel_maps
from brain_activity_prediction.storage.folders import Output

RUN = "no_prompt/google_vit-huge-patch14-224-in21k"
SIDES = ("lh", "rh")
NAME = "vision_best_layer_r_normalised"


def surface(base_dir, *flags):
    return run_here(PACKAGE / "report" / "surface_maps.py", "-d", base_dir, "-m", VIT, *flags)


def on_vertices(base_dir, n):
    """Put maps on n = (left, right) vertices in place of a model's volumes; return NAME's {subject: {side: values}}."""
    values = {}
    for subject in (1, 2):
        maps = base_dir / f"alignment/subj0{subject}" / RUN / "maps"
        names = [path.name.removesuffix(".nii.gz") for path in maps.glob("*.nii.gz") if "_layers_" not in path.name]
        shutil.rmtree(maps)
        for number, name in enumerate(names):
            own = np.random.default_rng([subject, number]).random(sum(n), dtype=np.float32)
            own[:: 7 + subject] = np.nan
            Vertices({side: np.ones(m, dtype=bool) for side, m in zip(SIDES, n, strict=True)}).write_map(
                maps / name, own
            )
            if name == NAME:
                values[subject] = dict(zip(SIDES, np.split(own, n[:1]), strict=True))
    return values


def written(base_dir, where, name=NAME, ending="mgz"):
    return {side: load_surf_data(base_dir / "alignment" / where / f"{side}.{name}.{ending}") for side in SIDES}


def test_maps_on_fsaverage_are_written_as_they_are_with_statistics_over_subjects(own_scored):
    values = on_vertices(own_scored, (N_FSAVERAGE, N_FSAVERAGE))
    done = surface(own_scored)
    assert done.returncode == 0, done.stderr
    assert "statistics over subjects on fsaverage in" in done.stdout
    assert "ROI file" not in done.stdout
    for ending in ("mgz", "func.gii"):
        found = written(own_scored, f"subj01/{RUN}/surfaces/fsaverage", ending=ending)
        for side in SIDES:
            np.testing.assert_array_equal(found[side], values[1][side])
    image = nibabel.load(own_scored / "alignment/subj01" / RUN / f"surfaces/fsaverage/rh.{NAME}.func.gii")
    assert image.darrays[0].meta["Name"] == NAME
    both = np.stack([values[1]["rh"], values[2]["rh"]])
    known = np.isfinite(both).all(axis=0)
    t = written(own_scored, f"across_subjects/{RUN}/surfaces/fsaverage", f"{NAME}_t")["rh"]
    np.testing.assert_allclose(t[known], stats.ttest_1samp(both, 0).statistic[known], rtol=1e-3)

    assert surface(own_scored, "--space", "fsaverage5").returncode == 0
    found = written(own_scored, f"subj02/{RUN}/surfaces/fsaverage5")
    np.testing.assert_array_equal(found["lh"], values[2]["lh"][:10242])
    done = surface(own_scored, "--space", "native")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "maps of subject 1 are on fsaverage: leave native out of --space" in done.stderr


def write_nearest(base_dir, subject, n):
    """The vertex of a subject, counted from 1, next to each vertex of fsaverage."""
    nearest = {}
    for side, m in zip(SIDES, n, strict=True):
        nearest[side] = np.random.default_rng([subject, m]).integers(0, m, N_FSAVERAGE)
        path = base_dir / f"nsddata/ppdata/subj0{subject}/transforms/{side}.white-to-fsaverage.mgz"
        write_mgz(path, np.reshape(nearest[side] + 1, (-1, 1, 1)))
    return nearest


def test_maps_on_the_subjects_own_surface_reach_fsaverage_by_nsds_indices(own_scored):
    n = (300, 280)
    values = on_vertices(own_scored, n)
    done = surface(own_scored)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "fetch lh.white-to-fsaverage.mgz, rh.white-to-fsaverage.mgz" in done.stderr
    assert surface(own_scored, "--space", "native").returncode == 0

    nearest = {subject: write_nearest(own_scored, subject, n) for subject in (1, 2)}
    done = surface(own_scored)
    assert done.returncode == 0, done.stderr
    for side in SIDES:
        own = written(own_scored, f"subj02/{RUN}/surfaces/native")[side]
        np.testing.assert_array_equal(own, values[2][side])
        carried = written(own_scored, f"subj02/{RUN}/surfaces/fsaverage")[side]
        np.testing.assert_array_equal(carried, values[2][side][nearest[2][side]])
    means = written(own_scored, f"across_subjects/{RUN}/surfaces/fsaverage", f"{NAME}_mean")["lh"]
    both = np.stack([values[subject]["lh"][nearest[subject]["lh"]] for subject in (1, 2)])
    known = np.isfinite(both).all(axis=0)
    np.testing.assert_allclose(means[known], both.mean(axis=0)[known], rtol=1e-5)


def test_a_surface_is_fsaverage_only_if_both_hemispheres_have_its_vertices(own_scored):
    on_vertices(own_scored, (N_FSAVERAGE, 280))
    done = surface(own_scored)
    assert done.returncode == 2
    assert "fetch lh.white-to-fsaverage.mgz" in done.stderr


def test_meshes_and_other_surfaces_are_refused_for_maps_of_vertices(own_scored):
    on_vertices(own_scored, (300, 280))
    shutil.rmtree(own_scored / "nsddata/ppdata/subj01/transforms", ignore_errors=True)
    done = surface(own_scored, "-s", "1", "--mesh", "lh.pial", "rh.pial")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "maps of subject 1 are on a surface, but --mesh is for volumes" in done.stderr
    (own_scored / "alignment/subj01" / RUN / f"maps/rh.{NAME}.func.gii").unlink()
    done = surface(own_scored, "-s", "1", "--map", NAME, "--space", "native")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert f"maps/rh.{NAME}.func.gii does not exist" in done.stderr


def test_pycortex_gets_vertices_alone_of_maps_on_a_surface(own_scored):
    from test_surface_maps import views_of

    values = on_vertices(own_scored, (N_FSAVERAGE, N_FSAVERAGE))
    done = run_here(PACKAGE / "report" / "export_maps.py", "pycortex", "-d", own_scored, "-m", VIT, "--map", NAME)
    assert done.returncode == 0, done.stderr
    ((title, (vertices, subject, transform)),) = views_of(own_scored / "report/pycortex/subj02.hdf").items()
    assert (subject, transform) == ("fsaverage", None)
    assert title.endswith(f"{NAME}, fsaverage")
    np.testing.assert_array_equal(vertices, np.concatenate([*values[2].values()]))


def test_pycortex_has_no_fsaverage5(own_scored):
    on_vertices(own_scored, (10242, 10242))
    done = run_here(PACKAGE / "report" / "export_maps.py", "pycortex", "-d", own_scored, "-m", VIT, "--map", NAME)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "maps of subject 1 are on fsaverage5, but pycortex's store has only fsaverage" in done.stderr


@pytest.fixture
def labels(own_nsd):
    """NSD with betas and labels on fsaverage; V1v is the second, hV4 (label 7) the third quarter of each hemisphere."""
    session = own_nsd / "nsddata_betas/ppdata/subj01/fsaverage/betas_fithrf_GLMdenoise_RR"
    folder = own_nsd / "nsddata/freesurfer/fsaverage/label"
    quarter = np.arange(N_FSAVERAGE) * 4 // N_FSAVERAGE
    for side in SIDES:
        betas = nibabel.MGHImage(np.zeros((N_FSAVERAGE, 1, 1, 2), np.float32), np.eye(4))
        session.mkdir(parents=True, exist_ok=True)
        nibabel.save(betas, session / f"{side}.betas_session01.mgh")
        write_mgz(folder / f"{side}.nsdgeneral.mgz", np.reshape(quarter > 0, (-1, 1, 1)))
        write_mgz(folder / f"{side}.prf-visualrois.mgz", np.reshape(np.choose(quarter, [0, 1, 7, 0]), (-1, 1, 1)))
    return own_nsd, quarter


def test_regions_are_outlined_on_the_surface_of_the_scored_responses(labels, tmp_path):
    base_dir, quarter = labels
    masks = {side: np.ones(N_FSAVERAGE, dtype=bool) for side in SIDES}
    Vertices(masks).write_map(tmp_path / "run/maps/vision_best_layer_r", np.ones(2 * N_FSAVERAGE))
    scored = [Scored(tmp_path / "run", "standard", VIT, None, 1, {"space": "fsaverage", "mask": ["nsdgeneral"]})]
    with patch("brain_activity_prediction.report.cortex.cortices.PIXELS", 60):
        cortices, lacking = read_cortices(Source(Output(tmp_path), find_dataset(base_dir)), scored)
    assert not lacking
    assert set(cortices.regions[1]) == {"V1", "hV4"}
    for name, place in (("V1", 1), ("hV4", 2)):
        np.testing.assert_array_equal(cortices.regions[1][name], np.tile(quarter[:10242] == place, 2))


def test_a_report_of_surfaces_alone_has_maps(own_scored):
    on_vertices(own_scored, (N_FSAVERAGE, N_FSAVERAGE))
    with (
        patch("brain_activity_prediction.report.cortex.cortices.PIXELS", 60),
        patch("brain_activity_prediction.report.cortex.cortex_figures.PIXELS", 60),
    ):
        text = page_text(report(own_scored, "-m", VIT))
    assert "Maps on fsaverage" in text
    assert "There are no maps" not in text


def test_t_over_subjects_is_that_of_scipy_where_all_have_a_value(tmp_path, monkeypatch):
    rng, masks, values, scored = np.random.default_rng(0), {side: np.ones(10242, dtype=bool) for side in SIDES}, [], []
    for subject in ("sub-1", "sub-2", "sub-3"):
        own = rng.normal(0.3, 0.1, 2 * 10242).astype(np.float32)
        own[rng.random(own.size) < 0.1] = np.nan
        for name in ("r_normalised", "cv_score"):
            Vertices(masks).write_map(tmp_path / subject / f"maps/vision_best_layer_{name}", own)
        values.append(own.astype(np.float64))
        scored.append(Scored(tmp_path / subject, "standard", VIT, None, subject, {}))
    drawn = {}
    for module in (cortex_figures, group_figures):
        monkeypatch.setattr(module, "cortex_figure", lambda name, *figure: drawn.setdefault(name, figure))
    monkeypatch.setattr(cortex_figures, "PIXELS", 60)
    for n in (3, 2):
        drawn.clear()
        with patch("brain_activity_prediction.report.cortex.cortices.PIXELS", 60):
            cortices, _ = read_cortices(Source(Output(tmp_path)), scored[:n])
        list(cortex_figures.cortex_figures(cortices, scored[:n], tmp_path, None))
        assert ("flat_t_google_vit-huge-patch14-224-in21k" in drawn) == (n == 3)
        if n == 3:
            title, (row,), scale, *_ = drawn["flat_t_google_vit-huge-patch14-224-in21k"]
            expected = stats.ttest_1samp(values, 0).statistic  # NaN where a subject has no value
            np.testing.assert_allclose(row.values, expected, rtol=1e-5)
            assert 0.7 < np.isfinite(row.values).mean() < 0.76
            assert (title, row.title) == (f"t of r / ceiling against 0: {VIT}", "over 3 subjects, 2 df")
            assert (scale.low, scale.unit) == (-scale.high, "t")


def test_the_best_prompt_of_each_vertex_is_drawn(tmp_path, monkeypatch):
    rng, masks, scored, cv_scores = np.random.default_rng(0), dict.fromkeys(SIDES, np.ones(10242, dtype=bool)), [], []
    for prompt in (2, 5, 9):
        scored.append(Scored(tmp_path / str(prompt), "standard", LLAVA, prompt, "sub-1", {}))
        cv_scores.append(rng.random(2 * 10242).astype(np.float32))
        Vertices(masks).write_map(scored[-1].folder / "maps/language_best_layer_cv_score", cv_scores[-1])
    source, drawn = Source(Output(tmp_path)), {}
    assert [*voxel_maps(source, scored, tmp_path / "report/maps")] == []
    monkeypatch.setattr(cortex_figures, "cortex_figure", lambda name, *figure: drawn.setdefault(name, figure))
    with patch("brain_activity_prediction.report.cortex.cortices.PIXELS", 60):
        cortices, _ = read_cortices(source, scored)
    list(cortex_figures.cortex_figures(cortices, scored, tmp_path / "report/maps", None))
    _, (row,), *_ = drawn["flat_best_prompt_llava-hf_llava-1_5-13b-hf"]
    np.testing.assert_array_equal(row.values, np.array([2, 5, 9])[np.argmax(cv_scores, axis=0)])


def test_the_settings_of_a_page_leave_out_the_list_of_input_files(tmp_path):
    scored = [Scored(tmp_path, "standard", VIT, None, 1, {"made_from": {"a/betas.hdf5": [1, 2, "3"]}, "folds": 5})]
    assert values_of_settings(scored) == [("folds", [("5", 1)])]


def test_maps_of_several_layers_keep_their_columns(tmp_path):
    values = np.arange(24, dtype=np.float32).reshape(8, 3)
    Vertices(dict.fromkeys(SIDES, np.ones(4, dtype=bool))).write_map(tmp_path / "vision_layers_r", values)
    sides = read_sides(tmp_path / "vision_layers_r.nii.gz")
    np.testing.assert_array_equal(np.concatenate([*sides.values()]), values)


def test_settings_of_scores_give_the_mask_that_was_read():
    chosen = Reading.recorded({"betas": "b2", "space": "func1mm", "mask": ["floc-faces", "cortex"], "folds": 5})
    assert chosen == Reading("b2", "func1mm", ("floc-faces", "cortex"))


@pytest.mark.parametrize(("slices", "on_cortex"), [([], ["map"]), (["map"], []), ([], [])])
def test_a_page_with_every_answer_and_any_maps_leaves_no_question_open(slices, on_cortex):
    has_all = {"findings": {"where": "x", "model": "x"}, "curves": {"vision": []}, "tables": {}, "prompt_maps": ["map"]}
    has_all |= {"variance": ["bars"], "answers": ["a"], "other_analyses": [SimpleNamespace(rows=["row"])]}
    page = SimpleNamespace(slices=slices, on_cortex=on_cortex, **has_all)
    assert ("open" in Contents.questions.fget(page)) == (not slices and not on_cortex)
