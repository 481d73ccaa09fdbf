"""What users pass to the solver is taken as it was meant, or refused in one line that names it."""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import torch
from every_alpha import GRID, simulate

import brain_activity_prediction
from brain_activity_prediction.inference.bootstrap import bootstrap_region_r
from brain_activity_prediction.inference.significance import permuted
from brain_activity_prediction.ridge import RidgeInputError
from brain_activity_prediction.ridge.banded import FeatureSpaces
from brain_activity_prediction.ridge.ridge_cv import ridge_cv
from brain_activity_prediction.ridge.scores import pearson_r, r2_score
from brain_activity_prediction.runtime.running import run_script

X, Y = simulate(60, 12, 4)
masked = np.ma.masked_greater


@pytest.mark.parametrize(
    "convert",
    [
        lambda values: values.astype(">f8"),
        lambda values: values.astype(np.longdouble),
        lambda values: np.ma.array(values),
        lambda values: values.tolist(),
        lambda values: np.asfortranarray(values)[::-1][::-1],
    ],
    ids=["big-endian", "long double", "nothing masked", "lists", "strides"],
)
def test_arrays_of_any_layout_give_the_same_fit(convert):
    expected = ridge_cv(X, Y, GRID, fit_intercept=False)
    fit = ridge_cv(convert(X), convert(Y), GRID, fit_intercept=False)
    assert torch.equal(fit.cv_score, expected.cv_score)
    assert torch.equal(fit.predict(convert(X)), expected.predict(X))


def test_whole_numbers_that_float32_does_not_hold_are_computed_in_float64():
    counts = np.rint(1e9 * X).astype(np.int64)
    expected = ridge_cv(counts.astype(float), Y, 1e18 * GRID, fit_intercept=False)
    assert torch.equal(ridge_cv(counts, Y, 1e18 * GRID, fit_intercept=False).cv_score, expected.cv_score)
    assert (
        ridge_cv(torch.from_numpy(counts), Y.astype(np.float32), GRID, fit_intercept=False).loadings.dtype
        == torch.float64
    )
    assert (
        ridge_cv(X.astype(np.float32), (10 * Y).astype(np.int16), GRID, fit_intercept=False).response_means.dtype
        == torch.float32
    )


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"X": X + 0j}, "X is ndarray of complex128: give an array of real numbers"),
        ({"X": torch.from_numpy(X) + 0j}, "X is a tensor of torch.complex128"),
        ({"X": torch.from_numpy(X).to_sparse()}, "X is a tensor of torch.float64, torch.sparse_coo"),
        ({"X": scipy.sparse.csr_array(X)}, "X is csr_array of object"),
        ({"Y": masked(Y, 1)}, rf"Y has {(Y > 1).sum()} masked values: drop or fill them"),
        ({"Y": np.full(Y.shape, "1")}, "Y is ndarray of <U1"),
        ({"Y": torch.from_numpy(Y).requires_grad_()}, r"Y requires gradients, .*: give Y.detach\(\)"),
        ({"alphas": "ten"}, "alphas must be a list of positive numbers"),
        ({"alphas": np.ones((2, 2))}, "alphas must be a list of positive numbers"),
        ({"folds": True}, "folds True is neither a number of folds nor a list"),
        ({"folds": 5.0}, "folds 5.0 is neither"),
        ({"criterion": ["r2"]}, r"criterion \['r2'\] is unknown"),
        ({"voxels_per_chunk": 0}, "voxels_per_chunk 0 is not a positive whole number"),
        ({"voxels_per_chunk": True}, "voxels_per_chunk True is not"),
    ],
)
def test_what_the_ridge_cannot_take_is_named(changed, message):
    with pytest.raises(ValueError, match=f"^{message}") as raised:
        ridge_cv(**{"X": X, "Y": Y, "alphas": GRID} | changed)
    assert isinstance(raised.value, RidgeInputError)


def test_new_features_are_held_to_the_same_rules():
    fit = ridge_cv(X, Y, GRID, fit_intercept=False)
    with pytest.raises(RidgeInputError, match=r"X \(12,\) is not \(images, features\)"):
        fit.predict(X[0])
    with pytest.raises(RidgeInputError, match=r"X has .* masked values"):
        fit.predict(masked(X, 1))


@pytest.mark.parametrize("criterion", ["r2", "correlation"])
def test_folds_of_one_image_are_refused_where_they_give_no_score(criterion):
    message = f"fold 1 holds out one image, but {criterion} needs two or more: .* criterion 'neg_mean_squared_error'"
    for folds in ([[0, 1], [2]], [[0, 3], slice_of_one()]):
        with pytest.raises(RidgeInputError, match=message):
            ridge_cv(X, Y, GRID, folds=folds, criterion=criterion, fit_intercept=False)
    ridge_cv(X, Y, GRID, folds=[[0, 1], [2]], fit_intercept=False)


def slice_of_one():
    return np.arange(60) == 7


def test_folds_may_be_boolean_masks():
    rows = [np.arange(0, 60, 2), np.arange(1, 60, 2)]
    expected = ridge_cv(X, Y, GRID, folds=rows, fit_intercept=False)
    found = ridge_cv(X, Y, GRID, folds=[np.isin(np.arange(60), fold) for fold in rows], fit_intercept=False)
    assert torch.equal(found.cv_score, expected.cv_score)
    with pytest.raises(RidgeInputError, match="fold 0 is not a list of distinct row numbers"):
        ridge_cv(X, Y, GRID, folds=[np.ones(59, dtype=bool), rows[0]], fit_intercept=False)


@pytest.mark.parametrize("score", [pearson_r, r2_score])
@pytest.mark.parametrize(
    ("left", "right"), [((60,), (60, 1)), ((60, 1), (60,)), ((60, 4), (60, 1)), ((60, 4), (59, 4)), ((4,), (60, 4))]
)
def test_responses_and_predictions_of_different_shapes_are_never_broadcast(score, left, right):
    for kind in (np.ones, torch.ones):
        shapes = re.escape(f"responses {left} and predictions {right} have different shapes")
        with pytest.raises(ValueError, match=shapes):
            score(kind(left), kind(right))


@pytest.mark.parametrize("test", [permuted, bootstrap_region_r])
def test_statistics_of_responses_and_predictions_of_different_shapes_are_refused(test):
    with pytest.raises(ValueError, match=r"responses \(60, 4\) and predictions \(60, 1\) have different shapes"):
        test(torch.from_numpy(Y), torch.from_numpy(Y[:, :1]), np.ones((1, 4), dtype=bool), 19)


@pytest.mark.parametrize(
    ("weighting", "message"),
    [
        ([1.0], r"weighting \(1,\) does not have a weight for each of 2 spaces"),
        ([0.5, 1.5], "with sum 1"),
        ([-1.0, 2.0], "weights must be 0 or more"),
        ([np.nan, 1.0], "weights must be 0 or more"),
        ([0.0, 0.0], "with sum 1"),
    ],
)
def test_a_weighting_that_is_none_is_refused(weighting, message):
    spaces = FeatureSpaces.of([X[:, :5], X[:, 5:]], [X[:, :5], X[:, 5:]])
    with pytest.raises(RidgeInputError, match=message):
        spaces.fit(weighting, Y, GRID)


def test_feature_spaces_of_other_columns_than_those_of_the_new_images_are_refused():
    for new in ([X[:, :4], X[:, 5:]], [X[:, :5]], [X[:, 0], X[:, 5:]]):
        with pytest.raises(RidgeInputError, match="have different columns"):
            FeatureSpaces.of([X[:, :5], X[:, 5:]], new)


def test_no_message_to_the_user_is_caught_as_another_value_error():
    """Both InputErrors are ValueErrors: where one is raised and ValueErrors are caught, it must be let through."""
    for path in Path(brain_activity_prediction.__file__).parent.rglob("*.py"):
        for block in (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Try)):
            caught = [ast.unparse(handler.type or ast.Name("all")) for handler in block.handlers]
            raised = {
                ast.unparse(node) for part in block.body for node in ast.walk(part) if isinstance(node, ast.Raise)
            }
            if any(re.match(r"raise (Ridge)?InputError", statement) for statement in raised) and any(
                "ValueError" in c for c in caught
            ):
                assert "InputError" in caught[0], f"{path}, line {block.lineno}"


def test_a_script_says_in_one_line_what_the_solver_refuses(capsys):
    with pytest.raises(SystemExit, match="2"):
        run_script(lambda: ridge_cv(X, Y, folds=61))
    assert capsys.readouterr().err.endswith(": 61 folds of 60 images: use 2 to 60 folds\n")


def test_the_solver_works_without_the_rest_of_the_package(tmp_path):
    alone = tmp_path / "brain_activity_prediction"
    shutil.copytree(Path(brain_activity_prediction.__file__).parent / "ridge", alone / "ridge")
    (alone / "__init__.py").touch()
    program = """import numpy as np
from brain_activity_prediction.ridge.banded_estimator import BandedRidgeCV
from brain_activity_prediction.ridge.estimator import VoxelwiseRidgeCV
X = np.random.default_rng(0).standard_normal((50, 8))
print(BandedRidgeCV([0] * 4 + [1] * 4).fit(X, X).coef_.shape, VoxelwiseRidgeCV().fit(X, X).coef_.shape)
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "(8, 8) (8, 8)\n", done.stderr
