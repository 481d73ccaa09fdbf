"""The interface of a dataset, through which extraction and encoding read images and responses."""

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
    """The user's choice among the versions of a dataset; None means the dataset's default.

    betas  version of NSD's betas
    space  space of NSD's betas
    mask   fitted voxels: the union of named regions, `cortex`, or one NIfTI file
    light  conversion of NSD-synthetic's pixels
    """

    betas: str | None = None
    space: str | None = None
    mask: tuple[str, ...] | None = None
    light: str | None = None

    @classmethod
    def recorded(cls, settings: Mapping[str, Any]) -> Reading:
        """Return the choice that the settings of scores record."""
        mask = settings.get("mask")
        return cls(settings.get("betas"), settings.get("space"), tuple(mask) if isinstance(mask, list) else None)


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

    S is the type that identifies a subject. U is the type of the units of responses, such as voxels.

    Subjects are identified by NSD's numbers or by the dataset's own names. Sessions are numbered from 1. Image ids are
    NSD's numbers, from 1, or names. Methods raise InputError, with the expected path, for missing or damaged files.
    """

    name: ClassVar[str]  # value of --dataset, and folder name of the results
    title: ClassVar[str]
    citation: ClassVar[str]
    terms: ClassVar[str]  # terms of use, or the place where its authors state them
    trained_on: ClassVar[str | None] = None  # dataset with the training images, if this one only has test images
    has_named_masks: ClassVar[bool] = False  # whether `reading` applies any mask; if not, MaskedDataset applies files
    ceilings_from_test_images: ClassVar[bool] = False  # whether noise ceilings are computed from the test images alone
    base_dir: Path

    @property
    def description(self) -> str:
        """Name the dataset and the layout in which it was found, for messages."""
        return self.title

    def reading(self, chosen: Reading) -> Dataset:
        """Return this dataset as the user chose to read it; raise InputError if it does not offer this choice."""
        for name, value in asdict(chosen).items():
            if value is not None:
                raise InputError(f"{self.title} has one kind of {_KINDS.get(name, 'responses')}: leave out --{name}")
        return self

    def reads(self) -> dict[str, Any]:
        """Return the versions that are read, as recorded in `settings.json`; empty if the dataset has only one."""
        return {}

    @property
    def variant(self) -> str:
        """Return a part of file names that identifies the versions that are read; empty for the default."""
        return ""

    @abstractmethod
    def subjects(self) -> list[S]:
        """Return all subjects of the dataset, including those without responses in this folder."""

    def check_subjects(self, subjects: Iterable[S], flag: str = "--subject") -> None:
        """Raise InputError unless the dataset has all of these subjects, which the user gave with `flag`."""
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
        """Return the number of sessions in which the subject took part; by default, of sessions in this folder."""
        return len(self.sessions(subject))

    @abstractmethod
    def trial_ids(self, subject: S, sessions: Sequence[int]) -> np.ndarray:
        """Return the image ids (n_trials,) of all trials, session by session in the given order."""

    def image_ids(self, subject: S) -> np.ndarray:
        """Return the ids of the images that a subject saw; by default, in the sessions that exist."""
        return np.unique(self.trial_ids(subject, self.sessions(subject)))

    def image_ids_of_any(self, subjects: Iterable[S]) -> np.ndarray:
        """Return the ids, ascending, of the images that at least one of the subjects saw."""
        return np.unique(np.concatenate([self.image_ids(subject) for subject in subjects]))

    def trials_run(self, subject: S) -> np.ndarray:
        """Return the image ids of all trials in which the subject took part; by default, of sessions in this folder."""
        return self.trial_ids(subject, self.sessions(subject))

    @abstractmethod
    def open_images(self) -> Images:
        """Open the dataset's images; only requested images are read."""

    @abstractmethod
    def units(self, subject: S) -> U:
        """Return the units of the responses: voxels of a volume, vertices of a surface, or rows of a table."""

    @abstractmethod
    def response_files(self, subject: S, sessions: Sequence[int]) -> list[Path]:
        """Return all files that the responses of the sessions depend on."""

    @abstractmethod
    def read_session(self, subject: S, session: int, units: U) -> np.ndarray:
        """Read single-trial responses, (n_trials, n_units) float32; NaN where a trial has no valid response."""

    def response_settings(self, subject: S) -> dict[str, Any]:
        """Return settings that change the responses and are not in their files, such as the direction of axes."""
        return {}

    @abstractmethod
    def regions(self, subject: S, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """Return `{region: (n_units,) bool}`; the first region holds all units.

        names  values of `--roi`, which select regions; None for all regions
        """

    def check_region(self, subject: S, name: str) -> None:
        """Raise InputError if `--roi` cannot select this name."""
        self.regions(subject, [name])

    @abstractmethod
    def test_images(self, subject: S) -> np.ndarray:
        """Return the ids of the test images in the dataset's own split; empty if it has no split."""

    def excluded_images(self, subject: S) -> np.ndarray:
        """Return the ids of the images that the dataset's own split uses neither for training nor for testing."""
        return np.empty(0, dtype=int)

    def split_names(self) -> Sequence[str]:
        """Return the names of other splits of the dataset, which `--split` selects."""
        return ()

    def split(self, name: str, subject: S) -> tuple[np.ndarray, np.ndarray]:
        """Return the ids of the training images and of the test images of one of `split_names`."""
        raise InputError(f"{self.title} has no split {name}: leave out --split")

    def challenge_images(self, subject: S) -> np.ndarray:
        """Return the ids of the images whose responses a challenge keeps secret, in the order of a submission."""
        raise InputError(f"{self.title} is no challenge: all of its images have responses")

    def submission(self, subject: S, predicted: np.ndarray) -> dict[str, np.ndarray]:
        """Return the arrays of a submission by file name, from predictions (n_challenge_images, n_units)."""
        raise InputError(f"{self.title} is no challenge: all of its images have responses")

    def image_classes(self, subject: S) -> dict[str, Mapping[str, np.ndarray]]:
        """Return `{kind: {class: ids of its test images}}` of the classes that are also scored one by one."""
        return {}

    def ncsnr(self, subject: S, units: U) -> np.ndarray:
        """Return the published ratio (n_units,) of signal SD to noise SD of a single trial."""
        raise InputError(f"{self.title} publishes no ncsnr: leave out --ncsnr")

    def check_ncsnr(self, subject: S) -> None:
        """Raise InputError if the published ncsnr is missing."""
        self.ncsnr(subject, self.units(subject))

    def ncsnr_files(self, subject: S) -> Sequence[Path]:
        """Return the files of noise ceilings that a lab estimated, and may write again; none of published ones."""
        return ()
