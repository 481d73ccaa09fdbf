"""Warn of files of an experiment that are not read."""

from functools import cache
from pathlib import Path

from brain_activity_prediction.runtime.messages import log


@cache  # warns once for each file, even if it is found again
def tell_unread(path: Path, why: str) -> None:
    log.warning(f"{path} is not read: {why}")


@cache
def tell_further(path: Path, n_maps: int) -> None:
    """Warn if a file of regions has more than one map."""
    if n_maps > 1:
        log.warning(f"{path} has {n_maps} maps of labels, and only the first is read: write a file for each map")
