"""Time of RSA and CKA at full size beside rsatoolbox: 1000 images, 41 layers of width 5120, 20 regions.

    python benchmarks/similarity.py

Seconds are those of the processor, on one thread. A permutation compares all pairs of a layer and a region once more;
in rsatoolbox a permutation is a comparison of permuted matrices, which its `compare` is timed for. One layer and one
region are drawn, their matrices repeated.
"""

import argparse
import time
import warnings

import torch

from brain_activity_prediction.rsa.similarity import MEASURES, permutation_p, similarity


def seconds(function):
    """Processor time of a call, and what it gave."""
    start = time.process_time()
    result = function()
    return time.process_time() - start, result


def time_ours(layer, region, n_layers, n_regions, n_permutations):
    for measure, geometry in MEASURES.items():
        (of_layer, one), (of_region, other) = (seconds(lambda x=x, g=geometry: g(x)) for x in (layer, region))
        pair = one.expand(n_layers, -1, -1).contiguous(), other.expand(n_regions, -1, -1).contiguous()
        all_pairs, _ = seconds(lambda pair=pair: similarity(*pair))
        few, _ = seconds(lambda pair=pair: permutation_p(*pair, 1))
        many, _ = seconds(lambda pair=pair: permutation_p(*pair, 1 + n_permutations))
        a_permutation = (many - few) / n_permutations
        print(f"| {measure} | {of_layer:.2f} | {of_region:.2f} | {all_pairs:.2f} | {a_permutation:.2f} |", flush=True)


def time_rsatoolbox(layer, region, n_layers, n_regions):
    from rsatoolbox.data import Dataset
    from rsatoolbox.rdm import calc_rdm, compare, concat

    (of_layer, one), (of_region, other) = (
        seconds(lambda x=x: calc_rdm(Dataset(x.numpy()), method="correlation")) for x in (layer, region)
    )
    all_pairs, _ = seconds(lambda: compare(concat([one] * n_layers), concat([other] * n_regions), "spearman"))
    print(f"| rsatoolbox, rsa | {of_layer:.2f} | {of_region:.2f} | {all_pairs:.2f} | {all_pairs:.2f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--width", type=int, default=5120)
    parser.add_argument("--voxels", type=int, default=1000)
    parser.add_argument("--layers", type=int, default=41)
    parser.add_argument("--regions", type=int, default=20)
    parser.add_argument("--permutations", type=int, default=10)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    generator = torch.Generator().manual_seed(0)
    layer, region = (torch.randn(arguments.images, k, generator=generator) for k in (arguments.width, arguments.voxels))
    print("| | a layer, s | a region, s | all pairs once, s | a permutation of all pairs, s |")
    print("| --- | --- | --- | --- | --- |")
    time_ours(layer, region, arguments.layers, arguments.regions, arguments.permutations)
    time_rsatoolbox(layer, region, arguments.layers, arguments.regions)


if __name__ == "__main__":
    main()
