"""`bap surface`: the maps of runs as surface files, whose vertices lie at the centres of the fitted voxels."""

import json

import h5py
import nibabel
import numpy as np
import pytest
from nilearn.surface import load_surf_data
from scipy import stats
from scripts import PACKAGE, run_here
from surface_transforms import N_FSAVERAGE, write_transforms_of_voxels

from brain_activity_prediction.datasets.nsd.nsd import find_nsd
from brain_activity_prediction.datasets.nsd.regions import read_mask, region_masks
from brain_activity_prediction.datasets.units import write_map
from brain_activity_prediction.report.cortex.pycortex_file import View, write_views
from brain_activity_prediction.report.cortex.writing import is_significant, n_significant, over_subjects

LLAVA = "llava-hf/llava-1.5-13b-hf"
RUN = "prompt_1/llava-hf_llava-1.5-13b-hf"


def surface(base_dir, *flags):
    return run_here(PACKAGE / "report" / "surface_maps.py", "-d", base_dir, *flags)


def export(base_dir, *flags):
    return run_here(PACKAGE / "report" / "export_maps.py", "pycortex", "-d", base_dir, *flags)


def halves(values):
    return dict(zip(("lh", "rh"), np.array_split(values, 2), strict=True))


@pytest.fixture
def on_surfaces(own_scored):
    """A BASE_DIR with transforms of both subjects, their masks, and the indices to fsaverage."""
    masks = {subject: read_mask(find_nsd(own_scored), subject)[0] for subject in (1, 2)}
    nearest = {subject: write_transforms_of_voxels(own_scored, subject, mask) for subject, mask in masks.items()}
    return own_scored, masks, nearest


def volume_values(base_dir, subject, mask, name):
    path = base_dir / f"alignment/subj{subject:02d}/{RUN}/maps/{name}.nii.gz"
    return np.asarray(nibabel.load(path).dataobj)[mask]


def write_volumes(base_dir, subject, mask, name, values):
    path = base_dir / f"alignment/subj{subject:02d}/{RUN}/maps/{name}.nii.gz"
    affine = nibabel.load(path.with_name("noise_ceiling.nii.gz")).affine
    write_map(path, values, mask, affine)


def test_every_map_of_a_run_is_written_on_both_surfaces(on_surfaces):
    base_dir, masks, nearest = on_surfaces
    done = surface(base_dir, "-s", "1", "-m", LLAVA, "-p", "1")
    assert done.returncode == 0, done.stderr
    folder = base_dir / "alignment/subj01" / RUN
    names = {path.name.removesuffix(".nii.gz") for path in (folder / "maps").iterdir() if "_layers_" not in path.name}
    assert {"noise_ceiling", "language_best_layer", "language_best_layer_r_normalised"} <= names
    for name in names:
        for side, values in halves(volume_values(base_dir, 1, masks[1], name)).items():
            for space, expected in (("native", values), ("fsaverage", values[nearest[1][side]])):
                for ending in ("func.gii", "mgz"):
                    written = load_surf_data(folder / "surfaces" / space / f"{side}.{name}.{ending}")
                    np.testing.assert_array_equal(written, expected.astype("f4"))
    assert {path.name.split(".")[1] for path in (folder / "surfaces/native").iterdir()} == names
    assert "--map '*_layers_*'" in done.stderr


def test_maps_of_every_layer_have_one_array_for_each_layer(on_surfaces):
    base_dir, masks, _ = on_surfaces
    values = np.arange(3.0 * masks[1].sum()).reshape(-1, 3)
    write_volumes(base_dir, 1, masks[1], "language_layers_r", values)
    done = surface(base_dir, "-s", "1", "-m", LLAVA, "-p", "1", "--map", "*layers_r", "--space", "native")
    assert done.returncode == 0, done.stderr
    folder = base_dir / "alignment/subj01" / RUN / "surfaces/native"
    np.testing.assert_array_equal(load_surf_data(folder / "rh.language_layers_r.mgz"), np.array_split(values, 2)[1])
    image = nibabel.load(folder / "rh.language_layers_r.func.gii")
    assert [array.meta["Name"] for array in image.darrays] == [f"language_layers_r {n}" for n in range(3)]


def test_roi_files_become_labels_with_their_names(on_surfaces):
    base_dir, masks, _ = on_surfaces
    assert surface(base_dir, "-s", "1", "-m", LLAVA, "-p", "1", "--map", "noise_ceiling").returncode == 0
    regions = region_masks(find_nsd(base_dir), 1, masks[1])
    image = nibabel.load(base_dir / "alignment/subj01/surfaces/native/lh.prf-visualrois.label.gii")
    labels = np.asarray(image.darrays[0].data)
    names = image.labeltable.get_labels_as_dict()
    assert names[0] == "???"
    assert {name for number, name in names.items() if number} <= set(regions)
    for number, name in names.items():
        if number:
            np.testing.assert_array_equal(labels == number, halves(regions[name])["lh"])


def test_statistics_over_subjects_are_those_of_scipy(on_surfaces):
    base_dir, masks, nearest = on_surfaces
    for subject, mask in masks.items():
        made_up = np.random.default_rng(subject).uniform(0, 0.1, mask.sum())
        write_volumes(base_dir, subject, mask, "language_best_layer_q", made_up)
    done = surface(base_dir, "-m", LLAVA, "-p", "1", "--map", "*_layer_r", "*_q", "--space", "fsaverage")
    assert done.returncode == 0, done.stderr
    folder = base_dir / "alignment/across_subjects" / RUN / "surfaces/fsaverage"
    values, q = (
        np.stack(
            [halves(volume_values(base_dir, s, masks[s], f"language_best_layer_{name}"))["rh"][nearest[s]["rh"]]
             for s in (1, 2)]
        )
        for name in ("r", "q")
    )  # fmt: skip
    mean, t, n, significant = (
        load_surf_data(folder / f"rh.{name}.mgz")
        for name in (
            *(f"language_best_layer_r_{kind}" for kind in ("mean", "t", "n_subjects")),
            "language_n_significant",
        )
    )
    both = np.isfinite(values).all(axis=0)
    assert both.sum() > N_FSAVERAGE / 2
    np.testing.assert_allclose(mean[both], values.mean(axis=0)[both], rtol=1e-5)
    np.testing.assert_allclose(t[both], stats.ttest_1samp(values, 0).statistic[both], rtol=1e-3)
    np.testing.assert_array_equal(n, np.isfinite(values).sum(axis=0))
    known = np.isfinite(q).any(axis=0)
    np.testing.assert_array_equal(significant[known], (q < 0.05).sum(axis=0)[known])
    assert np.isnan(significant[~known]).all()
    assert 0 < np.nanmean(significant) < 2


def test_statistics_over_subjects_are_on_the_shared_surfaces_that_were_chosen(on_surfaces):
    base_dir, _, _ = on_surfaces
    folder = base_dir / "alignment/across_subjects" / RUN / "surfaces"
    flags = ("-m", LLAVA, "-p", "1", "--map", "*_layer_r", "--space")
    done = surface(base_dir, *flags, "native")
    assert done.returncode == 0, done.stderr
    assert "statistics over" not in done.stdout
    assert not folder.exists()
    done = surface(base_dir, *flags, "fsaverage5")
    assert f"statistics over subjects on fsaverage5 in {base_dir}/alignment/across_subjects" in done.stdout
    assert [one.name for one in folder.iterdir()] == ["fsaverage5"]
    name = "lh.language_best_layer_r_mean.mgz"
    own = [
        load_surf_data(base_dir / f"alignment/subj0{s}" / RUN / "surfaces/fsaverage5/lh.language_best_layer_r.mgz")
        for s in (1, 2)
    ]
    np.testing.assert_allclose(load_surf_data(folder / "fsaverage5" / name), np.nanmean(own, axis=0), rtol=1e-6)


def test_q_of_exactly_the_limit_is_not_significant_and_no_test_is_no_answer():
    np.testing.assert_array_equal(is_significant(np.array([0.049, 0.05, 0.051, np.nan])), [1, 0, 0, np.nan])
    np.testing.assert_array_equal(
        n_significant([np.array([1, np.nan, np.nan]), np.array([1, 0, np.nan])]), [2, 0, np.nan]
    )


def test_the_mean_over_subjects_leaves_out_missing_vertices():
    found = over_subjects([np.array([1.0, np.nan, np.nan]), np.array([3.0, 2, np.nan])])
    np.testing.assert_array_equal(found["mean"], [2, 2, np.nan])
    np.testing.assert_array_equal(found["t"], [2, np.nan, np.nan])
    np.testing.assert_array_equal(found["n_subjects"], [2, 1, 0])


def test_without_transforms_one_line_lists_the_files_that_would_make_surfaces(own_scored):
    done = surface(own_scored)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    for name in ("lh.func1pt8-to-layerB1.mgz", "rh.func1pt8-to-layerB3.mgz", "rh.white-to-fsaverage.mgz"):
        assert name in done.stderr
    assert "nsddata/ppdata/subj02/transforms" in done.stderr


def test_a_subject_without_transforms_is_reported_or_refused_if_selected(own_scored):
    write_transforms_of_voxels(own_scored, 1, read_mask(find_nsd(own_scored), 1)[0])
    flags = ("-m", LLAVA, "-p", "1", "--map", "noise_ceiling", "--space", "native")
    done = surface(own_scored, *flags)
    assert done.returncode == 0
    assert "subject 2 has no transforms" in done.stderr
    assert surface(own_scored, "-s", "1,2", *flags).returncode == 2


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (("--map", "*_best_lyer"), "language_best_layer_r"),
        (("-m", "llava"), "did you mean"),
        (("-s", "7"), "subject 7"),
        (("--stream", "qformer"), "language_best_layer_r"),
    ],
)
def test_a_selection_without_maps_is_refused_and_those_that_exist_are_listed(on_surfaces, flags, named):
    done = surface(on_surfaces[0], *flags)
    assert done.returncode == 2
    assert named in done.stderr


def test_files_stored_along_other_axes_reach_the_same_vertices(on_surfaces):
    """Transforms count voxels along NSD's axes, whatever the order in a user's files."""
    base_dir, masks, _ = on_surfaces
    path = base_dir / f"alignment/subj01/{RUN}/maps/language_best_layer_r.nii.gz"
    values = volume_values(base_dir, 1, masks[1], "language_best_layer_r")
    for file in (path, find_nsd(base_dir).nsdgeneral(1)):
        nibabel.save(nibabel.load(file).as_reoriented([[1, -1], [0, 1], [2, -1]]), file)
    assert surface(base_dir, "-s", "1", "-m", LLAVA, "-p", "1", "--map", "*_layer_r").returncode == 0
    written = load_surf_data(base_dir / "alignment/subj01" / RUN / "surfaces/native/lh.language_best_layer_r.mgz")
    np.testing.assert_array_equal(written, halves(values)["lh"].astype("f4"))
    assert export(base_dir, "-s", "1", "-m", LLAVA, "-p", "1", "--map", "*_layer_r").returncode == 0
    views = views_of(base_dir / "report/pycortex/subj01.hdf")
    volume = views["llava-hf_llava-1.5-13b-hf, prompt 1, language_best_layer_r"][0]
    np.testing.assert_array_equal(volume.T[masks[1]], values.astype("f4"))


def test_scores_are_averaged_and_layers_and_labels_voted_for_between_voxels(own_scored):
    """Vertices 0.4 voxels beyond their own voxel; a voxel outside the cortex has no vote."""
    mask = read_mask(find_nsd(own_scored), 1)[0]
    write_transforms_of_voxels(own_scored, 1, mask, shift=0.4)
    path = find_nsd(own_scored).roi(1, "prf-visualrois")[0]
    image = nibabel.load(path)
    rois, fitted = np.asarray(image.dataobj).astype(int), np.argwhere(mask)
    beyond = [voxel for voxel in fitted if mask[voxel[0] + 1, voxel[1], voxel[2]]]
    outside = tuple(beyond[5])
    rois[outside], rois[outside[0] + 1, outside[1], outside[2]] = -1, 2
    nibabel.save(nibabel.Nifti1Image(rois.astype("i2"), image.affine), path)
    done = surface(own_scored, "-s", "1", "-m", LLAVA, "-p", "1", "--map", "*_layer", "*_layer_r", "--space", "native")
    assert done.returncode == 0, done.stderr
    maps = {name: np.full(mask.shape, np.nan) for name in ("language_best_layer", "language_best_layer_r")}
    for name, volume in maps.items():
        volume[mask] = volume_values(own_scored, 1, mask, name)
    expected = {"language_best_layer": [], "language_best_layer_r": [], "label": []}
    for x, y, z in fitted:
        own, other = (maps["language_best_layer_r"][at, y, z] for at in (x, x + 1))
        expected["language_best_layer_r"].append(own if np.isnan(other) else 0.6 * own + 0.4 * other)
        expected["language_best_layer"].append(maps["language_best_layer"][x, y, z])
        expected["label"].append(0 if (x, y, z) == outside else rois[x, y, z])
    folder = own_scored / "alignment/subj01" / RUN / "surfaces/native"
    for name in maps:
        written = np.concatenate([load_surf_data(folder / f"{side}.{name}.mgz") for side in ("lh", "rh")])
        np.testing.assert_allclose(written, expected[name], rtol=1e-5)
    folder = own_scored / "alignment/subj01/surfaces/native"
    labels = [load_surf_data(folder / f"{side}.prf-visualrois.label.gii") for side in ("lh", "rh")]
    np.testing.assert_array_equal(np.concatenate(labels), expected["label"])
    assert rois[mask].max() > 2


@pytest.mark.parametrize("holes", [False, True])
def test_any_volume_of_a_subject_is_written_whole_or_with_its_holes(own_scored, holes):
    mask = read_mask(find_nsd(own_scored), 1)[0]
    write_transforms_of_voxels(own_scored, 1, mask, shift=0.4)
    x = np.indices(mask.shape)[0].astype(float)
    volume = np.where(mask, x**2, np.nan) if holes else x**2
    path = own_scored / "own.nii.gz"
    nibabel.save(nibabel.Nifti1Image(volume, nibabel.load(find_nsd(own_scored).nsdgeneral(1)).affine), path)
    done = surface(own_scored, "-s", "1", "--volume", path, "--space", "native")
    assert done.returncode == 0, done.stderr
    assert ("cubically" in done.stdout) != holes
    folder = own_scored / "alignment/subj01/surfaces/native"
    written = np.concatenate([load_surf_data(folder / f"{side}.own.mgz") for side in ("lh", "rh")])
    own = x[mask]
    if holes:
        beyond = [mask[x + 1, y, z] for x, y, z in np.argwhere(mask)]
        np.testing.assert_allclose(written, np.where(beyond, 0.6 * own**2 + 0.4 * (own + 1) ** 2, own**2), rtol=1e-5)
    else:  # splines follow a parabola exactly, away from the edge of the volume
        inner = (own > 0) & (own < mask.shape[0] - 2)
        np.testing.assert_allclose(written[inner], (own[inner] + 0.4) ** 2, rtol=1e-5)
        assert inner.mean() > 0.9


def test_scores_beyond_nsdgeneral_reach_the_surface_if_they_are_in_the_cortex(own_scored):
    nsd = find_nsd(own_scored)
    general = np.asarray(nibabel.load(nsd.nsdgeneral(1)).dataobj)
    mask, cortex = general == 1, general >= 0
    write_transforms_of_voxels(own_scored, 1, cortex)
    values = np.arange(1.0, cortex.sum() + 1)
    write_volumes(own_scored, 1, cortex, "language_best_layer_r", values)
    flags = ("-s", "1", "-m", LLAVA, "-p", "1", "--map", "language_best_layer_r", "--space", "native")
    assert surface(own_scored, *flags).returncode == 0
    folder = own_scored / "alignment/subj01" / RUN / "surfaces/native"
    written = [load_surf_data(folder / f"{side}.language_best_layer_r.mgz") for side in ("lh", "rh")]
    np.testing.assert_array_equal(np.concatenate(written), values)
    assert cortex.sum() > mask.sum()
    write_volumes(own_scored, 1, np.ones_like(cortex), "language_best_layer_r", np.ones(cortex.size))
    done = surface(own_scored, *flags)
    assert done.returncode == 2
    assert f"{(~cortex).sum()} voxels with a value outside the cortex" in done.stderr


def test_a_volume_needs_its_subject_and_must_exist(on_surfaces):
    done = surface(on_surfaces[0], "--volume", "own.nii.gz")
    assert done.returncode == 2
    assert "-s" in done.stderr
    done = surface(on_surfaces[0], "-s", "1", "--volume", "own.nii.gz")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "--volume own.nii.gz does not exist" in done.stderr


def test_significance_is_that_of_the_nearest_voxel_and_never_a_mean_of_two(own_scored):
    """Vertices 0.4 voxels beyond their own voxel, of which every second is significant."""
    for subject in (1, 2):
        mask = read_mask(find_nsd(own_scored), subject)[0]
        write_transforms_of_voxels(own_scored, subject, mask, shift=0.4)
        q = np.where(np.argwhere(mask)[:, 0] % 2, 0.01, 0.5)
        write_volumes(own_scored, subject, mask, "language_best_layer_q", q)
    done = surface(own_scored, "-m", LLAVA, "-p", "1", "--map", "*_q", "--space", "fsaverage")
    assert done.returncode == 0, done.stderr
    folder = own_scored / "alignment/across_subjects" / RUN / "surfaces/fsaverage"
    counts = [load_surf_data(folder / f"{side}.language_n_significant.mgz") for side in ("lh", "rh")]
    assert set(np.concatenate(counts)) == {0, 1, 2}


def views_of(path):
    """The views of a pycortex file as pycortex reads them: {name: (array, subject, transform)}."""
    views = {}
    with h5py.File(path) as file:
        for name, view in file["views"].items():
            data, _, cmap, low, high, _, attributes, transforms = view.asstr()[:]
            node = file["data"][json.loads(data)[0]]
            assert cmap in ("hot", "viridis")
            assert json.loads(low) < json.loads(high)
            assert json.loads(attributes) == {"priority": 1}
            transform = json.loads(transforms)
            views[name] = node[:], node.attrs["subject"], transform and transform[0]
    return views


def test_pycortex_gets_volumes_and_vertices_in_its_own_order(on_surfaces):
    base_dir, masks, nearest = on_surfaces
    done = export(base_dir, "-s", "1", "-m", LLAVA, "-p", "1", "--map", "*_layer_r", "--transform", "own")
    assert done.returncode == 0, done.stderr
    views = views_of(base_dir / "report/pycortex/subj01.hdf")
    title = "llava-hf_llava-1.5-13b-hf, prompt 1, language_best_layer_r"
    values = volume_values(base_dir, 1, masks[1], "language_best_layer_r")
    volume, subject, transform = views[title]
    assert (subject, transform) == ("subj01", "own")
    assert volume.shape == masks[1].shape[::-1]
    np.testing.assert_array_equal(volume.transpose(2, 1, 0)[masks[1]], values.astype("f4"))
    assert np.isnan(volume.T[~masks[1]]).all()
    vertices, subject, transform = views[f"{title}, native"]
    assert (subject, transform) == ("subj01", None)
    np.testing.assert_array_equal(vertices, values.astype("f4"))
    vertices, subject, _ = views[f"{title}, fsaverage"]
    assert subject == "fsaverage"
    expected = np.concatenate([own[nearest[1][side]] for side, own in halves(values).items()])
    np.testing.assert_array_equal(vertices, expected.astype("f4"))


def test_pycortex_gets_volumes_alone_without_transforms(own_scored):
    done = export(own_scored, "-s", "1", "-m", LLAVA, "-p", "1", "--map", "*_layer_r")
    assert done.returncode == 0
    assert "lh.func1pt8-to-layerB1.mgz" in done.stderr
    assert {transform for _, _, transform in views_of(own_scored / "report/pycortex/subj01.hdf").values()} == {"full"}


def test_equal_maps_of_two_subjects_keep_their_subjects_in_pycortex(tmp_path):
    views = [
        View("one", np.ones(9), "subj01"),
        View("two", np.ones(9), "subj02"),
        View("none", np.full(9, np.nan), "subj02"),
    ]
    assert write_views(tmp_path / "two.hdf", views) == 3
    assert {name: subject for name, (_, subject, _) in views_of(tmp_path / "two.hdf").items()} == {
        "one": "subj01",
        "two": "subj02",
        "none": "subj02",
    }
