"""`bap surface` of volumes other than NSD's of 1.8 mm: onto given meshes, and by NSD's transforms of 1 mm."""

import shutil

import nibabel
import numpy as np
import pytest
from nibabel.affines import apply_affine
from nilearn.surface import load_surf_data, load_surf_mesh, vol_to_surf
from scripts import PACKAGE, run_here
from surface_transforms import sphere, write_transforms_of_voxels

from brain_activity_prediction.datasets.nsd.nsd import find_nsd
from brain_activity_prediction.datasets.nsd.regions import read_mask
from brain_activity_prediction.report.cortex.mesh_surface import read_mesh_surface
from brain_activity_prediction.report.source import Source
from brain_activity_prediction.report.tables.collecting import Scored
from brain_activity_prediction.report.voxel_maps import voxel_maps
from brain_activity_prediction.storage.folders import Output

LLAVA = "llava-hf/llava-1.5-13b-hf"
RUN = "alignment/subj01/prompt_1/llava-hf_llava-1.5-13b-hf"
TILTED = np.array([[-1.9, 0.1, 0.0, 20], [0.1, 2.0, -0.2, -30], [0.0, 0.2, 2.1, -10], [0, 0, 0, 1]])  # axes LAS
FACES = np.array([[0, 1, 2]], dtype=np.int32)


def surface(base_dir, *flags):
    return run_here(PACKAGE / "report" / "surface_maps.py", "-d", base_dir, "-s", "1", *flags)


def write_gifti(path, points):
    arrays = [
        nibabel.gifti.GiftiDataArray(points.astype(np.float32), "NIFTI_INTENT_POINTSET"),
        nibabel.gifti.GiftiDataArray(FACES, "NIFTI_INTENT_TRIANGLE"),
    ]
    nibabel.save(nibabel.gifti.GiftiImage(darrays=arrays), path)
    return path


def write_freesurfer(path, points, offset=(3.0, -4.0, 5.0)):
    """A FreeSurfer mesh, whose points lack the offset that its footer states."""
    footer = {"head": [2, 0, 20], "valid": "1  # volume info valid", "filename": "T1.mgz", "volume": [256] * 3}
    footer |= {"voxelsize": [1.0] * 3, "xras": [-1.0, 0, 0], "yras": [0, 0, -1.0], "zras": [0, 1.0, 0]}
    nibabel.freesurfer.write_geometry(path, points - offset, FACES, volume_info=footer | {"cras": np.array(offset)})
    return path


@pytest.fixture
def volume(tmp_path):
    values = np.random.default_rng(0).normal(size=(16, 18, 14))
    nibabel.save(nibabel.Nifti1Image(values, TILTED), tmp_path / "volume.nii.gz")
    return tmp_path / "volume.nii.gz"


def centres(x):
    """Points of a sphere in mm, some of them outside the volume, around a centre at a share of its first axis."""
    return apply_affine(TILTED, sphere(200, (x, 9, 7), 6.9))


@pytest.mark.filterwarnings("ignore:Mean of empty slice")  # nilearn's, at vertices outside the volume
@pytest.mark.parametrize("write", [write_gifti, write_freesurfer])
def test_a_whole_volume_is_sampled_on_a_mesh_as_by_nilearn(write, volume, tmp_path):
    endings = (".pial", ".white") if write is write_freesurfer else (".pial.surf.gii", ".white.surf.gii")
    outer = [write(tmp_path / f"{side}{endings[0]}", centres(x)) for side, x in (("lh", 9), ("rh", 6))]
    inner = [write(tmp_path / f"{side}{endings[1]}", centres(x) * 0.98) for side, x in (("lh", 9), ("rh", 6))]
    for meshes, more in ((outer, {"depth": [0.0]}), (outer + inner, {"depth": [0.25, 0.5, 0.75]})):
        found = read_mesh_surface("sub-03", volume, meshes)
        values = found.averaged(nibabel.load(volume).get_fdata()[found.voxels.mask])
        for number, side in enumerate(("lh", "rh")):
            inside = np.all([np.isfinite(own).all(axis=1) for own in found.positions[side].values()], axis=0)
            expected = vol_to_surf(
                nibabel.load(volume),
                load_surf_mesh(outer[number]),
                inner_mesh=load_surf_mesh(inner[number]),
                kind="depth",
                **more,
            )
            assert 100 < inside.sum() < 200
            np.testing.assert_allclose(values[side][inside], expected[inside], atol=1e-4)


@pytest.fixture
def meshes(own_scored, tmp_path):
    """Meshes whose points are the fitted voxels of subject 1, a half for each side, and one point outside."""
    mask, affine = read_mask(find_nsd(own_scored), 1)
    halves = np.array_split(apply_affine(affine, np.argwhere(mask)), 2)
    paths = [tmp_path / f"sub-01_hemi-{side}_midthickness.surf.gii" for side in "LR"]
    for path, points in zip(paths, halves, strict=True):
        write_gifti(path, np.concatenate([points, [[900, 0, 0]]]))
    return paths, mask


def test_maps_of_a_run_are_written_on_the_meshes_of_their_subject(own_scored, meshes):
    paths, mask = meshes
    done = surface(own_scored, "--mesh", *paths, "-m", LLAVA, "-p", "1")
    assert done.returncode == 0, done.stderr
    for name in ("language_best_layer", "language_best_layer_r"):
        values = np.asarray(nibabel.load(own_scored / RUN / f"maps/{name}.nii.gz").dataobj)[mask]
        for side, own in zip(("lh", "rh"), np.array_split(values, 2), strict=True):
            written = load_surf_data(own_scored / RUN / f"surfaces/native/{side}.{name}.func.gii")
            np.testing.assert_allclose(written, [*own, np.nan], atol=1e-5)  # points are float32
    assert not (own_scored / RUN / "surfaces/fsaverage").exists()


def test_meshes_that_fit_no_volume_are_refused_in_one_line(own_scored, meshes, tmp_path):
    left, right = meshes[0]
    far = write_gifti(tmp_path / "far.surf.gii", np.full((3, 3), 900.0))
    for flags, says in (
        ((left,), "--mesh has 1 file: give 2"),
        ((right, left), "give the left mesh before the right one"),
        ((left, far), f"no vertex of {far} is inside"),
        ((left, right, left, far), "have different vertices"),
        ((left, tmp_path / "none.surf.gii"), "none.surf.gii"),
        ((left, right, "--space", "fsaverage"), "leave out --space"),
        ((left, right, "-s", "1", "2"), "--mesh needs the subject of the meshes: give one with -s"),
    ):
        done = surface(own_scored, "--map", "noise_ceiling", "--mesh", *flags)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert says in done.stderr


@pytest.fixture
def of_1_mm(own_scored):
    """Scores of subject 1 on volumes of 1 mm, whose files are those of 1.8 mm with another affine; and their mask."""
    mask, affine = read_mask(find_nsd(own_scored), 1)
    write_transforms_of_voxels(own_scored, 1, mask)
    for path in (own_scored / "nsddata/ppdata/subj01/transforms").glob("*func1pt8*"):
        path.rename(path.with_name(path.name.replace("func1pt8", "func1pt0")))
    ppdata = own_scored / "nsddata/ppdata/subj01"
    shutil.copytree(ppdata / "func1pt8mm", ppdata / "func1mm")
    fine = affine.copy()
    fine[:3, :3] /= 1.8
    for path in (*(ppdata / "func1mm/roi").glob("*.nii.gz"), *(own_scored / RUN / "maps").glob("*.nii.gz")):
        values = np.asarray(nibabel.load(path).dataobj)
        nibabel.save(nibabel.Nifti1Image(values, fine), path)
    return own_scored, mask, fine


def test_maps_of_1_mm_take_the_transforms_of_1_mm(of_1_mm):
    own_scored, mask, _ = of_1_mm
    done = surface(own_scored, "-m", LLAVA, "-p", "1", "--map", "language_best_layer_r")
    assert done.returncode == 0, done.stderr
    values = np.asarray(nibabel.load(own_scored / RUN / "maps/language_best_layer_r.nii.gz").dataobj)[mask]
    written = load_surf_data(own_scored / RUN / "surfaces/native/rh.language_best_layer_r.mgz")
    np.testing.assert_array_equal(written, np.array_split(values, 2)[1])
    assert [*(own_scored / "alignment/subj01/surfaces/native").glob("*.label.gii")]


def test_maps_of_1_mm_are_shown_on_the_cortex_of_1_mm(of_1_mm):
    base_dir, _, affine = of_1_mm
    source = Source(Output(base_dir), find_nsd(base_dir))
    scored = [
        Scored(base_dir / RUN, "standard", LLAVA, 1, 1, {"space": "func1mm", "betas": "b3", "mask": ["nsdgeneral"]})
    ]
    shown = [*voxel_maps(source, scored, base_dir / "report/maps")]
    assert {"best_layer", "best_layer_r"} <= {one.name.partition("_llava")[0] for one in shown}
    for one in shown:
        np.testing.assert_allclose(one.affine[:3, :3], affine[:3, :3])
        assert (one.behind[np.isfinite(one.values)] > 0).all()
