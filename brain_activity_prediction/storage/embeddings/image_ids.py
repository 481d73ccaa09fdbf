"""Ids of images: NSD's numbers, from 1, or the names of another dataset."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

ImageId: TypeAlias = "int | str"


def as_ids(image_ids: Sequence[ImageId] | np.ndarray) -> np.ndarray:
    """Return image ids as an array (n,) of int64 or of str."""
    ids = np.asarray(image_ids)
    return ids if ids.dtype.kind == "U" else ids.astype(np.int64)


def claim_name(image_id: ImageId) -> str:
    """Return the name under which a process claims an image; it is a safe file name."""
    if isinstance(image_id, str):
        return hashlib.blake2b(image_id.encode(), digest_size=12).hexdigest()
    return f"{image_id:05d}"
