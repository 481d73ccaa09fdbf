"""The folds of a cross-validation: contiguous parts of the rows, groups by label, or lists of rows."""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import torch

from brain_activity_prediction.ridge import RidgeInputError
from brain_activity_prediction.ridge.arrays import Rows


def group_folds(labels: npt.ArrayLike) -> list[np.ndarray]:
    """Return one fold for each distinct label, in sorted order: the rows with this label. `labels` is (N,)."""
    labels = np.asarray(labels)
    return [np.flatnonzero(labels == label) for label in np.unique(labels)]


def held_out_rows(folds: int | Iterable[npt.ArrayLike], n_images: int) -> list[Rows]:
    """Return the rows that each fold holds out: slices if they are contiguous, index tensors otherwise.

    folds : a number of contiguous folds, the first N % K of them one image longer, or a list of row arrays or of
        boolean masks (N,).
    """
    if isinstance(folds, bool | str) or not (isinstance(folds, int | np.integer) or np.iterable(folds)):
        raise RidgeInputError(
            f"folds {folds!r} is neither a number of folds nor a list of the rows that each holds out"
        )
    if isinstance(folds, int | np.integer):
        if not 2 <= folds <= n_images:
            raise RidgeInputError(f"{folds} folds of {n_images} images: use 2 to {n_images} folds")
        return [slice(rows[0], rows[-1] + 1) for rows in np.array_split(np.arange(n_images), folds)]
    listed = [_rows_of_mask(np.asarray(rows), n_images) for rows in folds]
    for number, rows in enumerate(listed):
        if rows.ndim != 1 or rows.dtype.kind not in "iu" or len(np.unique(rows)) != len(rows):
            raise RidgeInputError(f"fold {number} is not a list of distinct row numbers: give the rows it holds out")
        if not 0 < len(rows) < n_images or rows.min() < 0 or rows.max() >= n_images:
            raise RidgeInputError(f"fold {number} holds out {len(rows)} rows: give some, not all, of 0..{n_images - 1}")
    if len(listed) < 2:
        raise RidgeInputError(f"{len(listed)} fold: cross-validation needs at least 2")
    return [_slice_if_contiguous(rows) for rows in listed]


def check_fold_sizes(folds: Sequence[Rows | np.ndarray], n_images: int, criterion: str, name: str) -> None:
    """Raise an error for folds of one image if the criterion needs responses that vary.

    name  the caller's parameter for the criterion
    """
    if criterion == "neg_mean_squared_error":
        return
    sizes = [len(range(n_images)[rows] if isinstance(rows, slice) else rows) for rows in folds]
    if 1 in sizes:
        raise RidgeInputError(
            f"fold {sizes.index(1)} holds out one image, but {criterion} needs two or more: use larger folds, or "
            f"{name} 'neg_mean_squared_error'"
        )


def _rows_of_mask(rows: np.ndarray, n_images: int) -> np.ndarray:
    return np.flatnonzero(rows) if rows.dtype == bool and rows.shape == (n_images,) else rows


def _slice_if_contiguous(rows: np.ndarray) -> Rows:
    if np.array_equal(rows, np.arange(rows[0], rows[0] + len(rows))):
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return torch.from_numpy(rows.astype(np.int64))
