"""Permutation test of held-out predictions.

Thousands of permutations take only a few Fourier transforms, because the n circular shifts of one random order of n
images are n permutations. The correlations of all shifts are one cross-correlation, which takes n log n operations for
each voxel instead of n^2.

Shapes: n images, k whole blocks of images, V voxels, P permutations, R regions, v voxels of a chunk.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from brain_activity_prediction.inference.outer_folds import mean_of_permuted
from brain_activity_prediction.inference.permutations import different_cycles, n_different
from brain_activity_prediction.inference.resampling import ROUNDING, share_reaching
from brain_activity_prediction.ridge.scores import check_same_shape, standard_columns

# Number of voxels transformed together: on a CPU, as many as fit into its cache with 1000 images.
VOXELS_PER_CHUNK = {"cpu": 256, "cuda": 4096}


def permutation_p(
    observed: torch.Tensor,
    predicted: torch.Tensor,
    members: np.ndarray,
    n_permutations: int,
    block: int = 1,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Compute p (V,) of each voxel's r, and p (R,) of each region's mean r; see `permuted`."""
    p, region_r = permuted(observed, predicted, members, n_permutations, block, seed)
    return p, share_reaching(region_r)


def permuted(
    observed: torch.Tensor,
    predicted: torch.Tensor,
    members: np.ndarray,
    n_permutations: int,
    block: int = 1,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Compute p of each voxel's r, (V,), and each region's mean r, observed and permuted, (P + 1, R) float32.

    p is one-sided: the share of permutations of the images whose r is as high or higher. The identity counts as one of
    them, so that p is at least 1 / (P + 1) (Phipson & Smyth 2010). P is n_permutations, or k! - 1 if no more different
    permutations exist; the test then uses all of them. The last n % block images, which fill no block, are left out.

    All voxels share the permutations. Therefore the distribution of a region's mean includes the correlation between
    its voxels. The permutations depend only on the number of images and the seed, so that results of several
    predictions can be averaged permutation by permutation. They come from `shifted_orders` and are not independent.
    Nevertheless, p is as exact as with independent permutations, because the set of permutations has the same
    distribution relative to each of its members (Hemerik & Goeman 2018; Ramdas et al. 2023).

    The computation runs on the device of `observed`.

    observed, predicted  (n, V). A voxel with NaN gets NaN and is left out of all regions. A constant voxel has r 0, p 1
    members              (R, V) bool, the voxels of each region; a region without voxels gets NaN
    block                number of consecutive rows that are permuted together, for rows that depend on their
                         neighbours. Images in the order of their ids are not neighbours in time
    """
    check_same_shape(observed, predicted)
    n_images = len(observed) - len(observed) % block
    observed, predicted = observed[:n_images], predicted[:n_images]
    valid = (torch.isfinite(observed) & torch.isfinite(predicted)).all(dim=0)
    in_region = torch.from_numpy(members).to(valid.device) & valid
    orders, counted = (
        torch.from_numpy(drawn).to(valid.device) for drawn in shifted_orders(n_images, n_permutations, block, seed)
    )

    n_reaching = torch.zeros(len(valid), dtype=torch.int64, device=valid.device)
    region_r = observed.new_zeros((*counted.shape[:1], len(in_region), counted.shape[1]), dtype=torch.float32)
    voxels_per_chunk = VOXELS_PER_CHUNK[valid.device.type]
    for start in range(0, len(valid), voxels_per_chunk):
        chunk = slice(start, start + voxels_per_chunk)
        pair = (torch.where(valid[chunk], part[:, chunk], 0) for part in (observed, predicted))
        responses, predictions = (standard_columns(part).T.contiguous() for part in pair)  # (v, n)
        shares = in_region[:, chunk].to(torch.float32)
        for number, r in enumerate(_correlations(responses, predictions, orders, block)):
            if number == 0:
                reached = r[:, :1] - ROUNDING
            n_reaching[chunk] += ((r >= reached) & counted[number]).sum(dim=1)
            region_r[number] += shares @ r
    p = (n_reaching.to(torch.float64) / counted.sum()).masked_fill(~valid, torch.nan)
    region_r = region_r.movedim(1, 0) / in_region.sum(dim=1)[:, None, None]  # (R, orders, k)
    return p.cpu().numpy(), region_r[:, counted].T.cpu().numpy()


def permuted_over_folds(
    folds: Sequence[tuple[torch.Tensor, torch.Tensor]], n_permutations: int, block: int = 1, seed: int = 0
) -> np.ndarray:
    """Compute p (V,) of each voxel's mean r over outer folds. Images are permuted within each fold.

    See `permuted` for the permutations, and `outer_folds` for the factor that corrects for the dependence of folds.

    folds  observed responses and predictions of each fold's test images, (n, V) each. A voxel with NaN gets NaN
    """
    drawn, valid = [], torch.tensor(True)
    for observed, predicted in folds:
        check_same_shape(observed, predicted)
        orders = shifted_orders(len(observed), n_permutations, block, seed)
        drawn.append([torch.from_numpy(part).to(observed.device) for part in orders])
        valid = valid.to(observed.device) & (torch.isfinite(observed) & torch.isfinite(predicted)).all(dim=0)
    fewest = min(int(counted.sum()) for _, counted in drawn)
    p = np.full(len(valid), np.nan)
    for voxels in valid.nonzero().flatten().split(VOXELS_PER_CHUNK[valid.device.type]):
        of_folds = []
        for fold, (shifts, selected) in zip(folds, drawn, strict=True):
            n_images = shifts.shape[1]
            y, y_hat = (standard_columns(part[:n_images, voxels]).T.contiguous() for part in fold)  # (v, n)
            r = [r[:, selected[number]] for number, r in enumerate(_correlations(y, y_hat, shifts, block))]
            of_folds.append(torch.cat(r, dim=1)[:, :fewest].T.cpu().numpy())
        p[voxels.cpu().numpy()] = share_reaching(mean_of_permuted(of_folds))
    return p


def shifted_orders(n_images: int, n_permutations: int, block: int = 1, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw random orders of the k whole blocks of images, and select permutations among their circular shifts.

    Returns `orders` (m, k block), rows of images, no two of which are circular shifts of each other, and `counted`
    (m, k), which marks the selected shifts. Shift 0 of the first order is always selected. It is the identity, because
    responses are sorted in this order. P = min(n_permutations, k! - 1) other shifts are drawn without replacement.
    """
    rng = np.random.default_rng(seed)
    n_blocks = n_images // block
    n_permutations = n_different(n_blocks, n_permutations)
    blocks = different_cycles(n_blocks, -(-(n_permutations + 1) // n_blocks), rng)
    orders = (blocks[:, :, None] * block + np.arange(block)).reshape(len(blocks), -1)
    counted = np.zeros(blocks.size, dtype=bool)
    counted[np.append(0, 1 + rng.permutation(counted.size - 1)[:n_permutations])] = True
    return orders, counted.reshape(blocks.shape)


def _correlations(
    responses: torch.Tensor, predictions: torch.Tensor, orders: torch.Tensor, block: int
) -> Iterator[torch.Tensor]:
    """Yield the correlations (v, k) of each order at all its shifts. Responses keep the first order."""
    n_images = orders.shape[1]
    spectrum = torch.fft.rfft(responses[:, orders[0]] / n_images).conj_physical_()
    for order in orders:
        yield torch.fft.irfft(torch.fft.rfft(predictions[:, order]).mul_(spectrum), n=n_images)[:, ::block]
