"""Do a layer and a region find the same images alike? Two measures that need no fit.

Both compare matrices (n, n) of all pairs of images, a representation's *geometry*, by the cosine of their off-diagonal
entries, so that a pair of representations is a dot product and a permutation of the images a permutation of rows and
columns:

- representational similarity analysis (Kriegeskorte et al. 2008): Spearman's correlation of the correlation distances,
  which is the cosine of their centred ranks;
- linear centred kernel alignment, debiased: the ratio of unbiased estimates of HSIC (Song et al. 2007), each being
  the inner product of U-centred kernels (Szekely & Rizzo 2014). Biased, it rises towards 1 with the number of features
  over images whatever they hold (Murphy et al. 2024); this one is near 0, or below, for unrelated representations.

n images, k features or voxels, L layers, R regions.
"""

import torch
from scipy.stats import rankdata

from brain_activity_prediction.inference.intervals import ROUNDING
from brain_activity_prediction.inference.permutations import different_orders

# Rows of a permuted geometry that are made and compared together.
ROWS = 50


def distance_ranks(patterns):
    """Centred ranks (n, n) of the correlation distances between the rows of patterns (n, k), of length 1.

    Equal distances share their mean rank; the diagonal is 0. float32 on the device of `patterns`. NaN throughout
    where a distance is not defined: a row that is constant, as every row of one feature is.
    """
    n_images = len(patterns)
    centred = patterns - patterns.mean(dim=1, keepdim=True, dtype=torch.float64)
    centred /= centred.norm(dim=1, keepdim=True)  # NaN for a constant row, and by it all ranks
    rows, columns = torch.triu_indices(n_images, n_images, offset=1, device=patterns.device)
    # Equal distances, as an image and its copy have to any other, differ by rounding errors.
    distances = (1 - centred @ centred.T)[rows, columns].cpu().numpy().round(12)
    return _centred_ranks(distances, n_images, patterns.device)


def centred_kernel(patterns):
    """The U-centred linear kernel (n, n) of the rows of patterns (n, k), of length 1, in float32 on their device.

    The cosine of two of them is the debiased linear CKA. NaN throughout where all rows are alike.
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
    """`{measure: (L, n, n)}` of an iterable of patterns (n, k), k differing between them, taken one at a time."""
    found = {measure: [] for measure in MEASURES}
    for patterns in representations:
        for measure, geometry in MEASURES.items():
            found[measure].append(geometry(patterns))
    return {measure: torch.stack(matrices) for measure, matrices in found.items()}


def similarity(layers, regions):
    """Cosines (L, R), float64, of the geometries (L, n, n) of layers and (R, n, n) of regions."""
    return (layers.flatten(1) @ regions.flatten(1).T).to(torch.float64)


def similarity_to_mean(own, others, measure):
    """Similarity (R,), float64, of own geometries (R, n, n) to the mean of those of others, a list of (R, n, n).

    Of one region in several brains this is the lower bound of the noise ceiling of Nili et al. 2014: what a model
    reaches that knows the other brains. For "rsa" their ranks are averaged, and the averages ranked once more, as in
    rsatoolbox; for "cka", which rsatoolbox does not have, their kernels are averaged. Others' NaN, of a region that
    they lack, are left out; NaN where all do.
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
    """The share of permutations of the images that make a layer and region as similar or more so, (L, R) float64.

    No permutation comes twice, and with few images all there are are taken (`permutations.different_orders`). The
    identity is one of them, so that no p is below 1 / (n_permutations + 1). All pairs share the permutations,
    which move the rows and columns of the regions' geometries. NaN where the similarity is.
    """
    n_images = layers.shape[1]
    bands = [slice(start, start + ROWS) for start in range(0, n_images, ROWS)]
    upper = [_upper_band(layers, rows).flatten(1) for rows in bands]

    def permuted(order):
        # A band at a time, which stays in the cache, and of each only what lies right of the diagonal.
        moved = (regions[:, order[rows, None], order[rows.start :]].flatten(1) for rows in bands)
        return sum(band @ part.T for band, part in zip(upper, moved, strict=True))

    orders = different_orders(n_images, n_permutations, seed)
    observed, *others = (permuted(torch.from_numpy(order).to(layers.device)) for order in orders)
    as_high = sum(
        ((other >= observed - ROUNDING).to(torch.float64) for other in others), torch.ones_like(observed.double())
    )
    return (as_high / len(orders)).masked_fill(observed.isnan(), torch.nan)


def _upper_band(layers, rows):
    """Rows of symmetric matrices (L, n, n) from their first diagonal entry on, (L, rows, n - start).

    Entries right of the band's own square are doubled: they stand for their mirror images too.
    """
    band = layers[:, rows, rows.start :].clone()
    band[:, :, band.shape[1] :] *= 2
    return band


def _ranked_again(summed):
    """Centred ranks (n, n), of length 1, of sums of such ranks; sums that rounding alone tells apart are equal."""
    n_images = len(summed)
    rows, columns = torch.triu_indices(n_images, n_images, offset=1, device=summed.device)
    n_pairs = len(rows)
    one_rank = (n_pairs * (n_pairs**2 - 1) / 12) ** -0.5
    sums = (summed[rows, columns].to(torch.float64) / one_rank).cpu().numpy().round(1)
    return _centred_ranks(sums, n_images, summed.device)


def _centred_ranks(values, n_images, device):
    """Centred ranks, of length 1, of a value a pair of images, as a symmetric matrix (n, n) in float32."""
    rows, columns = torch.triu_indices(n_images, n_images, offset=1, device=device)
    ranks = torch.from_numpy(rankdata(values)).to(device)
    matrix = ranks.new_zeros(n_images, n_images)
    matrix[rows, columns] = matrix[columns, rows] = ranks - ranks.mean()
    return _unit(matrix)


def _unit(matrix):
    return (matrix / matrix.norm()).to(torch.float32)
