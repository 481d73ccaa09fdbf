"""Noise ceilings from repeated trials: ncsnr and noise ceiling, as NSD defines them.

Allen et al. 2022, "A massive 7T fMRI dataset to bridge cognitive neuroscience and artificial intelligence", Methods,
"Noise ceiling estimation".

The number of repeats is given for each image (n,), or for each image and voxel (n, V) if some voxels lack valid trials.
An image with 0 repeats is missing for that voxel, and its mean response is NaN.

Shapes: n images, V voxels, G groups of images, B reweightings of the groups.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# For `fitting_better`: smallest number of units to compare, their lowest ncsnr, and numbers of trials of a mean.
FEWEST_UNITS, LEAST_SIGNAL, MOST_AVERAGED = 20, 0.1, 12


@dataclass(frozen=True)
class TrialSums:
    """Sums over the trials of each group of images, from which signal and noise variance are computed.

    The sums of groups can be added. Therefore groups can be left out or resampled, which gives the sampling error of a
    ceiling.

    Attributes
    ----------
    n_trials, n_images : (G, V) numbers of valid trials, and of images with at least one valid trial; (G, 1) if all
        voxels have all trials.
    trials : (G, V) sum of the trials.
    means : (G, V) sum over images of the number of trials times the squared mean of the trials.
    within : (G, V) sum of squared deviations of the trials from their image's mean.
    """

    n_trials: np.ndarray
    n_images: np.ndarray
    trials: np.ndarray
    means: np.ndarray
    within: np.ndarray

    @classmethod
    def of(cls, betas: np.ndarray, n_repeats: np.ndarray, within: np.ndarray, group_of_image: np.ndarray) -> TrialSums:
        """Compute the sums from responses that are averaged over repeats.

        betas           (n, V) means over the trials of each image
        n_repeats       (n,), or (n, V)
        within          (G, V), see the attribute; its dtype is used for all sums
        group_of_image  (n,) from 0 to G - 1
        """
        alike = n_repeats.ndim == 1
        n_trials, n_images = np.zeros((2, len(within), 1 if alike else n_repeats.shape[1]), dtype=within.dtype)
        trials, means = np.zeros((2, *within.shape), dtype=within.dtype)
        for group in range(len(within)):
            rows = group_of_image == group
            repeats, own = n_repeats[rows], betas[rows]
            n_trials[group], n_images[group] = repeats.sum(axis=0), (repeats > 0).sum(axis=0)
            own = own if alike else np.where(repeats, own, 0)
            each = "i" if alike else "iv"
            trials[group] = np.einsum(f"{each},iv->v", repeats, own, dtype=np.float64)
            means[group] = np.einsum(f"{each},iv,iv->v", repeats, own, own, dtype=np.float64)
        return cls(n_trials, n_images, trials, means, within)

    def with_voxels(self, voxels: np.ndarray, sums: TrialSums) -> TrialSums:
        """Return a copy in which `sums` (G, k) replace the sums of the given voxels (k,)."""
        replaced = {}
        for name in ("n_trials", "n_images", "trials", "means", "within"):
            values = np.broadcast_to(getattr(self, name), self.within.shape).copy()
            values[:, voxels] = getattr(sums, name)
            replaced[name] = values
        return TrialSums(**replaced)

    def variances(self, weights: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Compute the signal and noise variance of single trials.

        Each is (V,), or (B, V) with weights (B, G) of the groups. The noise variance is the variance of trials around
        their image's mean. The signal variance is the variance of all trials minus the noise variance. It may be
        negative, as in half of the voxels without signal, because clipping it at 0 would bias means over voxels. Both
        are NaN if no image has two trials.
        """
        sums = (self.n_trials, self.n_images, self.trials, self.means, self.within)
        if weights is None:
            n_trials, n_images, trials, means, within = (values.sum(axis=0, dtype=np.float64) for values in sums)
        else:
            n_trials, n_images, trials, means, within = (weights.astype(np.float64) @ values for values in sums)
        with np.errstate(divide="ignore", invalid="ignore"):
            noise = np.where(n_trials > n_images, within / (n_trials - n_images), np.nan)
            return (within + means - trials**2 / n_trials) / (n_trials - 1) - noise, noise

    def p_of_signal(self) -> np.ndarray:
        """Return p (V,) of an F test of no signal, in which images differ by no more than the noise of their trials."""
        from scipy.stats import f

        sums = (self.n_trials, self.n_images, self.trials, self.means, self.within)
        n_trials, n_images, trials, means, within = (values.sum(axis=0, dtype=np.float64) for values in sums)
        with np.errstate(divide="ignore", invalid="ignore"):
            between = (means - trials**2 / n_trials) / (n_images - 1)
            return f.sf(between / (within / (n_trials - n_images)), n_images - 1, n_trials - n_images)


def unclipped_ceiling(signal: np.ndarray, noise: np.ndarray, test_noise: np.ndarray | float) -> np.ndarray:
    """Compute the noise ceiling as `noise_ceiling` does, but from variances (..., V) that may be negative."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return signal / (signal + noise * test_noise)


def noise_ceiling_snr(betas: np.ndarray, n_repeats: np.ndarray, within_image_ss: np.ndarray) -> np.ndarray:
    """Compute NSD's ncsnr: signal SD / noise SD of a single trial, (V,).

    It is NaN for a voxel that is constant or contains NaN, and for all voxels if no image has two trials, because noise
    and signal cannot be separated from single trials.

    betas            (n, V) means over the trials of each image
    n_repeats        (n,) trials of each image, or (n, V)
    within_image_ss  (V,) sum over trials of squared deviations from the image's mean
    """
    one_group = np.zeros(len(betas), dtype=int)
    return snr(*TrialSums.of(betas, n_repeats, within_image_ss[None], one_group).variances())


def snr(signal: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Compute signal SD / noise SD from variances (V,); 0 if the estimated signal variance is negative."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.sqrt(np.maximum(signal, 0) / noise)


def noise_of_averages(n_repeats: np.ndarray) -> np.ndarray:
    """Compute the noise variance of averaged responses relative to single trials: the mean of 1 / repeats over images.

    This is NSD's (A/3 + B/2 + C) / (A + B + C) for A, B and C images with 3, 2 and 1 trials. The result is one
    number for repeats (n,). For repeats (n, V) it is (V,), over each voxel's images; NaN for a voxel without images.
    """
    there = n_repeats > 0
    with np.errstate(invalid="ignore"):
        return (there / np.maximum(n_repeats, 1)).sum(axis=0) / there.sum(axis=0)


def noise_ceiling(ncsnr: np.ndarray, n_repeats: np.ndarray) -> np.ndarray:
    """Compute the noise ceiling (V,), from 0 to 1: the R2 that a perfect model would reach on averaged responses.

    The square root of the ceiling is the ceiling of r. It is NaN if ncsnr (V,) is NaN. Repeats are (n,) or (n, V).
    """
    noise = noise_of_averages(n_repeats)
    return 1 - noise / (np.square(ncsnr, dtype=np.float64) + noise)


def ncsnr_of_ceiling(ceiling: np.ndarray, n_trials: int = 1) -> np.ndarray:
    """Return the ratio of signal SD to noise SD of a single trial that corresponds to a noise ceiling.

    ceiling   noise ceiling of means over `n_trials` trials, in R2 units from 0 to 1; 1 or more gives NaN, because it
        implies that there is no noise
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        inside = np.where((ceiling >= 0) & (ceiling < 1), ceiling, np.nan)
        return np.sqrt(inside / (1 - inside) / n_trials)


def fitting_better(ncsnr: np.ndarray, computed: np.ndarray) -> str | None:
    """Describe what values that should be ncsnr seem to be instead; None if they seem to be ncsnr.

    Noise ceilings of means over trials, as fractions or in percent, are easily mistaken for ncsnr, because most are in
    its range. Each interpretation is compared with the ncsnr that is computed from repeats. Another interpretation is
    returned only if its median distance, over units with a signal, is at most half of that of ncsnr.

    All arrays are (V,).
    """
    both = np.isfinite(ncsnr) & (computed > LEAST_SIGNAL)
    if np.count_nonzero(both) < FEWEST_UNITS:
        return None

    def distance(values: np.ndarray) -> float:
        return float(np.median(np.abs(np.where(np.isfinite(values), values, np.inf) - computed[both])))

    others = {
        f"noise ceilings of means over {n_trials} trial{'s' if n_trials > 1 else ''}{unit}": distance(
            ncsnr_of_ceiling(ncsnr[both] / scale, n_trials)
        )
        for scale, unit in ((1, ""), (100, " in percent"))
        for n_trials in range(1, MOST_AVERAGED + 1)
    }
    best = min(others, key=others.__getitem__)
    close = min(distance(ncsnr[both]) / 2, np.median(computed[both]) / 3)
    return best if others[best] < close else None
