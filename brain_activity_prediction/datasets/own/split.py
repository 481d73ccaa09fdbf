"""Read which images of an experiment are for training, for testing, or excluded."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from brain_activity_prediction.datasets.files.tables import one_of, read_table
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.runtime.wording import did_you_mean

NAMES = ("split.csv", "split.tsv")
PARTS = ("train", "test", "exclude")


@cache  # once for each file, however often the split is made
def _tell_no_test(path: Path) -> None:
    log.warning(f"{path} has no test image: images without a row are training images")


def read_split(folder: Path, images: np.ndarray) -> dict[str, np.ndarray]:
    """Return the images of each part, ascending; all parts are empty without split.csv or split.tsv.

    images  names of all images with trials; images that are not in the table are for training

    Raises InputError that names the line of a wrong row.
    """
    path = one_of(folder, NAMES)
    found: dict[str, list[str]] = {part: [] for part in PARTS}
    if path is None:
        return {part: np.empty(0, dtype=images.dtype) for part in PARTS}
    header, rows = read_table(path)
    if not {"image", "split"} <= set(header):
        raise InputError(f"{path} has the columns {', '.join(header)[:100]}, but needs image and split")
    known, seen = set(images.tolist()), dict[str, str]()
    for line, row in rows:
        cells = dict(zip(header, (cell.strip() for cell in row), strict=False))
        image, part = cells.get("image", ""), cells.get("split", "")
        if image not in known:
            raise InputError(f"{path}, line {line}: no trial shows {image[:60]!r}{did_you_mean(image, known)}")
        if part not in PARTS:
            raise InputError(f"{path}, line {line}: {part[:60]!r} must be one of {', '.join(PARTS)}")
        if seen.setdefault(image, part) != part:
            raise InputError(f"{path}, line {line}: {image} is already in {seen[image]}")
        found[part].append(image)
    if found["train"] and not found["test"]:
        _tell_no_test(path)
    if len(seen) == len(known) and not found["train"]:
        raise InputError(f"{path} leaves no training image: every image is a test image or excluded")
    return {part: np.unique(np.array(names, dtype=images.dtype)) for part, names in found.items()}
