"""NSD's other betas, spaces and masks give the same responses as the voxels that they were written from."""

import h5py
import nibabel
import numpy as np
import pytest
from scripts import PACKAGE, run_here

from brain_activity_prediction.datasets.dataset import Reading
from brain_activity_prediction.datasets.find import find_dataset
from brain_activity_prediction.datasets.nsd.design import SESSIONS_RUN
from brain_activity_prediction.datasets.responses import prepare_responses
from brain_activity_prediction.runtime.errors import InputError

N_LEFT, SIZES = 20, {"lh": 40, "rh": 400}


def percent(nsd, session):
    """All trials of the fitted voxels of subject 1 in a session, in percent signal change."""
    mask = nsd.units(1).mask
    return np.asarray(nibabel.load(nsd.betas(1, session)).dataobj, dtype=np.float64)[mask].T / 300


def places(n, side):
    """Vertices that hold the voxels of a hemisphere, ascending."""
    return np.sort(np.random.default_rng(len(side) + n).permutation(SIZES[side])[:n])


def write_surface(nsd, space, folder="betas_fithrf_GLMdenoise_RR"):
    """Write the fitted voxels of subject 1 as vertices, N_LEFT of them in the left hemisphere."""
    root = nsd.base_dir / "nsddata_betas/ppdata/subj01" / space / folder
    root.mkdir(parents=True)
    mesh = "fsaverage" if space == "fsaverage" else "subj01"
    labels = nsd.base_dir / "nsddata/freesurfer" / mesh / "label"
    labels.mkdir(parents=True, exist_ok=True)
    n = nsd.units(1).n
    parts = {"lh": slice(0, N_LEFT), "rh": slice(N_LEFT, n)}
    for session in nsd.sessions(1):
        values = percent(nsd, session)
        for side, part in parts.items():
            own = values[:, part]
            where = places(own.shape[1], side)
            if space == "fsaverage":
                whole = np.full((SIZES[side], 1, 1, len(own)), np.nan, np.float32)
                whole[where, 0, 0] = own.T
                nibabel.save(nibabel.MGHImage(whole, np.eye(4)), root / f"{side}.betas_session{session:02d}.mgh")
            else:
                with h5py.File(root / f"{side}.betas_session{session:02d}.hdf5", "w") as file:
                    whole = np.zeros((len(own), SIZES[side]), np.int16)
                    whole[:, where] = np.rint(own * 300)
                    file.create_dataset("betas", data=whole, chunks=(len(own), 1))
    for side, part in parts.items():
        mask = np.zeros((SIZES[side], 1, 1), np.float32)
        mask[places(part.stop - part.start, side)] = 1
        nibabel.save(nibabel.MGHImage(mask, np.eye(4)), labels / f"{side}.nsdgeneral.mgz")
        streams = np.where(mask > 0, 5, -1).astype(np.float32)
        nibabel.save(nibabel.MGHImage(streams, np.eye(4)), labels / f"{side}.streams.mgz")
        ncsnr = np.where(mask > 0, 0.5 if side == "lh" else 0.25, np.nan).astype(np.float32)
        nibabel.save(nibabel.MGHImage(ncsnr, np.eye(4)), root / f"{side}.ncsnr.mgh")


@pytest.mark.parametrize("space", ["fsaverage", "nativesurface"])
def test_a_surface_gives_the_responses_of_its_voxels(space, own_nsd, tmp_path):
    nsd = find_dataset(own_nsd)
    expected = prepare_responses(nsd, 1, cache_dir=tmp_path / "volume")
    write_surface(nsd, space)
    surface = nsd.reading(Reading(space=space))
    found = prepare_responses(surface, 1, cache_dir=tmp_path / "surface")
    np.testing.assert_allclose(found.betas, expected.betas, atol=1e-5)
    (one, *_), units = nsd.sessions(1), surface.units(1)
    np.testing.assert_allclose(surface.read_session(1, one, units), percent(nsd, one), atol=1e-4)
    assert {side: mask.size for side, mask in units.masks.items()} == SIZES
    regions = surface.regions(1)
    assert list(regions) == ["nsdgeneral", "ventral"]
    assert regions["ventral"].all()
    assert list(surface.regions(1, ["lh.streams"])) == ["nsdgeneral", "lh.streams:ventral"]
    assert surface.regions(1, ["lh.streams"])["lh.streams:ventral"].sum() == N_LEFT
    np.testing.assert_allclose(surface.ncsnr(1, units), [0.5] * N_LEFT + [0.25] * (units.n - N_LEFT))


def page(folder, *flags):
    """The page of subject 1, as `bap check-data` prints it."""
    return run_here(PACKAGE / "check_data/check_data.py", folder, "-s", 1, "--output", folder.parent, *flags).stdout


def test_the_page_of_a_dataset_takes_the_betas_and_the_space(own_nsd):
    write_surface(find_dataset(own_nsd), "nativesurface")
    shown = page(own_nsd, "--space", "nativesurface")
    assert "read: betas b3, space nativesurface, mask nsdgeneral" in shown
    assert "vertices of lh and rh: (40, 400), published (227021, 226601) (differs)" in shown
    assert "units: 330 vertices (lh 20 of 40, rh 310 of 400)" in shown
    assert "ncsnr of NSD's own file: median 0.250" in shown
    assert "of nsdgeneral" not in shown  # no figure is known for native surfaces
    assert "voxels of nsdgeneral: 330, published 15724 (differs)" in page(own_nsd)
    assert "voxels of nsdgeneral" not in page(own_nsd, "--mask", "floc-faces")


def test_other_betas_of_a_subject_are_told_with_their_flags(own_nsd):
    folder = own_nsd / "nsddata_betas/ppdata/subj01/func1pt8mm"
    (folder / "betas_fithrf_GLMdenoise_RR").rename(folder / "betas_fithrf")
    assert "has no betas: expected" in page(own_nsd)
    assert "(it has others: add --betas b2 to read them)" in page(own_nsd)
    folder.rename(folder.with_name("func1mm"))
    assert "(it has others: add --space func1mm --betas b2 to read them)" in page(own_nsd)


def test_another_version_of_the_betas_lies_in_its_own_folder(own_nsd, tmp_path):
    nsd = find_dataset(own_nsd)
    other = nsd.reading(Reading(betas="b2"))
    with pytest.raises(InputError, match=r"subject 1 has no betas: expected .*func1pt8mm/betas_fithrf/betas_session01"):
        other.sessions(1)
    folder = nsd.betas(1, 1).parent
    folder.rename(folder.with_name("betas_fithrf"))
    assert prepare_responses(other, 1, cache_dir=tmp_path).betas.shape[1] == nsd.reading(Reading(betas="b2")).units(1).n
    assert [path.name for path in tmp_path.glob("*.h5")] != ["responses_subj01_zscored_sessions1-4.h5"]
    assert other.reads() == {"betas": "b2", "space": "func1pt8mm", "mask": ["nsdgeneral"]}


def test_a_mask_is_the_union_of_roi_files_all_of_cortex_or_a_file(own_nsd, tmp_path):
    nsd = find_dataset(own_nsd)

    def volume(name):
        return np.asarray(nibabel.load(nsd.roi(1, name)[0]).dataobj)

    union = (volume("prf-visualrois") > 0) | (volume("floc-faces") > 0)
    chosen = nsd.reading(Reading(mask=("prf-visualrois", "floc-faces")))
    np.testing.assert_array_equal(chosen.units(1).mask, union)
    assert next(iter(chosen.regions(1))) == "all"
    general = nibabel.load(nsd.nsdgeneral(1))
    cortex = nsd.reading(Reading(mask=("cortex",)))
    np.testing.assert_array_equal(cortex.units(1).mask, np.asarray(general.dataobj) >= 0)
    half = np.zeros(general.shape, np.uint8)
    half[: len(half) // 2] = 1
    nibabel.save(
        nibabel.Nifti1Image(half[::-1], general.affine @ np.diag([-1, 1, 1, 1]) + _shift(general)),
        tmp_path / "m.nii.gz",
    )
    own = nsd.reading(Reading(mask=(str(tmp_path / "m.nii.gz"),)))
    np.testing.assert_array_equal(own.units(1).mask, half > 0)
    with pytest.raises(InputError, match=r"subject 1 has no ROI file nowhere.nii.gz"):
        nsd.reading(Reading(mask=("nowhere",))).units(1)


def _shift(image):
    """Move a mirrored image to the place of the original."""
    shift = np.zeros((4, 4))
    shift[:3, 3] = image.affine[:3, 0] * (image.shape[0] - 1)
    return shift


def test_the_flat_layout_has_one_kind_of_betas(flat_nsd):
    with pytest.raises(InputError, match=r"the flat layout of NSD has only betas b3 at 1.8 mm"):
        find_dataset(flat_nsd).reading(Reading(space="fsaverage"))


def test_other_datasets_refuse_the_choice(tmp_path):
    (tmp_path / "trials.csv").write_text("subject,image\na,b.png\n")
    with pytest.raises(InputError, match="your own experiment has one kind of responses: leave out --space"):
        find_dataset(tmp_path).reading(Reading(space="fsaverage"))


def test_subjects_took_part_in_these_sessions():
    """Sessions of NSD's subjects, from its manual."""
    assert SESSIONS_RUN == (40, 40, 32, 30, 40, 32, 40, 30)


def test_messages_say_vertices_of_a_surface(own_nsd, tmp_path, caplog):
    nsd = find_dataset(own_nsd)
    write_surface(nsd, "nativesurface")
    first = next(nsd.base_dir.glob("nsddata_betas/ppdata/subj01/nativesurface/*/lh.betas_session01.hdf5"))
    with h5py.File(first, "r+") as file:
        file["betas"][:, places(N_LEFT, "lh")[3]] = 0
    surface = nsd.reading(Reading(space="nativesurface"))
    prepare_responses(surface, 1, cache_dir=tmp_path)
    assert f"1 of {surface.units(1).n} vertices lack valid data" in caplog.text
    assert "voxel" not in caplog.text
    assert surface.units(1).nouns == "vertices"
