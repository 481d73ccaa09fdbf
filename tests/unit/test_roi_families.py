"""Families: unions of regions under a name, for both hemispheres or one, from our table or a lab's own."""

import json

import nibabel
import numpy as np
import pytest
from two_layers import align, read_scores

from brain_activity_prediction.datasets.nsd.nsd import find_nsd
from brain_activity_prediction.datasets.nsd.regions import LABELS, read_mask, read_regions
from brain_activity_prediction.datasets.roi_families import FAMILIES
from brain_activity_prediction.report.plots.labels import families
from brain_activity_prediction.runtime.errors import InputError


@pytest.fixture
def layout(own_nsd):
    return find_nsd(own_nsd)


def write_own(layout, table):
    (layout.base_dir / "roi_families.json").write_text(table if isinstance(table, str) else json.dumps(table))


def test_families_are_the_unions_of_the_regions_that_a_subject_has(layout):
    regions = read_regions(layout, 1)
    assert "V1" not in regions
    found = read_regions(layout, 1, ["floc-faces", "families"])
    assert list(found) == ["nsdgeneral", "FFA-1", "V1", "V2", "early visual", "faces", "places"]
    np.testing.assert_array_equal(found["V1"], regions["V1v"] | regions["V1d"])
    np.testing.assert_array_equal(found["early visual"], regions["V1v"] | regions["V1d"] | regions["V2v"])
    np.testing.assert_array_equal(found["faces"], regions["FFA-1"])
    np.testing.assert_array_equal(found["places"], regions["PPA"] | regions["RSC"])


# Names of LAION-fMRI (docs/source/rois.rst of its repository), without hyphens, as its package writes files.
OF_LAION = {"FFA1", "FFA2", "pSTSfaces", "FBA", "MPA", "VWFA1", "VWFA2", "mfswords"}


def test_members_of_families_are_regions_of_nsd_and_laion():
    regions = {label for labels in LABELS.values() for label in labels} | OF_LAION
    assert {member for members in FAMILIES.values() for member in members} <= regions


def test_a_family_of_one_hemisphere_has_its_voxels_only(layout):
    regions, mask = read_regions(layout, 1), read_mask(layout, 1)[0]
    path = layout.roi(1, "prf-visualrois")[0]
    image = nibabel.load(path)
    labels, left = np.asarray(image.dataobj), np.arange(mask.shape[0])[:, None, None] < mask.shape[0] // 2
    for side, inside in (("lh.", left), ("rh.", ~left)):
        own = np.where(inside, labels, -1).astype(np.int16)
        nibabel.save(nibabel.Nifti1Image(own, image.affine), path.with_name(f"{side}{path.name}"))
    found = read_regions(layout, 1, ["lh.families", "rh.families"])
    v1 = regions["V1v"] | regions["V1d"]
    inside = np.broadcast_to(left, mask.shape)[mask]
    np.testing.assert_array_equal(found["lh.families:V1"], v1 & inside)
    np.testing.assert_array_equal(found["rh.families:V1"], v1 & ~inside)
    assert 0 < found["lh.families:V1"].sum() < v1.sum()
    assert not any("faces" in name for name in found)  # floc-faces has no file of one hemisphere


def test_a_lab_adds_and_replaces_families_in_a_file(layout):
    write_own(layout, {"V1": ["V1v"], "faces and places": ["FFA-1", "PPA"]})
    regions, found = read_regions(layout, 1), read_regions(layout, 1, ["families"])
    np.testing.assert_array_equal(found["V1"], regions["V1v"])
    np.testing.assert_array_equal(found["faces and places"], regions["FFA-1"] | regions["PPA"])
    assert "V2" in found


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"mine": ["V1v", "FFA1"]}, r"mine has the region FFA1.*did you mean FFA-1"),
        ({"mine": []}, "mine has no regions"),
        ({"mine": "V1v"}, r"roi_families\.json"),
        ("[", r"roi_families\.json"),
    ],
)
def test_a_table_that_names_no_regions_is_refused(layout, table, message):
    write_own(layout, table)
    with pytest.raises(InputError, match=message):
        read_regions(layout, 1, ["families"])


def test_families_without_a_voxel_are_refused(layout):
    with pytest.raises(InputError, match=r"lh\.families"):
        read_regions(layout, 1, ["lh.families"])


def test_tables_have_a_row_for_each_requested_family(ready, monkeypatch):
    align(monkeypatch, ready, "--roi", "prf-visualrois", "families", "--bootstrap", "9")
    table = read_scores(ready, "best_per_region").set_index("roi")
    assert table.loc["V1", "n_voxels"] == table.loc[["V1v", "V1d"], "n_voxels"].sum()
    assert np.isfinite(table.loc[["V1", "early visual", "faces"], "r_se"]).all()
    layers = read_scores(ready)
    of = {roi: rows.set_index("layer")["r"] for roi, rows in layers.groupby("roi")}
    n = table.loc[["V1v", "V1d"], "n_voxels"]
    np.testing.assert_allclose(of["V1"], (of["V1v"] * n["V1v"] + of["V1d"] * n["V1d"]) / n.sum(), rtol=1e-5)


def test_figures_show_families_in_a_panel_of_their_own():
    panels = families(["V1v", "V1d", "V1", "faces", "nsdgeneral"])
    assert panels["Families of regions"] == ["V1", "faces"]
    assert "Other regions" not in panels
