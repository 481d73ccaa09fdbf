"""What a page says of a small BASE_DIR of made-up scores."""

import re
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
from reports import LLAVA, VIT, page_text, report

from brain_activity_prediction.report.map_choice import best_prompt
from brain_activity_prediction.report.source import Source
from brain_activity_prediction.report.tables.collecting import Tables, find_scored
from brain_activity_prediction.report.voxel_maps import voxel_maps
from brain_activity_prediction.storage.folders import Output

pytestmark = pytest.mark.slow


def test_a_model_that_lacks_subjects_comes_last_and_is_not_called_the_best(own_scored):
    shutil.rmtree(own_scored / "alignment/subj02/no_prompt/google_vit-huge-patch14-224-in21k")
    done = report(own_scored, "--roi", "nsdgeneral")
    assert done.returncode == 0, done.stderr
    section = Path(done.stdout.strip()).read_text().split('id="how-well"')[1].split("</section>")[0]
    first, last = section.split("<tbody>")[1].split("</tr>")[:2]
    assert LLAVA in first
    assert (VIT in last, "1 of 2" in last) == (True, True)
    assert f"Over all fitted voxels, {LLAVA} predicts held-out responses with" in section


def test_the_page_says_from_which_sessions_images_and_repeats_the_scores_are(own_scored):
    page = page_text(report(own_scored))
    assert re.search(
        r"Data behind the scores.*Voxels scored 1 3 0 12 3\.00 400 2 3 0 12 3\.00 360 What is missing", page
    )


def test_the_page_of_a_region_has_only_that_region_and_needs_no_nsd(own_scored):
    for folder in own_scored.glob("nsd*"):
        shutil.rmtree(folder)
    done = report(own_scored, "--roi", "V1v", "--model-id", LLAVA, "-p", "1")
    assert done.returncode == 0, done.stderr
    page = Path(done.stdout.strip())
    assert page == own_scored / "report" / "model-llava-hf_llava-1.5-13b-hf_prompt-1_roi-V1v" / "report.html"
    html = page.read_text()
    assert "1 model, 2 subjects" in html
    sizes = Tables(find_scored(own_scored)).family_sizes
    assert f"over the\n  {sizes['standard', 'best_per_region']:,} rows of this" in html
    for (_, choice), n in sizes.items():
        assert f"{n:,} of <code>standard</code>, <code>{choice}</code>" in html
    assert VIT not in re.sub(r"<svg.*?</svg>|data:[^\"]*", "", html, flags=re.DOTALL)
    assert "NSD image 1" in html


def test_the_best_prompt_of_a_voxel_has_the_highest_training_score():
    first, second = np.array([0.1, 0.5, np.nan, np.nan]), np.array([0.2, 0.4, 0.1, np.nan])
    np.testing.assert_array_equal(best_prompt([3, 8], [first, second]), [8, 3, 8, np.nan])


def test_maps_of_best_prompts_are_written_where_the_subject_s_voxels_are(scored):
    assert report(scored, "--roi", "V1v").returncode == 0
    (written,) = (scored / "report/roi-V1v/maps").glob("language_best_prompt_llava*_subj02.nii.gz")
    there = nibabel.load(scored / "alignment/subj02/prompt_1/llava-hf_llava-1.5-13b-hf/maps/language_best_layer.nii.gz")
    best = nibabel.load(written)
    np.testing.assert_array_equal(best.affine, there.affine)
    np.testing.assert_array_equal(np.isnan(best.get_fdata()), np.isnan(there.get_fdata()))
    assert set(np.unique(best.get_fdata()[~np.isnan(best.get_fdata())])) == {1, 2}


def test_the_page_counts_the_held_out_images_that_scores_are_from(own_scored):
    for path in own_scored.glob("alignment/subj01/*/*/scores.parquet"):
        pd.read_parquet(path).assign(n_test=6).to_parquet(path, index=False)
    assert "held-out images (subject 1: 6, subject 2: 12) 6 to 12" in page_text(report(own_scored, "--roi", "V1v"))
    assert "held-out images 6" in page_text(report(own_scored, "--roi", "V1v", "-s", 1))


def test_slices_show_layers_and_prompts_only_where_the_ceiling_is_high_enough(own_scored):
    scored = [one for one in find_scored(own_scored) if (one.model_id, one.subject) == (LLAVA, 1) and one.prompt]
    assert len(scored) == 2
    for one in scored:
        path = one.folder / "maps/language_best_layer_r_normalised.nii.gz"
        image = nibabel.load(path)
        values = np.asarray(image.dataobj, dtype=np.float32)
        known = np.flatnonzero(np.isfinite(nibabel.load(path.with_name("language_best_layer.nii.gz")).dataobj))
        values.flat[known] = np.where(np.arange(known.size) % 3, 0.5, np.nan)
        nibabel.save(nibabel.Nifti1Image(values, image.affine), path)
    shown = {one.unit: one.values for one in voxel_maps(Source(Output(own_scored)), scored, own_scored / "report/maps")}
    n = np.count_nonzero(np.arange(known.size) % 3)
    assert {unit: np.isfinite(values).sum() for unit, values in shown.items() if unit in ("layer", "prompt")} == {
        "layer": n,
        "prompt": n,
    }
    assert np.isfinite(shown["r"]).sum() == known.size
