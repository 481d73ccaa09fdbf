"""Z-score sessions of single trials, and average the trials of each image over sessions that arrive one at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from brain_activity_prediction.datasets.response_cache import Arrays
from brain_activity_prediction.datasets.valid_trials import MissingTrials

BLOCK_VOXELS = 4096  # voxels scaled at once, so that a block of NSD's trials nearly fits the processor's cache
RESAMPLED_GROUPS = 100  # number of resampling groups that share all images outside the test set


def copied_into(trials: np.ndarray, sessions: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield sessions (trials_per_session, n_voxels) unchanged, and copy each into its rows of `trials`."""
    first = 0
    for session in sessions:
        trials[first : first + len(session)] = session
        first += len(session)
        yield session
        del session  # before the next one is read


def zscore_session(betas: np.ndarray) -> np.ndarray:
    """Bring each voxel (column) of one session to mean 0 and SD 1 over its trials, in place; return `betas`.

    The SD is the population's (divided by n), as in scipy.stats.zscore. A voxel that never changes becomes 0. Values
    that are not finite become NaN and are left out of mean and SD. A voxel with a single finite value becomes NaN in
    all trials.
    """
    for first in range(0, betas.shape[1], BLOCK_VOXELS):
        _zscore(betas[:, first : first + BLOCK_VOXELS])
    return betas


def _zscore(betas: np.ndarray) -> None:
    """Z-score a block of voxels in place, as described in `zscore_session`."""
    low, high = betas.min(axis=0), betas.max(axis=0)
    with_gaps = np.flatnonzero(~(np.isfinite(low) & np.isfinite(high)))
    gaps = betas[:, with_gaps]
    with np.errstate(invalid="ignore", divide="ignore"):
        betas -= betas.mean(axis=0, dtype=np.float64)
        sd = np.sqrt(np.square(betas).mean(axis=0, dtype=np.float64))
        betas /= sd
    betas[:, low == high] = 0  # exact 0 for constant voxels: rounding may keep their computed SD above 0
    for voxel, trials in zip(with_gaps, gaps.T, strict=True):
        valid = np.isfinite(trials)
        betas[:, voxel] = np.nan
        if np.count_nonzero(valid) > 1:
            betas[valid, voxel] = zscore_session(trials[valid, None])[:, 0]


def average_repeats(sessions: Iterable[np.ndarray], trial_ids: np.ndarray, test_ids: npt.ArrayLike = ()) -> Arrays:
    """Average the trials of each image over sessions that arrive one at a time.

    sessions   iterable of (trials_per_session, n_voxels) arrays
    trial_ids  image numbers of all their trials in order, (n_trials,)
    test_ids   ids of the test images, each of which becomes a resampling group of its own (`resampling_groups`)

    Values that are not finite are left out of the averages, and are set to 0 in the arrays of `sessions`.

    Returns a dict with the array fields of `Responses` (except units and split), and `voxels_by_session`, the number
    of voxels that lack trials in each session.
    """
    image_ids, image_of_trial, n_repeats = np.unique(trial_ids, return_inverse=True, return_counts=True)
    groups = resampling_groups(image_ids, test_ids)
    sums = squares = np.empty((0, 0), dtype=np.float32)
    first, missing = 0, MissingTrials(image_ids.size)
    for session in sessions:
        images = image_of_trial[first : first + len(session)]
        missing.set_aside(session, images)
        if not first:
            sums = np.zeros((image_ids.size, session.shape[1]), dtype=np.float32)
            squares = np.zeros((groups.max() + 1, session.shape[1]), dtype=np.float32)
        for row, place in zip(images, range(len(session)), strict=True):
            sums[row] += session[place]
            squares[groups[row]] += np.square(session[place])
        first += len(session)
        del session  # before the next one is read
    incomplete, valid_repeats = missing.valid_repeats(n_repeats)
    # sum over trials of (x - image mean)^2 = sum of x^2 - sum over images of (sum of x)^2 / n
    repeats = np.ones(sums.shape[1], dtype=sums.dtype)
    for row, (group, n) in enumerate(zip(groups, n_repeats, strict=True)):
        repeats[:] = n
        repeats[incomplete] = np.maximum(valid_repeats[row], 1)
        squares[group] -= np.square(sums[row]) / repeats
        sums[row] /= repeats
    sums[:, incomplete] = np.where(valid_repeats, sums[:, incomplete], np.nan)
    return {
        **{"image_ids": image_ids, "n_repeats": n_repeats, "betas": sums},
        **{"within_image_ss": np.maximum(squares, 0, out=squares), "image_groups": groups},
        **{"incomplete": incomplete, "valid_repeats": valid_repeats},
        "voxels_by_session": np.array(missing.voxels_by_session),
    }


def resampling_groups(image_ids: np.ndarray, test_ids: npt.ArrayLike) -> np.ndarray:
    """Return the resampling group (n_images,) of each image, counted from 0.

    Each test image is a group of its own. All other images share RESAMPLED_GROUPS groups, because the sums that
    resampling needs then take about a tenth of the memory of the betas.
    """
    alone = np.isin(image_ids, test_ids)
    n_alone = np.count_nonzero(alone)
    groups = np.empty(len(image_ids), dtype=int)
    groups[alone] = np.arange(n_alone)
    groups[~alone] = n_alone + np.arange(len(image_ids) - n_alone) % RESAMPLED_GROUPS
    return groups
