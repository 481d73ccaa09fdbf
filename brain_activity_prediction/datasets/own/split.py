"""Read which images an experiment trains on, tests on and leaves out."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.wording import did_you_mean
from brain_activity_prediction.storage.files import read_bytes, reading

NAME = "split.csv"
PARTS = ("train", "test", "exclude")
LARGEST_BYTES = 2**26


def read_split(folder: Path, images: np.ndarray) -> dict[str, np.ndarray]:
    """Return the images of each part, ascending; without split.csv all are empty.

    images  names of all images with trials; those that the table does not name are training images

    Raises InputError with the line of a wrong row.
    """
    path = folder / NAME
    found: dict[str, list[str]] = {part: [] for part in PARTS}
    if not path.is_file():
        return {part: np.empty(0, dtype=images.dtype) for part in PARTS}
    with reading(path):
        table = csv.reader(io.StringIO(read_bytes(path, LARGEST_BYTES).decode("utf-8-sig"), newline=""), strict=True)
        header = [name.strip() for name in next(table, [])]
        rows = [(table.line_num, [cell.strip() for cell in row]) for row in table if any(row)]
    if header[:2] != ["image", "split"]:
        raise InputError(f"{path} has the columns {', '.join(header)[:100]}: it needs image,split")
    known, seen = set(images.tolist()), dict[str, str]()
    for line, row in rows:
        image, part = (*row, "", "")[:2]
        if image not in known:
            raise InputError(f"{path}, line {line}: no trial shows {image[:60]!r}{did_you_mean(image, known)}")
        if part not in PARTS:
            raise InputError(f"{path}, line {line}: {part[:60]!r} is none of {', '.join(PARTS)}")
        if seen.setdefault(image, part) != part:
            raise InputError(f"{path}, line {line}: {image} is already in {seen[image]}")
        found[part].append(image)
    return {part: np.unique(np.array(names, dtype=images.dtype)) for part, names in found.items()}
