"""Regions, masks and splits of an own experiment, as FreeSurfer, Workbench and BIDS name and write them."""

import struct

import nibabel
import numpy as np
import pytest
from nibabel.cifti2 import BrainModelAxis, Cifti2Image, LabelAxis, ScalarAxis

from brain_activity_prediction.datasets.find import find_dataset
from brain_activity_prediction.runtime.errors import InputError

N_TRIALS, N_VERTICES = 4, 6
COLOURS = np.array([[1, 2, 3, 0, 0], [4, 5, 6, 0, 0], [7, 8, 9, 0, 0]])
LABELS = np.array([0, 1, 1, 2, -1, 2])  # places in the names of an annotation, -1 for none


@pytest.fixture
def folder(tmp_path):
    rows = [f"sub-01,image_{number}.png" for number in range(N_TRIALS)]
    (tmp_path / "trials.csv").write_text("\n".join(["subject,image", *rows]))
    for name in ("responses", "regions", "masks"):
        (tmp_path / name).mkdir()
    return tmp_path


def surface(folder):
    for side in ("lh", "rh"):
        image = nibabel.MGHImage(np.ones((N_VERTICES, 1, 1, N_TRIALS), np.float32), np.eye(4))
        nibabel.save(image, folder / f"responses/{side}.sub-01.mgh")


def volumes(folder):
    image = nibabel.Nifti1Image(np.ones((2, 3, 1, N_TRIALS), np.float32), np.eye(4))
    nibabel.save(image, folder / "responses/sub-01.nii.gz")


def grayordinates(folder, n=N_VERTICES):
    axis = BrainModelAxis.from_mask(np.ones(n, bool), name="CORTEX_LEFT")
    trials = ScalarAxis(list(map(str, range(N_TRIALS))))
    nibabel.save(
        Cifti2Image(np.ones((N_TRIALS, n), np.float32), (trials, axis)), folder / "responses/sub-01.dscalar.nii"
    )


def atlas(folder, n=N_VERTICES):
    axis = BrainModelAxis.from_mask(np.ones(n, bool), name="CORTEX_LEFT")
    names = LabelAxis(["atlas"], {0: ("???", (0, 0, 0, 0)), 3: ("V1", (1, 0, 0, 1)), 7: ("V2", (0, 1, 0, 1))})
    nibabel.save(
        Cifti2Image(np.float32([[0, 3, 3, 7, 0, 7]])[:, :n], (names, axis)), folder / "regions/atlas.dlabel.nii"
    )


def members(folder):
    regions = find_dataset(folder).regions("sub-01")
    return {name: np.flatnonzero(inside).tolist() for name, inside in regions.items() if name != "all"}


def test_annotations_of_freesurfer_are_regions_of_their_hemisphere(folder):
    """The numbers of both hemispheres are the same; their names are not."""
    surface(folder)
    for side, names in (("lh", ["unknown", "L_V1", "L_V2"]), ("rh", ["unknown", "R_V1", "R_V2"])):
        nibabel.freesurfer.write_annot(folder / f"regions/{side}.atlas.annot", LABELS, COLOURS.copy(), names)
    assert members(folder) == {"L_V1": [1, 2], "L_V2": [3, 5], "R_V1": [7, 8], "R_V2": [9, 11]}


@pytest.mark.parametrize(("right", "expected"), [("V1", {"V1": [1, 7]}), ("R_V1", {"V1": [1], "R_V1": [7]})])
def test_a_number_with_another_name_in_the_right_hemisphere_is_another_region(right, expected, folder):
    surface(folder)
    for side, name in (("lh", "V1"), ("rh", right)):
        array = nibabel.gifti.GiftiDataArray(np.int32([0, 1, 0, 0, 0, 0]), datatype="NIFTI_TYPE_INT32")
        table = nibabel.gifti.GiftiLabelTable()
        label = nibabel.gifti.GiftiLabel(1)
        label.label = name
        table.labels.append(label)
        image = nibabel.GiftiImage(darrays=[array], labeltable=table)
        nibabel.save(image, folder / f"regions/{side}.atlas.label.gii")
    assert members(folder) == expected


def test_labels_of_workbench_are_regions_of_grayordinates(folder):
    grayordinates(folder)
    atlas(folder)
    assert members(folder) == {"V1": [1, 2], "V2": [3, 5]}
    atlas(folder, n=N_VERTICES - 1)
    with pytest.raises(InputError, match=r"atlas.dlabel.nii has 5 grayordinates that are not the 6 of the responses"):
        members(folder)


def test_a_file_of_regions_that_is_not_read_is_reported_once(folder, capsys):
    volumes(folder)
    atlas(folder)
    (folder / "regions/areas.ctab").write_text("1 V1\n")
    for _ in range(2):
        assert members(folder) == {}
    said = capsys.readouterr().err
    assert said.count("atlas.dlabel.nii is not read: regions of 6 voxels are NAME.nii.gz, or a table NAME.csv") == 1
    assert "areas.ctab" not in said


def test_regions_of_a_subject_that_no_trial_names_are_reported(folder, capsys):
    volumes(folder)
    for name in ("sub-01", "sub-1"):
        (folder / "regions" / name).mkdir()
        (folder / "regions" / name / f"areas of {name}.csv").write_text("\n".join(["region", *["V1"] * 6]))
    assert members(folder) == {"V1": [0, 1, 2, 3, 4, 5]}
    assert "regions/sub-1 is not read: trials.csv has no subject of this name" in capsys.readouterr().err


def test_an_atlas_on_another_grid_is_refused_with_both_grids(folder):
    volumes(folder)
    nibabel.save(nibabel.Nifti1Image(np.ones((4, 6, 2), np.uint8), np.eye(4) / 2), folder / "regions/atlas.nii.gz")
    with pytest.raises(InputError, match=r"atlas.nii.gz has \(4, 6, 2\) .* the grid of the responses has \(2, 3, 1\)"):
        members(folder)


def test_a_mask_may_be_named_as_in_bids(folder):
    volumes(folder)
    mask = nibabel.Nifti1Image(np.uint8([[[1], [0], [1]], [[0], [0], [0]]]), np.eye(4))
    nibabel.save(mask, folder / "masks/sub-01_space-T1w_desc-brain_mask.nii.gz")
    assert find_dataset(folder).units("sub-01").n == 2
    nibabel.save(mask, folder / "masks/sub-01.nii")
    with pytest.raises(InputError, match=r"sub-01.nii and sub-01_space-T1w_desc-brain_mask.nii.gz for subject sub-01"):
        find_dataset(folder).units("sub-01")


def test_a_split_without_training_images_is_refused(folder):
    (folder / "split.tsv").write_text("image\tsplit\n" + "".join(f"image_{k}.png\ttest\n" for k in range(N_TRIALS)))
    with pytest.raises(InputError, match=r"split.tsv leaves no training image"):
        find_dataset(folder).test_images("sub-01")


def annotation(vertices, entries, n_stated=None, newer=True):
    """Return an annotation as FreeSurfer writes it: colours of vertices, and entries (index, name, colour)."""
    content = struct.pack(f">i{2 * len(vertices)}i", len(vertices), *sum(enumerate(vertices), ()))
    content += struct.pack(">i", 1)
    n = len(entries) if n_stated is None else n_stated
    own_file = struct.pack(">i", 4) + b"LUT\0"
    content += (
        struct.pack(">2i", -2, 36) + own_file + struct.pack(">i", n) if newer else struct.pack(">i", n) + own_file
    )
    for index, name, colour in entries:
        content += struct.pack(">i", index) if newer else b""
        content += struct.pack(">i", len(name) + 1) + name.encode() + b"\0"
        content += struct.pack(">4i", colour & 255, colour >> 8 & 255, colour >> 16, 0)
    return content


def annotations(folder, content):
    surface(folder)
    for side in ("lh", "rh"):
        (folder / f"regions/{side}.atlas.annot").write_bytes(content)


@pytest.mark.parametrize("newer", [True, False])
def test_names_of_an_annotation_belong_to_colours_whatever_their_numbers(newer, folder):
    """The index of a table has gaps where an atlas leaves out regions of another."""
    entries = [(0, "unknown", 0x190519), (2, "cuneus", 0x6414DC), (35, "insula", 0x20C0FF)]
    annotations(folder, annotation([0x20C0FF, 0x6414DC, 0x190519, 0, 0x20C0FF, 0x190519], entries, newer=newer))
    assert members(folder) == {"cuneus": [1, 7], "insula": [0, 4, 6, 10]}


@pytest.mark.parametrize(
    ("says", "content"),
    {
        "states 268,435,456 entries, but has 27 bytes for them": annotation([1] * 6, [(0, "V1", 1)], 2**28),
        "states 10,000,000 entries": annotation([1] * 6, [(0, "V1", 1)], 10**7, newer=False),
        "states -1 entries": annotation([1] * 6, [(0, "V1", 1)], -1),
        "states 1,073,741,824 entries": struct.pack(">i", 2**30) + annotation([1] * 6, [])[4:],
        "bytes should follow byte": annotation([1] * 6, [(0, "V1", 1)])[:-3],
        "'V1' and 'V2' have the same colour": annotation([1] * 6, [(0, "V1", 1), (1, "V2", 1)]),
        "it has vertex numbers above its number of vertices": struct.pack(">3i", 1, 6, 1)
        + annotation([], [(0, "V1", 1)])[4:],
        "has no table of regions": annotation([1] * 6, [])[:52] + bytes(4),
        "unknown version 3": annotation([1] * 6, [])[:56] + struct.pack(">i", -3),
    }.items(),
    ids=lambda value: value if isinstance(value, str) else "file",
)
def test_a_damaged_annotation_is_refused_before_its_counts_are_believed(says, content, folder):
    annotations(folder, content)
    with pytest.raises(InputError, match=rf"lh.atlas.annot \(.*{says}"):
        members(folder)


def test_vertices_of_a_colour_without_a_name_are_counted(folder, capsys):
    annotations(folder, annotation([1, 1, 2, 3, 0, 2], [(0, "V1", 1), (1, "V2", 3)]))
    assert members(folder) == {"V1": [0, 1, 6, 7], "V2": [3, 9]}
    said = capsys.readouterr().err
    assert "lh.atlas.annot: 2 vertices in no region, because the table does not have their colour" in said


def write_label(path, vertices, n_stated=None):
    """Write a label as FreeSurfer does."""
    rows = [f"{vertex}  -10.1  20.5  3.25 0.0000000000" for vertex in vertices]
    header = [
        "#!ascii label  , from subject sub-01 vox2ras=TkReg",
        str(len(vertices) if n_stated is None else n_stated),
    ]
    path.write_text("\n".join([*header, *rows]) + "\n")


def test_labels_of_freesurfer_are_regions_of_one_hemisphere_or_both(folder, capsys):
    surface(folder)
    write_label(folder / "regions/lh.V1_exvivo.thresh.label", [5, 0])
    write_label(folder / "regions/rh.V1_exvivo.thresh.label", [2])
    write_label(folder / "regions/rh.FFA.label", [3, 4])
    write_label(folder / "regions/lh.EBA.label", [])
    assert members(folder) == {"V1_exvivo.thresh": [0, 5, 8], "lh.EBA": [], "rh.FFA": [9, 10]}
    assert "is not read" not in capsys.readouterr().err
    assert list(find_dataset(folder).regions("sub-01", ["FFA"])) == ["all", "rh.FFA"]


@pytest.mark.parametrize(
    ("vertices", "n_stated", "says"),
    [([1, 6], None, "names vertex 6, but the responses have 6 vertices"), ([1, 2], 3, "second line is not the number")],
)
def test_a_label_of_other_vertices_is_refused(vertices, n_stated, says, folder):
    surface(folder)
    write_label(folder / "regions/lh.V1.label", vertices, n_stated)
    with pytest.raises(InputError, match=rf"lh.V1.label .*{says}"):
        members(folder)


def test_further_maps_of_a_file_of_labels_are_reported(folder, capsys):
    grayordinates(folder)
    axis = BrainModelAxis.from_mask(np.ones(N_VERTICES, bool), name="CORTEX_LEFT")
    names = LabelAxis(["faces", "places"], [{3: ("FFA", (1, 0, 0, 1))}, {4: ("PPA", (0, 1, 0, 1))}])
    image = Cifti2Image(np.float32([[0, 3, 3, 0, 0, 0], [0, 0, 0, 4, 4, 0]]), (names, axis))
    nibabel.save(image, folder / "regions/localiser.dlabel.nii")
    for _ in range(2):
        assert members(folder) == {"FFA": [1, 2]}
    said = capsys.readouterr().err
    assert said.count("localiser.dlabel.nii has 2 maps of labels, and only the first is read") == 1


def test_further_maps_of_a_surface_are_reported(folder, capsys):
    surface(folder)
    array = nibabel.gifti.GiftiDataArray(np.int32([0, 1, 0, 0, 0, 0]), datatype="NIFTI_TYPE_INT32")
    for side in ("lh", "rh"):
        nibabel.save(nibabel.GiftiImage(darrays=[array] * 3), folder / f"regions/{side}.atlas.label.gii")
    assert members(folder) == {"atlas": [1, 7]}
    assert "lh.atlas.label.gii has 3 maps of labels, and only the first is read" in capsys.readouterr().err
