"""Scale features and responses: by mean and SD of the training images, or each set of images by its own mean and SD."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from brain_activity_prediction.encoding.protocols import STANDARD

Scaling = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]  # scales train (n, k) and test (m, k)


def scaling(protocol: str) -> Scaling:
    """Return the scaling function of a protocol."""
    return standardise if protocol == STANDARD else standardise_apart


def standardise(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Standardise the columns of `train` (n, k) and `test` (m, k) by mean and SD of `train`, in place, float32.

    A column that is constant in `train` becomes 0 in both arrays.
    """
    constant = train.min(axis=0) == train.max(axis=0)
    mean = train.mean(axis=0, dtype=np.float64).astype(np.float32)
    for part in (train, test):
        part -= mean
    sd = np.sqrt(np.einsum("nk,nk->k", train, train, dtype=np.float64) / len(train))
    for part in (train, test):
        part /= np.where(constant, 1, sd).astype(np.float32)
        part[:, constant] = 0
    return train, test


def standardise_apart(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Standardise the columns of `train` (n, k) and of `test` (m, k), each by its own mean and SD, in place."""
    return standardise(train, train[:0])[0], standardise(test, test[:0])[0]


def scale_with_gaps(
    train: np.ndarray, test: np.ndarray, incomplete: np.ndarray, scale: Scaling = standardise
) -> tuple[np.ndarray, np.ndarray]:
    """Scale responses in place, where NaN marks a missing response.

    A voxel's mean and SD are computed without its missing responses. In `train`, a missing response becomes 0, the
    voxel's mean. In `test`, it stays NaN.

    train       (n, V) responses to training images
    test        (m, V) responses to test images
    incomplete  (k,) indices of the voxels with missing responses
    """
    gaps = [np.isnan(part[:, incomplete]) for part in (train, test)]
    for part, missing in zip((train, test), gaps, strict=True):
        known = np.where(missing, 0, part[:, incomplete])
        mean = known.sum(axis=0, dtype=np.float64) / np.maximum((~missing).sum(axis=0), 1)
        part[:, incomplete] = np.where(missing, mean, known)
    train, test = scale(train, test)
    train[:, incomplete] = np.where(gaps[0], 0, train[:, incomplete])
    test[:, incomplete] = np.where(gaps[1], np.nan, test[:, incomplete])
    return train, test


def varying_features(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Drop features that are 0 in all training images, because ridge gives them no weight.

    The narrow layers of a convolutional network are padded with such features to the width of its widest layer. If all
    features are 0, they are kept.
    """
    varying = train.any(axis=0)
    if varying.all() or not varying.any():
        return train, test
    return train[:, varying], test[:, varying]
