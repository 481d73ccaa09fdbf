"""Store the speed of a model in its last test run, from which `sweep.py plan` estimates hours before results exist."""

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
    """Seconds that a model takes for an image, with these streams and prompts, on one kind of device, cpu or gpu."""

    kind: str
    streams: list[str]
    prompts: list[int]
    seconds: float

    def __post_init__(self) -> None:
        if not 0 < self.seconds < math.inf:
            raise ValueError(f"field 'seconds' is {self.seconds!r}")


def record_rate(base_dir: Path, model_id: str, rate: MeasuredRate) -> None:
    """Store the rate of a model; if that fails, only the estimate is missing later."""
    try:
        write_json(_path(base_dir, model_id), rate)
    except InputError as error:
        log.info(f"the speed could not be recorded, so sweep.py plan cannot estimate hours: {error}")


def read_rate(base_dir: Path, model_id: str) -> MeasuredRate | None:
    """Read the rate of a model; None if it has had no test run."""
    path = _path(base_dir, model_id)
    return read_json(path, MeasuredRate, "delete it") if path.exists() else None


def _path(base_dir: Path, model_id: str) -> Path:
    return base_dir / "sweep" / "test_runs" / f"{model_folder(model_id)}.json"
