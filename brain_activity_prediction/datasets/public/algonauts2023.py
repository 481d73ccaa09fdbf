"""The Algonauts 2023 challenge: NSD's responses on fsaverage, z-scored and averaged, so without noise ceilings.

    subj01/training_split/training_images/train-0001_nsd-00013.png
    subj01/training_split/training_fmri/{lh,rh}_training_fmri.npy
    subj01/test_split/test_images/test-0001_nsd-00845.png       without responses
    subj01/roi_masks/{lh,rh}.CLASS_challenge_space.npy, {lh,rh}.all-vertices_fsaverage_space.npy

The number after `nsd-` counts from 0. Here the images have NSD's ids, which count from 1, so that hidden states
extracted for NSD are used.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from brain_activity_prediction.datasets.dataset import ALL_UNITS, Dataset
from brain_activity_prediction.datasets.files.image_files import ImageFiles, digest_of, read_image
from brain_activity_prediction.datasets.files.npy import open_npy
from brain_activity_prediction.datasets.nsd.label_tables import LABELS
from brain_activity_prediction.datasets.nsd.stimuli import N_IMAGES
from brain_activity_prediction.datasets.region_choice import chosen_regions
from brain_activity_prediction.datasets.units import Vertices
from brain_activity_prediction.runtime.errors import InputError

SIDES = ("lh", "rh")
IMAGE_NAME = re.compile(r"(?:train|test)-[0-9]{4}_nsd-([0-9]{5})\.png")
# The names of labels 1, 2, ... are taken from NSD, because the challenge's own files of names are pickles.
CLASSES = ("prf-visualrois", "floc-bodies", "floc-faces", "floc-places", "floc-words", "streams")


class NSDImageFiles(ImageFiles):
    """Picture files of NSD's images, whose settings agree with those of NSD's own stimulus file."""

    @property
    def settings(self) -> dict[str, Any]:
        """Return the height of an image in pixels, the only setting of NSD's stimulus file that these files have."""
        first = next(iter(self._paths), None)
        return {} if first is None else {"stimulus_pixels": self.images([first])[0].height}


class Algonauts2023(Dataset[int, Vertices]):
    """Algonauts 2023: the averages of all training images count as one session; test images have no responses."""

    name = "algonauts2023"
    title = "Algonauts 2023"
    citation = "Gifford et al. (2023), arXiv 2301.03198; Allen et al. (2022), Nature Neuroscience 25, 116-126"
    terms = "those of NSD, naturalscenesdataset.org"

    def __init__(self, base_dir: Path):
        self.base_dir = base_dir

    def subjects(self) -> list[int]:
        return [int(path.name[4:]) for path in sorted(self.base_dir.glob("subj0[1-8]")) if path.is_dir()]

    def sessions(self, subject: int) -> list[int]:
        self.response_files(subject, [1])
        return [1]

    def trial_ids(self, subject: int, sessions: Sequence[int]) -> np.ndarray:
        if list(sessions) != [1]:
            raise InputError(f"{self.title} has averages over all sessions: leave out --sessions")
        return self._images(subject, "training")

    def image_ids(self, subject: int) -> np.ndarray:
        """Return the images of the training and of the test split."""
        return np.unique(np.concatenate([self._images(subject, "training"), self._images(subject, "test")]))

    def challenge_images(self, subject: int) -> np.ndarray:
        return self._images(subject, "test")

    def submission(self, subject: int, predicted: np.ndarray) -> dict[str, np.ndarray]:
        """Return `lh_pred_test.npy` and `rh_pred_test.npy`: (n_challenge_images, n_vertices) float32."""
        masks = self.units(subject).masks
        left = int(np.count_nonzero(masks[SIDES[0]]))
        parts = zip(SIDES, np.split(predicted.astype(np.float32), [left], axis=1), strict=True)
        return {f"{side}_pred_test.npy": np.ascontiguousarray(part) for side, part in parts}

    def open_images(self) -> ImageFiles:
        paths: dict[int, Path] = {}
        for subject in self.subjects():
            for split in ("training", "test"):
                numbers = self._images(subject, split).tolist()
                for number, path in zip(numbers, self._files(subject, split), strict=True):
                    _check_same(paths.setdefault(number, path), path)
        return NSDImageFiles(paths, self.base_dir)

    def units(self, subject: int) -> Vertices:
        """Return the vertices of fsaverage: those where the challenge's mask of all vertices is not 0."""
        folder = self._folder(subject) / "roi_masks"
        return Vertices({side: open_npy(folder / f"{side}.all-vertices_fsaverage_space.npy", 1) != 0 for side in SIDES})

    def response_files(self, subject: int, sessions: Sequence[int]) -> list[Path]:
        folder = self._folder(subject)
        files = [folder / "training_split" / "training_fmri" / f"{side}_training_fmri.npy" for side in SIDES]
        for path in files:
            if not path.is_file():
                raise InputError(f"subject {subject} of {self.title} has no {path}")
        return [*files, *(folder / "roi_masks" / f"{side}.all-vertices_fsaverage_space.npy" for side in SIDES)]

    def read_session(self, subject: int, session: int, units: Vertices) -> np.ndarray:
        parts, n = [], self._images(subject, "training").size
        for (side, mask), path in zip(units.masks.items(), self.response_files(subject, [1]), strict=False):
            responses, n_vertices = open_npy(path, 2), int(np.count_nonzero(mask))
            if responses.shape != (n, n_vertices):
                raise InputError(
                    f"{path} has shape {responses.shape}, but there are {n} training images and {n_vertices} vertices "
                    f"in the mask of {side}"
                )
            parts.append(responses.astype(np.float32))
        return np.concatenate(parts, axis=1)

    def regions(self, subject: int, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        units, folder = self.units(subject), self._folder(subject) / "roi_masks"
        found = {ALL_UNITS: np.ones(units.n, dtype=bool)}
        for class_name in CLASSES:
            paths = [folder / f"{side}.{class_name}_challenge_space.npy" for side in SIDES]
            if not all(path.is_file() for path in paths):
                continue
            labels = np.concatenate([open_npy(path, 1) for path in paths])
            if labels.size != units.n:
                raise InputError(f"{paths[0]} and {paths[1].name} have {labels.size} vertices instead of {units.n}")
            for number, label in enumerate(LABELS[class_name], 1):
                if (labels == number).any():
                    found[label] = labels == number
        return chosen_regions(found, names, f"subject {subject} of {self.title}")

    def test_images(self, subject: int) -> np.ndarray:
        """Return no image: the images of the test split have no responses."""
        return np.empty(0, dtype=int)

    def _folder(self, subject: int) -> Path:
        return self.base_dir / f"subj{subject:02d}"

    def _files(self, subject: int, split: str) -> list[Path]:
        return sorted((self._folder(subject) / f"{split}_split" / f"{split}_images").glob("*.png"))

    @cache  # noqa: B019, one dataset lives as long as its process
    def _images(self, subject: int, split: str) -> np.ndarray:
        files = self._files(subject, split)
        if not files and split == "training":
            raise InputError(f"subject {subject} of {self.title} has no training images in {self._folder(subject)}")
        ids = []
        for path in files:
            match = IMAGE_NAME.fullmatch(path.name)
            if match is None:
                raise InputError(f"{path} is not named like the challenge's images, such as train-0001_nsd-00013.png")
            if int(match[1]) >= N_IMAGES:
                raise InputError(f"{path}: NSD's images are numbered from 0 to {N_IMAGES - 1} in these names")
            ids.append(int(match[1]) + 1)
        return np.array(ids, dtype=int)


def _check_same(one: Path, other: Path) -> None:
    """Raise InputError if two files of one image differ in size and in their pixels."""
    if one.stat().st_size != other.stat().st_size and digest_of(read_image(one)) != digest_of(read_image(other)):
        raise InputError(f"{one} and {other} show different pictures under the same number: fetch them again")


def find_algonauts(base_dir: Path) -> Algonauts2023:
    return Algonauts2023(base_dir)
