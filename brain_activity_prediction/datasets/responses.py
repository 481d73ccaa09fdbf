"""Prepare a subject's responses to each image: z-score sessions, average repeats, and cache the result in a file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from brain_activity_prediction.datasets.averages import average_repeats, copied_into, resampling_groups, zscore_session
from brain_activity_prediction.datasets.dataset import Dataset
from brain_activity_prediction.datasets.response_cache import Arrays, inputs_of, load_or_make
from brain_activity_prediction.datasets.splits import Split, SplitChoice, split_images
from brain_activity_prediction.datasets.units import Units
from brain_activity_prediction.datasets.valid_trials import (
    lacking_too_many,
    tell_left_out,
    tell_missing,
)
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.runtime.stopping import until_stopped
from brain_activity_prediction.storage.folders import Subject, subject_name

TRIALS = AVERAGE, SINGLE = "average", "single"


@dataclass(frozen=True)
class Responses:
    """Responses of one subject's voxels (or other units): one row for each image, averaged over the image's trials.

    Their unit is the voxel's standard deviation within a session. Without z-scoring, it is the unit of the dataset.
    """

    image_ids: np.ndarray  # (n_images,) ascending
    n_repeats: np.ndarray  # (n_images,) number of averaged trials; for `incomplete` voxels see valid_repeats
    betas: np.ndarray  # (n_images, n_voxels) float32; NaN where no trial is valid, and in voxels left out
    within_image_ss: np.ndarray  # (n_groups, n_voxels) float32: squared deviations of trials from their image's mean
    image_groups: np.ndarray  # (n_images,) resampling group of each image: a row of within_image_ss
    units: Units  # in the order of the columns
    split: Split
    sessions: tuple  # sessions that were averaged
    inputs: dict  # settings, and size and time of change of each input file
    incomplete: np.ndarray  # (k,) positions of voxels that lack some trials, ascending, without voxels left out
    valid_repeats: np.ndarray  # (n_images, k) number of averaged trials of `incomplete` voxels
    trial_ids: np.ndarray  # (n_trials,) image of each trial, in order
    trials: np.ndarray  # (n_trials, n_voxels) float32, NaN where invalid; (0, 0) unless single trials were chosen


@dataclass(frozen=True)
class ResponseChoice:
    """The user's choice of responses.

    sessions  session numbers from 1; None for all existing sessions
    zscore    bring each voxel to mean 0 and SD 1 over each session's trials (see `zscore_session`)
    trials    AVERAGE, or SINGLE to train on single trials
    """

    sessions: Sequence[int] | None = None
    zscore: bool = True
    split: SplitChoice = field(default_factory=SplitChoice)
    trials: str = AVERAGE


def prepare_responses(
    dataset: Dataset, subject: Subject, choice: ResponseChoice | None = None, cache_dir: Path | str | None = None
) -> Responses:
    """Read a subject's responses, one session at a time, or the cache file of an earlier call.

    choice     by default all sessions, z-scored, with the dataset's own split
    cache_dir  by default BASE_DIR/responses. If an input file (its size, time of change or sampled content) or a
               setting has changed, the cache file is computed again, with a warning

    A progress bar shows the sessions. Only valid trials are averaged (see `valid_trials`). A voxel that lacks more than
    MOST_MISSING of its training or test images is left out: all of its responses become NaN. Warnings give the number
    of voxels with missing trials, and of voxels left out.

    Raises InputError for missing or broken files and for files that contradict each other.
    """
    choice = choice or ResponseChoice()
    sessions = sorted(set(choice.sessions)) if choice.sessions else dataset.sessions(subject)
    units = dataset.units(subject)
    trial_ids = dataset.trial_ids(subject, sessions)
    image_ids, image_of_trial = np.unique(trial_ids, return_inverse=True)
    split = split_images(dataset, subject, image_ids, choice.split)
    # Named images are numbered from 0, because the cache file holds only numbers.
    numbers = image_of_trial if image_ids.dtype.kind == "U" else trial_ids
    # With cv_test, each image is a resampling group of its own, so that one cache file serves all outer folds.
    alone = image_ids if choice.split.cv_test else split.test
    is_alone = np.isin(image_ids, alone)
    numbers_alone = np.flatnonzero(is_alone) if image_ids.dtype.kind == "U" else image_ids[is_alone]

    settings = {"subject": subject, "sessions": sessions, "zscore": choice.zscore}
    settings |= dataset.response_settings(subject)
    other_test = "all" if choice.split.cv_test else None if choice.split.is_default else split.digest
    if other_test:
        settings["test_images"] = other_test
    single = choice.trials == SINGLE
    if single:
        settings["trials"] = SINGLE
    inputs = inputs_of(dataset.base_dir, dataset.response_files(subject, sessions), **settings)
    cache = Path(cache_dir or dataset.base_dir / "responses") / _cache_name(
        subject, sessions, choice.zscore, [dataset.variant, other_test, SINGLE if single else None]
    )
    trials = np.empty((trial_ids.size, units.n) if single else (0, 0), dtype=np.float32)

    def read_and_average() -> Arrays:
        with (
            closing(until_stopped(sessions)) as left,
            tqdm(left, f"betas of subject {subject}", len(sessions), unit="session") as shown,
        ):  # if an error occurs, signal handlers are restored and the bar is closed before its message
            read = (dataset.read_session(subject, session, units) for session in shown)
            scaled = map(zscore_session, read) if choice.zscore else read
            arrays = average_repeats(copied_into(trials, scaled) if single else scaled, numbers, numbers_alone)
            return arrays | {"trials": trials}

    n_rows = image_ids.size + len(trials) + np.unique(resampling_groups(image_ids, alone)).size
    n_bytes = n_rows * units.n * np.float32().nbytes
    often_empty = {
        "trials": np.empty((0, 0), dtype=np.float32),
        "incomplete": np.empty(0, dtype=int),
        "valid_repeats": np.empty((image_ids.size, 0), dtype=int),
    }
    averaged = often_empty | load_or_make(cache, inputs, n_bytes, read_and_average) | {"image_ids": image_ids}
    sets = [split.train, split.test]
    if choice.split.cv_test:  # a voxel left out of one outer fold is left out of all
        sets = [split_images(dataset, subject, image_ids, fold).test for fold in choice.split.folds()]
        averaged |= _grouped(averaged, resampling_groups(image_ids, split.test))
    parts = [np.flatnonzero(np.isin(image_ids, part)) for part in sets]
    _leave_out_voxels(averaged, parts, units, subject, sessions)
    others = {"units": units, "split": split, "sessions": tuple(sessions), "inputs": inputs, "trial_ids": trial_ids}
    return Responses(**averaged, **others)


def _grouped(averaged: Arrays, groups: np.ndarray) -> Arrays:
    """Sum the squared deviations of single images over the images of each group (n_images,)."""
    each = averaged["within_image_ss"]
    within = np.zeros((groups.max() + 1, each.shape[1]), dtype=each.dtype)
    for group, row in zip(groups, averaged["image_groups"], strict=True):
        within[group] += each[row]
    return {"within_image_ss": within, "image_groups": groups}


def _leave_out_voxels(
    averaged: Arrays, parts: Iterable[np.ndarray], units: Units, subject: Subject, sessions: Sequence[int]
) -> None:
    """Set all responses of voxels that lack too many images to NaN, in place, and report missing data.

    parts  rows of the training and of the test images
    """
    betas = averaged["betas"]
    by_session = dict(zip(sessions, averaged.pop("voxels_by_session"), strict=True))
    incomplete, valid_repeats = averaged["incomplete"], averaged["valid_repeats"]
    if incomplete.size:
        tell_missing(subject, units, incomplete.size, by_session)
    lacking = lacking_too_many(valid_repeats, parts)
    if lacking.any():
        tell_left_out(subject, units, incomplete[lacking])
        for rows in (betas, averaged["trials"]):
            if rows.size:
                rows[:, incomplete[lacking]] = np.nan
        averaged |= {"incomplete": incomplete[~lacking], "valid_repeats": valid_repeats[:, ~lacking]}
    n_constant = np.count_nonzero(betas.min(axis=0) == betas.max(axis=0))
    if n_constant:
        log.warning(f"subject {subject}: {n_constant} of {units.n} {units.nouns} never change and score 0")


def _cache_name(subject: Subject, sessions: Sequence[int], zscore: bool, choices: Sequence[str | None]) -> str:
    """Return the name of the cache file, which differs between choices.

    choices  parts of the name for the dataset's versions, the test images and single trials; empty for the defaults
    """
    first, last = sessions[0], sessions[-1]
    gapless = sessions == list(range(first, last + 1))
    chosen = f"{first}-{last}" if gapless else "_".join(map(str, sessions))
    scaled = "zscored" if zscore else "percent"
    return f"responses_{subject_name(subject)}_{scaled}_sessions{'_'.join([chosen, *filter(None, choices)])}.h5"
