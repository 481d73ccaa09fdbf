"""Open CIFTI files, which hold a matrix and a description of its axes: trials, labels, grayordinates or parcels."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import nibabel


def open_cifti(path: Path) -> tuple[Any, tuple[Any, Any]]:
    """Return nibabel's image and its two axes; raise ValueError unless its matrix has their lengths.

    The check comes first because a damaged header may state a size that does not fit into memory.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the error below reports the same
        image = nibabel.load(path)
    if not isinstance(image, nibabel.Cifti2Image) or image.ndim != 2:
        raise ValueError("it is not a CIFTI file with two axes")
    axes = (image.header.get_axis(0), image.header.get_axis(1))
    if (described := tuple(map(len, axes))) != image.shape:
        raise ValueError(f"its matrix is {image.shape}, but its axes describe {described}")
    return image, axes
