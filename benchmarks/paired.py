"""Ways of doing the same thing, timed by turns, so that whatever else the machine does falls on all of them alike."""

import time

import numpy as np
import torch


def alternate(ways, rounds, progress=False):
    """Runs `{name: function}` once to warm up and then `rounds` times, each round in the other order.

    progress  whether to print a line before each round

    Returns `{name: (rounds, 2)}`: seconds on the wall and seconds of processor time, all threads together.
    """
    taken = {name: [] for name in ways}
    for turn in range(rounds + 1):
        if progress:
            print(f"round {turn} of {rounds}" if turn else "warming up", flush=True)
        for name in list(ways)[:: 1 if turn % 2 else -1]:
            seconds = _seconds(ways[name])
            if turn:
                taken[name].append(seconds)
    return {name: np.array(seconds) for name, seconds in taken.items()}


def ratio(taken, name, base):
    """`1.02 (1.00 to 1.05)`: median and quartiles over the rounds of the wall time of one way over another's."""
    low, middle, high = np.percentile(taken[name][:, 0] / taken[base][:, 0], (25, 50, 75))
    return f"{middle:.3f} x ({low:.3f} to {high:.3f})"


def processor_ratio(taken, name, base):
    """The same median for processor time, which other processes on the machine hardly change."""
    return f"{np.median(taken[name][:, 1] / taken[base][:, 1]):.3f} x"


def median_ratio(taken, name, base):
    """`1.02 (1.01 to 1.04)`: median ratio of processor time over the rounds, and its 95 % interval by the bootstrap."""
    ratios = taken[name][:, 1] / taken[base][:, 1]
    drawn = np.random.default_rng(0).choice(ratios, (10_000, len(ratios)))
    low, high = np.percentile(np.median(drawn, axis=1), (2.5, 97.5))
    return f"{np.median(ratios):.3f} ({low:.3f} to {high:.3f})"


def _seconds(way):
    wall, processor = time.perf_counter(), time.process_time()
    way()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - wall, time.process_time() - processor
