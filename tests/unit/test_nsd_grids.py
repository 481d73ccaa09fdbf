"""Volumes of one subject share a grid: shape and affine. Files in another orientation are written here by hand."""

import h5py
import nibabel
import numpy as np
import pytest
from two_layers import FOLDER, align, read_scores

from brain_activity_prediction.datasets.nsd.nsd import find_nsd
from brain_activity_prediction.datasets.nsd.regions import read_mask, region_masks
from brain_activity_prediction.datasets.responses import ResponseChoice, prepare_responses
from brain_activity_prediction.encoding.subject_data import ceiling_of_test_images, read_subject_data
from brain_activity_prediction.report.voxel_maps import cortex, shown_on
from brain_activity_prediction.runtime.errors import InputError

ORIENTATIONS = {"LAS": ((0, 1, 2), (0,)), "PIR": ((1, 2, 0), (0, 1)), "LPI": ((0, 1, 2), (0, 1, 2))}  # order, flipped


def reoriented(volume, affine, orientation):
    """The same voxels with axes in another order and direction, and the affine that puts each where it was."""
    order, flipped = ORIENTATIONS[orientation]
    volume = np.transpose(volume, (*order, *range(3, volume.ndim)))
    affine = affine[:, [*order, 3]]
    for axis in flipped:
        volume = np.flip(volume, axis)
        affine[:3, 3] += affine[:3, axis] * (volume.shape[axis] - 1)
        affine[:3, axis] *= -1
    return volume, affine


def store_as(path, orientation):
    image = nibabel.load(path)
    volume, affine = reoriented(np.asarray(image.dataobj), image.affine, orientation)
    nibabel.save(nibabel.Nifti1Image(volume, affine), path)
    assert "".join(nibabel.aff2axcodes(nibabel.load(path).affine)) == orientation


def without_affine(path):
    """A NIfTI file whose codes say that neither of its transforms holds."""
    image = nibabel.load(path)
    image = nibabel.Nifti1Image(np.asarray(image.dataobj), None)
    image.header["sform_code"] = image.header["qform_code"] = 0
    nibabel.save(image, path)
    assert nibabel.load(path).header["sform_code"] == nibabel.load(path).header["qform_code"] == 0


def as_hdf5(layout):
    """Stores betas as NSD's HDF5 files, which have no affine."""
    for session in layout.sessions(1):
        path = layout.betas(1, session)
        with h5py.File(str(path).replace(".nii.gz", ".hdf5"), "w") as file:
            file["betas"] = np.asarray(nibabel.load(path).dataobj).T
        path.unlink()


@pytest.fixture
def layout(own_nsd):
    return find_nsd(own_nsd)


def values_by_place(mask, affine, values):
    """`{voxel's place in mm: value}`."""
    places = np.round(nibabel.affines.apply_affine(affine, np.argwhere(mask)), 3) + 0.0
    return dict(zip(map(tuple, places), values.tolist(), strict=True))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("kind", ["roi", "mask", "both"])
def test_a_file_in_another_orientation_gives_the_same_regions(layout, kind, orientation):
    expected = layout.regions(1)
    if kind != "mask":
        store_as(layout.roi(1, "prf-visualrois")[0], orientation)
    if kind != "roi":
        store_as(layout.nsdgeneral(1), orientation)
    regions = layout.regions(1)
    assert list(regions) == list(expected)
    for name, members in expected.items():
        np.testing.assert_array_equal(regions[name], members)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_betas_and_ceilings_in_another_orientation_belong_to_the_same_voxels(layout, orientation):
    image = nibabel.load(layout.ncsnr_file(1))
    ncsnr = np.linspace(0.1, 1, np.prod(image.shape), dtype=np.float32).reshape(image.shape)
    nibabel.save(nibabel.Nifti1Image(ncsnr, image.affine), layout.ncsnr_file(1))
    targets = read_subject_data(layout, 1, ResponseChoice(), layout.base_dir / "responses")
    expected = ceiling_of_test_images(targets, layout, 1, "nsd")
    store_as(layout.betas(1, 3), orientation)
    store_as(layout.ncsnr_file(1), orientation)
    again = read_subject_data(layout, 1, ResponseChoice(), layout.base_dir / "responses")
    np.testing.assert_array_equal(again.train, targets.train)
    np.testing.assert_array_equal(ceiling_of_test_images(again, layout, 1, "nsd"), expected)


def test_maps_and_voxel_order_are_those_of_the_betas(ready, monkeypatch):
    layout = find_nsd(ready)
    align(monkeypatch, ready)
    expected = read_scores(ready)
    mask, affine = read_mask(layout, 1)
    r = nibabel.load(ready / FOLDER / "maps/vision_best_layer_r.nii.gz")
    by_place = values_by_place(mask, affine, r.get_fdata()[mask])
    for session in layout.sessions(1):
        store_as(layout.betas(1, session), "PIR")
    align(monkeypatch, ready, "--redo")
    again = nibabel.load(ready / FOLDER / "maps/vision_best_layer_r.nii.gz")
    np.testing.assert_allclose(again.affine, nibabel.load(layout.betas(1, 1)).affine, atol=1e-5)
    inside = np.isfinite(again.get_fdata())
    found = values_by_place(inside, again.affine, again.get_fdata()[inside])
    assert found.keys() == by_place.keys()
    assert all(found[place] == pytest.approx(value, abs=1e-5) for place, value in by_place.items())
    np.testing.assert_allclose(read_scores(ready)["r"], expected["r"], atol=1e-5)


def test_the_cortex_behind_a_map_on_the_page_is_where_the_map_is(layout):
    expected, grid = cortex(layout, 1)
    store_as(layout.nsdgeneral(1), "PIR")
    values, affine, behind = shown_on(cortex(layout, 1), np.zeros(grid.shape), grid)
    np.testing.assert_allclose(behind, expected, rtol=1e-6)
    np.testing.assert_array_equal(affine, grid.affine)
    assert not values.any()


def test_responses_are_read_again_when_the_voxels_come_in_another_order(layout, capsys):
    prepare_responses(layout, 1, ResponseChoice([2, 3, 4]))
    kept = layout.betas(1, 1).read_bytes()
    store_as(layout.betas(1, 1), "LAS")
    assert prepare_responses(layout, 1, ResponseChoice([2, 3, 4])).units.affine[0, 0] < 0
    assert "changed since" in capsys.readouterr().err
    layout.betas(1, 1).write_bytes(kept)
    assert prepare_responses(layout, 1, ResponseChoice([2, 3, 4])).units.affine[0, 0] > 0


@pytest.mark.parametrize("orientation", [None, "LAS"])
def test_published_hdf5_betas_are_right_anterior_superior(layout, orientation):
    expected = prepare_responses(layout, 1).betas
    regions = layout.regions(1)
    as_hdf5(layout)
    if orientation:
        for path in (layout.nsdgeneral(1), layout.roi(1, "floc-faces")[0]):
            store_as(path, orientation)
    np.testing.assert_array_equal(prepare_responses(layout, 1).betas, expected)
    found = layout.regions(1)
    assert all(np.array_equal(found[name], regions[name]) for name in regions)


@pytest.mark.parametrize("kind", ["nsdgeneral", "roi", "betas"])
@pytest.mark.parametrize("shift", ["origin", "size", "turn"])
def test_files_on_other_grids_are_refused_by_naming_both_and_their_grids(layout, kind, shift):
    path = {"nsdgeneral": layout.nsdgeneral(1), "betas": layout.betas(1, 2)}.get(kind) or layout.roi(1, "floc-faces")[0]
    image = nibabel.load(path)
    affine = image.affine.copy()
    if shift == "origin":
        affine[1, 3] += 0.01
    elif shift == "size":
        affine[:3, :3] *= 1 / 1.8
    else:
        affine[:3, :3] = affine[:3, :3] @ nibabel.eulerangles.euler2mat(0.1)
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj), affine), path)
    with pytest.raises(InputError) as refused:
        layout.regions(1)
        prepare_responses(layout, 1)
    said = str(refused.value)
    assert str(path) in said
    assert str(layout.betas(1, 1)) in said
    assert said.count("(10, 12, 9) voxels of ") == said.count("RAS") == 2
    assert "\n" not in said


def test_affines_that_differ_by_rounding_alone_are_the_same(layout):
    path = layout.roi(1, "floc-faces")[0]
    image = nibabel.load(path)
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj), image.affine + 5e-4 * (image.affine != 0)), path)
    assert layout.regions(1)["FFA-1"].any()


def test_a_file_without_an_affine_is_matched_by_index_and_said_once(layout, capsys):
    expected = layout.regions(1)
    for path in (layout.nsdgeneral(1), *(layout.roi(1, name)[0] for name in ("floc-faces", "prf-visualrois"))):
        without_affine(path)
    found = layout.regions(1)
    read_mask(layout, 1)
    assert all(np.array_equal(found[name], expected[name]) for name in expected)
    (line,) = capsys.readouterr().err.splitlines()
    assert "nsdgeneral.nii.gz states no affine" in line


def test_betas_without_an_affine_take_the_masks_and_another_shape_is_refused(layout, capsys):
    affine = nibabel.load(layout.nsdgeneral(1)).affine
    for session in layout.sessions(1):
        without_affine(layout.betas(1, session))
    np.testing.assert_array_equal(prepare_responses(layout, 1).units.affine, affine)
    assert sum("states no affine" in line for line in capsys.readouterr().err.splitlines()) == 1
    path = layout.roi(1, "floc-faces")[0]
    nibabel.save(nibabel.Nifti1Image(np.zeros((3, 3, 3), np.int16), None), path)
    with pytest.raises(InputError, match=rf"{path} .*\(3, 3, 3\) voxels"):
        layout.regions(1)


def test_a_mask_of_another_subject_is_refused(layout):
    with pytest.raises(InputError, match=r"mask has shape \(3, 3, 3\), but .*\(10, 12, 9\) voxels"):
        region_masks(layout, 1, np.ones((3, 3, 3), dtype=bool))


def test_a_damaged_session_that_was_not_asked_for_stops_nothing(layout):
    layout.betas(1, 1).write_bytes(b"<html>")
    assert prepare_responses(layout, 1, ResponseChoice([2, 3])).sessions == (2, 3)
