"""The demo's cortex: regions on their own places of fsaverage5, through transforms in NSD's format."""

import json
from functools import cache

import nibabel
import numpy as np
import pytest
from nibabel.freesurfer import read_geometry
from nilearn.datasets import load_fsaverage
from nilearn.surface import InMemoryMesh, vol_to_surf
from scipy.spatial import cKDTree

from brain_activity_prediction.datasets.nsd.nsd import find_nsd
from brain_activity_prediction.datasets.nsd.regions import read_regions
from brain_activity_prediction.demo.cortex import CALCARINE, PLACES
from brain_activity_prediction.demo.dataset import DEFAULT_RECIPE, write_dataset
from brain_activity_prediction.demo.fsaverage import refined
from brain_activity_prediction.demo.simulation import Recipe
from brain_activity_prediction.report.cortex.cortices import read_mask
from brain_activity_prediction.report.cortex.subject_surface import FSAVERAGE5, read_subject_surface

RECIPE = Recipe(
    subjects=(1, 2), regions=DEFAULT_RECIPE.regions, n_shared=2, n_unique=1, n_sessions=1, image_size=8, cortex=True
)
SIDES = {"lh": "left", "rh": "right"}


@pytest.fixture(scope="module")
def base_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cortex")
    write_dataset(folder, lambda pictures: dict.fromkeys(("early", "late"), np.eye(len(pictures))[:, :2]), RECIPE)
    return folder


@pytest.fixture(scope="module", params=[1, 2])
def on_fsaverage5(request, base_dir):
    """The share of each region at the vertices of fsaverage5, {region: {hemisphere: (10242,)}}."""
    surface, nsd = read_subject_surface(base_dir, request.param), find_nsd(base_dir)
    regions, fitted = read_regions(nsd, request.param), read_mask(nsd, request.param)[0]
    assert regions.keys() >= PLACES.keys()
    masks = np.stack([regions[name] for name in PLACES], axis=1).astype(float)
    shares = surface.on(FSAVERAGE5, surface.averaged(surface.voxels.filled(fitted, masks)))
    return {name: {side: shares[side][:, n] for side in shares} for n, name in enumerate(PLACES)}


@cache
def fsaverage5(kind, side):
    return load_fsaverage("fsaverage5")[kind].parts[SIDES[side]].coordinates


def nearest_vertices(points, side, n):
    """The n vertices of fsaverage5 nearest on its sphere to points of its white surface, mirrored for the left side."""
    white, sphere = (fsaverage5(name, side) for name in ("white_matter", "sphere"))
    ends = sphere[cKDTree(white).query(np.array(points) * [-1 if side == "lh" else 1, 1, 1])[1]]
    line = ends[0] + np.linspace(0, 1, 30)[:, None] * (ends[-1] - ends[0])
    line *= 100 / np.linalg.norm(line, axis=1, keepdims=True)
    return set(np.argsort(cKDTree(line).query(sphere)[0])[:n].tolist())


def overlap(one, other):
    return 2 * len(one & other) / (len(one) + len(other))


@pytest.mark.parametrize("region", ["FFA-1", "EBA", "PPA", "RSC", "V1"])
def test_a_region_lands_on_its_own_place_in_both_hemispheres(region, on_fsaverage5):
    for side in SIDES:
        members = ("V1v", "V1d") if region == "V1" else (region,)
        shares = sum(on_fsaverage5[name][side] for name in members)
        found = set(np.flatnonzero(shares >= 0.5).tolist())
        place = CALCARINE if region == "V1" else PLACES[region]
        assert len(found) > 15
        assert overlap(found, nearest_vertices(place, side, len(found))) > 0.8


def test_areas_follow_each_other_around_the_calcarine_sulcus_below_and_above_it(on_fsaverage5):
    for side in SIDES:
        sphere, flat = (fsaverage5(kind, side) for kind in ("sphere", "flat"))
        centres = {area: sphere[on_fsaverage5[area][side] >= 0.5].mean(axis=0) for area in PLACES}
        for end in "vd":
            first, second, third = (centres[f"V{number}{end}"] for number in (1, 2, 3))
            assert np.linalg.norm(first - second) < np.linalg.norm(first - third)
        below, above = (flat[on_fsaverage5[name][side] >= 0.5, 1].mean() for name in ("V1v", "V1d"))
        assert below < above


def test_left_is_left_in_voxels_meshes_and_regions(base_dir):
    for subject in (1, 2):
        surface = read_subject_surface(base_dir, subject)
        surf = base_dir / f"nsddata/freesurfer/subj0{subject}/surf"
        x = {side: np.nanmean(surface.positions[side]["layerB2"][:, 0]) for side in SIDES}
        assert x["lh"] + 5 < x["rh"]
        assert read_geometry(surf / "lh.white")[0][:, 0].mean() < 0 < read_geometry(surf / "rh.white")[0][:, 0].mean()
        labels = nibabel.load(find_nsd(base_dir).roi(subject, "floc-faces")[0]).get_fdata() == 2
        halves = np.argwhere(labels)[:, 0] > labels.shape[0] / 2
        assert halves.mean() == 0.5


def test_transforms_give_the_voxels_of_the_meshes_at_three_depths(base_dir):
    """Native surfaces are in mm, transforms in voxels of 1.8 mm: they differ by an origin."""
    for side in SIDES:
        surf = base_dir / "nsddata/freesurfer/subj01/surf"
        white, pial = (read_geometry(surf / f"{side}.{name}")[0] for name in ("white", "pial"))
        origins = []
        for depth, share in (("layerB1", 0.25), ("layerB2", 0.5), ("layerB3", 0.75)):
            path = base_dir / f"nsddata/ppdata/subj01/transforms/{side}.func1pt8-to-{depth}.mgz"
            coordinates = np.asarray(nibabel.load(path).dataobj)
            assert coordinates.shape == (10242, 1, 1, 3)
            assert coordinates.dtype == ">f4"
            inside = coordinates[:, 0, 0, 0] != 9999
            assert 0.1 < inside.mean() < 0.9
            origins.append((pial + share * (white - pial))[inside] - 1.8 * coordinates[inside, 0, 0])
        np.testing.assert_allclose(
            np.concatenate(origins), np.broadcast_to(origins[0][0], (sum(map(len, origins)), 3)), atol=1e-4
        )


@pytest.mark.filterwarnings("ignore:Mean of empty slice")  # nilearn's, of vertices outside the volume
def test_nilearn_projects_a_region_to_the_same_native_vertices_by_meshes_alone(base_dir):
    """The transforms give the origin of the volume; nilearn samples from the pial to the white surface."""
    surface, nsd = read_subject_surface(base_dir, 1), find_nsd(base_dir)
    volume = (nibabel.load(nsd.roi(1, "floc-bodies")[0]).get_fdata() == 1).astype("f4")
    on_cortex = surface.averaged(volume[surface.voxels.mask])
    for side in SIDES:
        white, pial = (
            InMemoryMesh(*read_geometry(base_dir / f"nsddata/freesurfer/subj01/surf/{side}.{name}"))
            for name in ("white", "pial")
        )
        middle = (white.coordinates + pial.coordinates) / 2
        affine = np.diag([1.8, 1.8, 1.8, 1])
        affine[:3, 3] = np.nanmean(middle - 1.8 * surface.positions[side]["layerB2"], axis=0)
        projected = vol_to_surf(nibabel.Nifti1Image(volume, affine), pial, inner_mesh=white, depth=[0.25, 0.5, 0.75])
        found = (set(np.flatnonzero(values >= 0.5).tolist()) for values in (projected, on_cortex[side]))
        assert overlap(*found) > 0.85


def test_the_ribbon_gives_a_value_to_nearly_every_vertex_of_the_regions(on_fsaverage5):
    for side in SIDES:
        everywhere = sum(shares[side] for shares in on_fsaverage5.values())
        places = set.union(*(nearest_vertices(place, side, 25) for place in PLACES.values()))
        assert np.isfinite(everywhere[list(places)]).mean() > 0.95


def test_every_region_has_its_number_of_voxels_in_every_subject(base_dir):
    planted, nsd = json.loads((base_dir / "planted.json").read_text()), find_nsd(base_dir)
    for subject in (1, 2):
        regions = read_regions(nsd, subject)
        assert {name: regions[name].sum() for name in planted} == {
            name: truth["n_voxels"] for name, truth in planted.items()
        }


def test_subjects_differ_in_shape_and_in_the_order_of_their_vertices(base_dir):
    surfaces = [base_dir / f"nsddata/freesurfer/subj0{subject}/surf/lh.pial" for subject in (1, 2)]
    one, other = (read_geometry(path)[0] for path in surfaces)
    assert 0.5 < cKDTree(one).query(other)[0].mean() < 5
    orders = [read_subject_surface(base_dir, subject).nearest["lh"] for subject in (1, 2)]
    assert (orders[0] != orders[1]).mean() > 0.99
    for order, points in zip(orders, (one, other), strict=True):  # the vertices of fsaverage5, each once
        assert len(set(order[:10242].tolist())) == len(points) == 10242


def test_refined_spheres_have_the_vertices_and_faces_of_fsaverage_in_its_order():
    """Faces of fsaverage's own lh.sphere, as FreeSurfer publishes it."""
    sphere = load_fsaverage("fsaverage5")["sphere"].parts["left"]
    points, faces = sphere.coordinates.astype(float), sphere.faces
    for _ in range(2):
        points, faces = refined(points, faces)
    assert points.shape == (163842, 3)
    assert faces.shape == (327680, 3)
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 100, atol=0.01)
    np.testing.assert_array_equal(faces[:3], [[0, 40964, 40962], [0, 40962, 40965], [0, 40965, 40967]])
    np.testing.assert_array_equal(faces[-2:], [[163113, 160926, 163841], [163113, 11, 160926]])
