"""Maps on the cortex in a report: which figures a BASE_DIR with NSD's transforms gets, and what they show."""

import struct
from unittest.mock import patch

import nibabel
import numpy as np
import pytest
from reports import LLAVA, VIT, page_text, report
from surface_transforms import write_transforms_of_voxels

from brain_activity_prediction.datasets.nsd.nsd import find_nsd
from brain_activity_prediction.datasets.nsd.regions import read_mask, read_regions
from brain_activity_prediction.datasets.units import Vertices, write_map
from brain_activity_prediction.report.cortex import cortex_figures, group_figures
from brain_activity_prediction.report.cortex.cortices import Cortices, read_cortices
from brain_activity_prediction.report.plots.labels import map_note, slug
from brain_activity_prediction.report.source import Source
from brain_activity_prediction.report.tables.collecting import Scored, find_scored
from brain_activity_prediction.storage.folders import Output, partitioning_folder


@pytest.fixture
def on_surfaces(own_scored):
    for subject in (1, 2):
        write_transforms_of_voxels(own_scored, subject, read_mask(find_nsd(own_scored), subject)[0])
    with patch("brain_activity_prediction.report.cortex.cortices.PIXELS", 60):
        yield own_scored


@pytest.fixture
def figures(monkeypatch):
    """Arguments of each figure that would be drawn, by its name."""
    drawn = {}

    def keep(name, title, maps, scale, background, figures):
        drawn[name] = title, maps, scale
        return name

    for module in (cortex_figures, group_figures):
        monkeypatch.setattr(module, "cortex_figure", keep)
    monkeypatch.setattr(cortex_figures, "PIXELS", 60)
    return drawn


def cortices_of(folder, subjects=(1, 2)):
    scored = [one for one in find_scored(folder) if one.subject in subjects]
    return read_cortices(Source(Output(folder), find_nsd(folder)), scored)


def test_a_page_shows_the_cortex_or_lists_the_transforms_that_it_lacks(own_scored):
    write_transforms_of_voxels(own_scored, 1, read_mask(find_nsd(own_scored), 1)[0])
    with (
        patch("brain_activity_prediction.report.cortex.cortices.PIXELS", 60),
        patch("brain_activity_prediction.report.cortex.cortex_figures.PIXELS", 60),
    ):
        text = page_text(report(own_scored, "-m", VIT))
    assert "Maps on fsaverage" in text
    assert "subject 2 has no transforms" in text
    assert "rh.white-to-fsaverage.mgz" in text
    assert "surface.html next to this page" in text
    assert (own_scored / "report/model-google_vit-huge-patch14-224-in21k/surface.html").stat().st_size > 2e6
    assert "subject 1 has no transforms" not in text
    assert [*(own_scored / "report").rglob("flat_r_google_vit-huge-patch14-224-in21k.svg")]


def test_each_model_has_scores_layers_and_prompts_on_the_cortex(on_surfaces, figures):
    cortices, lacking = cortices_of(on_surfaces)
    assert not lacking
    list(cortex_figures.cortex_figures(cortices, find_scored(on_surfaces), on_surfaces / "report/maps", None))
    llava, vit = "llava-hf_llava-1_5-13b-hf", "google_vit-huge-patch14-224-in21k"
    kinds = ("flat_r", "views_r", "flat_best_layer")
    assert set(figures) == {f"{kind}_{model}" for kind in kinds for model in (llava, vit)} | {
        *("flat_differences", f"flat_prompt_differences_{llava}")
    }
    title, rows, scale = figures[f"flat_r_{llava}"]
    assert title == f"r / ceiling: {LLAVA}"
    assert [row.title for row in rows][-1] == "mean of 2 subjects"
    assert rows[0].title.startswith("subject 1 (language, prompt ")
    np.testing.assert_allclose(rows[2].values, np.nanmean([row.values for row in rows[:2]], axis=0))
    assert 0 == scale.low < scale.high <= 1
    assert figures[f"flat_r_{vit}"][2] == scale
    _, layers, scale = figures[f"flat_best_layer_{llava}"]
    assert len(layers) == 2
    known = layers[0].values[np.isfinite(layers[0].values)]
    assert set(known) <= set(range(4))
    assert scale.unit == "layer"
    _, rows, scale = figures["flat_differences"]
    assert len(rows) == 1
    assert scale.low == -scale.high


def test_the_subjects_with_significant_scores_are_counted_at_each_vertex(on_surfaces, figures):
    scored = [one for one in find_scored(on_surfaces) if one.model_id == VIT]
    for one in scored:
        mask, affine = read_mask(find_nsd(on_surfaces), one.subject)
        q = np.where(np.arange(mask.sum()) % (one.subject + 1), 0.05, 0.049)  # each second or third voxel
        write_map(one.folder / "maps/vision_best_layer_q.nii.gz", q, mask, affine)
    cortices, _ = read_cortices(Source(Output(on_surfaces), find_nsd(on_surfaces)), scored)
    drawn = [*cortex_figures.cortex_figures(cortices, scored, on_surfaces / "report/maps", None)]
    name = "flat_n_significant_google_vit-huge-patch14-224-in21k"
    assert name in drawn
    _, (row,), scale = figures[name]
    paths = {one.subject: one.folder / "maps/vision_best_layer_q.nii.gz" for one in scored}
    counts = np.sum([np.abs(own - 0.049) < 5e-4 for own in cortices.read(paths, "best_layer_q").values()], axis=0)
    np.testing.assert_array_equal(row.values, np.where(np.isfinite(row.values), counts, np.nan))
    assert {*row.values[np.isfinite(row.values)]} == {0, 1, 2}
    assert (scale.low, scale.high, scale.unit) == (0, 2, "subjects with q < 0.05")
    assert map_note(scale.unit, averaged=False).startswith("q: permutation test")
    paths[2].unlink()
    assert name not in [*cortex_figures.cortex_figures(cortices, scored, on_surfaces / "report/maps", None)]


@pytest.mark.parametrize(("n", "shown"), [(1, 1), (2, 1), (3, 2), (8, 4)])
def test_a_mean_is_shown_where_at_least_half_of_the_subjects_have_a_value(n, shown):
    maps = {subject: np.where(np.arange(9) > subject, subject + 1.0, np.nan) for subject in range(n)}
    cortices = Cortices(dict.fromkeys(maps), (None, np.zeros(9)), {subject: {} for subject in maps})
    mean = cortices.mean(maps)
    assert mean.is_mean  # which the caption explains
    for vertex, value in enumerate(mean.values):
        have = [subject + 1 for subject in maps if subject < vertex]
        assert value == pytest.approx(np.mean(have) if len(have) >= shown else np.nan, nan_ok=True)


def test_layers_and_prompts_are_shown_only_where_the_ceiling_is_high_enough(on_surfaces, figures):
    scored = [one for one in find_scored(on_surfaces) if (one.model_id, one.subject) == (LLAVA, 1)]
    mask, affine = read_mask(find_nsd(on_surfaces), 1)
    reliable = np.arange(mask.sum()) % 3 > 0
    for one in scored:
        for name, values in (
            ("best_layer_r_normalised", np.where(reliable, 0.5, np.nan)),
            ("best_layer", 2 * reliable),
        ):
            write_map(one.folder / f"maps/language_{name}.nii.gz", values, mask, affine)
    folder = on_surfaces / "report/maps"
    write_map(folder / f"language_best_prompt_{slug(LLAVA)}_subj01.nii.gz", np.full(mask.sum(), 2), mask, affine)
    for has_ceilings in (True, False):
        figures.clear()
        cortices, _ = read_cortices(Source(Output(on_surfaces), find_nsd(on_surfaces)), scored)
        list(cortex_figures.cortex_figures(cortices, scored, folder, None))
        for kind in ("layer", "prompt"):
            _, (row,), _ = figures[f"flat_best_{kind}_llava-hf_llava-1_5-13b-hf"]
            shown = set(row.values[np.isfinite(row.values)])
            assert shown == ({2} if has_ceilings or kind == "prompt" else {0, 2})
            assert (np.isfinite(row.values).mean() > 0.9) != has_ceilings
        for one in scored:
            (one.folder / "maps/language_best_layer_r_normalised.nii.gz").unlink(missing_ok=True)


def test_prompts_are_subtracted_from_the_preferred_one_in_the_same_subjects(on_surfaces, figures):
    scored = [one for one in find_scored(on_surfaces) if (one.model_id, one.subject) == (LLAVA, 1)]
    mask, affine = read_mask(find_nsd(on_surfaces), 1)
    for one in scored:
        for kind, value in (("cv_score", 0.1 * (one.prompt or 0)), ("r_normalised", 0.3 * (one.prompt or 0))):
            write_map(one.folder / f"maps/language_best_layer_{kind}.nii.gz", np.full(mask.sum(), value), mask, affine)
    cortices, _ = read_cortices(Source(Output(on_surfaces), find_nsd(on_surfaces)), scored)
    prompted = [one for one in scored if one.prompt]
    list(cortex_figures.cortex_figures(cortices, prompted, on_surfaces / "report/maps", None))
    title, rows, scale = figures["flat_prompt_differences_llava-hf_llava-1_5-13b-hf"]
    assert title == f"Differences between prompts: {LLAVA}"
    assert [row.title for row in rows] == ["prompt 2 − prompt 1, mean of subject 1"]
    known = np.isfinite(rows[0].values)
    np.testing.assert_allclose(rows[0].values[known], 0.3, atol=1e-6)
    assert scale.low == -scale.high < 0


def test_subjects_with_flat_patches_have_maps_on_their_own_surface(on_surfaces, figures):
    mask, _ = read_mask(find_nsd(on_surfaces), 1)
    folder = on_surfaces / "nsddata/freesurfer/subj01/surf"
    folder.mkdir(parents=True)
    for side, n in zip(("lh", "rh"), map(len, np.array_split(np.arange(mask.sum()), 2)), strict=True):
        points = np.stack([np.arange(n) // 2, np.arange(n) % 2, np.zeros(n)], axis=1)  # a strip of triangles
        nibabel.freesurfer.write_geometry(folder / f"{side}.inflated", points, np.arange(n - 2)[:, None] + np.arange(3))
        nibabel.freesurfer.write_morph_data(folder / f"{side}.curv", np.ones(n, dtype="f4"))
        rows = b"".join(struct.pack(">i3f", vertex + 1, *point) for vertex, point in enumerate(points))
        (folder / f"{side}.full.flat.patch.3d").write_bytes(struct.pack(">2i", -1, n) + rows)
    cortices, _ = read_cortices(Source(Output(on_surfaces), find_nsd(on_surfaces)), find_scored(on_surfaces))
    assert [*cortices.native] == [1]
    list(cortex_figures.cortex_figures(cortices, find_scored(on_surfaces), on_surfaces / "report/maps", None))
    title, rows, _ = figures["native_flat_subj01"]
    assert title == "r / ceiling: subject 1, own surface"
    assert len(rows) == 2
    assert rows[0].title.startswith("vit-huge") or rows[0].title.startswith("llava")
    run = next(one for one in find_scored(on_surfaces) if (one.model_id, one.subject) == (VIT, 1))
    path = run.folder / "maps" / "vision_best_layer_r_normalised.nii.gz"
    values = np.asarray(nibabel.load(path).dataobj, dtype=np.float32)[mask]
    of_vit = next(row for row in rows if row.title.startswith("vit"))
    np.testing.assert_allclose(of_vit.values, values, atol=1e-6)
    assert {"V1", "V2", "V3", "hV4", "places"} == set(rows[0].regions)


def test_vertices_below_the_lowest_ceiling_have_no_value(on_surfaces, figures):
    """The map of r / ceiling is NaN there, and so are the vertices of these voxels."""
    run = next(one for one in find_scored(on_surfaces) if (one.model_id, one.subject) == (VIT, 1))
    mask, affine = read_mask(find_nsd(on_surfaces), 1)
    values = np.where(np.arange(mask.sum()) % 3 == 0, np.nan, 0.5)
    write_map(run.folder / "maps" / "vision_best_layer_r_normalised.nii.gz", values, mask, affine)
    cortices, _ = cortices_of(on_surfaces, [1])
    list(cortex_figures.cortex_figures(cortices, [run], on_surfaces / "report/maps", None))
    (row,) = figures["flat_r_google_vit-huge-patch14-224-in21k"][1]
    halves = np.array_split(values, 2)
    expected = np.concatenate([own[np.arange(10242) % len(own)] for own in halves])
    np.testing.assert_array_equal(row.values, expected.astype("f4"))


def test_outlines_are_the_families_of_a_subjects_own_regions(on_surfaces):
    cortices, _ = cortices_of(on_surfaces, [1])
    regions = read_regions(find_nsd(on_surfaces), 1)
    halves = np.array_split(regions["V1v"] | regions["V1d"], 2)
    expected = np.concatenate([own[np.arange(10242) % len(own)] for own in halves])
    np.testing.assert_array_equal(cortices.regions[1]["V1"], expected)
    assert {"V1", "V2", "V3", "hV4", "places"} == set(cortices.regions[1])


def test_the_parts_of_a_variance_partitioning_share_a_scale(on_surfaces, figures):
    for subject in (1, 2):
        mask, affine = read_mask(find_nsd(on_surfaces), subject)
        folder = partitioning_folder(on_surfaces, subject, "two") / "maps"
        for part, value in (("A", 0.1), ("B", 0.05), ("A+B", -0.02)):
            write_map(folder / f"part_{part}_r2.nii.gz", np.full(mask.sum(), value * subject), mask, affine)
            write_map(folder / f"part_{part}_cv_r2.nii.gz", np.full(mask.sum(), 9.0), mask, affine)
    cortices, _ = cortices_of(on_surfaces)
    cortex_figures.variance_figure(cortices, on_surfaces, "two", None)
    _, rows, scale = figures["flat_variance_two"]
    titles = ["A alone, mean of 2 subjects", "B alone, mean of 2 subjects", "shared by A+B, mean of 2 subjects"]
    assert [row.title for row in rows] == titles
    assert [np.nanmean(row.values) for row in rows] == pytest.approx([0.15, 0.075, -0.03], abs=1e-6)
    assert scale.of([row.values for row in rows]).clipped == (True, False)


def test_maps_on_fsaverage_are_drawn_as_they_are(tmp_path, figures):
    """fsaverage5 is the first vertices of fsaverage; neither data nor transforms are needed."""
    rng = np.random.default_rng(0)
    maps = {name: rng.random(2 * 163842) for name in ("cv_score", "r_normalised")}
    masks = {side: np.ones(163842, dtype=bool) for side in ("lh", "rh")}
    for name, values in maps.items():
        Vertices(masks).write_map(tmp_path / f"maps/vision_best_layer_{name}", values)
    scored = [Scored(tmp_path, "standard", VIT, None, "sub-9", {})]
    with patch("brain_activity_prediction.report.cortex.cortices.PIXELS", 60):
        cortices, lacking = read_cortices(Source(Output(tmp_path), None), scored)
    assert not lacking
    list(cortex_figures.cortex_figures(cortices, scored, tmp_path / "report/maps", None))
    (row,) = figures["flat_r_google_vit-huge-patch14-224-in21k"][1]
    left, right = np.split(maps["r_normalised"], 2)
    np.testing.assert_allclose(row.values, np.concatenate([left[:10242], right[:10242]]), rtol=1e-6)
    assert row.title == "subject sub-9 (vision)"
