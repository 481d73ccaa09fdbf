"""Flags of a sweep: which it passes on to its scripts, and those that are not right any more or of another folder."""

import argparse
import json
import os
import shlex
import sys
from pathlib import Path

import pytest
from sweeping import LLAVA, LLAVA_ID, SUBMITTING, VIT, VIT_ID, image_ids, parsed, planned, store

from brain_activity_prediction.align_image_embeddings import align_model
from brain_activity_prediction.cli import extraction_command
from brain_activity_prediction.encoding.layers import open_layers
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.sweep import sweep
from brain_activity_prediction.sweep.planning.extractions import extraction_flags
from brain_activity_prediction.sweep.planning.items import read_items
from brain_activity_prediction.sweep.planning.models import find_model
from brain_activity_prediction.sweep.planning.passed_on import BY_ITSELF, SET_BY, passed_on
from brain_activity_prediction.sweep.planning.study import SETTINGS, remember, remembered
from brain_activity_prediction.sweep.records import folder_of


@pytest.fixture
def call(monkeypatch):
    """Calls the script's main with flags."""

    def called(*words):
        monkeypatch.setattr(sys, "argv", ["sweep.py", *map(str, words)])
        sweep.main()

    return called


def test_status_does_not_need_the_folder_a_sweep_was_started_in_nor_its_weights(
    own_nsd, tmp_path, monkeypatch, stand_ins, call, capsys
):
    stand_ins(**SUBMITTING)
    (tmp_path / "weights").mkdir()
    (tmp_path / "own.sh").touch()
    (tmp_path / "own.yml").write_text("1: Is there a cat?\n")
    monkeypatch.chdir(tmp_path)
    files = ["--checkpoints", "weights", "--job-file", "own.sh", "--prompts-file", "own.yml"]
    call("slurm", "-d", "nsd", "--models", VIT, "-s", 1, "-p", 1, *files)
    (tmp_path / "weights").rmdir()
    monkeypatch.chdir("/")
    capsys.readouterr()
    call("status", "-d", own_nsd)
    assert capsys.readouterr().out.splitlines()[0].split() == ["done", "running", "queued", "failed", "left"]
    assert remembered(own_nsd).checkpoints == tmp_path / "weights"
    assert remembered(own_nsd).jobs.job_file == tmp_path / "own.sh"
    assert remembered(own_nsd).prompts_file == tmp_path / "own.yml"


def test_a_sweep_with_an_output_writes_nothing_to_the_datas_folder(own_nsd, tmp_path, stand_ins, call, capsys):
    stand_ins(**SUBMITTING)
    before, out = sorted(own_nsd.rglob("*")), tmp_path / "results" / "here"
    words = ["-d", own_nsd, "--output", out]
    study = ["--models", VIT, "-s", 1, "-p", 1, "--shards", 1]
    call("plan", *words, *study)
    call("slurm", *words, *study)
    call("status", *words)
    assert "left" in capsys.readouterr().out
    assert sorted(own_nsd.rglob("*")) == before
    items = [item for path in out.glob("sweep/*/*.json") for item in read_items(path)]
    assert {item.script for item in items} == {VIT, "align_model", "report"}
    for item in items:
        command = " ".join(item.command(out))
        assert f"-d {own_nsd} --output {out}" in command
        assert command.removesuffix(" -g 0").endswith(f" --output {out}")
    with pytest.raises(InputError, match=f"no sweep was started in {own_nsd}"):
        call("status", "-d", own_nsd)
    store(out, VIT_ID, None, image_ids(own_nsd))
    (model,) = planned(own_nsd, "--models", VIT, "--output", out).models
    assert [unit.n_left for unit in model.extract] == [0]


@pytest.mark.parametrize("command", sweep.COMMANDS)
def test_a_misspelt_base_directory_is_refused_and_not_made(command, tmp_path, call):
    with pytest.raises(InputError, match=f"{tmp_path}/no is not a folder"):
        call(command, "-d", tmp_path / "no", "-g", "cpu")
    assert not list(tmp_path.iterdir())


PARSERS = {"--extract": lambda: extraction_command.flags(""), "--align": align_model.flags}
A_VALUE = {
    "subject": "2",
    "prompt_number": "3",
    "batch_size": "4",
    "gpu_id": "cpu",
    "shard": "0/1",
    "device_map": "auto",
    "dataset": "nsd",
}
OF_THE_SWEEP = [
    (where, action.dest, written)
    for where, parser in PARSERS.items()
    for action in parser()._actions
    if action.dest in SET_BY
    for flag in action.option_strings
    for value in [A_VALUE.get(action.dest, "x")]
    for written in ([f"{flag} {value}", f"{flag}={value}"] if flag[1] == "-" else [f"{flag} {value}", f"{flag}{value}"])
]


@pytest.mark.parametrize(("where", "name", "written"), OF_THE_SWEEP)
def test_what_a_sweep_sets_itself_is_not_passed_on_however_it_is_written(where, name, written):
    own = {flag for action in sweep.flags()._actions for flag in action.option_strings}
    assert SET_BY[name] in own
    flag = f"--{name.replace('_', '-')}"
    with pytest.raises(InputError, match=f"^{where} cannot contain {flag}, which the sweep sets: use {SET_BY[name]}$"):
        passed_on(written, where, PARSERS[where](), "script.py")


def test_a_flag_of_the_sweeps_is_found_among_others_and_an_abbreviated_one_is_none(official_nsd, call, capsys):
    with pytest.raises(InputError, match="--extract cannot contain --subject"):
        call("plan", "-d", official_nsd, "--models", VIT, "--extract=--response -s 2")
    with pytest.raises(InputError, match="--align cannot contain --model-id, which the sweep sets: use --models"):
        call("plan", "-d", official_nsd, "--models", VIT, "--align=--permutations 9 -m org/other")
    with pytest.raises(SystemExit) as ended:
        call("plan", "-d", official_nsd, "--models", VIT, "--align=--subj 2")
    assert ended.value.code == 2
    assert "--align passes on: there is no flag --subj: did you mean --subject?" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"^--extract='--response: no closing quotation$"):
        call("plan", "-d", official_nsd, "--models", VIT, "--extract='--response")


@pytest.mark.parametrize("where", PARSERS)
def test_no_flag_that_is_passed_on_is_a_path_relative_to_another_folder(where, tmp_path):
    paths = {action.option_strings[-1]: action.dest for action in PARSERS[where]()._actions if reads_a_path(action)}
    assert "prompts_file" in paths.values()
    assert where == "--extract" or "mask" in paths.values()
    own = tmp_path / "own.nii.gz"
    for flag in [flag for flag, name in paths.items() if name not in (*SET_BY, *BY_ITSELF)]:
        assert passed_on(f"{flag} {own}", where, PARSERS[where](), "script.py") == [flag, str(own)]
        with pytest.raises(InputError, match=f"{where} {flag} own.nii.gz: give an absolute path"):
            passed_on(f"{flag} own.nii.gz", where, PARSERS[where](), "script.py")


def reads_a_path(action):
    try:
        return isinstance(action.type and action.type("own.nii.gz"), Path)
    except (ValueError, argparse.ArgumentTypeError):
        return False


def test_names_of_roi_files_are_passed_on_as_a_mask():
    words = ["--mask", "prf-visualrois", "floc-faces"]
    assert passed_on(" ".join(words), "--align", align_model.flags(), "script.py") == words


def test_own_prompts_go_to_extractions_and_alignments_those_without_a_prompt_too(own_nsd, tmp_path):
    own = tmp_path / "own.yml"
    own.write_text("4: Is there a cat?\n5: Is there a dog?\n")
    store(own_nsd, LLAVA_ID, None, [1, 2], vision=True)
    store(own_nsd, LLAVA_ID, 4, [1, 2], language=True)
    (model,) = planned(own_nsd, "--models", LLAVA, "-s", 1, "-p", "4-5", "--prompts-file", own).models
    for unit in (*model.extract, *model.align):
        assert f"--prompts-file {own}" in shlex.join(unit.command)
    selected = [align_model.read_settings(unit.command[2:]).features for unit in model.align[:2]]
    layers = [open_layers(own_nsd, selection) for selection in selected]
    assert [{(layer.prompt, layer.stream) for layer in few} for few in layers] == [
        {(None, "vision")},
        {(4, "language")},
    ]


def test_flags_that_are_passed_on_are_checked_before_anything_runs(official_nsd, capsys):
    with pytest.raises(SystemExit):
        planned(official_nsd, "--extract", "--bogus 1")
    assert "--extract" in capsys.readouterr().err


def test_a_file_gives_flags_and_those_after_it_win(tmp_path):
    lab = tmp_path / "lab"
    lab.write_text("# our cluster\n--partition gpu  --time 24:00:00\n--sbatch='--qos=long -x n1'\n--models a b # two\n")
    settings = parsed("slurm", tmp_path, f"@{lab}", "--partition", "other", "--sbatch=--exclusive")
    assert (settings.jobs.partition, settings.jobs.time, settings.models) == ("other", "24:00:00", ["a", "b"])
    assert settings.jobs.sbatch == ["--qos=long -x n1", "--exclusive"]


def test_each_extraction_of_a_sweep_finds_its_batch_size_if_asked(tmp_path):
    settings = parsed("local", tmp_path, "--models", VIT, "-b", "auto")
    model = find_model(VIT)
    words = extraction_flags(settings, model)
    assert words[words.index("-b") + 1] == "auto"
    assert model.read_flags(words)[1].batch_size == "auto"


def test_status_knows_what_was_started_and_says_where_nothing_was(own_nsd, tmp_path):
    settings = parsed("slurm", own_nsd, "--models", VIT, "--checkpoints", tmp_path, "--shards", 3, "-g", "0,2")
    with pytest.raises(InputError, match="no sweep was started"):
        remembered(own_nsd)
    remember(settings)
    assert remembered(own_nsd) == settings


@pytest.mark.parametrize("command", ["plan", "status", "cancel", "slurm"])
def test_what_an_earlier_version_remembered_has_not_every_flag_and_is_no_hindrance(command, own_nsd, call, stand_ins):
    stand_ins(**SUBMITTING | {"squeue": ""})
    study = ["--models", VIT, "-s", 1, "-p", 1, "--checkpoints", own_nsd]
    remember(parsed("local", own_nsd, *study))
    path = folder_of(own_nsd) / SETTINGS
    settings = json.loads(path.read_text())
    path.write_text(json.dumps({name: settings[name] for name in settings.keys() - {"prompts_file", "device_map"}}))
    found = remembered(own_nsd)
    assert (found.models, found.checkpoints, found.prompts_file, found.device_map) == ([VIT], own_nsd, None, None)
    call(command, "-d", own_nsd, *([] if command in ("status", "cancel") else study))


def refused(base_dir, call, text):
    """The one line that `status` ends with where this was remembered."""
    folder_of(base_dir).mkdir(exist_ok=True)
    (folder_of(base_dir) / SETTINGS).write_bytes(text)
    with pytest.raises(InputError, match=f"cannot read .*{SETTINGS} .*start the sweep again") as raised:
        call("status", "-d", base_dir)
    return str(raised.value)


@pytest.mark.parametrize("text", [b"", b"[]", b"3", b'{"checkpoints": 3}', b"\xff\xfe", b"[" * 9999, b"{}"])
def test_what_was_remembered_and_is_damaged_is_said_in_one_line(text, own_nsd, call):
    assert "\n" not in refused(own_nsd, call, text)


WRONG = {
    "models": [["a", "--units"], {"a": 1}],
    "subject": ["a b", [[2]]],
    "prompt_number": [[["1"]], ["x"]],
    "shards": [0, -1, 1.5, 10**30],
    "workers": [10**8, "two"],
    "gpu_id": [["x"], [["0"]]],
    "units": [1, "yes"],
    "time": ["1", [[]]],
    "sbatch": [[{}], {}],
    "of_another_version": [1],
    "command": ["rm", None],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_what_was_remembered_and_no_flag_would_take_is_refused_by_name(name, value, own_nsd, call):
    remember(parsed("local", own_nsd, "--models", VIT, "-s", 1, "-p", 1))
    kept = json.loads((folder_of(own_nsd) / SETTINGS).read_text())
    said = refused(own_nsd, call, json.dumps(kept | {name: value}).encode())
    assert name in said or f"--{name.replace('_', '-')}" in said


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"\xff\xfe\x00", "can't decode"), (b"--partition 'gpu", "closing quotation"), (None, "not a file")],
)
def test_a_file_of_flags_that_is_none_is_said_in_one_line(content, said, tmp_path):
    lab = tmp_path / "lab"
    os.mkfifo(lab) if content is None else lab.write_bytes(content)
    with pytest.raises(InputError, match=f"cannot read flags from {lab} .*{said}.*write them as on the command line"):
        parsed("slurm", tmp_path, f"@{lab}")
    with pytest.raises(InputError, match=f"cannot read flags from {tmp_path}/no .*no such file"):
        parsed("slurm", tmp_path, f"@{tmp_path}/no")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--align=--protocol paper --num-alphas 10"], "^--align: --protocol paper sets --num-alphas 60: remove"),
        (["--align=--min-log-10-alpha 5"], "^--align: --min-log-10-alpha is larger"),
        (["--extract=--quantize 8bit --random-weights 1"], "^--extract: --quantize needs loaded weights"),
        (["--extract=--revision main", "--checkpoints", "."], "^--extract: --revision selects a version on the hub"),
        (["--extract=--pooling prompt"], "has no prompt pooling"),
    ],
)
def test_contradicting_flags_of_scripts_are_refused_before_submission(flags, said, own_nsd, call, stand_ins):
    calls = stand_ins(**SUBMITTING | {"squeue": ""})
    with pytest.raises(InputError, match=said):
        call("slurm", "-d", own_nsd, "--models", VIT, *flags)
    assert not any(made.startswith("sbatch") for made in calls())


def test_the_protocol_that_is_passed_on_is_planned_without_a_word_on_each_unit(own_nsd, call, capsys):
    call("plan", "-d", own_nsd, "-s", 1, 2, "--models", VIT, "--align=--protocol paper")
    assert capsys.readouterr().err == ""


def test_a_limit_that_leaves_a_job_no_time_before_its_notice_is_refused(own_nsd, call, capsys):
    with pytest.raises(SystemExit) as ended:
        call("slurm", "-d", own_nsd, "--time", "3")
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--time: 3 is too short" in line
    assert "5 minutes or more" in line
