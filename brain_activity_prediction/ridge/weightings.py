"""Generate candidate weights of feature spaces for banded ridge.

Shapes: B spaces, G weightings. Spaces are numbered from 0. A combination of spaces is an ascending tuple.
"""

import itertools
from typing import TypeAlias

import numpy as np

# Weights of a space relative to the largest weight: two decades in steps of half a decade.
GRID = 10.0 ** np.arange(0, -2.5, -0.5)
# Concentrations of the Dirichlet distributions, used in turn: sparse and even weights, as in himalaya.
CONCENTRATIONS = (0.1, 1.0)

Combination: TypeAlias = tuple[int, ...]


def combinations(n_spaces: int) -> list[Combination]:
    """List all combinations of one or more feature spaces, the smaller ones first."""
    return [chosen for size in range(1, n_spaces + 1) for chosen in itertools.combinations(range(n_spaces), size)]


def weighting_grid(n_spaces: int) -> np.ndarray:
    """List candidate weights (G, B) on a grid; each row has sum 1.

    In each combination of spaces, every space takes every value of GRID relative to the largest weight. This gives 1
    weighting for each single space, 9 for each pair, 61 for each triple, and 369 for each set of four.
    """
    weightings = []
    for chosen in combinations(n_spaces):
        for relative in itertools.product(GRID, repeat=len(chosen)):
            if max(relative) == GRID[0]:
                weightings.append(np.zeros(n_spaces))
                weightings[-1][list(chosen)] = np.divide(relative, sum(relative))
    return np.stack(weightings)


def random_weightings(n_spaces: int, n_draws: int, seed: int | None) -> np.ndarray:
    """Draw candidate weights (G, B) at random; each row has sum 1.

    There is one row for each single space, and `n_draws` rows for each combination of two or more spaces. The first row
    of a combination has equal weights. The other rows are drawn from symmetric Dirichlet distributions.
    """
    rng = np.random.default_rng(seed)
    weightings = []
    for chosen in combinations(n_spaces):
        for number in range(1 if len(chosen) == 1 else n_draws):
            concentration = CONCENTRATIONS[number % len(CONCENTRATIONS)]
            drawn = rng.dirichlet(np.full(len(chosen), concentration)) if number else 1 / len(chosen)
            weightings.append(np.zeros(n_spaces))
            weightings[-1][list(chosen)] = drawn
    return np.stack(weightings)
