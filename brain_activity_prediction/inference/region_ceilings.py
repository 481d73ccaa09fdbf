"""Compute which share of a region's explainable variance is explained, over all of its voxels.

Usually scores are divided by each voxel's noise ceiling, and voxels with a low ceiling are left out. This biases the
mean in regions with low ceilings, because the remaining voxels are those whose ceiling is overestimated. A ratio of two
means over all voxels needs no selection:

    explained = mean of r^2 - (1 - r^2) / (n - 2)
    ceiling   = mean of the noise ceiling, for which the signal variance may be negative
    score     = sign(explained) sqrt(|explained| / ceiling)

The term (1 - r^2) / (n - 2) is the part of r^2 that is expected by chance. Both means are unbiased, even in voxels
without signal. The sampling error of the ceiling is computed to first order from the influence of each group of images
(infinitesimal jackknife; Efron 1982).

Shapes: n test images, V voxels, R regions, G groups of images (the first n are the test images), B resamples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from brain_activity_prediction.inference.noise_ceiling import TrialSums, noise_of_averages, unclipped_ceiling
from brain_activity_prediction.inference.resampling import interval, resamples

FEWEST_ERRORS = 2  # a mean ceiling that is less than this many standard errors above 0 is not used
VOXELS_PER_CHUNK = 2048
SEED_OF_TRAINING_IMAGES = 1  # test images have the same resamples as scores, see `resamples`


class Ceilings(Protocol):
    """Mean noise ceilings of R regions, with their sampling error."""

    def known(self) -> np.ndarray: ...

    def standard_error(self) -> np.ndarray: ...

    def resampled(self, n_resamples: int) -> np.ndarray: ...


@dataclass(frozen=True)
class RegionCeilings:
    """Mean noise ceilings of regions over all their voxels, in units of R2.

    Attributes
    ----------
    regions : the result of `region_statistics.digests`, in the order of the R regions.
    voxels : (V,) noise ceiling, for which the signal variance may be negative; NaN for voxels that are in no region.
    n_images : (V,) number of test images of each voxel.
    mean : (R,) mean ceiling of each region.
    influence : (G, R) increase of the mean ceiling if a group of images had one more weight.
    """

    regions: Mapping[str, str]
    voxels: np.ndarray
    n_images: np.ndarray
    mean: np.ndarray
    influence: np.ndarray
    n_test_images: int

    ARRAYS = ("voxels", "n_images", "mean", "influence")

    def of(self, regions: Mapping[str, str]) -> RegionCeilings:
        """Return the ceilings of the given regions; NaN for regions that are missing or have other voxels."""
        places = {region: place for place, region in enumerate(self.regions.items())}
        columns = [places.get(region, len(places)) for region in regions.items()]
        mean = np.append(self.mean, np.nan)[columns]
        influence = np.pad(self.influence, ((0, 0), (0, 1)), constant_values=np.nan)[:, columns]
        return RegionCeilings(regions, self.voxels, self.n_images, mean, influence, self.n_test_images)

    def standard_error(self) -> np.ndarray:
        """Compute the standard error (R,) of each mean ceiling, over test images and groups of training images."""
        parts = np.split(self.influence, [self.n_test_images])
        return np.sqrt(sum(np.square(part - part.mean(axis=0)).sum(axis=0) for part in parts if len(part)))

    def known(self) -> np.ndarray:
        """Return the mean ceilings (R,); NaN if a mean is less than FEWEST_ERRORS of its standard errors."""
        with np.errstate(invalid="ignore"):
            return np.where(self.mean > FEWEST_ERRORS * self.standard_error(), self.mean, np.nan)

    def resampled(self, n_resamples: int) -> np.ndarray:
        """Compute each mean ceiling in every resample, (B, R).

        The test images are resampled as for scores, and the other images independently.
        """
        n_others = len(self.influence) - self.n_test_images
        counts = [resamples(self.n_test_images, n_resamples)]
        if n_others:
            counts.append(resamples(n_others, n_resamples, SEED_OF_TRAINING_IMAGES))
        return self.mean + (np.concatenate(counts, axis=1) - 1) @ self.influence


def region_ceilings(
    sums: TrialSums,
    test_repeats: np.ndarray,
    masks: Mapping[str, np.ndarray],
    digests: Mapping[str, str],
    counts: np.ndarray,
) -> RegionCeilings:
    """Compute the mean ceilings of regions.

    sums          sums of the groups of images; the first groups are the test images
    test_repeats  number of trials of each test image, (n,) or (n, V)
    masks         {region: (V,) bool}
    counts        (n, V) bool, the test images for which each voxel has a response; a voxel without a response is left
        out of all regions
    """
    test_noise = np.broadcast_to(noise_of_averages(test_repeats), counts.shape[1:])
    voxels = unclipped_ceiling(*sums.variances(), test_noise)
    voxels = np.where(counts.any(axis=0), voxels, np.nan)
    members = np.stack(list(masks.values())) & np.isfinite(voxels)
    with np.errstate(invalid="ignore"):
        shares = members / members.sum(axis=1, keepdims=True)
    influence = np.zeros((len(sums.within), len(members)))
    for start in range(0, len(voxels), VOXELS_PER_CHUNK):
        chunk = slice(start, start + VOXELS_PER_CHUNK)
        of_voxels = _influence(_columns(sums, chunk), test_noise[chunk], _columns_of(test_repeats, chunk))
        influence += np.where(np.isfinite(of_voxels), of_voxels, 0) @ shares[:, chunk].T
    mean = shares @ np.where(np.isfinite(voxels), voxels, 0)
    n_images = counts.sum(axis=0)
    return RegionCeilings(digests, voxels, n_images, mean, influence, len(test_repeats))


def _influence(sums: TrialSums, test_noise: np.ndarray, test_repeats: np.ndarray) -> np.ndarray:
    """Compute the derivative of each voxel's ceiling with respect to each group's weight, (G, V), at weights of 1."""
    n, k = (part.sum(axis=0, dtype=np.float64) for part in (sums.n_trials, sums.n_images))
    trials = sums.trials.sum(axis=0, dtype=np.float64)
    signal, noise = sums.variances()
    with np.errstate(divide="ignore", invalid="ignore"):
        total, reached = signal + noise, signal + noise * test_noise
        d_noise = (sums.within - noise * (sums.n_trials - sums.n_images)) / (n - k)
        d_squares = sums.within + sums.means - 2 * trials / n * sums.trials + np.square(trials / n) * sums.n_trials
        d_total = (d_squares - total * sums.n_trials) / (n - 1)
        influence = test_noise * (noise * d_total - total * d_noise) / reached**2
        inverse = np.where(test_repeats > 0, 1 / np.maximum(test_repeats, 1), np.nan)
        inverse = inverse[:, None] if inverse.ndim == 1 else inverse
        d_test_noise = (inverse - test_noise) / np.isfinite(inverse).sum(axis=0)
        influence[: len(inverse)] -= np.nan_to_num(d_test_noise) * signal * noise / reached**2
    return influence


def _columns(sums: TrialSums, chunk: slice) -> TrialSums:
    fields = (sums.n_trials, sums.n_images, sums.trials, sums.means, sums.within)
    return TrialSums(*(values if values.shape[1] == 1 else values[:, chunk] for values in fields))


def _columns_of(repeats: np.ndarray, chunk: slice) -> np.ndarray:
    return repeats if repeats.ndim == 1 else repeats[:, chunk]


def region_score(explained: np.ndarray, ceiling: np.ndarray | float) -> np.ndarray:
    """Compute sign(explained) sqrt(|explained| / ceiling), the correlation divided by that of a perfect model."""
    return np.sign(explained) * np.sqrt(np.abs(explained) / ceiling)


def resampled_score(score: np.ndarray, explained: np.ndarray, ceilings: Ceilings) -> np.ndarray:
    """Compute a region score (B, R) in each resample of the images, for explained variance and ceiling together.

    The ratio is linearised, so that no resample is divided by a ceiling near 0.

    score      (R,) score of the original sample
    explained  (B, R) explained variance in each resample. Resampling raises it on average; this rise is subtracted
    """
    mean = ceilings.known()
    ratio = np.sign(score) * score**2
    moved = explained - explained.mean(axis=0, dtype=np.float64) - ratio * (ceilings.resampled(len(explained)) - mean)
    return region_score(ratio + moved / mean, 1.0)


def score_columns(explained: np.ndarray, resampled: np.ndarray | None, ceilings: Ceilings) -> dict:
    """Return table columns for regions: the score, its standard error and 95 % interval, and the ceiling of r.

    explained  (R,) explained variance
    resampled  (B, R) explained variance in each resample, or None
    """
    mean = ceilings.known()
    score = region_score(explained, mean)
    columns = {
        "r_ceiling": np.sqrt(mean),
        "r_ceiling_se": ceilings.standard_error() / (2 * np.sqrt(mean)),
        "r_normalised_all_voxels": score,
    }
    if resampled is not None:
        moved = resampled_score(score, resampled, ceilings)
        low, high = interval(moved)
        columns["r_normalised_all_voxels_se"] = moved.std(axis=0, ddof=1, dtype=np.float64)
        columns |= {"r_normalised_all_voxels_ci_low": low, "r_normalised_all_voxels_ci_high": high}
    return columns
