"""The page that describes a dataset: images, trials, units, regions, split, responses and ceilings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.stats import binom

from brain_activity_prediction.check_data.nsd_figures import compared
from brain_activity_prediction.check_data.own_ceilings import own_ceilings, spread
from brain_activity_prediction.datasets.dataset import Dataset
from brain_activity_prediction.datasets.files.image_files import ImageFiles
from brain_activity_prediction.datasets.nsd.base import NSD
from brain_activity_prediction.datasets.responses import ResponseChoice, prepare_responses
from brain_activity_prediction.datasets.splits import SplitChoice, split_images
from brain_activity_prediction.datasets.units import Rows, Units, Vertices, Voxels
from brain_activity_prediction.encoding.protocols import FOLDS
from brain_activity_prediction.encoding.subject_data import trial_sums
from brain_activity_prediction.inference.noise_ceiling import FEWEST_UNITS, TrialSums, snr
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.wording import count, ranges
from brain_activity_prediction.storage.folders import Output, Subject, responses_folder

MOST_REGIONS = 30
LOWEST_P = 0.001
OUTER_FOLDS = 5  # for a dataset without test images


class Page:
    """The page about a dataset. `problems` collects errors while `lines` is read."""

    def __init__(self, dataset: Dataset, output: Output):
        self.dataset, self.output = dataset, output
        self.problems: list[str] = []

    def lines(self, subjects: Sequence[Subject] | None, with_responses: bool) -> Iterator[str]:
        """Yield the lines of the page.

        subjects        None for all with responses
        with_responses  whether to read responses, for invalid voxels and noise ceilings
        """
        dataset = self.dataset
        yield f"{dataset.description}: {dataset.base_dir}"
        yield f"cite: {dataset.citation}; terms of use: {dataset.terms}"
        if reads := dataset.reads():
            yield "read: " + ", ".join(f"{name} {_in_words(value)}" for name, value in reads.items())
        known = dataset.subjects()
        present = [subject for subject in known if dataset.has_responses(subject)]
        absent = [subject for subject in known if subject not in present]
        yield f"subjects with responses: {_listed(present)}; without responses here: {_listed(absent)}"
        chosen = list(subjects or present)
        yield from self._try(self._images, chosen or known)
        if not chosen:
            self.problems.append("no subject has responses")
            yield from self._try(self._trials, known[0])
        for subject in chosen:
            yield ""
            yield from self._try(self._trials, subject)
            yield from self._try(self._units, subject)
            yield from self._try(self._split, subject)
            if with_responses:
                yield from self._try(self._responses, subject)

    def _try(self, step, *arguments) -> Iterator[str]:
        """Yield the lines of a step. An InputError is added to the problems, unless it is already there."""
        try:
            yield from step(*arguments)
        except InputError as error:
            if str(error) not in self.problems:
                self.problems.append(str(error))
                yield f"  WRONG: {error}"

    def _images(self, subjects: Sequence[Subject]) -> Iterator[str]:
        ids = self.dataset.image_ids_of_any(subjects)
        yield f"images for -s {_listed(subjects)}: {ids.size:,}, first {', '.join(map(str, ids[:3]))}"
        with self.dataset.open_images() as images:
            images.check(ids)
            if isinstance(images, ImageFiles):
                yield from self._picture_files(images)
            sizes = sorted({image.size for image in images.images(ids[:: max(1, len(ids) // 20)])})
        shown = ", ".join(f"{width} x {height}" for width, height in sizes[:5])
        yield f"  all have a picture; sizes of a sample: {shown}{', ...' if len(sizes) > 5 else ''}"

    def _picture_files(self, images: ImageFiles) -> Iterator[str]:
        """List pictures with equal content; raise InputError if a picture cannot be read."""
        if equal := images.equal_files():
            yield (
                f"  {count(len(equal), 'picture')} with the content of another one, so that a split may use one for "
                f"training and one for tests: first {equal[0][0]} and {equal[0][1]}"
            )
        if refused := images.refused():
            raise InputError(f"{count(len(refused), 'picture')} cannot be read, first: {refused[0]}")

    def _trials(self, subject: Subject) -> Iterator[str]:
        dataset = self.dataset
        sessions = dataset.sessions(subject)
        trials = dataset.trial_ids(subject, sessions)
        _, n = np.unique(trials, return_counts=True)
        repeats = ", ".join(f"{(n == k).sum():,} x {k}" for k in np.unique(n))
        planned = dataset.n_sessions_planned(subject)
        absent = f" ({planned - len(sessions)} without responses here)" if len(sessions) < planned else ""
        yield f"subject {subject}: sessions {ranges(sessions)} of {planned}{absent}, {trials.size:,} trials"
        yield f"  images by number of trials: {repeats}"
        yield f"  first trials: {', '.join(map(str, trials[:3]))}"
        if isinstance(dataset, NSD):
            yield from compared(dataset, subject, trials)

    def _units(self, subject: Subject) -> Iterator[str]:
        yield f"  units: {describe(self.dataset.units(subject))}"
        regions = self.dataset.regions(subject)
        listed = [f"{name} {members.sum():,}" for name, members in regions.items()]
        more = f", and {len(listed) - MOST_REGIONS} more" if len(listed) > MOST_REGIONS else ""
        yield f"  regions: {', '.join(listed[:MOST_REGIONS])}{more}"

    def _split(self, subject: Subject) -> Iterator[str]:
        seen = np.unique(self.dataset.trial_ids(subject, self.dataset.sessions(subject)))
        others = ", ".join(self.dataset.split_names())
        further = f"; other splits: {others}" if others else ""
        if self._split_choice(subject).cv_test:
            yield f"  split: the dataset has none; use --cv-test {OUTER_FOLDS} or --test-images FILE{further}"
            return
        split = split_images(self.dataset, subject, seen, SplitChoice())
        yield f"  split: {count(split.train.size, 'training image')}, {count(split.test.size, 'test image')}{further}"
        if min(split.train.size, split.test.size) <= FOLDS:
            raise InputError(
                f"subject {subject}: more than {FOLDS} training images and test images are needed: give --cv-test "
                f"{OUTER_FOLDS}, --test-images FILE{' or --split' if others else ''}"
            )

    def _split_choice(self, subject: Subject) -> SplitChoice:
        """Return the dataset's own split, or outer folds if it holds out no images."""
        return SplitChoice(cv_test=0 if self.dataset.test_images(subject).size else OUTER_FOLDS)

    def _responses(self, subject: Subject) -> Iterator[str]:
        choice = ResponseChoice(split=self._split_choice(subject))
        responses = prepare_responses(self.dataset, subject, choice, responses_folder(self.output))
        finite = np.isfinite(responses.betas)
        if not (np.fmax.reduce(responses.betas) > np.fmin.reduce(responses.betas)).any():
            raise InputError(f"subject {subject}: no {responses.units.noun} has responses that differ between images")
        n_empty = int((~finite.any(axis=0)).sum())
        yield (
            f"  responses: {responses.betas.shape[0]:,} images x {responses.betas.shape[1]:,} units; units without any "
            f"response, or left out: {n_empty:,}; units that lack some: {responses.incomplete.size:,}"
        )
        test = np.searchsorted(responses.image_ids, responses.split.test)
        sums = trial_sums(responses, test if self.dataset.ceilings_from_test_images else None)
        computed = snr(*sums.variances())
        none = "none, because no image has two trials"
        yield f"  ncsnr computed from repeats: {spread(computed) if np.isfinite(computed).any() else none}"
        yield from own_ceilings(self.dataset, subject, responses.units, computed)
        yield from self._signal(subject, sums)

    def _signal(self, subject: Subject, sums: TrialSums) -> Iterator[str]:
        """Count the units with a signal; raise InputError if there are only as many as in a wrong order of trials."""
        p = sums.p_of_signal()
        n, n_signal = int(np.isfinite(p).sum()), int((p < LOWEST_P).sum())
        if not n:
            return
        by_chance = f"{LOWEST_P * n:.3g} by chance"
        yield f"  units with a signal (F test of repeats, p < {LOWEST_P}): {n_signal:,} of {n:,}, {by_chance}"
        if n >= FEWEST_UNITS and n_signal <= binom.isf(0.01, n, LOWEST_P):
            raise InputError(
                f"subject {subject}: trials of one image are not more similar than trials of different images. The "
                "responses have no signal, or trials and responses are in different orders"
            )


def _in_words(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _listed(subjects: Sequence[Subject]) -> str:
    return " ".join(map(str, subjects)) or "none"


def describe(units: Units) -> str:
    """Describe units in a few words."""
    if isinstance(units, Voxels):
        size = " x ".join(f"{mm:.3g}" for mm in np.linalg.norm(units.affine[:3, :3], axis=0))
        return f"{units.n:,} voxels of a volume {units.mask.shape} of {size} mm"
    if isinstance(units, Vertices):
        sides = ", ".join(f"{side} {int(mask.sum()):,} of {mask.size:,}" for side, mask in units.masks.items())
        return f"{units.n:,} vertices ({sides})"
    named = f", first {units.names[0]}" if isinstance(units, Rows) else ""
    return f"{units.n:,} {units.nouns}{named}"
