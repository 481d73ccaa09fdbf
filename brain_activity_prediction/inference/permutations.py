"""Draw different permutations of images, or of blocks of images, for a test. If only few exist, use them all.

Shapes: n images, k whole blocks, P permutations without the identity.
"""

import itertools
import math

import numpy as np

FEWEST_BLOCKS = 4  # 3 blocks have only 6 orders: p could not be below .17
FEW_BLOCKS = 20


def n_different(n_blocks: int, n_permutations: int) -> int:
    """Return the requested number of permutations, but at most the number of other orders of the blocks."""
    return min(n_permutations, math.factorial(n_blocks) - 1)


def different_cycles(n_blocks: int, n_cycles: int, rng: np.random.Generator) -> np.ndarray:
    """Draw random orders (n_cycles, k), none a circular shift of another; at most (k - 1)!, which is all."""
    n_there_are = math.factorial(n_blocks - 1)
    if n_there_are <= 4 * n_cycles:
        rest = np.array(list(itertools.permutations(range(1, n_blocks))), dtype=int).reshape(n_there_are, -1)
        return np.pad(rest[rng.permutation(n_there_are)[:n_cycles]], ((0, 0), (1, 0)))
    cycles: dict[bytes, np.ndarray] = {}
    while len(cycles) < n_cycles:
        order = rng.permutation(n_blocks)
        cycles.setdefault(np.roll(order, -int(order.argmin())).tobytes(), order)
    return np.stack(list(cycles.values()))


def different_orders(n_images: int, n_permutations: int, seed: int = 0) -> np.ndarray:
    """Return the identity and P different random orders of the images, (P + 1, n), with P from `n_different`."""
    rng, identity = np.random.default_rng(seed), np.arange(n_images)
    n_orders = 1 + n_different(n_images, n_permutations)
    if math.factorial(n_images) <= 4 * n_orders:
        every = np.array(list(itertools.permutations(range(n_images))), dtype=int)  # the identity is the first
        return every[np.append(0, 1 + rng.permutation(len(every) - 1)[: n_orders - 1])]
    orders = {identity.tobytes(): identity}
    while len(orders) < n_orders:
        order = rng.permutation(n_images)
        orders.setdefault(order.tobytes(), order)
    return np.stack(list(orders.values()))
