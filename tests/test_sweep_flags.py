"""Flags of a sweep that were right when it was started, and are not any more, or are for another folder."""

import sys

import pytest
from test_sweep_jobs import SUBMITTING, VIT

from brain_activity_prediction.errors import InputError
from brain_activity_prediction.sweep import sweep
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
    monkeypatch.chdir(tmp_path)
    call("slurm", "-d", "nsd", "--models", VIT, "-s", 1, "--checkpoints", "weights", "--job-file", "own.sh")
    (tmp_path / "weights").rmdir()
    monkeypatch.chdir("/")
    capsys.readouterr()
    call("status", "-d", own_nsd)
    assert capsys.readouterr().out.splitlines()[0].split() == ["done", "running", "queued", "failed", "left"]
    assert remembered(own_nsd).checkpoints == tmp_path / "weights"
    assert remembered(own_nsd).job_file == tmp_path / "own.sh"


@pytest.mark.parametrize("command", sweep.COMMANDS)
def test_a_misspelt_base_directory_is_refused_and_not_made(command, tmp_path, call):
    with pytest.raises(InputError, match=f"{tmp_path}/no is no folder"):
        call(command, "-d", tmp_path / "no", "-g", "cpu")
    assert not list(tmp_path.iterdir())
