"""Read which picture of COCO, and which part of it, each image of NSD shows (nsd_stim_info_merged.csv)."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.wording import no_such_path
from brain_activity_prediction.storage.files import read_bytes, reading

NAME = "nsd_stim_info_merged.csv"
PLACES = (f"nsddata/experiments/nsd/{NAME}", NAME)  # under BASE_DIR, in the official and the flat layout
COLUMNS = ("cocoId", "cocoSplit", "cropBox", "nsdId")
SPLITS = ("train2017", "val2017")
LARGEST_BYTES = 2**26  # NSD's own file takes 10 MB


class Crop(NamedTuple):
    """Fractions of a picture's height (top, bottom) and width (left, right) that are cut away at each side."""

    top: float
    bottom: float
    left: float
    right: float


class Stimulus(NamedTuple):
    """A picture of COCO, and the crop of it that NSD shows."""

    coco_id: int
    split: str
    crop: Crop


def find_stimulus_table(base_dir: Path, given: Path | None) -> Path:
    """Return the path of the stimulus table: the given one, or else NSD's own under `base_dir`."""
    if given is not None:
        if not given.is_file():
            raise InputError(f"--stimulus-table {no_such_path(given)}")
        return given
    for place in PLACES:
        if (base_dir / place).is_file():
            return base_dir / place
    raise InputError(f"no stimulus table under {base_dir}: expected {PLACES[0]}, or give --stimulus-table FILE")


def read_stimulus_table(path: Path) -> dict[int, Stimulus]:
    """Read `{NSD id: its stimulus}`; the ids count from 1 here, and from 0 in the file."""
    with reading(path):
        text = read_bytes(path, LARGEST_BYTES).decode("utf-8-sig")
        rows = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        if missing := [name for name in COLUMNS if name not in (rows.fieldnames or ())]:
            raise ValueError(f"it has no column {missing[0]}")
        stimuli: dict[int, Stimulus] = {}
        for row in rows:
            try:
                image_id, stimulus = _stimulus(row)
            except (ValueError, TypeError, AttributeError) as error:
                raise ValueError(f"line {rows.line_num} is no stimulus: {error}") from None
            if image_id in stimuli:
                raise ValueError(f"line {rows.line_num} repeats nsdId {image_id - 1}")
            stimuli[image_id] = stimulus
        if not stimuli:
            raise ValueError("it has no rows")
    return stimuli


def _stimulus(row: Mapping[str, str]) -> tuple[int, Stimulus]:
    number, coco_id, split = int(row["nsdId"]), int(row["cocoId"]), row["cocoSplit"]
    crop = Crop(*(float(value) for value in json.loads(f"[{row['cropBox'].strip().strip('()')}]")))
    if number < 0 or split not in SPLITS:
        raise ValueError(f"nsdId {number}, cocoSplit {split}")
    if not all(0 <= side < 1 for side in crop) or crop.top + crop.bottom >= 1 or crop.left + crop.right >= 1:
        raise ValueError(f"cropBox {row['cropBox']}")
    return number + 1, Stimulus(coco_id, split, crop)
