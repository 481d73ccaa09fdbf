"""Choose a subject's training and test images. All trials of an image are either training or test trials."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from brain_activity_prediction.datasets.dataset import Dataset
from brain_activity_prediction.datasets.files.image_lists import read_image_list
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.wording import did_you_mean
from brain_activity_prediction.storage.folders import Subject

OWN = "own"  # description of the dataset's own split


@dataclass(frozen=True)
class Split:
    """Ids of the training and test images, ascending."""

    train: np.ndarray
    test: np.ndarray

    @property
    def digest(self) -> str:
        """Return a digest of the test images."""
        return hashlib.blake2b("\n".join(map(str, self.test)).encode(), digest_size=8).hexdigest()


@dataclass(frozen=True)
class SplitChoice:
    """The user's choice of a split; the default is the dataset's own.

    name            another split that the dataset publishes
    test_images     file with the test images, one id in each line; all other images are training images
    exclude_images  file with images to leave out
    min_repeats     test images have at least this many trials in each of `in_subjects`
    in_subjects     None for the subject itself, an empty tuple for all subjects
    cv_test         number of outer folds of a nested cross-validation, in which each image is tested once; 0 for none
    fold            number of one outer fold from 1, whose images are the test images; None for all folds
    """

    name: str | None = None
    test_images: Path | None = None
    exclude_images: Path | None = None
    min_repeats: int = 1
    in_subjects: tuple[Subject, ...] | None = None
    cv_test: int = 0
    fold: int | None = None

    @property
    def is_default(self) -> bool:
        return self == SplitChoice()

    def recorded(self) -> dict[str, Any]:
        """Return the choice as a setting; the images themselves are recorded with the responses, as a digest."""
        return (
            {} if self.is_default else {"split": self.describe(), **({"cv_test": self.cv_test} if self.cv_test else {})}
        )

    def folds(self) -> list[SplitChoice]:
        """Return the choice of each outer fold."""
        return [replace(self, fold=number) for number in range(1, self.cv_test + 1)]

    @property
    def whole(self) -> SplitChoice:
        """The same choice for all outer folds together."""
        return replace(self, fold=None)

    def describe(self) -> str:
        """Describe the choice in the words of the flags."""
        parts = [self.name or (f"test images of {self.test_images.name}" if self.test_images else OWN)]
        if self.cv_test:
            parts = [
                f"fold {self.fold} of {self.cv_test}" if self.fold else f"cross-validation in {self.cv_test} folds"
            ]
        if self.exclude_images:
            parts.append(f"without {self.exclude_images.name}")
        if self.min_repeats > 1 or self.in_subjects is not None:
            of = "the subject" if self.in_subjects is None else " ".join(map(str, self.in_subjects)) or "all subjects"
            parts.append(f"at least {self.min_repeats} trials in {of}")
        return ", ".join(parts)


def split_images(dataset: Dataset, subject: Subject, seen: np.ndarray, choice: SplitChoice) -> Split:
    """Split the images that a subject saw.

    seen  ids of the images, ascending

    Raises InputError for an unknown split, an unreadable list of images, and if the dataset has no split of its own.
    """
    train, test = _parts(dataset, subject, seen, choice)
    if choice.min_repeats > 1 or choice.in_subjects is not None:
        test = np.intersect1d(test, _repeated(dataset, subject, choice))
    if choice.exclude_images:
        excluded = read_image_list(choice.exclude_images, "--exclude-images", seen)
        train, test = np.setdiff1d(train, excluded), np.setdiff1d(test, excluded)
    if not test.size and choice.is_default and not dataset.test_images(subject).size:
        names = ", ".join(dataset.split_names())
        raise InputError(
            f"subject {subject} of {dataset.title} has no test images: choose them with --test-images FILE"
            + (f" or --split ({names})" if names else "")
            + ", or cross-validate with --cv-test 5"
        )
    return Split(train, test)


def _parts(dataset: Dataset, subject: Subject, seen: np.ndarray, choice: SplitChoice) -> tuple[np.ndarray, np.ndarray]:
    if choice.cv_test:
        folds = outer_folds(np.setdiff1d(seen, dataset.excluded_images(subject)), choice.cv_test)
        test = folds[(choice.fold or 1) - 1]
        return np.setdiff1d(np.concatenate(folds), test), test
    if choice.test_images:
        test = read_image_list(choice.test_images, "--test-images", seen)
        return np.setdiff1d(seen, test), test
    if choice.name:
        known = dataset.split_names()
        if choice.name not in known:
            there = f"available: {', '.join(known)}" if known else "leave out --split to use the dataset's own split"
            a_list = "; --test-images FILE takes a list of images" if Path(choice.name).exists() else ""
            raise InputError(
                f"--split {choice.name}: {dataset.title} has no such split{did_you_mean(choice.name, known)}; {there}"
                + a_list
            )
        train, test = (np.intersect1d(part, seen) for part in dataset.split(choice.name, subject))
        return train, test
    test = np.intersect1d(dataset.test_images(subject), seen)
    return np.setdiff1d(np.setdiff1d(seen, test), dataset.excluded_images(subject)), test


def outer_folds(image_ids: np.ndarray, n_folds: int) -> list[np.ndarray]:
    """Split images at random into folds whose sizes differ by at most one; ids in a fold ascend.

    The same images are always split in the same way.
    """
    order = np.random.default_rng(0).permutation(len(image_ids))
    return [image_ids[np.sort(rows)] for rows in np.array_split(order, n_folds)]


def _repeated(dataset: Dataset, subject: Subject, choice: SplitChoice) -> np.ndarray:
    """Return the images with enough trials in each of the chosen subjects."""
    subjects = (subject,) if choice.in_subjects is None else choice.in_subjects or tuple(dataset.subjects())
    dataset.check_subjects(subjects, "--in-subjects")
    enough = None
    for one in subjects:
        ids, n = np.unique(dataset.trials_run(one), return_counts=True)
        own = ids[n >= choice.min_repeats]
        enough = own if enough is None else np.intersect1d(enough, own)
    return np.empty(0, dtype=int) if enough is None else enough
