"""Warn of files of an experiment that are not read."""

from functools import cache
from pathlib import Path

from brain_activity_prediction.runtime.messages import log


@cache  # warns once for each file, even if it is found again
def tell_unread(path: Path, why: str) -> None:
    log.warning(f"{path} is not read: {why}")
