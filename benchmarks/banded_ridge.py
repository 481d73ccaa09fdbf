"""Time and agreement of banded ridge beside himalaya's random searches over the same weightings.

    python benchmarks/banded_ridge.py

All candidates get the same two float32 feature spaces, weightings, 60 alphas in 10..10^4 and 5 contiguous folds,
choose weighting and alpha for each voxel, and predict 500 test images. himalaya runs with the batches of its own
examples. They run in one process by turns; seconds are those of the processor, on one thread.
"""

import argparse
import platform
import statistics
import sys
import warnings

import himalaya
import numpy as np
import torch
from himalaya.backend import set_backend
from himalaya.kernel_ridge import solve_multiple_kernel_ridge_random_search
from himalaya.ridge import solve_group_ridge_random_search
from paired import alternate
from ridge import ALPHAS, EXAMPLE_BATCHES, FOLDS, N_TEST, simulate
from torch.utils.flop_counter import FlopCounterMode

from brain_activity_prediction.ridge.banded import FeatureSpaces
from brain_activity_prediction.ridge.weightings import random_weightings

SIZES = ("900,256,2000", "900,1024,2000", "1800,512,4000", "1800,2048,4000")  # N, D of each space, V
N_WEIGHTINGS = 8


def fit_banded_ridge(X, Y, X_test, weightings):
    """Best weighting (V,), its score and the predictions of the test images."""
    spaces = FeatureSpaces.of(X, X_test)
    best_score, best, predictions = torch.full((Y.shape[1],), -torch.inf), torch.zeros(Y.shape[1]), None
    for number, weighting in enumerate(weightings):
        _, cv_score, predicted = spaces.fit(weighting, Y, ALPHAS, folds=FOLDS)
        better = cv_score.cpu() > best_score
        best_score, best = cv_score.cpu().where(better, best_score), best.masked_fill(better, number)
        predictions = predicted if predictions is None else predicted.where(better.to(predicted.device), predictions)
    return best, best_score, predictions.cpu()


def fit_kernels(X, Y, X_test, weightings):
    kernels = torch.stack([space @ space.T for space in X])
    deltas, weights, scores = solve_multiple_kernel_ridge_random_search(
        kernels, Y, return_weights="dual", **_himalayas(weightings)
    )
    crossed = torch.stack([new @ space.T for new, space in zip(X_test, X, strict=True)])
    predictions = sum((crossed[b] @ (deltas[b].exp() * weights)) for b in range(len(X)))
    return scores.argmax(dim=0), scores.amax(dim=0), predictions


def fit_groups(X, Y, X_test, weightings):
    _, weights, scores = solve_group_ridge_random_search(
        X, Y, return_weights=True, warn=False, **_himalayas(weightings)
    )
    return scores.argmax(dim=0), scores.amax(dim=0), torch.cat(X_test, dim=1) @ weights


def _himalayas(weightings):
    search = {"n_iter": torch.from_numpy(weightings), "alphas": torch.from_numpy(ALPHAS).float(), "cv": FOLDS}
    return search | EXAMPLE_BATCHES | {"progress_bar": False}


CANDIDATES = {
    "banded ridge": fit_banded_ridge,
    "himalaya, kernels": fit_kernels,
    "himalaya, features": fit_groups,
}


def two_spaces(n_images, n_features, n_voxels):
    """X, Y, X_test: two spaces that predict each voxel in different shares."""
    X, Y, X_test, _ = simulate(n_images, 2 * n_features, n_voxels, 1.0, "cpu")
    halves = (slice(0, n_features), slice(n_features, None))
    return [X[:, half].contiguous() for half in halves], Y, [X_test[:, half].contiguous() for half in halves]


def compare(size, rounds, names):
    """Print a table row a candidate: median seconds, ratio, and how its choices differ from the first candidate's."""
    set_backend("torch")
    data = two_spaces(*map(int, size.split(",")))
    weightings = random_weightings(2, N_WEIGHTINGS, seed=0)
    weightings = weightings[(weightings > 1e-6).all(axis=1)].astype(np.float32)  # himalaya divides by a weight of 0
    results, flops = {}, {}

    def way(name):
        def run():
            with FlopCounterMode(display=False) as counter:
                results[name] = CANDIDATES[name](*data, weightings)
            flops[name] = counter.get_total_flops()

        return run

    taken = alternate({name: way(name) for name in names}, rounds)
    ours = results[names[0]]
    for name in names:
        seconds = statistics.median(taken[name][:, 1])
        ratio = statistics.median(taken[name][:, 1] / taken[names[0]][:, 1])
        other = int((results[name][0] != ours[0]).sum())
        scores = float((results[name][1] - ours[1]).abs().max())
        predictions = float((results[name][2] - ours[2]).abs().median())
        print(
            f"| {size} | {name} | {seconds:.2f} | {ratio:.1f} | {flops[name]:.2g} | {other} | {scores:.1e} | "
            f"{predictions:.1e} |",
            flush=True,
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", default=SIZES, metavar="N,D,V")
    parser.add_argument("--candidates", nargs="+", default=list(CANDIDATES), choices=CANDIDATES)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    versions = f"torch {torch.__version__}, himalaya {himalaya.__version__}, {N_TEST} test images"
    print(f"{platform.machine()}, 1 thread, {versions}, Python {sys.version.split()[0]}\n")
    print(
        "| N,D,V | solver | seconds | x banded ridge | FLOP in products | other weighting | score by | prediction by |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for size in arguments.sizes:
        compare(size, arguments.rounds, arguments.candidates)


if __name__ == "__main__":
    main()
