"""Open CIFTI files: a matrix whose axes a list of trials, labels, grayordinates or parcels describes."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import nibabel


def open_cifti(path: Path) -> tuple[Any, tuple[Any, Any]]:
    """Return nibabel's image and its two axes; raise ValueError unless its matrix has their lengths.

    The header states the size of the matrix, which may be too large for any memory.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what the error below says
        image = nibabel.load(path)
    if not isinstance(image, nibabel.Cifti2Image) or image.ndim != 2:
        raise ValueError("it is no CIFTI file of two axes")
    axes = (image.header.get_axis(0), image.header.get_axis(1))
    if (described := tuple(map(len, axes))) != image.shape:
        raise ValueError(f"its matrix is {image.shape}, but its axes describe {described}")
    return image, axes
