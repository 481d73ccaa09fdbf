"""What ridge predicts: a subject's responses, split by who saw the image and scaled by the training images alone."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from brain_activity_prediction.datasets.nsd.design import read_design, train_test_rows
from brain_activity_prediction.datasets.nsd.layout import Layout
from brain_activity_prediction.datasets.nsd.regions import read_map, subject_grid
from brain_activity_prediction.datasets.nsd.responses import Responses, prepare_responses
from brain_activity_prediction.encoding.protocols import FOLDS, STANDARD
from brain_activity_prediction.inference.noise_ceiling import TrialSums, noise_ceiling, snr
from brain_activity_prediction.inference.region_ceilings import RegionCeilings, region_ceilings
from brain_activity_prediction.inference.region_statistics import digests
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.storage.folders import responses_folder

Scaling = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]  # of train (n, k) and test (m, k)


@dataclass(frozen=True)
class Targets:
    """A subject's responses as ridge takes them, z-scored by the training images' mean and SD; n images, V voxels.

    A voxel that is left out is NaN throughout. An image without a valid trial of a voxel is missing for it: its
    response is 0, the mean, in `train`, and NaN in `test`.
    """

    train_ids: np.ndarray
    test_ids: np.ndarray
    train: np.ndarray  # (n_train, V)
    test: np.ndarray  # (n_test, V)
    test_repeats: np.ndarray  # (n_test,) trials averaged, or (n_test, V) where a voxel lacks some
    trial_sums: TrialSums  # of all images, which noise ceilings are computed from
    mask: np.ndarray  # (X, Y, Z)
    affine: np.ndarray  # (4, 4)
    sessions: tuple[int, ...]
    n_sessions_planned: int  # by the design
    made_from: dict  # the input files, see `Responses.inputs`

    @property
    def ncsnr(self) -> np.ndarray:
        """Signal SD / noise SD of a single trial (V,), from the repeats of all images."""
        return snr(*self.trial_sums.variances())

    @cached_property
    def digest(self) -> str:
        """Tells these responses from any others: scores are kept only as long as it stays."""
        content = hashlib.blake2b(digest_size=8)
        for values in (self.train_ids, self.test_ids, self.train, self.test):
            content.update(np.ascontiguousarray(values))
        return content.hexdigest()

    def data_used(self) -> dict[str, float]:
        """How many images and sessions scores are from, by the name of their column in tables."""
        return {
            "n_train": len(self.train_ids),
            "n_test": len(self.test_ids),
            "n_sessions": len(self.sessions),
            "test_repeats_mean": float(np.mean(self.test_repeats)),
        }

    @property
    def image_ids(self) -> np.ndarray:
        """Training images, then test images."""
        return np.concatenate([self.train_ids, self.test_ids])


def read_targets(
    layout: Layout,
    subject: int,
    sessions: Sequence[int] | None,
    zscore: bool,
    cache_dir: Path,
    scale: Scaling | None = None,
) -> Targets:
    """Training images are those only this subject saw, test images those that all subjects saw.

    `scale` is `standardise` unless said otherwise.

    Raises InputError where the sessions hold too few of either for FOLDS folds.
    """
    design = read_design(layout.design())
    seen = np.unique(design.trial_ids(subject, sessions or layout.sessions(subject)))
    train, test = train_test_rows(seen, design.shared_ids)
    for rows, viewers in ((train, "this subject alone"), (test, "all subjects")):
        if len(rows) <= FOLDS:
            raise InputError(f"only {len(rows)} of the images in these sessions were seen by {viewers}: add sessions")
    responses = prepare_responses(layout, subject, sessions, zscore, cache_dir)
    parts = (responses.betas[rows] for rows in (train, test))
    scaled_train, scaled_test = scale_with_gaps(*parts, responses.incomplete, scale or standardise)
    return Targets(
        train_ids=responses.image_ids[train],
        test_ids=responses.image_ids[test],
        train=scaled_train,
        test=scaled_test,
        test_repeats=_repeats(responses, test),
        trial_sums=_trial_sums(responses),
        mask=responses.mask,
        affine=responses.affine,
        sessions=responses.sessions,
        n_sessions_planned=design.n_sessions,
        made_from=responses.inputs,
    )


def _repeats(responses: Responses, rows: np.ndarray) -> np.ndarray:
    """Trials averaged for the images in `rows` (n,), or (n, V) where a voxel lacks some."""
    repeats = responses.n_repeats[rows]
    if not responses.incomplete.size:
        return repeats
    of_voxels = np.repeat(repeats[:, None].astype(responses.valid_repeats.dtype), responses.betas.shape[1], axis=1)
    of_voxels[:, responses.incomplete] = responses.valid_repeats[rows]
    return of_voxels


def _trial_sums(responses: Responses) -> TrialSums:
    """The sums over all images; those of voxels that lack trials are made apart, because that takes longer."""
    within, groups, some = responses.within_image_ss, responses.image_groups, responses.incomplete
    sums = TrialSums.of(responses.betas, responses.n_repeats, within, groups)
    if not some.size:
        return sums
    return sums.with_voxels(
        some, TrialSums.of(responses.betas[:, some], responses.valid_repeats, within[:, some], groups)
    )


def targets_asked_for(
    arguments: argparse.Namespace, layout: Layout, subject: int, scale: Scaling | None = None
) -> Targets:
    """`read_targets` of the responses that the flags of `add_responses` name."""
    cache = responses_folder(arguments.base_dir)
    return read_targets(layout, subject, arguments.sessions, arguments.zscore_sessions, cache, scale)


def tell_data_used(targets: Targets, subject: int) -> None:
    """Say on stderr which sessions, and how many images and repeats, the scores will be of.

    Ridge and variance partitioning say it once nothing is left to refuse: a refusal is one line.
    """
    absent = sorted(set(range(1, targets.n_sessions_planned + 1)) - set(targets.sessions))
    without = f" (without {' '.join(map(str, absent))})" if absent else ""
    log.info(
        f"subject {subject}: {len(targets.sessions)} of {targets.n_sessions_planned} sessions{without}, "
        f"{len(targets.train_ids)} training images, {len(targets.test_ids)} test images of "
        f"{targets.data_used()['test_repeats_mean']:.2f} trials on average"
    )


def ceiling_of_test_images(targets: Targets, layout: Layout, subject: int, ncsnr_from: str) -> np.ndarray:
    """Noise ceiling (V,) in R2 units of the averaged test responses; says on stderr where there is none.

    Its ncsnr is `computed` from the repeats in the targets' sessions, or read from the file of `nsd`.
    """
    computed = ncsnr_from == "computed"
    ncsnr = targets.ncsnr if computed else read_map(layout.ncsnr(subject), targets.mask, subject_grid(layout, subject))
    if not np.isfinite(ncsnr).any():
        why = "no image has two trials in these sessions" if computed else "NSD's ncsnr is NaN in every fitted voxel"
        log.warning(f"no noise ceiling and no normalised scores: {why}")
    return noise_ceiling(ncsnr, targets.test_repeats)


def ceilings_of_regions(targets: Targets, regions: Mapping[str, np.ndarray]) -> RegionCeilings:
    """Mean noise ceilings of regions, masks (V,) by name, over all their voxels, from the repeats of the betas."""
    there = np.isfinite(targets.test) & np.isfinite(targets.train[0])
    return region_ceilings(targets.trial_sums, targets.test_repeats, regions, digests(regions), there)


def standardise(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Brings each column of `train` (n, k) to mean 0 and SD 1 and `test` (m, k) with it, both in place, float32.

    A column that is constant over the training rows becomes 0 in both.
    """
    constant = train.min(axis=0) == train.max(axis=0)
    mean = train.mean(axis=0, dtype=np.float64).astype(np.float32)
    for part in (train, test):
        part -= mean
    sd = np.sqrt(np.einsum("nk,nk->k", train, train, dtype=np.float64) / len(train))
    for part in (train, test):
        part /= np.where(constant, 1, sd).astype(np.float32)
        part[:, constant] = 0
    return train, test


def scale_with_gaps(
    train: np.ndarray, test: np.ndarray, incomplete: np.ndarray, scale: Scaling = standardise
) -> tuple[np.ndarray, np.ndarray]:
    """Scale responses (n, V) and (m, V) of which the `incomplete` voxels (k,) hold NaN for missing images, in place.

    A missing response has no part in mean and SD. It is 0, the mean, in the training images and NaN in the test images.
    """
    gaps = [np.isnan(part[:, incomplete]) for part in (train, test)]
    for part, missing in zip((train, test), gaps, strict=True):
        known = np.where(missing, 0, part[:, incomplete])
        mean = known.sum(axis=0, dtype=np.float64) / np.maximum((~missing).sum(axis=0), 1)
        part[:, incomplete] = np.where(missing, mean, known)
    train, test = scale(train, test)
    train[:, incomplete] = np.where(gaps[0], 0, train[:, incomplete])
    test[:, incomplete] = np.where(gaps[1], np.nan, test[:, incomplete])
    return train, test


def standardise_apart(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Brings each column of `train` (n, k) and of `test` (m, k) to mean 0 and SD 1, in place: each by its own."""
    return standardise(train, train[:0])[0], standardise(test, test[:0])[0]


def scaling(protocol: str) -> Scaling:
    """How a protocol scales features and responses."""
    return standardise if protocol == STANDARD else standardise_apart


def varying_features(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Leaves out the columns that `standardise` made 0, unless all are: ridge gives them no weight, but takes time.

    They are what fills up the layers of a convolutional network to the width of the widest.
    """
    varying = train.any(axis=0)
    if varying.all() or not varying.any():
        return train, test
    return train[:, varying], test[:, varying]
