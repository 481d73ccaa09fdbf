"""The tests themselves: each can fail."""

import ast
import re
import shlex
from pathlib import Path

import pytest

FILES = sorted(Path(__file__).resolve().parents[1].glob("*/test_*.py"))
RUNS_MODELS = re.compile(r"\btiny_(model|mplug|openflamingo)|^from forked import|\bwrite_(vit|llava)\(", re.MULTILINE)
MARKED_SLOW = re.compile(r"^pytestmark = \[?\s*pytest\.mark\.((very_)?slow|exhaustive)\b", re.MULTILINE)
LONGEST_NAME = 80
CHECKING = ("raises", "warns", "fail", "check_estimator")  # calls that fail a test by themselves


def can_fail(function, helpers):
    """Whether a function asserts something, or calls one of its file's that does."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name in CHECKING or name.startswith("assert_"):
                return True
            others = {key: helper for key, helper in helpers.items() if key != name}
            if name in helpers and can_fail(helpers[name], others):
                return True
    return False


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_test_asserts_something(path):
    functions = {node.name: node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}
    assert any(name.startswith("test_") for name in functions)
    for name, function in functions.items():
        assert not name.startswith("test_") or can_fail(function, functions), f"{name} asserts nothing"


def test_names_of_tests_are_short_enough_to_read():
    names = [name for path in FILES for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)]
    assert len(names) > 1000
    assert not [name for name in names if len(name) >= LONGEST_NAME]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_file_of_tests_runs_alone(path):
    """Shared parts are in tests/support: another file of tests is not on the path."""
    assert not re.search(r"^(from|import) test_", path.read_text(), re.MULTILINE)


def test_a_test_without_an_assertion_is_found():
    empty, nested = ast.parse("def test_a():\n    helper()\ndef helper():\n    assert run()").body
    assert not can_fail(empty, {})
    assert can_fail(empty, {"helper": nested})


def test_make_quick_leaves_out_all_files_that_run_models():
    running_models = {path.name for path in FILES if RUNS_MODELS.search(path.read_text())} - {Path(__file__).name}
    assert "test_models.py" in running_models
    assert running_models <= {path.name for path in FILES if MARKED_SLOW.search(path.read_text())}
    assert pytest_selections("quick") == ["not slow and not very_slow and not exhaustive"]


def test_the_two_parts_of_make_test_and_make_exhaustive_are_all_tests():
    assert pytest_selections("exhaustive") == ["exhaustive"]
    assert pytest_selections("test") == ["not very_slow and not exhaustive", "very_slow and not exhaustive"]


def pytest_selections(target):
    """The -m of each pytest that a target of the Makefile runs."""
    makefile = (Path(__file__).resolve().parents[2] / "Makefile").read_text()
    recipe = re.search(rf"^{target}:.*\n((?:\t.*\n)*)", makefile, re.MULTILINE)[1]
    return [words[words.index("-m") + 1] for words in map(shlex.split, recipe.splitlines())]
