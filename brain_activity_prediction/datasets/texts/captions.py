"""Read captions of NSD's images, which are the input of text models."""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.wording import count, no_such_path
from brain_activity_prediction.storage.files import read_bytes

COLUMNS = ("nsd_id", "caption")
NSD_ID = re.compile("0*[1-9][0-9]{0,5}")
LARGEST_BYTES = 2**27  # COCO's five captions of each of NSD's images take under 30 MB


class Captions:
    """Captions of images from a CSV file with the columns nsd_id (from 1) and caption, one caption in each row.

    Text models use this class instead of `datasets.nsd.stimuli.Stimuli`.

    Raises InputError, with the line number, if the file cannot be read.
    """

    def __init__(self, path: Path):
        self.path = path
        self.by_image = read_captions(path)

    @property
    def settings(self) -> dict:
        """Return the settings that change the hidden states: a digest of all captions."""
        digest = hashlib.sha256(repr(sorted(self.by_image.items())).encode()).hexdigest()
        return {"captions": f"table {digest[:16]}"}

    def check(self, ids: Sequence[int]) -> None:
        """Raise InputError if any of these images has no caption."""
        missing = np.setdiff1d(ids, list(self.by_image))
        if missing.size:
            raise InputError(
                f"no caption for {missing.size:,} of {count(len(ids), 'image')} in {self.path} "
                f"(first: image {missing[0]}): add them"
            )

    def images(self, ids: Sequence[int]) -> list[list[str]]:
        """Return the captions of each image, in the order of the ids."""
        return [self.by_image[image_id] for image_id in ids]


def read_captions(path: Path) -> dict[int, list[str]]:
    """Read `{NSD id: captions}` in the order of the file."""
    captions: dict[int, list[str]] = {}
    if not path.exists():
        raise InputError(f"--captions {no_such_path(path)}")
    try:
        text = read_bytes(path, LARGEST_BYTES).decode("utf-8-sig")
        rows = csv.reader(io.StringIO(text, newline=""), strict=True)
        header = next(rows, [])
        if tuple(header) != COLUMNS:
            columns = ", ".join(header)[:100] or "none"
            raise InputError(f"{path} has the columns {columns}, but needs {','.join(COLUMNS)}")
        for row in filter(None, rows):
            if len(row) != 2 or not NSD_ID.fullmatch(row[0].strip()) or not row[1].strip():
                raise InputError(
                    f"{path}, line {rows.line_num}, is not an NSD id and a caption: write 71,A dog. "
                    "and put captions with commas in quotes"
                )
            captions.setdefault(int(row[0]), []).append(row[1].strip())
    except InputError:
        raise
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(
            f"{path} cannot be read as a table of captions ({' '.join(str(error).split())}): it must be UTF-8 text "
            f"with the columns {','.join(COLUMNS)}"
        ) from None
    return captions
