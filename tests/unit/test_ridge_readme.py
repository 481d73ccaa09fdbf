"""The README of the solver says what the solver does."""

import doctest
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import brain_activity_prediction
from brain_activity_prediction import BandedRidgeCV, VoxelwiseRidgeCV
from brain_activity_prediction.ridge.solver.cross_validation import TOLERANCE

RIDGE = Path(brain_activity_prediction.__file__).with_name("ridge")
README = (RIDGE / "README.md").read_text()


@pytest.mark.filterwarnings("ignore:of .* targets .* chose the")
def test_the_examples_run_and_print_what_they_fit(capsys):
    names = {}
    for example in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        exec(example, names)
    shape, r2, weights = re.fullmatch(r"(\(.*\)) (.*)\n(\{.*\})\n", capsys.readouterr().out).groups()
    assert shape == "(1000,)"
    assert float(r2) > 0.4
    assert "edges" in weights
    assert names["banded"].best_weightings_.sum(axis=1) == pytest.approx(np.ones(1000))


@pytest.mark.filterwarnings("ignore:of .* targets .* chose the")
@pytest.mark.parametrize("estimator", [VoxelwiseRidgeCV, BandedRidgeCV])
def test_the_example_of_an_estimator_gives_what_its_docstring_shows(estimator):
    (example,) = doctest.DocTestFinder(recurse=False).find(estimator)
    assert example.examples
    assert doctest.DocTestRunner().run(example).failed == 0


def test_it_names_every_library_that_the_solver_imports():
    imported = set()
    for path in RIDGE.rglob("*.py"):
        imported |= set(re.findall(r"^(?:from|import) (\w+)", path.read_text(), re.MULTILINE))
    named = {"torch": "PyTorch", "numpy": "NumPy", "scipy": "SciPy", "sklearn": "scikit-learn"}
    for library in imported - {"brain_activity_prediction"}:
        if library not in sys.stdlib_module_names:
            assert named.get(library, library) in README


def test_the_bounds_are_those_of_the_code():
    bounds = [f"{bound:g}".replace("e-0", "e-") for bound in TOLERANCE.values()]
    assert f"{bounds[0]} in\n  float32 and {bounds[1]} in float64" in README


def test_it_is_one_page():
    assert len(README.splitlines()) < 80
