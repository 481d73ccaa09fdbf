"""Few alphas stand for all of a grid, within the stated bound."""

import itertools

import numpy as np
import pytest

from brain_activity_prediction.ridge.solver.alpha_interpolation import (
    PANEL_OVERHEAD,
    alpha_nodes,
    shrinkage,
    spectral_blocks,
)

GRID = np.logspace(1, 4, 60)


@pytest.mark.parametrize("smallest_eigenvalue", [0.0, 30.0, 1e3])
@pytest.mark.parametrize("tolerance", [1e-5, 1e-8])
@pytest.mark.parametrize("grid", [GRID, np.logspace(-1, 6, 60), np.logspace(-5, 10, 60), GRID[:1], GRID[:2]])
def test_the_error_stays_within_its_bound_for_every_eigenvalue(grid, tolerance, smallest_eigenvalue):
    nodes = alpha_nodes(grid, tolerance, smallest_eigenvalue)
    s = np.concatenate([[smallest_eigenvalue], smallest_eigenvalue + np.geomspace(1e-9, 1e15, 20_000)])[:, None]
    error = (1 / (s + nodes.nodes)) @ nodes.weights - 1 / (s + grid)
    assert (np.abs(error) * (s + grid[0])).max() <= 1.5 * tolerance  # between the sampled eigenvalues, a little more
    np.testing.assert_allclose(nodes.weights.sum(axis=0), 1, atol=1e-12)
    assert set(nodes.nodes) <= set(grid)


def test_a_relative_bound_holds_at_the_largest_alpha_too():
    nodes = alpha_nodes(GRID, 1e-5, relative=True)
    s = np.geomspace(1e-3, 1e9, 20_000)[:, None]
    error = (1 / (s + nodes.nodes)) @ nodes.weights - 1 / (s + GRID)
    assert (np.abs(error) * (s + GRID)).max() <= 1.5e-5
    assert len(nodes.nodes) <= 18


def test_sixty_alphas_are_fourteen_and_fewer_above_a_floor():
    assert len(alpha_nodes(GRID, 1e-5).nodes) <= 14
    assert len(alpha_nodes(GRID, 1e-5, smallest_eigenvalue=100.0).nodes) <= 11


@pytest.mark.parametrize("tolerance", [3e-6, 1e-12])
def test_blocks_of_the_spectrum_rebuild_every_filter_with_less_work(tolerance):
    s = np.sort(1e6 * np.arange(1, 1281) ** -1.0)
    nodes = alpha_nodes(GRID, 1e-5).nodes
    blocks = spectral_blocks(s, nodes, tolerance)
    rebuilt = np.concatenate([block.mixing @ block.shapes for block in blocks], axis=1)
    np.testing.assert_allclose(rebuilt, shrinkage(s, nodes, nodes[0]), rtol=0, atol=tolerance)
    assert sum(block.shapes.size for block in blocks) < 0.8 * len(nodes) * len(s)


@pytest.mark.parametrize("tolerance", [3e-6, 1e-12])
def test_no_two_blocks_take_fewer_operations_as_one_and_no_equal_blocks_far_fewer(tolerance):
    s, nodes = np.sort(1e6 * np.arange(1, 641) ** -1.0), alpha_nodes(GRID, 1e-5).nodes
    filters = shrinkage(s, nodes, nodes[0])

    def rank(values):
        left, singular, right = np.linalg.svd(values, full_matrices=False)
        errors = [np.abs((left[:, :r] * singular[:r]) @ right[:r] - values).max() for r in range(1, len(singular) + 1)]
        return 1 + next((r for r, error in enumerate(errors) if error <= tolerance), len(errors) - 1)

    def operations(blocks):
        return sum(rank(filters[:, block]) * (len(s[block]) + PANEL_OVERHEAD) for block in blocks)

    found = [block.columns for block in spectral_blocks(s, nodes, tolerance)]
    for first, second in itertools.pairwise(found):
        assert operations([slice(first.start, second.stop)]) >= operations([first, second])
    edges = [np.linspace(0, len(s), count + 1).round().astype(int) for count in range(1, 17)]
    fewest = min(operations([slice(*pair) for pair in itertools.pairwise(edge)]) for edge in edges)
    assert operations(found) <= 1.05 * fewest
    assert len(found) > 2
    blocks = spectral_blocks(s, nodes, tolerance)
    assert [len(block.shapes) for block in blocks] == [rank(filters[:, columns]) for columns in found]


@pytest.mark.parametrize("n_eigenvalues", [1, 2, 5])
def test_equal_eigenvalues_are_one_block(n_eigenvalues):
    s, nodes = np.full(n_eigenvalues, 100.0), alpha_nodes(GRID, 1e-5).nodes
    (block,) = spectral_blocks(s, nodes, 1e-8)
    np.testing.assert_allclose(block.mixing @ block.shapes, shrinkage(s, nodes, nodes[0]), rtol=0, atol=1e-8)


def test_a_nodes_filter_is_relative_to_that_of_the_smallest_alpha():
    s = np.array([0, 3, 1e5])
    np.testing.assert_allclose(shrinkage(s, GRID, GRID[0]), (s + GRID[0]) / (s + GRID[:, None]), rtol=1e-12)


def test_the_column_of_an_intercept_is_not_shrunk():
    assert shrinkage([np.inf], GRID, GRID[0]).tolist() == [[1.0]] * len(GRID)
