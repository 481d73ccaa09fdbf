"""A subject's responses: split into training and test images, scaled, and with noise ceilings."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from brain_activity_prediction.datasets.dataset import Dataset
from brain_activity_prediction.datasets.responses import SINGLE, ResponseChoice, Responses, prepare_responses
from brain_activity_prediction.datasets.splits import split_images
from brain_activity_prediction.datasets.units import Units
from brain_activity_prediction.encoding.protocols import COMPUTED, FOLDS
from brain_activity_prediction.encoding.scaling import Scaling, scale_with_gaps, standardise
from brain_activity_prediction.inference.noise_ceiling import TrialSums, fitting_better, noise_ceiling, snr
from brain_activity_prediction.inference.region_ceilings import RegionCeilings, region_ceilings
from brain_activity_prediction.inference.region_statistics import digests
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.runtime.wording import count
from brain_activity_prediction.storage.folders import Subject
from brain_activity_prediction.storage.settings_file import ORIGIN, RESPONSES


@dataclass(frozen=True)
class SubjectData:
    """A subject's scaled responses to training and test images, in V voxels.

    Rows of `test` are images. Rows of `train` are images, or single trials, in the order of their images.

    If no trial of an image is valid for a voxel, the voxel's response is missing. It is 0, the voxel's mean, in
    `train`, and NaN in `test`. A voxel that is excluded from the analysis is NaN in all rows.
    """

    train_ids: np.ndarray  # image of each row of `train`, ascending
    test_ids: np.ndarray
    train: np.ndarray  # (n_train, V)
    test: np.ndarray  # (n_test, V)
    test_repeats: np.ndarray  # number of averaged trials: (n_test,), or (n_test, V) if it differs between voxels
    trial_sums: TrialSums  # over all images, for noise ceilings
    units: Units
    sessions: tuple[int, ...]
    n_sessions_planned: int  # all sessions of the subject
    reads: dict  # see `Dataset.reads`
    made_from: dict  # the input files, see `Responses.inputs`

    @property
    def ncsnr(self) -> np.ndarray:
        """Return the ratio of signal SD to noise SD of a single trial (V,), from the repeats of all images."""
        return snr(*self.trial_sums.variances())

    @cached_property
    def digest(self) -> str:
        """Return a digest of images and responses. Scores are reused only for data with the same digest."""
        content = hashlib.blake2b(digest_size=8)
        for values in (self.train_ids, self.test_ids, self.train, self.test):
            content.update(np.ascontiguousarray(values))
        return content.hexdigest()

    @property
    def folds(self) -> int | list[np.ndarray]:
        """Return the folds of the rows of `train`, for `ridge_cv`: all trials of an image are in one fold."""
        images = np.unique(self.train_ids)
        if len(images) == len(self.train_ids):
            return FOLDS
        return [np.flatnonzero(np.isin(self.train_ids, part)) for part in np.array_split(images, FOLDS)]

    def recorded(self) -> dict:
        """Return the settings that define the responses, for `settings.json`."""
        return {"sessions": self.sessions, **self.reads, RESPONSES: self.digest, ORIGIN: self.made_from}

    def data_used(self) -> dict[str, float]:
        """Return the numbers of images and sessions behind the scores, by their column names in score tables."""
        return {
            "n_train": len(np.unique(self.train_ids)),
            "n_test": len(self.test_ids),
            "n_sessions": len(self.sessions),
            "test_repeats_mean": float(np.mean(self.test_repeats)),
        }

    @property
    def image_ids(self) -> np.ndarray:
        """Return the image of each row of `train`, then of each row of `test`."""
        return np.concatenate([self.train_ids, self.test_ids])


def read_subject_data(
    dataset: Dataset, subject: Subject, choice: ResponseChoice, cache_dir: Path, scale: Scaling | None = None
) -> SubjectData:
    """Read a subject's responses, and split them into training and test images.

    scale  function that scales the responses (default: `standardise`)

    Raises InputError if the sessions have too few training or test images for FOLDS folds.
    """
    seen = np.unique(dataset.trial_ids(subject, choice.sessions or dataset.sessions(subject)))
    split = split_images(dataset, subject, seen, choice.split)
    for part, kind in ((split.train, "training"), (split.test, "test")):
        if len(part) <= FOLDS:
            fewer = f", or take fewer than {choice.split.cv_test} outer folds" if choice.split.cv_test else ""
            chosen = "" if choice.split.is_default else f" with the chosen split ({choice.split.describe()})"
            other = ", or choose another split" if chosen and not fewer else ""
            raise InputError(
                f"subject {subject} has {count(len(part), f'{kind} image')} in these sessions{chosen}, and more than "
                f"{FOLDS} are needed: add sessions{fewer}{other}"
            )
    responses = prepare_responses(dataset, subject, choice, cache_dir)
    train, test = (np.searchsorted(responses.image_ids, part) for part in (split.train, split.test))
    sums = trial_sums(responses, test if dataset.ceilings_from_test_images else None)
    test_rows = responses.betas[test]
    if choice.trials == SINGLE:
        train_ids, train_rows = single_trials(responses, split.train)
    else:  # in place, because the responses take gigabytes
        train_ids, train_rows = responses.image_ids[train], moved_to_front(responses.betas, train)
    scaled_train, scaled_test = scale_with_gaps(train_rows, test_rows, responses.incomplete, scale or standardise)
    return SubjectData(
        train_ids=train_ids,
        test_ids=responses.image_ids[test],
        train=scaled_train,
        test=scaled_test,
        test_repeats=_repeats(responses, test),
        trial_sums=sums,
        units=responses.units,
        sessions=responses.sessions,
        n_sessions_planned=dataset.n_sessions_planned(subject),
        reads=dataset.reads(),
        made_from=responses.inputs,
    )


def moved_to_front(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Move rows to the front of `values` (n, V), in place, and return them as a view (k, V).

    rows  (k,) indices, ascending
    """
    for place, row in enumerate(rows):
        if place != row:
            values[place] = values[row]
    return values[: len(rows)]


def single_trials(responses: Responses, image_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the image (t,) and the responses (t, V) of each trial of these images, ordered by image.

    If a trial is invalid for a voxel, its response is the mean of the image's valid trials, or NaN if there are none.
    """
    order = np.argsort(responses.trial_ids, kind="stable")
    order = order[np.isin(responses.trial_ids[order], image_ids)]
    if len(order) == len(image_ids):
        log.warning("--trials single changes nothing: every training image has one trial")
    ids, rows, some = responses.trial_ids[order], responses.trials[order], responses.incomplete
    means = responses.betas[np.searchsorted(responses.image_ids, ids)][:, some] if some.size else rows[:, some]
    rows[:, some] = np.where(np.isfinite(rows[:, some]), rows[:, some], means)
    return ids, rows


def _repeats(responses: Responses, rows: np.ndarray) -> np.ndarray:
    """Return the number of averaged trials of the images in `rows`: (n,), or (n, V) if some trials are invalid."""
    repeats = responses.n_repeats[rows]
    if not responses.incomplete.size:
        return repeats
    of_voxels = np.repeat(repeats[:, None].astype(responses.valid_repeats.dtype), responses.betas.shape[1], axis=1)
    of_voxels[:, responses.incomplete] = responses.valid_repeats[rows]
    return of_voxels


def trial_sums(responses: Responses, rows: np.ndarray | None = None) -> TrialSums:
    """Return the sums over trials from which noise ceilings are computed.

    Voxels with invalid trials are summed separately, because this takes longer.

    rows  indices of the test images, whose groups come first, to sum only these; None for all images
    """
    of_rows, of_groups = (slice(None), slice(None)) if rows is None else (rows, slice(len(rows)))
    within, groups, some = responses.within_image_ss[of_groups], responses.image_groups[of_rows], responses.incomplete
    betas, valid_repeats = responses.betas[of_rows], responses.valid_repeats[of_rows]
    sums = TrialSums.of(betas, responses.n_repeats[of_rows], within, groups)
    if not some.size:
        return sums
    return sums.with_voxels(some, TrialSums.of(betas[:, some], valid_repeats, within[:, some], groups))


def log_data_used(subject_data: SubjectData, subject: Subject) -> None:
    """Log the numbers of sessions, images and repeats that the scores will be computed from.

    Call it after all checks, so that an error is the only line on the terminal.
    """
    absent = sorted(set(range(1, subject_data.n_sessions_planned + 1)) - set(subject_data.sessions))
    without = f" (without {' '.join(map(str, absent))})" if absent else ""
    used, n_rows = subject_data.data_used(), len(subject_data.train_ids)
    singly = f" in {n_rows:,} single trials" if n_rows > used["n_train"] else ""
    log.info(
        f"subject {subject}: {len(subject_data.sessions)} of {subject_data.n_sessions_planned} sessions{without}, "
        f"{used['n_train']} training images{singly}, {len(subject_data.test_ids)} test images of "
        f"{used['test_repeats_mean']:.2f} trials on average"
    )


def ceiling_of_test_images(
    subject_data: SubjectData, dataset: Dataset, subject: Subject, ncsnr_from: str
) -> np.ndarray:
    """Return the noise ceiling (V,) of the averaged test responses, in R2 units; warn if there is none.

    ncsnr_from  one of `protocols.NCSNR`
    """
    computed = ncsnr_from == COMPUTED
    ncsnr = subject_data.ncsnr if computed else dataset.ncsnr(subject, subject_data.units)
    if not computed and (other := fitting_better(ncsnr, subject_data.ncsnr)):
        log.warning(
            f"the dataset's own ncsnr agrees better with the repeats if its values are {other}: see {dataset.title} in "
            "docs/datasets.md"
        )
    if not np.isfinite(ncsnr).any():
        why = (
            "no image has two trials in these sessions"
            if computed
            else "the dataset's own ncsnr is NaN in every fitted unit"
        )
        log.warning(f"no noise ceiling and no normalised scores: {why}")
    return noise_ceiling(ncsnr, subject_data.test_repeats)


def ceilings_of_regions(subject_data: SubjectData, regions: Mapping[str, np.ndarray]) -> RegionCeilings:
    """Return each region's noise ceiling: the mean over all its voxels, computed from repeats."""
    has_responses = np.isfinite(subject_data.test) & np.isfinite(subject_data.train[0])
    return region_ceilings(subject_data.trial_sums, subject_data.test_repeats, regions, digests(regions), has_responses)
