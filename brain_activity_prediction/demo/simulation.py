"""Simulate a small NSD as arrays: the design, the anatomy, and the voxels' responses."""

from dataclasses import dataclass
from itertools import count

import numpy as np

from brain_activity_prediction.datasets.nsd.design import N_SUBJECTS

REPEATS = 3  # trials of each image, as in NSD
RUNS_PER_SESSION = 12
BLANKS_PER_RUN = 12
UNSEEN_IMAGES = 10
UNLABELLED_VOXELS = 30  # fitted voxels outside every region
OVERHANG_VOXELS = 5  # labelled voxels that are not fitted, because NSD's regions extend beyond nsdgeneral
SMALLEST_VOLUME = (9, 11, 8)


@dataclass(frozen=True)
class Region:
    """A region, whose voxels follow the features of `source` with signal-to-noise ratio `snr`.

    `snr` is the SD of the signal divided by the SD of the noise of a single trial, NSD's ncsnr. A region that is only
    noise has no source and snr 0.
    """

    roi_file: str
    label: str
    n_voxels: int
    source: str | None
    snr: float


REGIONS = (
    Region("prf-visualrois", "V1v", 50, "early", 1.0),
    Region("prf-visualrois", "V1d", 50, "early", 1.0),
    Region("prf-visualrois", "V2v", 40, "early", 0.6),
    Region("prf-visualrois", "hV4", 40, "late", 0.6),
    Region("floc-faces", "FFA-1", 40, "late", 1.0),
    Region("floc-places", "PPA", 40, "late", 1.0),
    Region("floc-places", "RSC", 40, None, 0.0),
)
# Regions on a cortex. The numbers of voxels are about those of NSD at the same density.
CORTICAL_REGIONS = (
    Region("prf-visualrois", "V1v", 200, "early", 1.0),
    Region("prf-visualrois", "V1d", 200, "early", 1.0),
    Region("prf-visualrois", "V2v", 160, "early", 0.8),
    Region("prf-visualrois", "V2d", 160, "early", 0.8),
    Region("prf-visualrois", "V3v", 110, "early", 0.6),
    Region("prf-visualrois", "V3d", 110, "early", 0.6),
    Region("prf-visualrois", "hV4", 120, "late", 0.6),
    Region("floc-faces", "OFA", 50, "late", 0.8),
    Region("floc-faces", "FFA-1", 70, "late", 1.0),
    Region("floc-bodies", "EBA", 130, "late", 0.8),
    Region("floc-places", "PPA", 100, "late", 1.0),
    Region("floc-places", "RSC", 70, None, 0.0),
)


@dataclass(frozen=True)
class Recipe:
    """All parameters that determine the numbers of a simulated dataset; layout and file format are not among them.

    `subjects` are the subjects with betas. Each of NSD's eight subjects sees `n_unique` images that no other subject
    sees. With `cortex`, voxels are along a cortex (`simulate_cortex`); otherwise they fill the smallest sufficient
    ellipsoid.
    """

    subjects: tuple = (1,)
    regions: tuple = REGIONS
    n_shared: int = 100
    n_unique: int = 500
    n_sessions: int = 6
    image_size: int = 64
    seed: int = 0
    cortex: bool = False

    def rng(self, *purpose):
        """Return a random number generator for one purpose, so that different purposes do not affect each other."""
        return np.random.default_rng([self.seed, *purpose])


def simulate_design(recipe):
    """Return the variables of nsd_expdesign.mat (1-based) by MATLAB name, and the number of images in imgBrick.

    Each subject sees every one of its images three times, in an order that all subjects share.
    """
    rng = recipe.rng(0)
    n_images = recipe.n_shared + recipe.n_unique
    n_trials = REPEATS * n_images
    assert n_trials % recipe.n_sessions == 0, "sessions must be equally long"
    n_stimuli = recipe.n_shared + N_SUBJECTS * recipe.n_unique + UNSEEN_IMAGES
    ids = rng.permutation(np.arange(1, n_stimuli + 1))
    shared, unique = np.sort(ids[: recipe.n_shared]), ids[recipe.n_shared : -UNSEEN_IMAGES]
    masterordering = rng.permutation(np.repeat(np.arange(1, n_images + 1), REPEATS))
    sessions = masterordering.reshape(recipe.n_sessions, -1)
    return {
        "masterordering": masterordering[None],
        "subjectim": np.hstack([np.tile(shared, (N_SUBJECTS, 1)), unique.reshape(N_SUBJECTS, -1)]),
        "sharedix": shared[None],
        "basiccnt": np.stack([_images_shown_n_times(session) for session in sessions], axis=1),
        "stimpattern": np.stack([_stimulus_pattern(sessions.shape[1], rng) for _ in sessions]),
    }, n_stimuli


def _images_shown_n_times(session):
    """Count the images that one session shows once, twice and three times; return (3,)."""
    _, shown = np.unique(session, return_counts=True)
    return np.bincount(shown, minlength=REPEATS + 1)[1:]


def _stimulus_pattern(n_trials, rng):
    """Return the trials of one session's runs, (runs, trials): 1 if a trial shows an image, 0 if not."""
    shown_a_run = [len(run) for run in np.array_split(np.arange(n_trials), RUNS_PER_SESSION)]
    pattern = np.zeros((RUNS_PER_SESSION, max(shown_a_run) + BLANKS_PER_RUN), dtype=int)
    for run, n_shown in zip(pattern, shown_a_run, strict=True):
        run[rng.permutation(run.size)[:n_shown]] = 1
    return pattern


def simulate_anatomy(regions):
    """Simulate two volumes (X, Y, Z): nsdgeneral, and the region of each voxel.

    nsdgeneral is -1 outside the brain, 0 inside, and 1 in fitted voxels. The second volume holds the index into
    `regions`, or -1. The brain is the smallest sufficient ellipsoid. Regions fill it from the back (low Y).
    """
    n_labelled = sum(region.n_voxels for region in regions)
    n_fitted = n_labelled + UNLABELLED_VOXELS
    for growth in count():
        shape = tuple(length + growth for length in SMALLEST_VOLUME)
        grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, length) for length in shape), indexing="ij"))
        inside = np.square(grid).sum(axis=0) <= 1.1
        if inside.sum() >= n_fitted + OVERHANG_VOXELS:
            break
    x, y, z = np.nonzero(inside)
    x, y, z = np.stack([x, y, z])[:, np.argsort(y, kind="stable")]
    nsdgeneral = np.where(inside, 0, -1)
    nsdgeneral[x[:n_fitted], y[:n_fitted], z[:n_fitted]] = 1
    order = np.repeat(np.arange(len(regions)), [region.n_voxels for region in regions])
    order = np.concatenate([order, np.full(UNLABELLED_VOXELS, -1), np.full(OVERHANG_VOXELS, len(regions) - 1)])
    region_of_voxel = np.full(shape, -1)
    region_of_voxel[x[: order.size], y[: order.size], z[: order.size]] = order
    return nsdgeneral, region_of_voxel


def simulate_signals(regions, region_of_voxel, features, rng):
    """Simulate each voxel's noiseless response to each image; its SD over the images is the region's snr.

    Returns (n_images, n_voxels).

    region_of_voxel  (n_voxels,) index into `regions`, or -1
    features         {source: (n_images, k)}, columns of SD 1; a voxel's signal weights them with a random unit vector
    """
    n_images = len(next(iter(features.values())))
    signals = np.zeros((n_images, region_of_voxel.size))
    for index, region in enumerate(regions):
        voxels = np.flatnonzero(region_of_voxel == index)
        if region.source is not None:
            weights = rng.standard_normal((features[region.source].shape[1], voxels.size))
            driven = features[region.source] @ (weights / np.linalg.norm(weights, axis=0))
            signals[:, voxels] = region.snr * (driven - driven.mean(axis=0)) / driven.std(axis=0)
    return signals


def simulate_session(signals, rng):
    """Simulate one session's betas in percent signal change, (n_trials, n_voxels).

    Trials are `signals` plus noise of SD 1, with a random gain and offset for each voxel in the session. Z-scoring
    removes both.
    """
    n_voxels = signals.shape[1]
    gain, offset = rng.uniform(0.5, 2, n_voxels), rng.normal(0, 2, n_voxels)
    return (signals + rng.standard_normal(signals.shape)) * gain + offset


def noise_ceiling_r(snr):
    """Return the noise ceiling of r for the average of n = REPEATS trials: sqrt(snr^2 / (snr^2 + 1/n))."""
    return float(np.sqrt(snr**2 / (snr**2 + 1 / REPEATS)))
