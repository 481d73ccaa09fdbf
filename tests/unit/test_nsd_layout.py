import shutil

import pytest

from brain_activity_prediction.datasets.nsd.layout import find_layout
from brain_activity_prediction.runtime.errors import InputError


def test_both_layouts_are_recognised_and_named(official_nsd, flat_nsd):
    assert find_layout(official_nsd).layout == "official"
    assert find_layout(str(flat_nsd)).layout == "flat"


def test_paths_with_spaces_and_other_alphabets_work(flat_nsd, tmp_path):
    base_dir = shutil.copytree(flat_nsd, tmp_path / "Gehirn & Bild 脳")
    layout = find_layout(base_dir)
    assert layout.stimuli().is_file()
    assert layout.sessions(1) == [1, 2, 3, 4]


def test_a_folder_without_nsd_says_where_the_design_file_was_expected(tmp_path):
    with pytest.raises(InputError) as error:
        find_layout(tmp_path)
    assert str(tmp_path / "nsddata/experiments/nsd/nsd_expdesign.mat") in str(error.value)
    assert str(tmp_path / "nsd_expdesign.mat") in str(error.value)
    with pytest.raises(InputError, match="does not exist"):
        find_layout(tmp_path / "nowhere")


def test_two_layouts_in_one_folder_are_refused(own_nsd):
    shutil.copy(find_layout(own_nsd).design(), own_nsd / "nsd_expdesign.mat")
    with pytest.raises(InputError, match="two layouts"):
        find_layout(own_nsd)


def test_a_missing_file_is_named_with_the_path_it_should_have(own_nsd):
    layout = find_layout(own_nsd)
    layout.stimuli().unlink()
    with pytest.raises(InputError, match=r"nsddata_stimuli/stimuli/nsd/nsd_stimuli\.hdf5"):
        layout.stimuli()
    with pytest.raises(InputError, match=r"betas_session09\.hdf5 or \.nii\.gz or \.nii$"):
        layout.betas(1, 9)
    with pytest.raises(InputError, match=r"subject 7 has no betas: expected .*subj07.*betas_session01"):
        layout.sessions(7)
    with pytest.raises(InputError, match=r"floc-words\.nii\.gz"):
        layout.roi(1, "floc-words")


@pytest.mark.parametrize("fixture", ["official_nsd", "flat_nsd"])
def test_nsds_own_noise_ceilings_lie_beside_the_betas(fixture, request):
    layout = find_layout(request.getfixturevalue(fixture))
    assert layout.ncsnr_file(2) == layout.betas(2, 1).with_name("ncsnr.nii.gz")
    with pytest.raises(InputError, match=r"no ncsnr file in the .* layout: expected .*subj07.*ncsnr\.nii\.gz"):
        layout.ncsnr_file(7)


def test_sessions_need_not_be_complete(own_nsd):
    layout = find_layout(own_nsd)
    layout.betas(1, 2).unlink()
    assert layout.sessions(1) == [1, 3, 4]


def test_full_size_images_are_preferred_to_the_downsampled_ones(flat_nsd, tmp_path):
    layout = find_layout(shutil.copytree(flat_nsd, tmp_path / "nsd"))
    full_size = layout.stimuli()
    small = full_size.with_name("nsd_stimuli_227.hdf5")
    shutil.copy(full_size, small)
    assert layout.stimuli() == full_size
    full_size.unlink()
    assert layout.stimuli() == small


def test_hdf5_betas_are_preferred_where_both_formats_are_there(own_nsd):
    layout = find_layout(own_nsd)
    nifti = layout.betas(1, 1)
    hdf5 = nifti.with_name("betas_session01.hdf5")
    hdf5.touch()
    assert layout.betas(1, 1) == hdf5
    assert layout.betas(1, 2).name == "betas_session02.nii.gz"


def test_roi_files_are_listed_once_whole_or_as_hemispheres(own_nsd):
    layout = find_layout(own_nsd)
    whole = layout.roi(1, "floc-faces")[0]
    halves = [whole.with_name(f"{side}.floc-faces.nii.gz") for side in ("lh", "rh")]
    for half in halves:
        shutil.copy(whole, half)
    assert layout.roi(1, "floc-faces") == [whole]
    whole.unlink()
    assert layout.roi(1, "floc-faces") == halves
    assert layout.roi_names(1) == ["floc-faces", "floc-places", "prf-visualrois"]
    halves[0].unlink()
    with pytest.raises(InputError, match=r"roi/floc-faces\.nii\.gz"):
        layout.roi(1, "floc-faces")
