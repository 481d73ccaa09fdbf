"""`bap`: every script under one installed name, from any folder."""

import configparser
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from brain_activity_prediction import __version__
from brain_activity_prediction.cli import main

ROOT = Path(__file__).resolve().parents[2]


def bap(*words, folder):
    """Run `bap words` in a folder, as pip's wrapper does: its status, stdout and stderr."""
    program = "import sys; from brain_activity_prediction.cli.main import main; sys.argv[0] = 'bap'; main()"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "120"}
    command = [sys.executable, "-c", program, *map(str, words)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def test_the_command_is_installed_with_the_package():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    name, place = setup["options.entry_points"]["console_scripts"].split("=")
    module, function = place.strip().split(":")
    assert (name.strip(), module, function) == ("bap", main.__name__, main.main.__name__)


def test_help_lists_every_command_and_model_in_under_a_second(tmp_path):
    start = time.perf_counter()
    status, out, _ = bap("--help", folder=tmp_path)
    assert time.perf_counter() - start < 1
    assert status == 0
    commands = ("extract MODEL", "align", "compare", "partition", "across-subjects", "cross-subject-ceiling")
    for name in (*commands, "similarity", "report", "sweep", "demo", "llava_1.5_13b", "vision_model"):
        assert f"  {name}" in f"  {out}"
    assert "prompts" not in out.split("models:")[1]


def test_its_modules_import_no_library():
    program = "import sys; before = set(sys.modules); import brain_activity_prediction.cli.main; "
    program += "print(*{name.split('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["brain_activity_prediction"]


def test_the_version_is_that_of_the_package(tmp_path):
    assert bap("--version", folder=tmp_path) == (0, f"bap {__version__}\n", "")


def test_every_command_starts_its_script():
    for script, about in main.SCRIPTS.values():
        assert script.is_file() or (script / "__main__.py").is_file()
        assert about[0].islower()
        assert not about.endswith(".")


@pytest.mark.parametrize(
    ("command", "usage"),
    [
        (["extract", "llava_1.5_13b"], "usage: llava_1.5_13b.py"),
        (["extract", "llava-hf/llava-1.5-13b-hf"], "usage: llava_1.5_13b.py"),
        (["align"], "usage: align_model.py"),
        (["demo"], "usage: demo"),
    ],
)
def test_a_command_is_its_script_from_any_folder(tmp_path, command, usage):
    status, out, error = bap(*command, "--help", folder=tmp_path)
    assert (status, error) == (0, "")
    assert out.startswith(usage)


def test_flags_messages_and_status_are_the_scripts_own(tmp_path):
    missing = tmp_path / "no folder; $HOME"
    status, out, error = bap("align", "-d", missing, "-m", "org/model", folder=tmp_path)
    assert (status, out) == (2, "")
    assert error.startswith("align_model.py: ")
    assert error.endswith(f"{missing} does not exist\n")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["aling"], "bap: there is no command aling: did you mean align?"),
        (["across_subjects"], "bap: there is no command across_subjects: did you mean across-subjects?"),
        (["xyz"], "bap: there is no command xyz: choose from extract, align, compare, partition, across-subjects,"),
        (["extract", "llava"], "bap: there is no model llava: did you mean llava_1.5_13b?"),
        (["extract", "prompts"], "bap: there is no model prompts: choose from clip_text, idefics_9b_instruct,"),
        (
            ["extract", "lava-hf/llava-1.5-13b"],
            "bap: there is no model lava-hf/llava-1.5-13b: did you mean llava_1.5_13b?",
        ),
    ],
)
def test_a_misspelt_command_or_model_is_answered_with_the_one_meant(tmp_path, words, line):
    status, out, error = bap(*words, folder=tmp_path)
    assert (status, out) == (2, "")
    assert error.startswith(line)
    assert error.count("\n") == 1


@pytest.mark.parametrize("words", [[], ["extract"]])
def test_without_a_command_or_model_the_choices_are_listed(tmp_path, words):
    status, out, _ = bap(*words, folder=tmp_path)
    assert status == 2
    assert "llava_1.5_13b" in out
