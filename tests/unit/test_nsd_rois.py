import nibabel
import nilearn.image
import nilearn.masking
import numpy as np
import pytest

from brain_activity_prediction.datasets.nsd.nsd import find_nsd
from brain_activity_prediction.datasets.nsd.regions import (
    LABELS,
    of_atlases,
    read_map,
    read_mask,
    region_masks,
    subject_grid,
)
from brain_activity_prediction.datasets.units import write_map
from brain_activity_prediction.demo.dataset import AFFINE
from brain_activity_prediction.runtime.errors import InputError


def save_labels(path, labels):
    nibabel.save(nibabel.Nifti1Image(labels.astype(np.int16), AFFINE), path)


@pytest.fixture
def layout(own_nsd):
    return find_nsd(own_nsd)


@pytest.fixture
def mask(layout):
    return read_mask(layout, 1)[0]


def test_only_voxels_marked_1_are_fitted(layout):
    mask, affine = read_mask(layout, 1)
    image = nibabel.load(layout.nsdgeneral(1))
    assert set(np.unique(image.dataobj)) == {-1, 0, 1}
    assert np.array_equal(mask, image.get_fdata() == 1)
    assert np.array_equal(affine, image.affine)


def test_regions_are_the_named_labels_in_the_fitted_voxels(layout, mask):
    regions = region_masks(layout, 1, mask)
    # Early visual areas come first, in the order of LABELS and not of the alphabet.
    assert list(regions) == ["nsdgeneral", "V1v", "V1d", "V2v", "hV4", "FFA-1", "PPA", "RSC"]
    assert all(region.shape == (mask.sum(),) and region.dtype == bool for region in regions.values())
    assert regions["nsdgeneral"].all()
    visual = nibabel.load(layout.roi(1, "prf-visualrois")[0]).get_fdata()
    for number, name in [(1, "V1v"), (2, "V1d"), (3, "V2v"), (7, "hV4")]:
        assert np.array_equal(regions[name], visual[mask] == number)


@pytest.mark.parametrize("names", [None, ["floc-faces"]])
def test_regions_are_read_without_any_betas(layout, names):
    for path in layout.base_dir.rglob("betas_session*"):
        path.unlink()
    expected = region_masks(layout, 2, read_mask(layout, 2)[0], names)
    found = layout.regions(2, names)
    assert list(found) == list(expected)
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


def test_labels_outside_the_fitted_voxels_are_left_out(layout, mask):
    places = nibabel.load(layout.roi(1, "floc-places")[0]).get_fdata()
    assert (places == 3).sum() > (places[mask] == 3).sum() == region_masks(layout, 1, mask)["RSC"].sum()
    fitted = mask & (places != 3)
    assert "RSC" not in region_masks(layout, 1, fitted)


def test_roi_files_without_a_fitted_voxel_leave_all_fitted_voxels(layout, mask):
    for name in layout.roi_names(1):
        for path in layout.roi(1, name):
            save_labels(path, np.zeros(mask.shape))
    assert list(region_masks(layout, 1, mask)) == ["nsdgeneral"]


def test_the_label_table_decides_and_the_built_in_names_stand_in_for_it(layout, mask):
    table = layout.label_table(1, "floc-faces")
    table.write_text("#No. name R G B A\n0 Unknown 0 0 0 0\n2 fusiform 255 0 0 0\n")
    assert "fusiform" in region_masks(layout, 1, mask, ["floc-faces"])
    table.unlink()
    assert set(region_masks(layout, 1, mask, ["floc-faces"])) == {"nsdgeneral", "FFA-1"}


def test_a_file_of_ones_own_is_read_where_the_subject_has_a_label_table_for_it(layout, mask):
    table = layout.label_table(1, "floc-faces").with_name("thalamus.mgz.ctab")
    table.write_text("1 LGN\n")
    save_labels(layout.roi(1, "floc-faces")[0].with_name("thalamus.nii.gz"), np.ones(mask.shape))
    regions = region_masks(layout, 1, mask)
    assert list(regions)[-1] == "thalamus:LGN"
    assert regions["thalamus:LGN"].all()


def test_the_built_in_names_count_as_many_as_nsd_has():
    assert {name: len(labels) for name, labels in LABELS.items()} == {
        "prf-visualrois": 7,
        "prf-eccrois": 5,
        "floc-faces": 5,
        "floc-bodies": 4,
        "floc-places": 3,
        "floc-words": 5,
        "streams": 7,
        "Kastner2015": 25,
    }
    own = [label for name, labels in LABELS.items() if name != "Kastner2015" for label in labels]
    assert len(set(own)) == len(own)


def test_hemispheres_are_merged(layout, mask):
    whole_regions = region_masks(layout, 1, mask)
    whole = layout.roi(1, "prf-visualrois")[0]
    labels = nibabel.load(whole).get_fdata()
    left = np.arange(labels.shape[0])[:, None, None] < 4
    save_labels(whole.with_name("lh.prf-visualrois.nii.gz"), np.where(left, labels, -1))
    save_labels(whole.with_name("rh.prf-visualrois.nii.gz"), np.where(left, -1, labels))
    whole.unlink()
    merged = region_masks(layout, 1, mask)
    assert merged.keys() == whole_regions.keys()
    assert all(np.array_equal(merged[name], whole_regions[name]) for name in merged)


def test_atlas_regions_do_not_overwrite_the_mapped_ones_of_the_same_name(layout, mask):
    everywhere = layout.roi(1, "floc-faces")[0].with_name("Kastner2015.nii.gz")
    save_labels(everywhere, np.ones(mask.shape))
    regions = region_masks(layout, 1, mask)
    assert regions["Kastner2015:V1v"].all()
    assert regions["V1v"].sum() == 50


def test_a_label_without_a_name_is_refused_a_file_without_names_is_no_default(layout, mask):
    roi = layout.roi(1, "floc-faces")[0]
    save_labels(roi.with_name("thalamus.nii.gz"), np.ones(mask.shape))
    assert not any("thalamus" in name for name in region_masks(layout, 1, mask))
    said = r"subject 1: no label of ROI thalamus has a name: .*subj01\S+thalamus\.mgz\.ctab$"
    with pytest.raises(InputError, match=said):
        region_masks(layout, 1, mask, ["thalamus"])
    save_labels(roi, np.full(mask.shape, 6))
    with pytest.raises(InputError, match="label 6 of ROI floc-faces"):
        region_masks(layout, 1, mask)


def test_an_roi_file_that_is_not_there_is_said_with_those_that_are(layout, mask):
    said = (
        r"^subject 1 has no ROI file prf-visualroi\.nii\.gz \(did you mean prf-visualrois\?\); "
        r"available: floc-faces, floc-places, prf-visualrois$"
    )
    with pytest.raises(InputError, match=said):
        region_masks(layout, 1, mask, ["prf-visualroi"])
    for path in layout.nsdgeneral(1).parent.glob("*.nii.gz"):
        if path != layout.nsdgeneral(1):
            path.unlink()
    with pytest.raises(InputError, match=r"available: none$"):
        region_masks(layout, 1, mask, ["prf-visualrois"])


@pytest.mark.parametrize("label", [1.5, 1e9, np.inf])
def test_labels_that_are_no_whole_numbers_are_refused(layout, mask, label):
    path = layout.roi(1, "floc-faces")[0]
    nibabel.save(nibabel.Nifti1Image(np.full(mask.shape, label, dtype=np.float32), AFFINE), path)
    with pytest.raises(InputError, match=f"{path} holds values that are not whole numbers"):
        region_masks(layout, 1, mask, ["floc-faces"])


def test_broken_and_misshapen_masks_are_named(layout, mask):
    roi = layout.roi(1, "floc-faces")[0]
    save_labels(roi, np.ones((3, 3, 3)))
    with pytest.raises(InputError, match=rf"{roi} has \(3, 3, 3\) voxels .*, but .* \(10, 12, 9\) voxels"):
        region_masks(layout, 1, mask)
    roi.write_bytes(b"<html>\n</html>")
    with pytest.raises(InputError, match=str(roi)):
        region_masks(layout, 1, mask)
    save_labels(layout.nsdgeneral(1), np.zeros(mask.shape))
    with pytest.raises(InputError, match="marks no voxel"):
        read_mask(layout, 1)
    layout.label_table(1, "floc-places").write_bytes(b"1 OPA\xff")
    with pytest.raises(InputError, match=f"cannot read {layout.label_table(1, 'floc-places')}"):
        region_masks(layout, 1, mask, ["floc-places"])
    layout.label_table(1, "floc-places").write_text("V1v 1\n")
    with pytest.raises(InputError, match="not a label table"):
        region_masks(layout, 1, mask, ["floc-places"])


def test_a_map_lies_in_the_subjects_space_with_nan_outside_the_mask(layout, tmp_path):
    mask, affine = read_mask(layout, 1)
    values = np.linspace(-1, 1, mask.sum())
    write_map(tmp_path / "maps" / "r.nii.gz", values, mask, affine)
    image = nibabel.load(tmp_path / "maps" / "r.nii.gz")
    assert image.get_data_dtype() == np.float32
    assert np.array_equal(image.affine, affine)
    volume = image.get_fdata()
    np.testing.assert_allclose(volume[mask], values, atol=1e-7)
    assert np.isnan(volume[~mask]).all()
    assert np.array_equal(read_map(tmp_path / "maps" / "r.nii.gz", mask, subject_grid(layout, 1)), volume[mask])


def test_viewers_find_a_map_where_the_subject_is_whichever_transform_they_take(layout, tmp_path):
    mask, affine = read_mask(layout, 1)
    values = np.arange(2 * np.count_nonzero(mask), dtype=np.float32).reshape(-1, 2)
    write_map(tmp_path / "layers.nii.gz", values, mask, affine)
    image = nibabel.load(tmp_path / "layers.nii.gz")
    for transform, code in (image.get_sform(coded=True), image.get_qform(coded=True)):
        np.testing.assert_allclose(transform, affine, atol=1e-5)
        assert code == 1  # the scanner's space
    assert image.header.get_xyzt_units()[0] == "mm"
    assert image.get_data_dtype() == np.float32
    assert image.header.get_intent()[0] == "none"
    assert image.shape == (*mask.shape, 2)

    second = nilearn.image.index_img(str(tmp_path / "layers.nii.gz"), 1)
    np.testing.assert_array_equal(second.get_fdata()[mask], values[:, 1])
    fitted = nibabel.Nifti1Image(mask.astype(np.int8), affine)
    np.testing.assert_array_equal(nilearn.masking.apply_mask(second, fitted), values[:, 1])


def test_a_file_of_a_dozen_regions_is_no_atlas():
    own, atlas = ([f"{file}:{number}" for number in range(n)] for file, n in (("macaque", 12), ("HCP_MMP1", 13)))
    assert of_atlases(["V1v", *own, *atlas, *atlas]) == set(atlas)


def test_a_map_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "r.nii.gz"
    mask = np.ones((2, 2, 2), dtype=bool)
    write_map(path, np.zeros(8), mask, np.eye(4))
    before = path.read_bytes()

    def fill_the_disk(image, aside):
        aside.write_bytes(b"half a ma")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(nibabel, "save", fill_the_disk)
    with pytest.raises(InputError, match="No space left on device"):
        write_map(path, np.ones(8), mask, np.eye(4))
    assert [file.name for file in tmp_path.iterdir()] == ["r.nii.gz"]
    assert path.read_bytes() == before
