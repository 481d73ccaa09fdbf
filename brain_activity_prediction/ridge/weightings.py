"""Candidate weights of feature spaces for banded ridge.

B spaces, numbered from 0; a combination of them is an ascending tuple; G weightings.
"""

import itertools
from typing import TypeAlias

import numpy as np

# A space's weight relative to the largest one: two decades in steps of half of one.
GRID = 10.0 ** np.arange(0, -2.5, -0.5)
# Concentrations of the Dirichlet distributions drawn from by turns, sparse and even, as in himalaya.
CONCENTRATIONS = (0.1, 1.0)

Combination: TypeAlias = tuple[int, ...]


def combinations(n_spaces: int) -> list[Combination]:
    """List all combinations of one or more spaces, the smaller ones first."""
    return [chosen for size in range(1, n_spaces + 1) for chosen in itertools.combinations(range(n_spaces), size)]


def weighting_grid(n_spaces: int) -> np.ndarray:
    """List weights (G, B) that sum to one: in each combination of spaces, each at every step of GRID below the largest.

    1 weighting for each space alone, 9 more for each pair, 61 for each triple, 369 for each four.
    """
    weightings = []
    for chosen in combinations(n_spaces):
        for relative in itertools.product(GRID, repeat=len(chosen)):
            if max(relative) == GRID[0]:
                weightings.append(np.zeros(n_spaces))
                weightings[-1][list(chosen)] = np.divide(relative, sum(relative))
    return np.stack(weightings)


def random_weightings(n_spaces: int, n_draws: int, seed: int | None) -> np.ndarray:
    """Draw weights (G, B) that sum to one: each space alone, and `n_draws` for each combination of two or more spaces.

    The first draw of a combination is equal weights, the others come from symmetric Dirichlet distributions.
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
