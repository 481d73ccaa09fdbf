"""What of a sweep is left, by the files that are there and the flags."""

import os
import shlex

import numpy as np
import pytest
from sweeping import LLAVA, LLAVA_ID, VIT, VIT_ID, image_ids, planned, store

from brain_activity_prediction.encoding.scores.score_store import QUANTITIES, ScoreStore
from brain_activity_prediction.storage.folders import alignment_folder, reported_files
from brain_activity_prediction.storage.made_from import NAME, state_of, write_note


def test_the_plan_counts_images_without_states_of_all_subjects_by_shard(own_nsd):
    ids = image_ids(own_nsd)
    assert len(ids) == 12 + 28 + 28
    store(own_nsd, VIT_ID, None, ids[::2])
    for n_shards, left in ((1, [34]), (2, [0, 34]), (4, [0, 17, 0, 17])):
        (model,) = planned(own_nsd, "--models", VIT, "--shards", n_shards).models
        assert [unit.n_left for unit in model.extract] == left
        assert sum(unit.n for unit in model.extract) == 68
    assert len(planned(own_nsd, "--models", VIT, "--shards", 100).models[0].extract) == 68
    store(own_nsd, VIT_ID, None, ids[1::2])
    assert not any(unit.n_left for unit in planned(own_nsd, "--models", VIT).models[0].extract)


def test_an_image_is_left_until_it_has_all_prompts_and_the_plan_counts_each(own_nsd):
    ids = image_ids(own_nsd)
    store(own_nsd, LLAVA_ID, None, ids)
    store(own_nsd, LLAVA_ID, 1, ids[:60], language=True)
    (model,) = planned(own_nsd, "--models", LLAVA).models
    assert [unit.n_left for unit in model.extract] == [68]
    assert model.lacking == {None: 0, 1: 8, 2: 68}


def test_images_that_lack_one_prompt_are_told_from_those_that_lack_another(own_nsd):
    ids = image_ids(own_nsd)
    store(own_nsd, LLAVA_ID, None, ids)
    store(own_nsd, LLAVA_ID, 1, ids[8:], language=True)
    store(own_nsd, LLAVA_ID, 2, ids[:63], language=True)
    (model,) = planned(own_nsd, "--models", LLAVA).models
    assert [unit.n_left for unit in model.extract] == [8 + 5]
    assert model.lacking == {None: 0, 1: 8, 2: 5}


def test_alignments_are_one_a_subject_and_prompt_and_one_for_what_no_prompt_changes(own_nsd):
    ids = image_ids(own_nsd)
    store(own_nsd, LLAVA_ID, None, ids, n_layers=5)
    units = planned(own_nsd, "--models", LLAVA).models[0].align
    names = [unit.name.removeprefix(f"align_{LLAVA}_") for unit in units]
    assert names == [
        f"{prompt}_subj0{subject}" for subject in (1, 2) for prompt in ("no_prompt", "prompt_1", "prompt_2")
    ]
    assert [(unit.n, unit.amount) for unit in units[:3]] == [(5, 5), (1, 0), (1, 0)]  # as stored, else unknown
    assert units[0].command[-2:] == ("--stream", "vision")
    assert shlex.join(units[2].command).endswith("-p 2 --stream language")
    assert units[2].on("3")[-2:] == ["-g", "3"]


def test_an_alignment_is_done_with_all_its_layers_and_its_table(own_nsd):
    store(own_nsd, VIT_ID, None, image_ids(own_nsd), n_layers=3)
    folder = alignment_folder(own_nsd, 2, VIT_ID, None)
    left, plain = [], "--permutations 0 --bootstrap 0"
    for layer in range(3):
        ScoreStore(folder).write("vision", layer, 3, dict.fromkeys(QUANTITIES, np.zeros(4)))
        left.append([unit.n_left for unit in planned(own_nsd, "--models", VIT, "--align", plain).models[0].align])
    assert left == [[3, 2], [3, 1], [3, 1]]
    (folder / "scores.csv").touch()
    assert [unit.n_left for unit in planned(own_nsd, "--models", VIT, "--align", plain).models[0].align] == [3, 0]
    os.utime(folder / "scores.csv", (0, 0))  # killed between a layer that was fitted again and its table
    assert [unit.n_left for unit in planned(own_nsd, "--models", VIT, "--align", plain).models[0].align] == [3, 1]
    (folder / "scores.csv").touch()
    permuted = planned(own_nsd, "--models", VIT, "--align", "--permutations 100 --bootstrap 0").models[0].align
    assert [unit.n_left for unit in permuted] == [3, 3]
    some = planned(own_nsd, "--models", VIT, "--align", f"{plain} -l 0 1").models[0].align
    assert [(unit.n, unit.n_left) for unit in some] == [(2, 2), (2, 0)]


def test_an_alignment_with_other_noise_ceilings_is_not_done(own_nsd):
    store(own_nsd, VIT_ID, None, image_ids(own_nsd), n_layers=1)
    folder = alignment_folder(own_nsd, 2, VIT_ID, None)
    ScoreStore(folder).write("vision", 0, 1, dict.fromkeys(QUANTITIES, np.zeros(4)))
    (folder / "scores.csv").write_text("stream,ncsnr,min_noise_ceiling\nvision,nsd,0.1\n")

    def left(*flags):
        align = " ".join(("--permutations 0 --bootstrap 0", *flags))
        return planned(own_nsd, "--models", VIT, "--align", align).models[0].align[1].n_left

    assert [left("--ncsnr nsd"), left("--ncsnr own"), left()] == [0, 0, 1]
    assert left("--ncsnr nsd --min-noise-ceiling 0.2") == 1


def report_left(base_dir):
    return planned(base_dir, "--models", VIT, "--align=-l 9").report.n_left  # without that layer nothing else is left


@pytest.mark.parametrize(
    "table", ["alignment/subj01/no_prompt/a/scores.parquet", "alignment_paper/across_subjects/a.parquet"]
)
def test_a_report_is_done_with_its_last_file_and_of_just_these_tables(table, own_nsd):
    store(own_nsd, VIT_ID, None, image_ids(own_nsd), n_layers=1)
    scores, report = own_nsd / table, own_nsd / "report"
    for path in (scores, report / "scores.csv"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert report_left(own_nsd) == 1  # killed after its tables
    (report / "report.html").touch()
    assert report_left(own_nsd) == 1
    for dated in (0, 10**10):  # whatever the clock said
        os.utime(scores, (dated, dated))
        assert report_left(own_nsd) == 1
        write_note(report, state_of(own_nsd, reported_files(own_nsd)))
        assert report_left(own_nsd) == 0
    (report / NAME).write_text("damaged")
    assert report_left(own_nsd) == 1


def test_layers_dated_in_the_future_do_not_repeat_an_alignment_for_ever(own_nsd):
    store(own_nsd, VIT_ID, None, image_ids(own_nsd), n_layers=1)
    results = ScoreStore(alignment_folder(own_nsd, 2, VIT_ID, None))
    results.write("vision", 0, 1, dict.fromkeys(QUANTITIES, np.zeros(4)))
    (path,) = results.folder.glob("voxels/*.h5")
    os.utime(path, (10**10, 10**10))
    (results.folder / "scores.csv").touch()

    def left():
        units = planned(own_nsd, "--models", VIT, "--align", "--permutations 0 --bootstrap 0").models[0].align
        return units[1].n_left

    assert left() == 1
    write_note(results.folder, results.state())
    assert left() == 0
    os.utime(path, (0, 0))  # fitted again
    assert left() == 1


def test_a_subject_and_a_model_that_are_named_twice_are_planned_once(own_nsd):
    (model,) = planned(own_nsd, "--models", VIT, VIT, "-s", 1, 1).models
    assert [unit.name for unit in model.align] == [f"align_{VIT}_no_prompt_subj01"]
