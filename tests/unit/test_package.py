"""The package as a library: its public names, and what importing it costs."""

import ast
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

import brain_activity_prediction

ROOT = Path(__file__).resolve().parents[2]


def test_importing_the_package_imports_no_library():
    code = "import sys; before = set(sys.modules); import brain_activity_prediction; print(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    libraries = {name.split(".")[0] for name in done.stdout.split()} - sys.stdlib_module_names
    assert libraries == {"brain_activity_prediction"}


def test_the_public_names_are_those_of_their_modules_and_are_listed():
    everything = {}
    exec("from brain_activity_prediction import *", everything)
    for name in brain_activity_prediction.__all__:
        found = everything[name]
        assert found is getattr(sys.modules[found.__module__], name)
        assert name in dir(brain_activity_prediction)
    assert callable(brain_activity_prediction.noise_ceiling)


def test_type_checkers_see_every_public_name_where_it_is_defined():
    source = Path(brain_activity_prediction.__file__)
    (block,) = (node for node in ast.parse(source.read_text()).body if isinstance(node, ast.If) and node.orelse)
    assert ast.unparse(block.test) == "TYPE_CHECKING"
    seen = {alias.name: statement.module for statement in block.body for alias in statement.names}
    defined = brain_activity_prediction._DEFINED_IN.items()
    assert seen == {name: f"brain_activity_prediction.{module}" for name, module in defined}
    assert sorted(seen) == sorted(brain_activity_prediction.__all__)
    assert source.with_name("py.typed").is_file()


def test_the_site_documents_the_public_names_and_no_others_under_the_package():
    page = (ROOT / "docs" / "solver.md").read_text()
    documented = re.findall(r"auto(?:function|class):: brain_activity_prediction\.(\w+)$", page, re.MULTILINE)
    assert sorted(documented) == sorted(brain_activity_prediction.__all__)


def test_a_name_that_there_is_not_is_said_as_python_says_it():
    with pytest.raises(AttributeError, match="module 'brain_activity_prediction' has no attribute 'VoxelRidge'"):
        _ = brain_activity_prediction.VoxelRidge
    with pytest.raises(ImportError, match="cannot import name 'VoxelRidge'"):
        from brain_activity_prediction import VoxelRidge  # noqa: F401


def test_every_tested_version_installs_with_the_oldest_python_that_is_promised():
    oldest = re.search(r"python_requires = >=(.*)", (ROOT / "setup.cfg").read_text())[1] + ".0"
    refused = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        name = line.partition("==")[0].strip()
        if not name or name.startswith("#"):
            continue
        try:
            needs = metadata(name)["Requires-Python"] or ""
        except PackageNotFoundError:  # of another system
            continue
        if not SpecifierSet(needs).contains(oldest):
            refused[name] = needs
    assert refused == {}
