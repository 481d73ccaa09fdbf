"""The interface of a dataset: everything that extraction and encoding know of the data they read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np

from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.wording import did_you_mean
from brain_activity_prediction.storage.embeddings.batch_files import ImageId
from brain_activity_prediction.storage.folders import Subject

if TYPE_CHECKING:
    from PIL import Image

    from brain_activity_prediction.datasets.units import Units

_KINDS = {"light": "pixels"}
ALL_UNITS = "all"  # name of the region of all units, except in NSD, where it is nsdgeneral


@dataclass(frozen=True)
class Reading:
    """The user's choice of what to read of a dataset; None for the dataset's default.

    betas  version of NSD's betas
    space  space of NSD's betas
    mask   names of regions whose union is fitted, `cortex`, or one file
    light  conversion of NSD-synthetic's pixels
    """

    betas: str | None = None
    space: str | None = None
    mask: tuple[str, ...] | None = None
    light: str | None = None


class Images(Protocol):
    """The images of a dataset, read lazily; use it in a `with` block."""

    def __enter__(self) -> Images: ...

    def __exit__(self, *_: object) -> None: ...

    @property
    def settings(self) -> dict[str, Any]:
        """Settings that change a model's hidden states, such as a digest of the images."""

    def check(self, image_ids: Sequence[ImageId] | np.ndarray) -> None:
        """Raise InputError unless all of these images exist."""

    def images(self, image_ids: Sequence[ImageId] | np.ndarray) -> list[Image.Image]:
        """Return RGB images in the order of the ids."""


S = TypeVar("S", bound=Subject)
U = TypeVar("U", bound="Units")


class Dataset(ABC, Generic[S, U]):
    """One dataset in a folder, read as its authors publish it.

    S is the type of subjects, U that of the units of responses.

    Subjects have NSD's numbers or the dataset's own names, sessions count from 1, and images have ids: NSD's numbers
    from 1, or names. Methods raise InputError, with the expected path, for missing or damaged files.
    """

    name: ClassVar[str]  # value of --dataset, and folder name of the results
    title: ClassVar[str]
    citation: ClassVar[str]
    terms: ClassVar[str]  # of use, or where its authors state them
    trained_on: ClassVar[str | None] = None  # dataset whose images the models are trained on, if not this one
    has_named_masks: ClassVar[bool] = False  # whether `reading` takes masks itself
    ceilings_from_test_images: ClassVar[bool] = False  # whether noise ceilings leave out the training images
    base_dir: Path

    @property
    def description(self) -> str:
        """Name the dataset and the layout in which it was found, for messages."""
        return self.title

    def reading(self, chosen: Reading) -> Dataset:
        """Return this dataset with a choice of what to read; raise InputError for a choice that it does not have."""
        for name, value in asdict(chosen).items():
            if value is not None:
                raise InputError(f"{self.title} has one kind of {_KINDS.get(name, 'responses')}: leave out --{name}")
        return self

    def reads(self) -> dict[str, Any]:
        """Return what is read, where the dataset leaves a choice, as recorded in `settings.json`."""
        return {}

    @property
    def variant(self) -> str:
        """Return a part of file names that tells choices of what to read apart; empty for the default."""
        return ""

    @abstractmethod
    def subjects(self) -> list[S]:
        """Return all subjects that the dataset plans, whether or not their responses exist here."""

    def check_subjects(self, subjects: Iterable[S], flag: str = "--subject") -> None:
        """Raise InputError unless the dataset has all of these subjects, which a flag names."""
        known = self.subjects()
        for subject in subjects:
            if subject not in known:
                meant = did_you_mean(str(subject), [str(one) for one in known])
                there = ", ".join(map(str, known[:20])) + (", ..." if len(known) > 20 else "")
                raise InputError(f"{flag} {subject}: {self.title} has no such subject{meant}; its subjects are {there}")

    @abstractmethod
    def sessions(self, subject: S) -> list[int]:
        """Return the sessions whose responses exist, ascending; raise InputError if there are none."""

    def has_responses(self, subject: S) -> bool:
        try:
            return bool(self.sessions(subject))
        except InputError:
            return False

    def n_sessions_planned(self, subject: S) -> int:
        """Return the number of sessions that the subject took part in; by default, those that exist here."""
        return len(self.sessions(subject))

    @abstractmethod
    def trial_ids(self, subject: S, sessions: Sequence[int]) -> np.ndarray:
        """Return the image of each trial of the sessions, in the order given, (n_trials,)."""

    def image_ids(self, subject: S) -> np.ndarray:
        """Return the ids of the images that a subject saw; by default, in the sessions that exist."""
        return np.unique(self.trial_ids(subject, self.sessions(subject)))

    def image_ids_of_any(self, subjects: Iterable[S]) -> np.ndarray:
        """Return the ids, ascending, of the images that at least one of the subjects saw."""
        return np.unique(np.concatenate([self.image_ids(subject) for subject in subjects]))

    def trials_run(self, subject: S) -> np.ndarray:
        """Return the images of all trials that the subject took part in, whether or not they exist here."""
        return self.trial_ids(subject, self.sessions(subject))

    @abstractmethod
    def open_images(self) -> Images:
        """Open the dataset's images; only requested images are read."""

    @abstractmethod
    def units(self, subject: S) -> U:
        """Return what each response belongs to: voxels of a volume, vertices of a surface, or rows of a table."""

    @abstractmethod
    def response_files(self, subject: S, sessions: Sequence[int]) -> list[Path]:
        """Return all files that the responses of the sessions depend on."""

    @abstractmethod
    def read_session(self, subject: S, session: int, units: U) -> np.ndarray:
        """Read single-trial responses, (n_trials, n_units) float32; NaN where a trial has no valid response."""

    def response_settings(self, subject: S) -> dict[str, Any]:
        """Return further settings that the responses depend on, such as the direction of axes."""
        return {}

    @abstractmethod
    def regions(self, subject: S, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """Return `{region: (n_units,) bool}`; the first region holds all units.

        names  None for all regions, otherwise what `--roi` selects
        """

    def check_region(self, subject: S, name: str) -> None:
        """Raise InputError if `--roi` cannot select this name."""
        self.regions(subject, [name])

    @abstractmethod
    def test_images(self, subject: S) -> np.ndarray:
        """Return the ids of the images that the dataset's own split holds out; empty if it has none."""

    def excluded_images(self, subject: S) -> np.ndarray:
        """Return the ids of images that the dataset's own split leaves out."""
        return np.empty(0, dtype=int)

    def split_names(self) -> Sequence[str]:
        """Return the names of the dataset's further splits."""
        return ()

    def split(self, name: str, subject: S) -> tuple[np.ndarray, np.ndarray]:
        """Return the training and the test images of a further split."""
        raise InputError(f"{self.title} has no split {name}: leave out --split")

    def challenge_images(self, subject: S) -> np.ndarray:
        """Return the ids of the images whose responses a challenge keeps secret, in the order of a submission."""
        raise InputError(f"{self.title} is no challenge: all of its images have responses")

    def submission(self, subject: S, predicted: np.ndarray) -> dict[str, np.ndarray]:
        """Return the arrays that the challenge takes, by file name, of predictions (n_challenge_images, n_units)."""
        raise InputError(f"{self.title} is no challenge: all of its images have responses")

    def image_classes(self, subject: S) -> dict[str, Mapping[str, np.ndarray]]:
        """Return `{kind: {class: ids of its test images}}` where scores of single classes are of interest."""
        return {}

    def ncsnr(self, subject: S, units: U) -> np.ndarray:
        """Return the published ratio (n_units,) of signal SD to noise SD of a single trial."""
        raise InputError(f"{self.title} publishes no ncsnr: leave out --ncsnr")

    def check_ncsnr(self, subject: S) -> None:
        """Raise InputError if the published ncsnr is missing."""
        self.ncsnr(subject, self.units(subject))
