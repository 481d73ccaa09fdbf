"""Whoever can write to BASE_DIR/sweep runs no code and ends no process of those who sweep there."""

import json
import os
import subprocess
import sys

import pytest
from sweeping import SWEEP_FOLDER, VIT, parsed

from brain_activity_prediction.errors import InputError
from brain_activity_prediction.sweep import commands
from brain_activity_prediction.sweep.items import write_items
from brain_activity_prediction.sweep.records import folder_of, log_of
from brain_activity_prediction.sweep.study import SETTINGS, remember
from brain_activity_prediction.sweep.units import Unit, load_script

EVIL = "import pathlib\npathlib.Path(__file__).with_name('ran').touch()\n"


@pytest.fixture
def evil(tmp_path):
    """A script that leaves a file `ran` beside it."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "evil.py").write_text(EVIL)
    return folder / "evil.py"


def change(base_dir, **settings):
    """Changes what a sweep of one model remembers."""
    remember(parsed("local", base_dir, "--models", VIT, "-s", 1, "-g", "cpu"))
    path = folder_of(base_dir) / SETTINGS
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


@pytest.mark.parametrize("written", ["{path}", "{path}.py", "../../../../../../../../../../..{path}", "./runner"])
def test_a_record_names_no_script_outside_the_package(own_nsd, evil, written):
    name = written.format(path=evil.with_suffix(""))
    change(own_nsd, models=[name])
    with pytest.raises(InputError, match="is no model script"):
        commands.status(parsed("status", own_nsd))
    with pytest.raises(InputError, match="is no model script"):
        load_script(name)
    assert not evil.with_name("ran").exists()


def queued(base_dir, **changes):
    """The list of a job with one unit, its fields changed."""
    path = folder_of(base_dir) / "20260101-000000-1" / "report.json"
    write_items(path, [Unit("report", "report", "", 1, 1, (sys.executable, "report.py"))], 1, "cpu")
    (item,) = json.loads(path.read_text())
    path.write_text(json.dumps([item | changes]))
    return path


def run_item(base_dir, path):
    words = [sys.executable, SWEEP_FOLDER / "run_unit.py", base_dir, "--item", path]
    of_slurm = {"SLURM_ARRAY_TASK_ID": "0", "SLURM_PROCID": "0", "SLURM_ARRAY_JOB_ID": "7"}
    return subprocess.run(list(map(str, words)), env=os.environ | of_slurm, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["{path}", "evil", "../sweep/sweep", "run_unit", "extraction"])
def test_a_job_runs_no_script_that_its_list_names_by_a_path(tmp_path, evil, name):
    path = queued(tmp_path, script=name.format(path=evil.with_suffix("")))
    done = run_item(tmp_path, path)
    assert done.returncode == 2
    assert "script" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not evil.with_name("ran").exists()


def test_a_job_works_in_the_folder_that_was_submitted_whatever_its_list_says(tmp_path):
    (tmp_path / "other").mkdir()
    path = queued(tmp_path, flags=["--table-only", "-d", str(tmp_path / "other")])
    assert run_item(tmp_path, path).returncode == 2
    assert f"no scores in {tmp_path}/alignment" in log_of(tmp_path, "report").read_text()


@pytest.mark.parametrize("name", ["../../outside", "a/b", "", ".hidden", "a\nb", 3])
def test_a_unit_that_is_named_like_a_path_writes_no_log(tmp_path, name):
    path = queued(tmp_path, name=name)
    before = sorted(tmp_path.rglob("*"))
    done = run_item(tmp_path, path)
    assert done.returncode == 2
    assert "name" in done.stderr
    assert sorted(tmp_path.rglob("*")) == before
