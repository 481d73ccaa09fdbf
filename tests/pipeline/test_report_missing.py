"""What a BASE_DIR lacks is said in the words of the next command."""

import shutil
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
from reports import LLAVA, VIT, chosen_rows, report

from brain_activity_prediction.datasets.find import dataset_if_any
from brain_activity_prediction.report.contents import DATA_USED
from brain_activity_prediction.report.source import Source
from brain_activity_prediction.report.tables.collecting import find_scored
from brain_activity_prediction.report.tables.missing import absent_analyses, gaps, held_out
from brain_activity_prediction.report.tables.selection import Selection
from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore
from brain_activity_prediction.storage.folders import Output

pytestmark = pytest.mark.slow


def missing_in(folder):
    table = pd.concat(map(pd.read_parquet, folder.glob("alignment/*/*/*/scores.parquet")))
    return {
        f"{gap.model_id}, {gap.where}: {gap.problem}"
        for gap in gaps(Source(Output(folder), dataset_if_any(folder)), find_scored(folder), table, Selection())
    }


def test_nothing_is_missing_from_what_is_whole(scored):
    assert missing_in(scored) == set()


def test_what_was_not_extracted_not_aligned_or_half_aligned_is_told_apart(own_scored):
    folder = "llava-hf_llava-1.5-13b-hf"
    for subject in (1, 2):
        shutil.rmtree(own_scored / f"alignment/subj0{subject}/prompt_2" / folder)
    assert missing_in(own_scored) == {f"{LLAVA}, subject {n}, prompt 2: extracted, but not aligned" for n in (1, 2)}
    batch = next((own_scored / "image_embeddings/prompt_2" / folder).glob("batch_00001*"))
    n_images = len(EmbeddingStore(batch.parent).read_answers(range(1, 13)))
    batch.unlink()
    lost = n_images - len(EmbeddingStore(batch.parent).read_answers())
    some = {f"{LLAVA}, subject {n}, prompt 2: {lost} of {n_images} images not extracted" for n in (1, 2)}
    assert missing_in(own_scored) == some
    shutil.rmtree(batch.parent)
    shutil.copytree(
        own_scored / "alignment/subj01/prompt_1" / folder, own_scored / "alignment/subj01/prompt_3" / folder
    )
    scores = own_scored / "alignment/subj01/prompt_3" / folder / "scores.parquet"
    table = pd.read_parquet(scores)
    table.assign(prompt=3)[table["layer"] < 2].to_parquet(scores)
    for layer in (2, 3):
        (scores.parent / "voxels" / f"language_layer_0{layer}.h5").unlink()
    assert f"{LLAVA}, subject 1, prompt 3: language: 2 of 4 layers aligned" in missing_in(own_scored)
    assert f"{LLAVA}, subject 2, prompt 3: not extracted" in missing_in(own_scored)


def test_layers_that_a_table_does_not_know_are_said_to_be_newer_than_it(own_scored):
    scores = own_scored / "alignment/subj01/no_prompt/google_vit-huge-patch14-224-in21k/scores.parquet"
    table = pd.read_parquet(scores)
    table[table["layer"] != 3].to_parquet(scores)
    (gap,) = missing_in(own_scored)
    assert gap == f"{VIT}, subject 1, no prompt: vision: 4 layers are scored, but 3 in the table: align again"


def test_without_a_noise_ceiling_the_page_is_made_and_says_so(own_scored):
    """As of sessions in which no image is repeated."""
    for path in own_scored.glob("alignment/*/*/*/maps/noise_ceiling.nii.gz"):
        image = nibabel.load(path)
        nibabel.save(nibabel.Nifti1Image(np.full(image.shape, np.nan, np.float32), image.affine), path)
    lacking = ["noise_ceiling", "r_ceiling", "r_normalised", "r2_normalised", "r_normalised_all_voxels"]
    for path in own_scored.glob("alignment/*/*/*/scores.parquet"):
        pd.read_parquet(path).assign(**dict.fromkeys(lacking, np.nan)).to_parquet(path)
    done = report(own_scored, "-m", VIT)
    assert done.returncode == 0, done.stderr
    html = Path(done.stdout.strip()).read_text()
    assert "no image was seen twice" in html
    assert "No noise ceiling is known." in html
    assert "dotted line" not in html
    assert "n = 0" not in html
    assert "Noise ceiling, subject 1" not in html


@pytest.mark.parametrize("n_old", [1, 8])
def test_tables_of_version_1_0_0_are_shown_and_a_line_says_what_they_lack(scored, n_old):
    """Their columns are absent where all are of 1.0.0, and empty beside newer ones."""
    tables = [pd.read_parquet(path) for path in sorted(scored.glob("alignment/*/*/*/scores.parquet"))]
    new = [column for column in tables[0] if "all_voxels" in column or column in ("r_ceiling", *DATA_USED[1:])]
    old = [table.drop(columns=new) for table in tables[:n_old]]
    (line,) = (one for one in absent_analyses(pd.concat(old + tables[n_old:])) if "1.0.0" in one)
    assert line.startswith(f"{n_old} of {len(tables)} tables ")
    assert "r / ceiling" in line
    assert "sessions, images and repeats" in line
    assert "align again" in line
    assert not any("1.0.0" in one for one in absent_analyses(pd.concat(tables)))


def test_a_region_in_which_no_model_has_a_score_is_listed():
    rows = chosen_rows(roi=["V1v", "V1v", "RSC", "RSC"], subject=[1, 2] * 2, r=[0.2, 0.3, np.nan, np.nan])
    rows = rows.assign(model_id=LLAVA, p=0.01, n_train=9, noise_ceiling=0.5, r_se=0.1)
    assert absent_analyses(rows) == ["No score in RSC: no model has an r in it, so no figure shows it."]


def test_held_out_images_are_those_that_scores_are_from(scored):
    """A nested cross-validation tests every image, not those that a dataset holds out."""
    source, tables = Source(Output(scored), dataset_if_any(scored)), find_scored(scored)
    table = pd.concat(pd.read_parquet(one.folder / "scores.parquet") for one in tables)
    assert held_out(source, tables, table.assign(n_test=60)) == {1: 60, 2: 60}
    old = [replace(one, settings={"sessions": [1]}) for one in tables]  # of version 1.0.0, which did not count them
    dataset = source.dataset
    of_session = {
        subject: len(np.intersect1d(dataset.trial_ids(subject, [1]), dataset.test_images(subject)))
        for subject in (1, 2)
    }
    assert held_out(source, old, table.drop(columns="n_test")) == of_session


def test_subjects_are_missing_if_they_have_betas_of_the_scored_space(own_scored):
    betas = own_scored / "nsddata_betas/ppdata/subj05/fsaverage/betas_fithrf_GLMdenoise_RR"
    betas.mkdir(parents=True)
    for side in ("lh", "rh"):
        nibabel.save(
            nibabel.MGHImage(np.zeros((4, 1, 1, 2), np.float32), np.eye(4)), betas / f"{side}.betas_session01.mgh"
        )
    table = pd.concat(map(pd.read_parquet, own_scored.glob("alignment/*/*/*/scores.parquet")))
    source = Source(Output(own_scored), dataset_if_any(own_scored))
    for space, subjects in (("func1pt8mm", set()), ("fsaverage", {"subject 5"})):
        scored = [replace(one, settings={**one.settings, "space": space}) for one in find_scored(own_scored)]
        assert {gap.where.partition(",")[0] for gap in gaps(source, scored, table, Selection())} == subjects
