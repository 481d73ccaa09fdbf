"""A package's place is taken while others are imported, and given back."""

import importlib
import sys

import pytest

from brain_activity_prediction.models.library_imports import without_compiler

USER = """
import heavy.tools
from heavy import disable
from heavy.tools import is_compile_supported as double
marked = disable(lambda: 3)
also_marked = disable(recursive=False)(lambda: 4)
"""


@pytest.fixture
def heavy(tmp_path, monkeypatch):
    (tmp_path / "heavy").mkdir()
    (tmp_path / "heavy" / "__init__.py").write_text("def disable(function):\n    raise AssertionError\n")
    (tmp_path / "heavy" / "tools.py").write_text("LIMIT = 7\n\n\ndef is_compile_supported(x):\n    return 2 * x\n")
    (tmp_path / "user_of_heavy.py").write_text(USER)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in [name for name in sys.modules if name.split(".")[0] in ("heavy", "user_of_heavy")]:
        del sys.modules[name]


def test_a_library_is_imported_without_the_package(heavy):
    with without_compiler("heavy"):
        user = importlib.import_module("user_of_heavy")
    assert not [name for name in sys.modules if name.split(".")[0] == "heavy"]
    assert user.marked() == 3
    assert user.also_marked() == 4


def test_a_function_of_the_package_loads_it_when_it_is_called(heavy):
    with without_compiler("heavy"):
        user = importlib.import_module("user_of_heavy")
    assert user.double(4) == 8
    assert sys.modules["heavy.tools"].is_compile_supported is not user.double
    assert user.heavy.tools.is_compile_supported(5) == 10


def test_a_call_during_the_imports_reaches_the_package_itself(heavy):
    with without_compiler("heavy"):
        user = importlib.import_module("user_of_heavy")
        assert user.double(4) == 8
    assert importlib.import_module("heavy.tools").is_compile_supported(3) == 6


def test_what_is_not_known_of_the_package_is_its_own(heavy):
    with without_compiler("heavy"):
        user = importlib.import_module("user_of_heavy")
        assert user.heavy.tools.LIMIT == 7


def test_a_package_that_is_loaded_stays_loaded(heavy):
    package = importlib.import_module("heavy")
    with without_compiler("heavy"):
        assert sys.modules["heavy"] is package
    assert sys.modules["heavy"] is package
