"""How well the noise of repeated trials lets any model predict a voxel: ncsnr and noise ceiling, as NSD defines them.

Allen et al. 2022, "A massive 7T fMRI dataset to bridge cognitive neuroscience and artificial intelligence", Methods,
"Noise ceiling estimation". n images, V voxels.
"""

import numpy as np


def noise_ceiling_snr(betas: np.ndarray, n_repeats: np.ndarray, within_image_ss: np.ndarray) -> np.ndarray:
    """Signal SD / noise SD of a single trial (V,), NSD's ncsnr.

    The noise variance is that of trials about their image's mean, the signal variance what it leaves of the variance of
    all trials, at least 0. NaN for every voxel where no image has two trials, since one trial does not tell noise from
    signal, and for a voxel that never varies or holds NaN.

    betas            (n, V) means over the trials of each image
    n_repeats        (n,) trials of each image
    within_image_ss  (V,) sum over trials of squared deviations from the image's mean
    """
    n_trials = n_repeats.sum()
    noise_dof = n_trials - n_repeats.size
    if noise_dof == 0:
        return np.full(within_image_ss.shape, np.nan)
    grand_mean = np.einsum("i,iv->v", n_repeats, betas, dtype=np.float64) / n_trials
    between_image_ss = np.einsum("i,iv,iv->v", n_repeats, betas, betas, dtype=np.float64) - n_trials * grand_mean**2
    noise = within_image_ss / noise_dof
    signal = np.maximum((within_image_ss + between_image_ss) / (n_trials - 1) - noise, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.sqrt(signal / noise)


def noise_ceiling(ncsnr: np.ndarray, n_repeats: np.ndarray) -> np.ndarray:
    """The R2 that the noiseless response reaches on images averaged over `n_repeats` (n,) trials; (V,), 0 to 1.

    Its square root is the ceiling of r. NaN where ncsnr (V,) is.
    """
    noise = np.mean(1 / n_repeats)  # in single trials' noise variance: NSD's (A/3 + B/2 + C) / (A + B + C)
    return 1 - noise / (np.square(ncsnr, dtype=np.float64) + noise)
