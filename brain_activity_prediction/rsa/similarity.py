"""Similarity between layers and regions without a fit: RSA and centred kernel alignment (CKA).

The *geometry* of a representation is a matrix (n, n) with a value for each pair of images. Both measures are the cosine
between the off-diagonal entries of two geometries. They differ in the geometry:

- representational similarity analysis (Kriegeskorte et al. 2008): Spearman's correlation of the correlation distances,
  which is the cosine of their centred ranks;
- linear centred kernel alignment, debiased: the ratio of unbiased estimates of HSIC (Song et al. 2007). Each of these
  is the inner product of U-centred kernels (Szekely & Rizzo 2014). The biased estimate rises towards 1 with the number
  of features per image, even for noise (Murphy et al. 2024). The debiased one is 0 on average for unrelated
  representations, and can be negative.

Two representations are therefore compared by a dot product. To permute the images, the rows and columns of a geometry
are permuted.

Letters: n images, k features or voxels, L layers, R regions.
"""

import torch
from scipy.stats import rankdata

from brain_activity_prediction.inference.permutations import different_orders
from brain_activity_prediction.inference.resampling import ROUNDING

# Number of rows of a permuted geometry that are computed and compared at a time.
ROWS = 50


def distance_ranks(patterns):
    """Return the centred ranks (n, n), of length 1, of the correlation distances between the rows of patterns (n, k).

    Equal distances get their mean rank, and the diagonal is 0. The ranks are float32, on the device of `patterns`. If a
    row is constant, its distances are undefined, and all ranks are NaN. With one feature, every row is constant.
    """
    n_images = len(patterns)
    centred = patterns - patterns.mean(dim=1, keepdim=True, dtype=torch.float64)
    centred /= centred.norm(dim=1, keepdim=True)  # NaN for a constant row, which makes all ranks NaN
    rows, columns = torch.triu_indices(n_images, n_images, offset=1, device=patterns.device)
    # Equal distances, such as those of an image and its copy to a third image, may differ by rounding.
    distances = (1 - centred @ centred.T)[rows, columns].cpu().numpy().round(12)
    return _centred_ranks(distances, n_images, patterns.device)


def centred_kernel(patterns):
    """Compute the U-centred linear kernel (n, n) of the rows of patterns (n, k), scaled to length 1, float32.

    The cosine of two such kernels is the debiased linear CKA. The kernel is NaN if all rows are equal.
    """
    patterns = patterns.to(torch.float64)
    n_images = len(patterns)
    kernel = (patterns - patterns.mean(dim=0)) @ (patterns - patterns.mean(dim=0)).T
    kernel.fill_diagonal_(0)
    means = kernel.sum(dim=0) / (n_images - 2)
    centred = kernel - means - means[:, None] + kernel.sum() / ((n_images - 1) * (n_images - 2))
    return _unit(centred.fill_diagonal_(0))


MEASURES = {"rsa": distance_ranks, "cka": centred_kernel}


def geometries(representations):
    """Compute the geometries of L representations by each measure: `{measure: (L, n, n)}`.

    representations  patterns (n, k) of each representation, read one at a time; k may differ
    """
    found = {measure: [] for measure in MEASURES}
    for patterns in representations:
        for measure, geometry in MEASURES.items():
            found[measure].append(geometry(patterns))
    return {measure: torch.stack(matrices) for measure, matrices in found.items()}


def similarity(layers, regions):
    """Return the cosines (L, R), float64, between geometries of layers (L, n, n) and of regions (R, n, n)."""
    return (layers.flatten(1) @ regions.flatten(1).T).to(torch.float64)


def similarity_to_mean(own, others, measure):
    """Return the similarity (R,), float64, of one brain's geometries (R, n, n) to the mean geometries of other brains.

    This is the lower bound of the noise ceiling of Nili et al. 2014. For "rsa" the ranks of the other brains are
    averaged, and the averages are ranked again, as in rsatoolbox. For "cka", which rsatoolbox does not have, the
    kernels are averaged. A brain that lacks a region is left out of this region's mean. The result is NaN if all other
    brains lack the region.
    """
    others = torch.stack(others)
    there = ~others.isnan().flatten(2).any(dim=2)
    total = torch.where(there[..., None, None], others, 0).sum(dim=0)
    if measure == "rsa":
        total = torch.stack([_ranked_again(ranks) for ranks in total])
    total = total.flatten(1)
    cosine = torch.einsum("rp,rp->r", own.flatten(1), total).to(torch.float64) / total.norm(dim=1)
    return cosine.masked_fill(~there.any(dim=0), torch.nan)


def permutation_p(layers, regions, n_permutations, seed=0):
    """Return p values (L, R), float64: the share of permutations with at least the observed similarity.

    The images of the regions' geometries are permuted, in the same way for all pairs of layer and region. No
    permutation is used twice. With few images all permutations are used (`permutations.different_orders`). The observed
    order counts as a permutation, so that p is at least 1 / (n_permutations + 1). p is NaN if the similarity is NaN.
    """
    n_images = layers.shape[1]
    bands = [slice(start, start + ROWS) for start in range(0, n_images, ROWS)]
    upper = [_upper_band(layers, rows).flatten(1) for rows in bands]

    def permuted(order):
        # One band of rows at a time, so that it stays in the processor's cache, without entries left of the diagonal.
        moved = (regions[:, order[rows, None], order[rows.start :]].flatten(1) for rows in bands)
        return sum(band @ part.T for band, part in zip(upper, moved, strict=True))

    orders = different_orders(n_images, n_permutations, seed)
    observed, *others = (permuted(torch.from_numpy(order).to(layers.device)) for order in orders)
    as_high = sum(
        ((other >= observed - ROUNDING).to(torch.float64) for other in others), torch.ones_like(observed.double())
    )
    return (as_high / len(orders)).masked_fill(observed.isnan(), torch.nan)


def _upper_band(layers, rows):
    """Return a band of rows of symmetric matrices (L, n, n), from the first diagonal entry on: (L, rows, n - start).

    Entries to the right of the square on the diagonal are doubled, because they also count for their mirror images.
    """
    band = layers[:, rows, rows.start :].clone()
    band[:, :, band.shape[1] :] *= 2
    return band


def _ranked_again(summed):
    """Rank sums of centred ranks (n, n), and scale them to length 1. Sums that differ only by rounding get one rank."""
    n_images = len(summed)
    rows, columns = torch.triu_indices(n_images, n_images, offset=1, device=summed.device)
    n_pairs = len(rows)
    one_rank = (n_pairs * (n_pairs**2 - 1) / 12) ** -0.5
    sums = (summed[rows, columns].to(torch.float64) / one_rank).cpu().numpy().round(1)
    return _centred_ranks(sums, n_images, summed.device)


def _centred_ranks(values, n_images, device):
    """Rank the values of all pairs of images; return centred ranks of length 1, a symmetric matrix (n, n), float32."""
    rows, columns = torch.triu_indices(n_images, n_images, offset=1, device=device)
    ranks = torch.from_numpy(rankdata(values)).to(device)
    matrix = ranks.new_zeros(n_images, n_images)
    matrix[rows, columns] = matrix[columns, rows] = ranks - ranks.mean()
    return _unit(matrix)


def _unit(matrix):
    return (matrix / matrix.norm()).to(torch.float32)
