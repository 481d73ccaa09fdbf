"""Set trials without valid data to NaN.

If a voxel has no valid data in a session, NSD stores 0 for it in all trials, and marks it in valid_sessionNN.nii.gz.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from brain_activity_prediction.datasets.units import Units
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.storage.folders import Subject

MOST_MISSING = 0.05  # largest share of training or test images that a fitted voxel may lack


def mark_invalid(betas: np.ndarray, valid: np.ndarray | None = None) -> np.ndarray:
    """Set voxels without valid data in a session to NaN, in place; return `betas` (n_trials, n_voxels).

    A voxel is invalid if it is exactly 0 in all trials, or if `valid` (n_voxels,) is False.
    """
    invalid = ~betas.any(axis=0)
    if valid is not None:
        invalid |= ~valid
    betas[:, invalid] = np.nan
    return betas


class MissingTrials:
    """Count the missing trials of each voxel over sessions."""

    def __init__(self, n_images: int):
        self.voxels = np.empty(0, dtype=int)
        self.counts = np.empty((n_images, 0), dtype=int)
        self.voxels_by_session: list[int] = []

    def set_aside(self, betas: np.ndarray, images: np.ndarray) -> None:
        """Set the values of a session that are not finite to 0, in place, and count them.

        betas   (n_trials, n_voxels)
        images  (n_trials,) index of the image that each trial shows, from 0
        """
        with np.errstate(invalid="ignore"):
            voxels = np.flatnonzero(~np.isfinite(betas.sum(axis=0, dtype=np.float64)))
        self.voxels_by_session.append(voxels.size)
        if voxels.size:
            missing = ~np.isfinite(betas[:, voxels])
            betas[:, voxels] = np.where(missing, 0, betas[:, voxels])
            new = np.setdiff1d(voxels, self.voxels)
            self.voxels = np.append(self.voxels, new)
            self.counts = np.pad(self.counts, ((0, 0), (0, new.size)))
            order = np.argsort(self.voxels)
            columns = order[np.searchsorted(self.voxels, voxels, sorter=order)]
            np.add.at(self.counts, (images[:, None], columns), missing)

    def valid_repeats(self, n_repeats: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the voxels (k,) that lack trials, ascending, and their number of valid trials (n_images, k)."""
        order = np.argsort(self.voxels)
        valid = n_repeats[:, None] - self.counts[:, order]
        return self.voxels[order], valid.astype(np.min_scalar_type(n_repeats.max()))


def lacking_too_many(valid_repeats: np.ndarray, parts: Iterable[np.ndarray]) -> np.ndarray:
    """Return a mask (k,) of the voxels that lack more than MOST_MISSING of the training or of the test images.

    valid_repeats  (n_images, k) number of valid trials
    parts          rows of the training images, and rows of the test images
    """
    missing = valid_repeats == 0
    return np.any([too_many(missing[rows].sum(axis=0), len(rows)) for rows in parts], axis=0)


def too_many(n_missing: np.ndarray, n: int) -> np.ndarray:
    """Return whether n_missing of n exceeds MOST_MISSING."""
    return n_missing > MOST_MISSING * n


def tell_missing(subject: Subject, units: Units, n_incomplete: int, voxels_by_session: Mapping[int, int]) -> None:
    """Warn that voxels lack data; `voxels_by_session` is {session: number of voxels that lack data in it}."""
    sessions = [session for session, number in voxels_by_session.items() if number]
    where = f"session {sessions[0]}" if len(sessions) == 1 else f"{len(sessions)} sessions, first {sessions[0]}"
    log.warning(
        f"subject {subject}: {n_incomplete} of {units.n} {units.nouns} lack valid data in {where}. Only their valid "
        f"trials are averaged; an image without a valid trial is missing for the {units.noun}"
    )


def tell_left_out(subject: Subject, units: Units, voxels: np.ndarray) -> None:
    """Warn that these voxels (k,), at least one, are left out because they lack too many images."""
    log.warning(
        f"subject {subject}: {voxels.size} of {units.n} {units.nouns} lack over {MOST_MISSING * 100:g} % of their "
        f"training or test images and are left out, first {units.where(voxels[0])}"
    )
