"""How long a sweep will take and how much it will store: as measured, or "?"."""

import json
from dataclasses import replace

import pytest
from scripts import EXTRACT
from sweeping import LLAVA, LLAVA_ID, VIT, VIT_ID, image_ids, parsed, planned, store

from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.storage.measured_rate import MeasuredRate, record_rate
from brain_activity_prediction.sweep import commands, rates
from brain_activity_prediction.sweep.planning.models import STUDY
from brain_activity_prediction.sweep.records import Record, write_record

pytestmark = pytest.mark.slow
RAN = Record("here", 1, None, "gpu", None, amount=10, started=0, seconds=36000, status=0)


def test_gigabytes_are_those_of_the_images_and_prompts_without_states(own_nsd):
    ids = image_ids(own_nsd)
    (model,) = planned(own_nsd, "--models", LLAVA).models
    assert rates.extraction(own_nsd, model, "gpu").gigabytes is None
    store(own_nsd, LLAVA_ID, 1, ids[:60], n_layers=41, language=True)
    (model,) = planned(own_nsd, "--models", LLAVA).models
    assert rates.extraction(own_nsd, model, "gpu").gigabytes is None  # of the vision stream nothing is known
    store(own_nsd, LLAVA_ID, None, ids[:2], n_layers=25)
    (model,) = planned(own_nsd, "--models", LLAVA).models
    values = 66 * 25 * 4 + (8 + 68) * 41 * 4  # prompt 2 is as prompt 1
    assert rates.extraction(own_nsd, model, "gpu").gigabytes == pytest.approx(values * 2 / 1e9)


def test_hours_follow_what_finished_units_took_on_such_a_device(own_nsd):
    (model,) = planned(own_nsd, "--models", VIT, "--shards", 2).models
    assert rates.extraction(own_nsd, model, "gpu").hours is None
    write_record(own_nsd, model.extract[0].name, RAN)
    assert rates.extraction(own_nsd, model, "gpu").hours == pytest.approx(68)
    assert rates.extraction(own_nsd, model, "cpu").hours is None
    (in_other_shards,) = planned(own_nsd, "--models", VIT, "--shards", 3).models
    assert rates.extraction(own_nsd, in_other_shards, "gpu").hours == pytest.approx(68)
    write_record(own_nsd, f"extract_{VIT}_1_of_2_1_of_4", replace(RAN, seconds=9e9))  # another model's
    assert rates.extraction(own_nsd, model, "gpu").hours == pytest.approx(68)
    write_record(own_nsd, model.extract[1].name, replace(RAN, seconds=9e9, status=1))  # it failed
    assert rates.extraction(own_nsd, model, "gpu").hours == pytest.approx(68)


def test_without_a_finished_unit_hours_follow_the_last_test_run_of_just_this_work(own_nsd):
    (model,) = planned(own_nsd, "--models", LLAVA).models
    rate = MeasuredRate("gpu", ["language", "vision"], [1, 2], 3600.0)
    for other in (replace(rate, kind="cpu"), replace(rate, prompts=[1]), replace(rate, streams=["language"])):
        record_rate(own_nsd, LLAVA_ID, other)
        assert rates.extraction(own_nsd, model, "gpu").hours is None
    record_rate(own_nsd, LLAVA_ID, rate)
    assert rates.extraction(own_nsd, model, "gpu").hours == pytest.approx(68)
    write_record(own_nsd, model.extract[0].name, replace(RAN, seconds=3600))  # ten images: a finished unit counts more
    assert rates.extraction(own_nsd, model, "gpu").hours == pytest.approx(6.8)


@pytest.mark.parametrize("seconds", [0, -1, 1e999, "3"])
def test_a_damaged_rate_of_a_test_run_is_one_line(own_nsd, seconds):
    (model,) = planned(own_nsd, "--models", LLAVA).models
    record_rate(own_nsd, LLAVA_ID, MeasuredRate("gpu", [], [], 1.0))
    (path,) = own_nsd.glob("sweep/test_runs/*.json")
    path.write_text(json.dumps({"kind": "gpu", "streams": [], "prompts": [], "seconds": seconds}))
    with pytest.raises(InputError, match=f"{path} .*seconds.*, delete it"):
        rates.extraction(own_nsd, model, "gpu")


def test_a_layer_takes_as_long_as_in_the_alignments_that_finished(own_nsd):
    (model,) = planned(own_nsd, "--models", VIT).models
    assert [unit.amount for unit in model.align] == [0, 0]
    assert rates.alignment(own_nsd, model, "gpu").hours is None
    store(own_nsd, VIT_ID, None, image_ids(own_nsd), n_layers=3)
    (model,) = planned(own_nsd, "--models", VIT).models
    assert [unit.amount for unit in model.align] == [3, 3]
    assert rates.alignment(own_nsd, model, "gpu").hours is None
    for amount in (0, 3):  # planned before its states were there, and after
        write_record(own_nsd, model.align[0].name, replace(RAN, amount=amount, seconds=3 * 3600))
        assert rates.alignment(own_nsd, model, "gpu").hours == pytest.approx(6)


def test_an_alignment_of_layers_that_are_not_extracted_yet_is_planned(own_nsd):
    (model,) = planned(own_nsd, "--models", VIT, "--align=-l 9 31").models
    assert all(unit.n_left for unit in model.align)
    assert len(model.align) == 2


def test_plan_prints_what_is_measured_and_a_question_mark_elsewhere(own_nsd, capsys):
    store(own_nsd, VIT_ID, None, image_ids(own_nsd)[:8], n_layers=3)
    write_record(own_nsd, f"extract_{VIT}_1_of_1", RAN)
    commands.plan(parsed("plan", own_nsd, "-g", "0,1", "--models", VIT, LLAVA, "-s", 1, 2))
    lines = capsys.readouterr().out.splitlines()
    rows = {tuple(line.split()[:2]): line.split()[2:] for line in lines[1:5]}
    assert rows["extract", VIT] == ["2", "2", "68", "60", "60.00", "0.0"]
    assert rows["align", VIT] == ["2", "2", "6", "6", "?", "0.0"]
    assert rows["extract", LLAVA][2:] == ["68", "68", "?", "?"]
    assert rows["align", LLAVA][2:] == ["?", "?", "?", "0.0"]
    assert lines[-2].startswith("60.0 hours of one worker, 30.0 with 2;")
    assert lines[-1] == rates.NOT_MEASURED


def test_plan_lists_every_unit_with_its_command(own_nsd, capsys):
    commands.plan(parsed("plan", own_nsd, "--models", VIT, "-s", 1, "--units"))
    listed = capsys.readouterr().out.splitlines()[-3:]
    assert listed[0].startswith(f"extract_{VIT}_1_of_1: ")
    assert listed[0].endswith("--shard 0/1 -g 0")


def test_every_model_of_the_study_is_a_script():
    assert all((EXTRACT / f"{model}.py").is_file() for model in STUDY)
    assert len(STUDY) == 6
