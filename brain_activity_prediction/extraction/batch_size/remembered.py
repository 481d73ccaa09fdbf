"""The batch size that was found for a model on a device, kept in a small file in BASE_DIR/logs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.storage.checked_json import read_json, write_json
from brain_activity_prediction.storage.folders import model_folder


@dataclass(frozen=True)
class Conditions:
    """The settings that change memory and time of an image.

    device  the name of the GPU, or `cpu` with its number of threads
    n_prompts, n_new_tokens  prompts of an image, and the longest answer in tokens
    """

    device: str
    dtype: str
    quantize: str | None
    streams: list[str]
    n_prompts: int
    n_new_tokens: int


@dataclass(frozen=True)
class Remembered:
    """The number of images in a batch that was found under these conditions."""

    conditions: Conditions
    n_images: int

    def __post_init__(self) -> None:
        if self.n_images < 1:
            raise ValueError(f"field 'n_images' is {self.n_images!r}")


def read_size(base_dir: Path, model_id: str, conditions: Conditions) -> int | None:
    """Return the remembered batch size; None if there is none for these conditions. A damaged file counts as none."""
    path = _path(base_dir, model_id, conditions)
    if not path.exists():
        return None
    try:
        known = read_json(path, Remembered, "delete it")
    except InputError as error:
        log.warning(f"the batch size is measured again: {error}")
        return None
    return known.n_images if known.conditions == conditions else None


def remember_size(base_dir: Path, model_id: str, conditions: Conditions, n_images: int) -> None:
    """Keep a batch size; a folder that cannot be written only costs the next measurement."""
    try:
        write_json(_path(base_dir, model_id, conditions), Remembered(conditions, n_images), indent=1)
    except InputError as error:
        log.info(f"the batch size is not remembered: {error}")


def _path(base_dir: Path, model_id: str, conditions: Conditions) -> Path:
    device = re.sub(r"[^\w.-]+", "_", conditions.device)
    return base_dir / "logs" / "batch_sizes" / model_folder(model_id) / f"{device}.json"
