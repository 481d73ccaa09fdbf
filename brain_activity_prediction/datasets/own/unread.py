"""Say which files of an experiment are not read."""

from functools import cache
from pathlib import Path

from brain_activity_prediction.runtime.messages import log


@cache  # once for each file, however often it is met
def tell_unread(path: Path, why: str) -> None:
    log.warning(f"{path} is not read: {why}")
