"""Flat and inflated cortices as pictures: what lies where, cuts, and FreeSurfer's patches."""

import struct
from itertools import combinations
from pathlib import Path

import nibabel
import numpy as np
import pytest
from matplotlib import colormaps
from nilearn.datasets import load_fsaverage

from brain_activity_prediction.report.plots import flat_maps
from brain_activity_prediction.report.plots.drawing import Drawn, FigureFolder, for_page
from brain_activity_prediction.report.plots.flat_maps import CortexMap
from brain_activity_prediction.report.plots.style import INK, PAPER
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.surfaces.meshes import (
    Arrangement,
    flat_surface,
    has_flat_surface,
    read_curvature,
    read_patch,
    views_of_fsaverage5,
)
from brain_activity_prediction.surfaces.rasters import rasterise

N = 10242  # vertices of a hemisphere
FIGURES = FigureFolder(Path("unwritten"))
TITLE = round(flat_maps.TITLE * 300 / FIGURES.width)  # pixels of the line above a map that is 300 pixels wide


@pytest.fixture(scope="module")
def white():
    """Positions (2 N, 3) of the vertices in the brain: right, anterior, superior."""
    parts = load_fsaverage("fsaverage5")["white_matter"].parts
    return np.concatenate([parts[side].coordinates for side in ("left", "right")])


@pytest.fixture(scope="module")
def flat():
    return rasterise(flat_surface(), 300)


def test_the_left_hemisphere_is_left_and_the_occipital_poles_in_the_middle(flat, white):
    left = flat.nearest(np.arange(2 * N) < N)
    columns = np.arange(300)
    assert np.nanmax(left[:, :140]) == 1 == np.nanmin(left[:, :140])
    assert np.nanmax(left[:, 160:]) == 0
    known = flat.inside.any(axis=0)
    anterior = np.nanmean(flat.interpolated(white[:, 1])[:, known], axis=0)
    assert np.corrcoef(np.abs(columns - 149.5)[known], anterior)[0, 1] > 0.9
    assert np.abs(columns[known][np.argmin(anterior)] - 149.5) < 30


def test_superior_is_up(flat, white):
    superior = flat.interpolated(white[:, 2])
    assert np.nanmean(superior[: len(superior) // 3]) > np.nanmean(superior[-len(superior) // 3 :]) + 20


def test_no_colour_smears_across_a_cut(flat, white):
    """The corners of every pixel's triangle are neighbours in the brain, too."""
    corners = white[flat.corners[flat.inside]]
    edges = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=-1)
    assert edges.max() < 12


def test_nearly_every_vertex_of_the_flat_map_is_seen():
    picture = rasterise(flat_surface(), 1000)
    used = np.unique(flat_surface().faces)
    assert np.isin(used, picture.corners[picture.inside]).mean() > 0.99


def test_a_picture_shows_each_triangle_in_its_place():
    square = Arrangement(
        points=np.array([[0.0, 0], [10, 0], [10, 10], [0, 10]]),
        depth=np.zeros(4),
        faces=np.array([[0, 1, 2], [0, 2, 3]]),
        vertex=np.array([3, 2, 1, 0]),
        n_vertices=4,
    )
    picture = rasterise(square, 10)
    values = np.array([10.0, 20, 10, 0])  # x + y at the vertices 0..3: (0, 10), (10, 10), (10, 0), (0, 0)
    x, y = np.meshgrid(np.arange(10) + 0.5, 9.5 - np.arange(10))
    np.testing.assert_allclose(picture.interpolated(values), x + y, atol=1e-5)
    assert picture.nearest(np.arange(4))[[0, 0, 9, 9], [0, 9, 9, 0]].tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(picture.extent, (0, 10, 0, 10))
    holes = picture.interpolated(np.array([10.0, 20, np.nan, 0]))
    assert np.isnan(holes[9, 9])
    np.testing.assert_array_equal(np.isnan(holes), picture.nearest(np.arange(4)) == 2)


def test_of_two_triangles_the_one_nearer_to_the_viewer_is_shown():
    points, faces = np.array([[0.0, 0], [10, 0], [5, 10]]), np.arange(6).reshape(2, 3)
    for depths in ((0, 1), (1, 0)):
        both = Arrangement(np.tile(points, (2, 1)), np.repeat(depths, 3), faces, np.arange(6), 6)
        picture = rasterise(both, 10)
        nearer = picture.corners[picture.inside] >= 3
        assert nearer.all() if depths == (0, 1) else not nearer.any()


def test_the_surface_next_to_the_viewer_is_shown(white):
    inflated = rasterise(views_of_fsaverage5(("lateral", "medial")), 300)
    half = len(inflated.corners) // 2
    shown = [inflated.corners[rows][..., 0] for rows in (slice(0, half - 12), slice(half + 12, None))]
    lateral, medial = [white[one[(one >= 0) & (one < N)], 0].mean() for one in shown]
    assert lateral < -40
    assert medial > -25


def test_views_keep_the_left_hemisphere_left_and_the_brain_upright(white):
    inflated = rasterise(views_of_fsaverage5(("lateral",)), 300)
    left = inflated.nearest(np.arange(2 * N) < N)
    assert np.nanmin(left[:, :140]) == 1
    assert np.nanmax(left[:, 160:]) == 0
    anterior, superior = (inflated.interpolated(white[:, axis]) for axis in (1, 2))
    assert np.nanmean(anterior[:, :40]) > 20 > -20 > np.nanmean(anterior[:, 110:145])
    assert np.nanmean(superior[:40]) > np.nanmean(superior[-40:])


def test_curvature_is_positive_in_sulci():
    """The calcarine and central sulci make fsaverage's sulci a good third of its vertices, deep below its surface."""
    curvature, meshes = read_curvature(), load_fsaverage("fsaverage5")
    inflated, pial = (meshes[kind].parts["left"].coordinates for kind in ("inflated", "pial"))
    assert curvature.shape == (2 * N,)
    depth = np.linalg.norm(pial - pial.mean(axis=0), axis=1) / np.linalg.norm(inflated - inflated.mean(axis=0), axis=1)
    assert np.corrcoef(depth, curvature[:N])[0, 1] < -0.1


def write_patch(path, vertices, points, border):
    """FreeSurfer's format: -1, n, then number and coordinates of each vertex, big-endian."""
    numbers = np.where(border, -(vertices + 1), vertices + 1)
    rows = b"".join(struct.pack(">i3f", number, *point) for number, point in zip(numbers, points, strict=True))
    path.write_bytes(struct.pack(">2i", -1, len(vertices)) + rows)


def bridge(points, used):
    """A face from one side of the flat map to the other, as at a cut of one vertex."""
    by_x = used[np.argsort(points[used, 0])]
    return np.array([[by_x[0], by_x[1], by_x[-1]]])


@pytest.fixture
def full(tmp_path):
    """A BASE_DIR with patches, inflated meshes and curvature of fsaverage, made of the smaller fsaverage5."""
    meshes, folder = load_fsaverage("fsaverage5"), tmp_path / "nsddata/freesurfer/fsaverage/surf"
    folder.mkdir(parents=True)
    for side, name in (("lh", "left"), ("rh", "right")):
        inflated, patch = meshes["inflated"].parts[name], meshes["flat"].parts[name]
        used = np.unique(patch.faces)
        faces = np.concatenate([inflated.faces, bridge(patch.coordinates, used)])
        nibabel.freesurfer.write_geometry(folder / f"{side}.inflated", inflated.coordinates, faces)
        write_patch(
            folder / f"{side}.full.flat.patch.3d", used[::-1], patch.coordinates[used[::-1]], used[::-1] % 7 == 0
        )
        nibabel.freesurfer.write_morph_data(folder / f"{side}.curv", np.arange(N, dtype="f4"))
    return tmp_path


def test_patches_of_freesurfer_give_the_same_flat_map(full):
    assert has_flat_surface(full)
    assert not has_flat_surface(full, "subj01")
    one, other = flat_surface(full), flat_surface()
    used = np.unique(other.faces)
    np.testing.assert_allclose(one.points[used], other.points[used], atol=1e-4)
    assert {tuple(sorted(face)) for face in other.faces.tolist()} <= {
        tuple(sorted(face)) for face in one.faces.tolist()
    }
    edges = one.points[one.faces] - one.points[np.roll(one.faces, 1, axis=1)]
    assert np.linalg.norm(edges, axis=-1).max() < 15
    np.testing.assert_array_equal(read_curvature(full), np.tile(np.arange(N), 2))


def test_a_subject_has_a_flat_map_of_its_own_with_nsds_copy_of_the_curvature(full):
    own = (full / "nsddata/freesurfer/fsaverage/surf").rename(full / "nsddata/freesurfer/subj01")
    own = own.rename(own.parent / "surf")
    (own.parent / "subj01").mkdir()
    folder = own.rename(own.parent / "subj01" / "surf")
    for side in ("lh", "rh"):
        (folder / f"{side}.curv").unlink()
        values = np.linspace(-1, 1, N, dtype="f4").reshape(N, 1, 1)
        nibabel.save(nibabel.MGHImage(values, np.eye(4)), folder / f"{side}.curvature.mgz")
    assert has_flat_surface(full, "subj01")
    assert not has_flat_surface(full)
    used = np.unique(flat_surface().faces)
    np.testing.assert_allclose(flat_surface(full, "subj01").points[used], flat_surface().points[used], atol=1e-4)
    np.testing.assert_array_equal(read_curvature(full, "subj01"), np.tile(np.linspace(-1, 1, N, dtype="f4"), 2))


@pytest.mark.parametrize("spoil", [lambda data: data[:-4], lambda data: b"\0" + data[1:], lambda data: data[:8]])
def test_a_damaged_patch_is_refused_by_name(full, spoil):
    path = full / "nsddata/freesurfer/fsaverage/surf/lh.full.flat.patch.3d"
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(InputError, match=r"lh\.full\.flat\.patch\.3d"):
        read_patch(path)


@pytest.fixture
def painted(monkeypatch):
    """Panels of the figures that would be saved."""
    panels = []

    def keep(self, figure, words, values, legend):
        panels.append(figure.axes[0])
        figure.legend(legend.values(), legend)
        return Drawn(words.name, words.title, words.text, "")

    monkeypatch.setattr(FigureFolder, "save", keep)
    return panels


def test_colours_show_values_and_grey_cortex_where_there_are_none(painted, flat, white):
    values = np.where(white[:, 1] < -40, 0.4, np.nan)
    curvature = read_curvature()
    scale = flat_maps.accuracy_scale([values], "r")
    flat_maps.cortex_figure("a", "A", [CortexMap("one", values)] * 2, scale, (flat, curvature), FIGURES)
    picture = np.asarray(painted[0].images[0].get_array())
    height = len(flat.corners)
    assert len(picture) == 2 * (height + TITLE)
    rows = picture[TITLE : TITLE + height]
    np.testing.assert_array_equal(rows, picture[-height:])
    known, sulci = np.isfinite(flat.interpolated(values)), flat.nearest(curvature) > 0
    np.testing.assert_allclose(rows[known], np.tile(colormaps["inferno"](1.0, bytes=True), (known.sum(), 1)))
    assert set(rows[flat.inside & ~known & sulci][:, 0]) == {round(255 * flat_maps.SULCUS)}
    assert set(rows[flat.inside & ~known & ~sulci][:, 0]) == {round(255 * flat_maps.GYRUS)}
    assert not rows[~flat.inside, 3].any()


def test_regions_are_outlined_and_named_in_both_hemispheres(painted, flat, white):
    occipital = white[:, 1] < -80
    shown = CortexMap("one", np.ones(2 * N), {"V1": occipital, "speck": np.arange(2 * N) == 3})
    scale = flat_maps.number_scale([shown.values], "layer")
    flat_maps.cortex_figure("a", "A", [shown], scale, (flat, read_curvature()), FIGURES)
    (panel,) = painted
    assert [text.get_text() for text in panel.texts] == ["one", "V1", "V1"]
    *leaders, outlines = panel.collections
    pixels = flat.nearest(occipital)
    ends = [line[-1] for lines in leaders for line in lines.get_segments()]
    for column, row in ends:
        assert pixels[int(row) - TITLE, int(column)] == 1
    (left, _), (right, _) = ends
    assert left < 150 < right
    border = np.concatenate(outlines.get_segments()) - [0, TITLE]
    inside = np.nan_to_num(pixels)[np.floor(border[:, 1]).astype(int), np.floor(border[:, 0]).astype(int)]
    beyond = np.nan_to_num(pixels)[np.ceil(border[:, 1]).astype(int), np.ceil(border[:, 0]).astype(int)]
    assert (inside != beyond).mean() > 0.9


def test_names_of_regions_cover_neither_regions_nor_each_other(painted, flat, white):
    steps = {f"region {number}": np.abs(white[:, 1] + 100 - 6 * number) < 3 for number in range(8)}
    shown = CortexMap("one", np.ones(2 * N), steps)
    scale = flat_maps.number_scale([shown.values], "layer")
    flat_maps.cortex_figure("a", "A", [shown], scale, (flat, read_curvature()), FIGURES)
    (panel,) = painted
    panel.figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in panel.texts if text.get_text() != "one"]
    assert len(boxes) == 16
    assert not [1 for one, other in combinations(boxes, 2) if one.overlaps(other)]
    inside = flat.nearest(np.any([*steps.values()], axis=0)) == 1
    rows, columns = np.nonzero(inside)
    points = panel.transData.transform(np.column_stack([columns, rows + TITLE]))
    assert sum(box.count_contains(points) for box in boxes) == 0


def test_layers_are_never_blended_in_a_picture(painted, flat, white):
    layers = np.where(white[:, 1] < -60, 2.0, 10.0)
    scale = flat_maps.number_scale([layers], "layer")
    flat_maps.cortex_figure("a", "A", [CortexMap("one", layers)], scale, (flat, read_curvature()), FIGURES)
    picture = np.asarray(painted[0].images[0].get_array())[TITLE:]
    assert len(np.unique(picture[flat.inside], axis=0)) == 2


def test_prompts_have_a_legend_of_their_names_in_place_of_a_colour_bar(painted, flat, white):
    prompts = np.where(white[:, 1] < -60, 2.0, 7.0)
    scale = flat_maps.number_scale([prompts], "prompt", {2: "caption", 3: "count", 7: "describe"})
    flat_maps.cortex_figure("a", "A", [CortexMap("one", prompts)], scale, (flat, read_curvature()), FIGURES)
    (panel,) = painted
    (legend,) = panel.figure.legends
    assert panel.figure.axes == [panel]
    assert [text.get_text() for text in legend.get_texts()] == ["caption", "describe"]
    shown = np.unique(np.asarray(panel.images[0].get_array())[TITLE:][flat.inside], axis=0)
    np.testing.assert_allclose(
        255 * np.unique([patch.get_facecolor() for patch in legend.get_patches()], axis=0), shown, atol=1
    )


def test_scales_state_where_they_are_clipped():
    values = np.concatenate([np.linspace(0, 0.2, 1000), [5.0, np.nan]])
    scale = flat_maps.accuracy_scale([values, values - 0.01], "r / ceiling", 1)
    assert (scale.low, scale.high) == (0, 0.2)
    assert scale.of([values, values - 0.01]).text == "r / ceiling (clipped below 0 and above 0.2)"
    assert scale.of([values]).text == "r / ceiling (clipped above 0.2)"
    assert scale.of([values[:1000]]).text == "r / ceiling"
    assert flat_maps.accuracy_scale([values * 20], "r / ceiling", 1).high == 1
    difference = flat_maps.symmetric_scale([values - 0.15], "difference of r")
    assert (difference.low, difference.high) == (-0.15, 0.15)
    assert difference.of([values - 0.15]).text == "difference of r (clipped above 0.15)"
    assert difference.of([values - 0.2]).text == "difference of r (clipped below −0.15 and above 0.15)"
    assert flat_maps.number_scale([np.array([3.0, 3])], "layer").high == 4
    assert flat_maps.symmetric_scale([np.zeros(3)], "t").high > 0


def test_a_figure_states_the_clipping_of_its_own_maps_where_several_share_a_scale(monkeypatch, flat):
    monkeypatch.setattr(FigureFolder, "save", lambda *_: Drawn("", "", "", ""))
    maps = [CortexMap("subject 1", np.full(2 * N, value)) for value in (0.1, 5.0)]
    scale = flat_maps.accuracy_scale([np.array([0, 0.2])], "r / ceiling")
    drawn = [flat_maps.cortex_figure("a", "A", [one], scale, (flat, read_curvature()), FIGURES) for one in maps]
    assert [one.scale.text for one in drawn] == ["r / ceiling", "r / ceiling (clipped above 0.2)"]


@pytest.mark.parametrize(("n", "n_columns"), [(1, 1), (5, 1), (9, 2)])
def test_many_maps_are_in_columns_so_that_a_figure_stays_on_a_page(painted, flat, white, n, n_columns):
    maps = [CortexMap(f"map {turn}", np.full(2 * N, turn + 1.0), {"V1": white[:, 1] < -85}) for turn in range(n)]
    scale = flat_maps.ColourScale(0, n, "viridis", "layer")
    flat_maps.cortex_figure("a", "A", maps, scale, (flat, read_curvature()), FIGURES)
    (panel, *_) = painted
    assert panel.figure.get_figheight() * 72 < flat_maps.TALLEST + 50
    picture = np.asarray(panel.images[0].get_array())
    across = 300 + flat_maps.GAP
    assert picture.shape[1] == n_columns * across - flat_maps.GAP
    rows, shown = len(flat.corners), []
    line = round(flat_maps.TITLE * 300 * n_columns / FIGURES.width)
    for turn in range(n):
        top, left = turn // n_columns * (rows + line) + line, turn % n_columns * across
        (colour,) = np.unique(picture[top : top + rows, left : left + 300][flat.inside], axis=0)
        shown.append(tuple(colour))
        (title,) = [text for text in panel.texts if text.get_text() == f"map {turn}"]
        assert title.get_position() == (left, pytest.approx(top - 0.4 * line))
    assert len(set(shown)) == n
    assert ("V1" in [text.get_text() for text in panel.texts]) == (n_columns == 1)


@pytest.mark.parametrize(
    ("scale", "says"),
    [
        (
            flat_maps.accuracy_scale([np.ones(2)], "r / ceiling", 1),
            "r / ceiling: correlation on held-out images divided",
        ),
        (flat_maps.symmetric_scale([np.ones(2)], "difference of r"), "r: correlation on held-out images."),
        (flat_maps.number_scale([np.ones(2)], "layer"), "Layer with the highest score on training images."),
        (flat_maps.symmetric_scale([np.ones(2)], "t"), "t: mean over subjects, divided by its standard error, where"),
    ],
)
def test_a_map_says_what_its_colours_lines_and_means_are(monkeypatch, flat, white, scale, says):
    notes = []
    monkeypatch.setattr(
        FigureFolder, "save", lambda self, figure, words, *rest: notes.append(words.note) or Drawn("", "", "", "")
    )
    v1 = {"V1": white[:, 1] < -85}
    for regions, is_mean in (({}, False), (v1, True)):
        shown = CortexMap("mean of nothing", np.ones(2 * N), regions, is_mean)
        flat_maps.cortex_figure("a", "A", [shown], scale, (flat, read_curvature()), FIGURES)
    assert [note.startswith(says) for note in notes] == [True, True]
    assert ["Means: over the subjects with a value there, at least half of all." in note for note in notes] == [
        False,
        True,
    ]
    assert ["Lines: regions of interest." in note for note in notes] == [False, True]


def test_the_caption_names_the_regions_that_narrow_maps_do_not(monkeypatch, flat, white):
    notes = []
    monkeypatch.setattr(
        FigureFolder, "save", lambda self, figure, words, *rest: notes.append(words.note) or Drawn("", "", "", "")
    )
    maps = [CortexMap(f"map {turn}", np.ones(2 * N), {"V1": white[:, 1] < -85}) for turn in range(9)]
    scale = flat_maps.number_scale([np.ones(2)], "layer")
    flat_maps.cortex_figure("a", "A", maps, scale, (flat, read_curvature()), FIGURES)
    assert notes[0].endswith(" Lines: V1.")


def test_names_of_regions_follow_the_colours_of_a_page():
    svg = f'<svg><text style="fill: {INK}; stroke: {PAPER}">V1</text></svg>'
    assert "fill: currentColor; stroke: var(--panel)" in for_page(svg, "a")
