"""The rate of a model in its last test run, from which `sweep.py plan` estimates hours before any unit has finished."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.storage.checked_json import read_json, write_json
from brain_activity_prediction.storage.folders import model_folder


@dataclass(frozen=True)
class MeasuredRate:
    """Seconds that a model takes for an image: for these streams and prompts, on a kind of device, cpu or gpu."""

    kind: str
    streams: list[str]
    prompts: list[int]
    seconds: float

    def __post_init__(self) -> None:
        if not 0 < self.seconds < math.inf:
            raise ValueError(f"field 'seconds' is {self.seconds!r}")


def record_rate(base_dir: Path, model_id: str, rate: MeasuredRate) -> None:
    """Keep the rate of a model; a folder that cannot be written only costs the estimate."""
    try:
        write_json(_path(base_dir, model_id), rate)
    except InputError as error:
        log.info(f"the rate is not recorded for sweep.py plan: {error}")


def read_rate(base_dir: Path, model_id: str) -> MeasuredRate | None:
    """Read the rate of a model; None without a test run."""
    path = _path(base_dir, model_id)
    return read_json(path, MeasuredRate, "delete it") if path.exists() else None


def _path(base_dir: Path, model_id: str) -> Path:
    return base_dir / "sweep" / "test_runs" / f"{model_folder(model_id)}.json"
