"""NSD-synthetic's design: the image of each trial of its one session, and the classes of its images.

Images 1 to 220 are the same for all subjects. Images 221 to 284 are coloured noise, made for each subject. Here their
ids begin at 73,001, after the ids of NSD's images. The coloured images of different subjects have different ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from brain_activity_prediction.datasets.files.tables import read_rows
from brain_activity_prediction.datasets.nsd.design import N_SUBJECTS, Design, read_mat, whole_numbers
from brain_activity_prediction.datasets.nsd.stimuli import N_IMAGES
from brain_activity_prediction.runtime.errors import InputError

N_COMMON, N_COLOURED = 220, 64
N_SYNTHETIC = N_COMMON + N_COLOURED
CLASSES = {"class": "Image class", "subclass": "Image subclass"}  # kind of class, and its column in the table of images


def image_ids(subject: int) -> np.ndarray:
    """Return the ids (284,) of a subject's images, in the order of their numbers in NSD-synthetic, 1 to 284."""
    coloured = N_IMAGES + N_COMMON + (subject - 1) * N_COLOURED
    return np.concatenate([N_IMAGES + np.arange(1, N_COMMON + 1), coloured + np.arange(1, N_COLOURED + 1)])


def read_synthetic_design(path: Path) -> Design:
    """Read nsdsynthetic_expdesign.mat as the design of one session; raise InputError unless it has images 1 to 284."""
    ordering = whole_numbers(path, read_mat(path, ("masterordering",)), "masterordering").ravel()
    if not np.array_equal(np.unique(ordering), np.arange(1, N_SYNTHETIC + 1)):
        raise InputError(f"{path} is not NSD-synthetic's design file: masterordering does not show images 1 to 284")
    of_subjects = np.stack([image_ids(subject) for subject in range(1, N_SUBJECTS + 1)])
    return Design(path, ordering, of_subjects, of_subjects[0, :N_COMMON], n_sessions=1)


def read_classes(path: Path) -> dict[str, Sequence[str]]:
    """Read the class and the subclass of images 1 to 284 from the rows of nsdsyntheticimageinformation.csv."""
    rows = read_rows(path, tuple(CLASSES.values()))
    if len(rows) != N_SYNTHETIC:
        raise InputError(f"{path} describes {len(rows)} images instead of {N_SYNTHETIC}: fetch it again")
    return {kind: [row[column] for row in rows] for kind, column in CLASSES.items()}
