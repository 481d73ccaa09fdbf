"""The schema of a batch file of hidden states: its header, and the shapes of its datasets."""

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brain_activity_prediction.runtime.wording import count
from brain_activity_prediction.storage.checked_json import checked
from brain_activity_prediction.storage.sealed_hdf5 import Seal, Stored, read_seal

IDS, ANSWERS = "image_ids", "answers"
A_LAYER = (1, 1)  # streams are cut along axis 1, into pieces of one layer


@dataclass(frozen=True)
class BatchHeader:
    """The header of a batch file."""

    image_ids: list[int]  # the image of each row
    settings: dict[str, Any]


@dataclass(frozen=True)
class BatchFile:
    """The header of a batch file, and its streams by name: arrays (n images, L layers, W width)."""

    header: BatchHeader
    streams: dict[str, Stored]
    has_answers: bool


def read_batch_file(path: Path) -> BatchFile:
    """Read the header of a batch file; raise ValueError if it is damaged or does not fit the schema."""
    seal = read_seal(path)
    header = checked(seal.about, BatchHeader, "its header")
    streams = {name: stored for name, stored in seal.datasets.items() if name not in (IDS, ANSWERS)}
    if problem := _problem(path.name, header, seal, streams):
        raise ValueError(problem)
    return BatchFile(header, streams, ANSWERS in seal.datasets)


def batch_names(folder: Path) -> list[str]:
    """Return the sorted names of the batch files in a folder; empty if the folder does not exist."""
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.name.startswith("batch_") and entry.name.endswith(".h5"))
    return []


def span(name: str) -> tuple[int, int]:
    """Return the lowest and highest image id in a batch file, from its name; raise ValueError for other names."""
    low, _, high = name.split("_")[1].partition("-")
    return int(low), int(high)


def _problem(name: str, header: BatchHeader, seal: Seal, streams: dict[str, Stored]) -> str | None:
    if bad := [stream for stream in streams if not re.fullmatch(r"\w+", stream)]:  # streams become file names
        return f"{min(bad)!r} is no stream's name"
    if any(len(stored.shape) != 3 for stored in streams.values()):
        return "not all of its streams are images x layers x width"
    if any(stored.cut != A_LAYER or "S" in stored.dtype for stored in streams.values()):
        return "not all of its streams are numbers in pieces of one layer"
    if any(stored.shape[0] != len(header.image_ids) for stored in seal.datasets.values()):
        return f"not all of its datasets have {count(len(header.image_ids), 'row')}, one for each image"
    if ANSWERS in seal.datasets and "S" not in seal.datasets[ANSWERS].dtype:
        return "its answers are no text"
    if not header.image_ids or (min(header.image_ids), max(header.image_ids)) != span(name):
        return "its name and its header disagree about its images"
    return None
