"""Measure the statistics of one layer at full size: permutation test and bootstrap of 15,724 voxels and 80 regions.

    python benchmarks/significance.py [--images 1000] [--device cuda]

Beside them the plain way to permute: images of the predictions reordered in memory, one permutation after the other.
Seconds on the wall and of processor time; each once, after a warm-up on a tenth of the voxels.
"""

import argparse
import time

import numpy as np
import torch

from brain_activity_prediction.inference.bootstrap import bootstrap_region_r
from brain_activity_prediction.inference.significance import permutation_p
from brain_activity_prediction.ridge.scores import standard_columns

N_VOXELS, N_REGIONS, REGION_SIZE = 15724, 80, 400
VOXELS_PER_CHUNK = 512  # of the plain way: 1000 images of them fit into a cache


def plain_permutation_p(observed, predicted, n_permutations):
    """p (V,) of each voxel's r, the images of `predicted` (n, V) reordered for each permutation."""
    rng = np.random.default_rng(0)
    orders = [torch.from_numpy(rng.permutation(len(observed))).to(observed.device) for _ in range(n_permutations)]
    p = []
    for start in range(0, observed.shape[1], VOXELS_PER_CHUNK):
        chunk = slice(start, start + VOXELS_PER_CHUNK)
        x, y = (standard_columns(part[:, chunk]) / len(part) ** 0.5 for part in (observed, predicted))
        r = (x * y).sum(dim=0)
        p.append((1 + sum(((x * y[order]).sum(dim=0) >= r).double() for order in orders)) / (n_permutations + 1))
    return torch.cat(p)


def seconds(function, *arguments):
    """Seconds on the wall and of processor time."""
    wall, processor = time.perf_counter(), time.process_time()
    function(*arguments)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - wall, time.process_time() - processor


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1000, help="test images")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    observed, predicted = (
        torch.from_numpy(rng.standard_normal((arguments.images, N_VOXELS), dtype=np.float32)).to(arguments.device)
        for _ in range(2)
    )
    members = np.stack(
        [np.isin(np.arange(N_VOXELS), rng.permutation(N_VOXELS)[:REGION_SIZE]) for _ in range(N_REGIONS)]
    )
    ways = {
        "999 permutations": (permutation_p, observed, predicted, members, 999),
        "9,999 permutations": (permutation_p, observed, predicted, members, 9999),
        "999 permutations of blocks of 10": (permutation_p, observed, predicted, members, 999, 10),
        "99 permutations, the plain way, voxels only": (plain_permutation_p, observed, predicted, 99),
        "999 resamples": (bootstrap_region_r, observed, predicted, members, 999),
    }
    permutation_p(observed[:, : N_VOXELS // 10], predicted[:, : N_VOXELS // 10], members[:, : N_VOXELS // 10], 99)
    print(f"{arguments.images} images, {N_VOXELS} voxels, {N_REGIONS} regions, {arguments.device}")
    print("| what | s on the wall | s of processor time |\n| --- | ---: | ---: |")
    for name, call in ways.items():
        wall, processor = seconds(*call)
        print(f"| {name} | {wall:.2f} | {processor:.2f} |", flush=True)


if __name__ == "__main__":
    main()
