"""Flags of a sweep: which it passes on to its scripts, and those that are not right any more or of another folder."""

import shlex
import sys
from pathlib import Path

import pytest
from test_sweep import LLAVA, LLAVA_ID, planned, store
from test_sweep_jobs import SUBMITTING, VIT

from brain_activity_prediction.align_image_embeddings import align_model
from brain_activity_prediction.align_image_embeddings.layers import open_layers
from brain_activity_prediction.errors import InputError
from brain_activity_prediction.extract_image_embeddings import extraction
from brain_activity_prediction.sweep import sweep
from brain_activity_prediction.sweep.passed_on import SET_BY, passed_on
from brain_activity_prediction.sweep.records import remembered


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
    assert remembered(own_nsd).job_file == tmp_path / "own.sh"
    assert remembered(own_nsd).prompts_file == tmp_path / "own.yml"


@pytest.mark.parametrize("command", sweep.COMMANDS)
def test_a_misspelt_base_directory_is_refused_and_not_made(command, tmp_path, call):
    with pytest.raises(InputError, match=f"{tmp_path}/no is no folder"):
        call(command, "-d", tmp_path / "no", "-g", "cpu")
    assert not list(tmp_path.iterdir())


PARSERS = {"--extract": lambda: extraction.flags(""), "--align": align_model.flags}
A_VALUE = {
    "subject": "2",
    "prompt_number": "3",
    "batch_size": "4",
    "gpu_id": "cpu",
    "shard": "0/1",
    "device_map": "auto",
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
    with pytest.raises(InputError, match=f"^{where} cannot pass on {flag}: use the sweep's own {SET_BY[name]}$"):
        passed_on(written, where, PARSERS[where](), "script.py")


def test_a_flag_of_the_sweeps_is_found_among_others_and_an_abbreviated_one_is_none(official_nsd, call, capsys):
    with pytest.raises(InputError, match="--extract cannot pass on --subject"):
        call("plan", "-d", official_nsd, "--models", VIT, "--extract=--response -s 2")
    with pytest.raises(InputError, match="--align cannot pass on --model-id: use the sweep's own --models"):
        call("plan", "-d", official_nsd, "--models", VIT, "--align=--permutations 9 -m org/other")
    with pytest.raises(SystemExit) as ended:
        call("plan", "-d", official_nsd, "--models", VIT, "--align=--subj 2")
    assert ended.value.code == 2
    assert "--align passes on: there is no flag --subj: did you mean --subject?" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"^--extract='--response: no closing quotation$"):
        call("plan", "-d", official_nsd, "--models", VIT, "--extract='--response")


def test_no_flag_that_is_passed_on_is_a_path_which_another_folder_would_read_otherwise():
    paths = {action.dest for parser in PARSERS.values() for action in parser()._actions if action.type is Path}
    assert "prompts_file" in paths
    assert paths <= SET_BY.keys()


def test_own_prompts_go_to_extractions_and_alignments_those_without_a_prompt_too(own_nsd, tmp_path):
    own = tmp_path / "own.yml"
    own.write_text("4: Is there a cat?\n5: Is there a dog?\n")
    store(own_nsd, LLAVA_ID, None, [1, 2], vision=True)
    store(own_nsd, LLAVA_ID, 4, [1, 2], language=True)
    (model,) = planned(own_nsd, "--models", LLAVA, "-s", 1, "-p", "4-5", "--prompts-file", own).models
    for unit in (*model.extract, *model.align):
        assert f"--prompts-file {own}" in shlex.join(unit.command)
    layers = [open_layers(align_model.flags().parse_args(unit.command[2:])) for unit in model.align[:2]]
    assert [{(layer.prompt, layer.stream) for layer in few} for few in layers] == [
        {(None, "vision")},
        {(4, "language")},
    ]
