"""The tests themselves: each can fail."""

import ast
import re
from pathlib import Path

import pytest
from conftest import LONGEST

FILES = sorted(Path(__file__).parent.glob("test_*.py"))
RUNS_MODELS = re.compile(r"\btiny_(model|mplug|openflamingo)|^from forked import|\bwrite_(vit|llava)\(", re.MULTILINE)
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


def test_a_test_without_an_assertion_is_found():
    empty, nested = ast.parse("def test_a():\n    helper()\ndef helper():\n    assert run()").body
    assert not can_fail(empty, {})
    assert can_fail(empty, {"helper": nested})


def test_make_quick_leaves_out_files_that_are_there_and_all_that_run_models():
    makefile = (Path(__file__).resolve().parents[1] / "Makefile").read_text().replace("\\\n", " ")
    slow = {f"test_{name}.py" for name in re.search(r"^SLOW := (.*)$", makefile, re.MULTILINE)[1].split()}
    assert {*slow, *(f"test_{name}.py" for name in LONGEST)} <= {path.name for path in FILES}
    running_models = {path.name for path in FILES if RUNS_MODELS.search(path.read_text())} - {Path(__file__).name}
    assert "test_models.py" in running_models
    assert running_models <= slow
