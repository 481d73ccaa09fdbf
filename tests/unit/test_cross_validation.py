"""Which rows a fold holds out, and by which of two formulas that give the same scores it is held out."""

import numpy as np
import pytest
import torch

from brain_activity_prediction.ridge import RidgeInputError
from brain_activity_prediction.ridge.solver.alpha_interpolation import alpha_nodes, spectral_blocks
from brain_activity_prediction.ridge.solver.cross_validation import (
    BLOCK_TOLERANCE,
    DECOMPOSITION,
    TOLERANCE,
    CrossValidation,
)
from brain_activity_prediction.ridge.solver.decomposition import decompose
from brain_activity_prediction.ridge.solver.folds import group_folds, held_out_rows


def test_a_number_of_folds_gives_contiguous_folds_the_first_ones_longer():
    assert held_out_rows(3, 10) == [slice(0, 4), slice(4, 7), slice(7, 10)]
    assert held_out_rows(np.int64(2), 2) == [slice(0, 1), slice(1, 2)]


def test_rows_of_a_fold_are_slices_if_contiguous_else_index_tensors():
    contiguous, other = held_out_rows([np.array([3, 4]), [0, 2]], 5)
    assert contiguous == slice(3, 5)
    assert torch.equal(other, torch.tensor([0, 2]))


def test_groups_are_folds_in_the_order_of_their_names():
    assert [rows.tolist() for rows in group_folds(["b", "a", "b", "c"])] == [[1], [0, 2], [3]]


@pytest.mark.parametrize(
    ("folds", "said"),
    [
        (1, "1 folds of 10 images: use 2 to 10 folds"),
        (11, "11 folds of 10 images: use 2 to 10 folds"),
        ([[0, 1], [1, 10]], r"fold 1 holds out 2 rows: give some, not all, of 0\.\.9"),
        ([[-1], [1]], r"fold 0 holds out 1 rows: give some, not all, of 0\.\.9"),
        ([[0], np.arange(10)], r"fold 1 holds out 10 rows: give some, not all, of 0\.\.9"),
        ([[0], np.empty(0, dtype=int)], r"fold 1 holds out 0 rows: give some, not all, of 0\.\.9"),
        ([[0, 0], [1]], "fold 0 is not a list of distinct row numbers: give the rows it holds out"),
        ([[0], [0.5]], "fold 1 is not a list of distinct row numbers: give the rows it holds out"),
        ([[0], [[1]]], "fold 1 is not a list of distinct row numbers: give the rows it holds out"),
        ([[0, 1]], "1 fold: cross-validation needs at least 2"),
    ],
)
def test_folds_of_no_use_are_refused(folds, said):
    with pytest.raises(RidgeInputError, match=f"^{said}$"):
        held_out_rows(folds, 10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("n_images", "n_features", "n_folds"), [(300, 100, 7), (400, 90, 3), (203, 40, 2)])
def test_a_fold_is_fitted_anew_where_enough_voxels_repay_its_decomposition(
    n_images, n_features, n_folds, dtype, monkeypatch
):
    monkeypatch.setitem(DECOMPOSITION, "cpu", 5000)
    alphas, X = np.logspace(1, 4, 60), np.random.default_rng(0).standard_normal((n_images, n_features))
    decomposition = decompose(torch.from_numpy(X), alphas[0])
    nodes = alpha_nodes(alphas, TOLERANCE[dtype])
    blocks = spectral_blocks(decomposition.spectrum.numpy(), nodes.nodes, BLOCK_TOLERANCE[dtype])
    n, R, P = n_images // n_folds, n_features, len(nodes.nodes)
    m, r = min(n, R), sum(len(block.shapes) * (block.columns.stop - block.columns.start) for block in blocks) / R
    saved_a_voxel = (r * n * R) + (P * n * n) - (n * R + R * R) - (n * m + r * (m * R - m * m / 2))
    more_a_fold = 5000 * R**3 - (2 * r * n * n * R + P * n**3)
    enough = more_a_fold / (2 * saved_a_voxel)
    assert enough > 1
    folds = CrossValidation(held_out_rows(n_folds, n_images), alphas, "neg_mean_squared_error", False)
    for n_voxels in (int(enough), int(enough) + 1):
        assert folds._refits_cost_less(decomposition, n_voxels, nodes, blocks) == (n_voxels > enough)
    for n_left, refits in ((R, True), (R - 1, False)):  # a fit needs as many images as features
        folds = CrossValidation([slice(0, n_images - n_left), slice(0, 1)], alphas, "neg_mean_squared_error", False)
        assert folds._refits_cost_less(decomposition, 10**9, nodes, blocks) == refits
