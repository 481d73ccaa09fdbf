"""Names of regions and files of hemispheres, as people and other programs write them."""

import shutil

import nibabel
import numpy as np
import pytest

from brain_activity_prediction.datasets.nsd.nsd import find_nsd
from brain_activity_prediction.datasets.nsd.regions import read_mask
from brain_activity_prediction.demo.dataset import AFFINE
from brain_activity_prediction.runtime.errors import InputError

VISUAL = ("prf-visualrois", (1, 2, 3, 7))  # the labels that the tiny NSD has


@pytest.fixture
def layout(own_nsd):
    return find_nsd(own_nsd)


def write_table(layout, name, text, encoding="utf-8"):
    path = layout.expected("label table", 1, name=name)[0]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))


def save(path, volume):
    nibabel.save(nibabel.Nifti1Image(volume, AFFINE), path)


def labels_of(layout, name):
    return np.asarray(nibabel.load(layout.expected("roi", 1, name=name)[0]).dataobj)


def as_hemispheres(layout, name, sides=("lh", "rh")):
    """Splits an ROI file at the middle of X, and leaves these sides of it."""
    whole = layout.expected("roi", 1, name=name)[0]
    labels, left = labels_of(layout, name), np.arange(10)[:, None, None] < 4
    for side, inside in (("lh", left), ("rh", ~left)):
        if side in sides:
            save(whole.with_name(f"{side}.{name}.nii.gz"), np.where(inside, labels, -1).astype(np.int16))
    whole.unlink()
    return labels, left


def test_one_name_for_two_labels_of_a_file_is_their_union(layout):
    labels = labels_of(layout, "prf-visualrois")[read_mask(layout, 1)[0]]
    write_table(layout, "prf-visualrois", "0 Unknown\n1 V1\n2 V1\n3 V2\n4 V2\n5 V3\n6 V3\n7 hV4\n")
    regions = layout.regions(1, ["prf-visualrois"])
    assert list(regions) == ["nsdgeneral", "V1", "V2", "hV4"]
    np.testing.assert_array_equal(regions["V1"], (labels == 1) | (labels == 2))
    assert regions["V1"].sum() == 100


@pytest.mark.parametrize("chosen", [None, ["prf-visualrois", "floc-faces"], ["prf-visualrois"], ["floc-faces"]])
def test_one_name_in_two_files_gets_the_files_name_in_front_whichever_are_asked_for(layout, chosen):
    write_table(layout, "floc-faces", "1 OFA\n2 hV4\n")
    regions = layout.regions(1, chosen)
    assert "hV4" not in regions
    wanted = chosen or ["prf-visualrois", "floc-faces"]
    assert {name for name in regions if "hV4" in name} == {f"{file}:hV4" for file in wanted}
    for name in wanted:
        label = {"prf-visualrois": 7, "floc-faces": 2}[name]
        expected = labels_of(layout, name)[read_mask(layout, 1)[0]] == label
        np.testing.assert_array_equal(regions[f"{name}:hV4"], expected)


def test_names_that_the_files_names_do_not_tell_apart_are_refused(layout):
    whole = layout.expected("roi", 1, name="floc-faces")[0]
    for name, label in (("a", "b:c"), ("a:b", "c")):
        shutil.copy(whole, whole.with_name(f"{name}.nii.gz"))
        write_table(layout, name, f"2 {label}\n")
    with pytest.raises(InputError, match=r"a:b\.nii\.gz .*a\.nii\.gz .*both .*'a:b:c'"):
        layout.regions(1)


@pytest.mark.parametrize("label", ["nsdgeneral", "Kastner2015:V1v"])
def test_a_label_takes_neither_the_name_of_all_fitted_voxels_nor_of_an_atlas(layout, label):
    save(layout.expected("roi", 1, name="Kastner2015")[0], np.ones((10, 12, 9), np.int16))
    write_table(layout, "floc-faces", f"2 {label}\n")
    regions = layout.regions(1)
    assert regions["nsdgeneral"].all()
    assert regions["Kastner2015:V1v"].all()
    assert 0 < regions[f"floc-faces:{label}"].sum() < 50


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ("2 fusiform face area", "fusiform face area"),
        ("2 fusiform face area 255 0 17 0", "fusiform face area"),
        ("  2   area 4  \t 255   0 17 0 ", "area 4"),
        ("2 area 4 5", "area 4 5"),
        ("2 area 1 2 3", "area 1 2 3"),
        ("2 255 0 17 0", "255 0 17 0"),
        ("2 area 300 400 500 600", "area 300 400 500 600"),
    ],
)
def test_a_name_is_kept_whole_and_colours_are_no_part_of_it(layout, row, name):
    write_table(layout, "floc-faces", f"# number name\n0 Unknown 0 0 0 0\n{row}\n")
    assert list(layout.regions(1, ["floc-faces"])) == ["nsdgeneral", name]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_label_table_may_begin_with_a_byte_order_mark(layout, encoding, newline):
    write_table(layout, "floc-faces", newline.join(["0 Unknown", "2 Größe", ""]), encoding)
    assert list(layout.regions(1, ["floc-faces"])) == ["nsdgeneral", "Größe"]


def test_a_label_with_two_names_is_refused(layout):
    write_table(layout, "floc-faces", "1 OFA\n2 FFA-1\n2 FFA-2\n")
    with pytest.raises(InputError, match=r"floc-faces\.mgz\.ctab .*label 2 .*FFA-1.*FFA-2"):
        layout.regions(1)


def test_the_eccentricities_are_called_as_in_nsds_own_tables(layout):
    labels = np.arange(10 * 12 * 9).reshape(10, 12, 9) % 6
    save(layout.expected("roi", 1, name="prf-eccrois")[0], labels.astype(np.int16))
    regions = layout.regions(1, ["prf-eccrois"])
    assert list(regions)[1:] == ["ecc0pt5", "ecc1", "ecc2", "ecc4", "ecc4+"]


@pytest.mark.parametrize("side", ["lh", "rh"])
def test_one_hemisphere_can_be_asked_for_by_its_files_name(layout, side):
    labels, left = as_hemispheres(layout, "prf-visualrois")
    mask, _ = read_mask(layout, 1)
    regions = layout.regions(1, [f"{side}.prf-visualrois"])
    expected = ((labels == 7) & (left if side == "lh" else ~left))[mask]
    np.testing.assert_array_equal(regions[f"{side}.prf-visualrois:hV4"], expected)
    assert list(regions) == ["nsdgeneral", *(f"{side}.prf-visualrois:{name}" for name in ("V1v", "V1d", "V2v", "hV4"))]


def test_a_lone_half_stops_no_run_that_did_not_ask_for_it(layout, capsys):
    expected = layout.regions(1)
    places = layout.expected("roi", 1, name="floc-places")[0]
    shutil.copy(places, places.with_name("lh.floc-words.nii.gz"))
    assert list(layout.regions(1)) == list(expected)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("subject 1: floc-words is left out")
    assert "rh.floc-words.nii.gz" in line


def test_a_lone_half_asked_for_is_read_and_the_missing_one_named(layout, capsys):
    as_hemispheres(layout, "prf-visualrois", ["rh"])
    regions = layout.regions(1, ["prf-visualrois"])
    assert all(name.startswith("rh.prf-visualrois:") for name in list(regions)[1:])
    (line,) = capsys.readouterr().err.splitlines()
    assert "lh.prf-visualrois.nii.gz" in line


def test_a_region_asked_for_that_yields_no_row_is_said_with_why(layout, capsys):
    thalamus = layout.expected("roi", 1, name="thalamus")[0]
    save(thalamus, np.ones((10, 12, 9), np.int16))
    save(thalamus.with_name("MTL.nii.gz"), np.zeros((10, 12, 9), np.int16))
    write_table(layout, "MTL", "1 CA1\n")
    regions = layout.regions(1, ["floc-faces", "thalamus", "MTL"])
    assert list(regions) == ["nsdgeneral", "FFA-1"]
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "thalamus" in lines[0]
    assert "thalamus.mgz.ctab" in lines[0]
    assert "MTL" in lines[1]
    assert "fitted voxels" in lines[1]
    with pytest.raises(InputError, match=r"thalamus\.mgz\.ctab.*MTL"):
        layout.regions(1, ["thalamus", "MTL"])
    assert not capsys.readouterr().err


def test_all_fitted_voxels_can_be_asked_for_alone(layout):
    assert list(layout.regions(1, ["nsdgeneral"])) == ["nsdgeneral"]
    assert list(layout.regions(1, ["nsdgeneral", "floc-faces"])) == ["nsdgeneral", "FFA-1"]


@pytest.mark.parametrize("name", ["nsdgeneral", "floc-faces"])
def test_labels_a_rounding_error_off_are_whole_numbers_and_nan_is_unlabelled(layout, name):
    expected = layout.regions(1)
    path = layout.expected("roi", 1, name=name)[0]
    labels = labels_of(layout, name).astype(np.float32)
    labels[labels > 0] *= np.float32(0.99999994)
    labels[labels < 0] = np.nan
    save(path, labels[..., None])
    found = layout.regions(1)
    assert all(np.array_equal(found[region], expected[region]) for region in expected)


@pytest.mark.parametrize("value", [0.4, 1.2, np.inf, 1e9])
def test_a_mask_of_fitted_voxels_that_holds_other_numbers_is_refused(layout, value):
    labels = labels_of(layout, "nsdgeneral").astype(np.float32)
    labels[0, 0, 0] = value
    save(layout.nsdgeneral(1), labels)
    with pytest.raises(InputError, match=r"nsdgeneral\.nii\.gz holds values that are not whole numbers"):
        read_mask(layout, 1)


def test_files_that_are_not_compressed_are_read(layout):
    expected = layout.regions(1)
    for path in [
        layout.nsdgeneral(1),
        layout.ncsnr_file(1),
        *layout.nsdgeneral(1).parent.glob("*.nii.gz"),
        layout.betas(1, 1),
    ]:
        if path.exists():
            nibabel.save(nibabel.load(path), str(path).removesuffix(".gz"))
            path.unlink()
    found = layout.regions(1)
    assert list(found) == list(expected)
    assert all(np.array_equal(found[region], expected[region]) for region in expected)
    assert layout.sessions(1) == [1, 2, 3, 4]
    assert layout.betas(1, 1).suffix == layout.ncsnr_file(1).suffix == ".nii"
