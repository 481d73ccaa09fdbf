"""Volumes at the vertices of a surface: NSD's transforms, maps with holes, whole volumes, labels, and files."""

import itertools

import nibabel
import numpy as np
import pytest
from nilearn.surface import load_surf_data
from scipy.ndimage import map_coordinates
from surface_transforms import MISSING, N_FSAVERAGE, sphere, write_mgz, write_transforms

from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.surfaces.sampling import (
    catmull_rom,
    cubic,
    cubic_over_depths,
    interpolated,
    majority,
    ribbon_weights,
)
from brain_activity_prediction.surfaces.surface_files import write_labels, write_values
from brain_activity_prediction.surfaces.surface_files import write_mgz as write_surface_mgz
from brain_activity_prediction.surfaces.transforms import DEPTHS, missing_files, read_hemisphere, read_indices

SHAPE = (20, 24, 18)
CENTRE, RADII = (9.3, 11.2, 8.1), {"layerB1": 6.9, "layerB2": 6.5, "layerB3": 6.1}  # in voxels from 0
rng = np.random.default_rng


def coordinates(n_vertices=3000):
    """A sphere at three depths, in voxels from 1."""
    return {depth: sphere(n_vertices, CENTRE, radius) + 1 for depth, radius in RADII.items()}


def nearest(n_vertices=3000):
    return rng(1).integers(1, n_vertices + 1, N_FSAVERAGE)


@pytest.fixture
def hemisphere(tmp_path):
    write_transforms(tmp_path, "lh", coordinates(), nearest())
    return read_hemisphere(tmp_path, "lh", SHAPE)


def linear(x, y, z):
    return 3 * x - 2 * y + 0.5 * z + 1


def test_a_planted_gradient_has_its_value_at_each_vertex(hemisphere):
    volume = linear(*np.indices(SHAPE).astype(float))
    everywhere = np.ones(SHAPE, bool)
    weights = ribbon_weights(hemisphere.coordinates.values(), everywhere)
    expected = np.mean([linear(*(positions - 1).T) for positions in coordinates().values()], axis=0)
    np.testing.assert_allclose(interpolated(weights, volume[everywhere]), expected, atol=1e-4)
    np.testing.assert_allclose(cubic_over_depths(volume, hemisphere.coordinates.values()), expected, atol=1e-4)


def test_without_holes_the_values_are_those_of_an_independent_interpolation(hemisphere):
    volume, everywhere = rng(2).normal(size=SHAPE), np.ones(SHAPE, bool)
    weights = ribbon_weights(hemisphere.coordinates.values(), everywhere)
    expected = np.mean(
        [map_coordinates(volume, (positions.astype("f4") - 1).T, order=1) for positions in coordinates().values()],
        axis=0,
    )
    np.testing.assert_allclose(interpolated(weights, volume[everywhere]), expected, atol=1e-4)


def test_maps_with_holes_are_averages_of_the_voxels_with_values():
    mask = rng(3).random(SHAPE) < 0.5
    volume = np.where(mask, rng(4).normal(size=SHAPE), np.nan)
    positions = rng(5).uniform(0, np.array(SHAPE) - 1, (200, 3))
    found = interpolated(ribbon_weights([positions], mask), volume[mask])
    for position, value in zip(positions, found, strict=True):
        total = weight = 0.0
        for voxel in itertools.product(*((int(p), int(p) + 1) for p in position)):
            share = np.prod([1 - abs(p - v) for p, v in zip(position, voxel, strict=True)])
            if mask[voxel]:
                total, weight = total + share * volume[voxel], weight + share
        if weight < 0.5:
            assert np.isnan(value)
        else:
            assert value == pytest.approx(total / weight, abs=1e-5)
    assert 40 < np.isnan(found).sum() < 160


def test_a_nan_among_the_fitted_voxels_is_a_hole_in_its_own_map_only():
    mask = np.ones((3, 3, 3), bool)
    maps = np.stack([np.arange(27.0), np.arange(27.0)], axis=1)
    maps[13, 1] = np.nan  # the centre
    weights = ribbon_weights([np.array([[1.0, 1, 1], [1.4, 1, 1], [1.75, 1, 1]])], mask)
    np.testing.assert_allclose(interpolated(weights, maps), [[13, np.nan], [16.6, np.nan], [19.75, 22]], rtol=1e-6)


def test_a_ribbon_of_two_voxels_keeps_95_percent_of_its_vertices(hemisphere):
    distance = np.linalg.norm(np.indices(SHAPE).transpose(1, 2, 3, 0) - CENTRE, axis=-1)
    ribbon = np.abs(distance - RADII["layerB2"]) < 1
    weights = ribbon_weights(hemisphere.coordinates.values(), ribbon)
    kept = np.isfinite(interpolated(weights, np.ones(ribbon.sum())))
    assert kept.mean() > 0.95


@pytest.mark.parametrize("missing", [MISSING, 5555.0, 19997.5, 0.999, -3, np.nan, 20.001])
def test_a_coordinate_outside_the_volume_is_a_missing_vertex(tmp_path, missing):
    """9999 was rescaled in some of NSD's files, and interpolated with true coordinates in others."""
    positions = {depth: values.copy() for depth, values in coordinates().items()}
    for values in positions.values():
        values[7, 0] = missing
    write_transforms(tmp_path, "lh", positions, nearest())
    read = read_hemisphere(tmp_path, "lh", SHAPE)
    everywhere = np.ones(SHAPE, bool)
    value = interpolated(ribbon_weights(read.coordinates.values(), everywhere), np.ones(everywhere.sum()))
    assert np.flatnonzero(np.isnan(value)).tolist() == [7]
    whole = cubic_over_depths(np.ones(SHAPE), read.coordinates.values())
    assert np.flatnonzero(np.isnan(whole)).tolist() == [7]


def test_coordinates_within_the_first_and_last_voxel_are_kept(tmp_path):
    edges = np.array([[1, 1, 1], [1.3, 1, 1], [20, 24, 18], [19.6, 24, 18]])
    write_transforms(tmp_path, "lh", dict.fromkeys(DEPTHS, edges), np.ones(N_FSAVERAGE))
    read = read_hemisphere(tmp_path, "lh", SHAPE)
    volume, everywhere = np.indices(SHAPE)[0].astype(float), np.ones(SHAPE, bool)
    weights = ribbon_weights(read.coordinates.values(), everywhere)
    np.testing.assert_allclose(interpolated(weights, volume[everywhere]), [0, 0.3, 19, 18.6], atol=1e-5)
    whole = cubic_over_depths(volume, read.coordinates.values())
    np.testing.assert_allclose(whole[[0, 2]], [0, 19], atol=1e-6)
    assert np.isfinite(whole).all()


def test_whole_volumes_follow_catmull_rom_splines():
    volume, positions = rng(6).normal(size=(7, 8, 9)), rng(7).uniform(1, 5, (50, 3))

    def kernel(distance):
        d = abs(distance)
        return 1.5 * d**3 - 2.5 * d**2 + 1 if d <= 1 else -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2 if d < 2 else 0

    for position, value in zip(positions, cubic(volume, positions), strict=True):
        near = [range(int(p) - 1, int(p) + 3) for p in position]
        expected = sum(
            volume[voxel] * np.prod([kernel(p - v) for p, v in zip(position, voxel, strict=True)])
            for voxel in itertools.product(*near)
        )
        assert value == pytest.approx(expected, abs=1e-12)
    np.testing.assert_allclose(catmull_rom(np.linspace(0, 1, 5)).sum(axis=1), 1)


def test_a_nan_voxel_does_not_bleed_into_whole_volumes_as_zero():
    volume = np.ones((8, 8, 8))
    volume[2, 2, 2] = np.nan
    values = cubic(volume, np.array([[3.5, 3, 3], [4.5, 4.5, 4.5], [6.5, 6, 6]]))
    assert np.isnan(values).tolist() == [True, False, False]


def test_labels_are_voted_for_and_never_averaged():
    labels = np.zeros((4, 3, 3))
    labels[0], labels[1], labels[2:] = 3, 30, np.nan
    weights = ribbon_weights([np.array([[0.4, 1, 1], [0.6, 1, 1], [1.4, 1, 1], [1.6, 1, 1]])], np.ones((4, 3, 3), bool))
    np.testing.assert_array_equal(majority(weights, labels.ravel()), [3, 30, 30, np.nan])


def test_planted_labels_are_found_at_their_vertices(hemisphere):
    """Octants of a sphere; only vertices within a voxel of a border may differ."""
    x, y, z = np.indices(SHAPE)
    planted = 1 + (x > 9) + 2 * (y > 11) + 4 * (z > 8)
    found = majority(ribbon_weights(hemisphere.coordinates.values(), np.ones(SHAPE, bool)), planted.ravel())
    positions = coordinates()["layerB2"] - 1
    own = 1 + (positions > (9.5, 11.5, 8.5)) @ [1, 2, 4]
    away = (np.abs(positions - (9.5, 11.5, 8.5)) > 1).all(axis=1)
    assert away.sum() > 1000
    np.testing.assert_array_equal(found[away], own[away])


def test_majorities_and_averages_of_no_voxel_are_missing():
    weights = ribbon_weights([np.full((5, 3), np.nan)], np.ones((3, 3, 3), bool))
    assert np.isnan(majority(weights, np.ones(27))).all()
    assert np.isnan(interpolated(weights, np.ones(27))).all()


def test_indices_count_from_1_and_reach_fsaverage(hemisphere):
    own = np.arange(3000) * 10.0
    np.testing.assert_array_equal(own[hemisphere.nearest], (nearest() - 1) * 10.0)


@pytest.mark.parametrize("wrong", [0, 3001, 1.5, np.nan, -1])
def test_an_index_that_is_no_vertex_of_the_subject_is_refused(tmp_path, wrong):
    indices = nearest().astype(float)
    indices[5] = wrong
    write_mgz(tmp_path / "lh.white-to-fsaverage.mgz", indices.reshape(-1, 1, 1))
    with pytest.raises(InputError, match="not a vertex from 1 to 3000"):
        read_indices(tmp_path / "lh.white-to-fsaverage.mgz", 3000)


def test_transforms_of_another_subject_or_kind_are_refused(tmp_path):
    write_transforms(tmp_path, "lh", coordinates(), nearest())
    write_mgz(tmp_path / "lh.func1pt8-to-layerB2.mgz", np.ones((10, 1, 1, 3)))
    with pytest.raises(InputError, match="'layerB1': 3000, 'layerB2': 10"):
        read_hemisphere(tmp_path, "lh", SHAPE)
    write_mgz(tmp_path / "lh.func1pt8-to-layerB2.mgz", np.ones((3000, 1, 1)))
    with pytest.raises(InputError, match="not a transform to a surface"):
        read_hemisphere(tmp_path, "lh", SHAPE)
    write_mgz(tmp_path / "lh.func1pt8-to-layerB2.mgz", np.full((3000, 1, 1, 3), 9999))
    with pytest.raises(InputError, match="no vertex inside"):
        read_hemisphere(tmp_path, "lh", SHAPE)


def test_a_damaged_transform_is_named(tmp_path):
    write_transforms(tmp_path, "lh", coordinates(), nearest())
    path = tmp_path / "lh.func1pt8-to-layerB3.mgz"
    data = bytearray(path.read_bytes())
    for damaged in (data[:-9], bytes(data[:400]) + b"\0" * 90 + bytes(data[490:]), b""):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"layerB3\.mgz"):
            read_hemisphere(tmp_path, "lh", SHAPE)


def test_missing_transforms_are_listed(tmp_path):
    write_transforms(tmp_path, "lh", coordinates(), nearest())
    assert [path.name for path in missing_files(tmp_path)] == [
        *(f"rh.func1pt8-to-{depth}.mgz" for depth in DEPTHS),
        "rh.white-to-fsaverage.mgz",
    ]


def test_values_and_labels_load_in_nibabel_and_nilearn(tmp_path):
    values = rng(8).normal(size=(500, 2)).astype("f4")
    values[3] = np.nan
    write_values(tmp_path / "lh.r.func.gii", values, "lh", ["r", "r of two"])
    write_surface_mgz(tmp_path / "lh.r.mgz", values)
    for name in ("lh.r.func.gii", "lh.r.mgz"):
        np.testing.assert_array_equal(load_surf_data(tmp_path / name), values)
    image = nibabel.load(tmp_path / "lh.r.func.gii")
    assert image.meta["AnatomicalStructurePrimary"] == "CortexLeft"
    assert [array.meta["Name"] for array in image.darrays] == ["r", "r of two"]
    assert nibabel.load(tmp_path / "lh.r.mgz").shape == (500, 1, 1, 2)


def test_label_files_have_names_and_colours(tmp_path):
    labels = rng(9).integers(0, 3, 500)
    write_labels(tmp_path / "rh.early.label.gii", labels, "rh", "early", {1: ("V1v", (1, 0, 0)), 2: ("V1d", (0, 0, 1))})
    image = nibabel.load(tmp_path / "rh.early.label.gii")
    assert image.meta["AnatomicalStructurePrimary"] == "CortexRight"
    assert image.labeltable.get_labels_as_dict() == {0: "???", 1: "V1v", 2: "V1d"}
    assert [label.rgba for label in image.labeltable.labels] == [(0, 0, 0, 0), (1, 0, 0, 1), (0, 0, 1, 1)]
    assert nibabel.nifti1.intent_codes.label[image.darrays[0].intent] == "label"
    np.testing.assert_array_equal(load_surf_data(tmp_path / "rh.early.label.gii"), labels)
