"""Ceilings and R2 that datasets publish in percent."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from brain_activity_prediction.runtime.messages import log


def as_fractions(percent: np.ndarray, path: Path) -> np.ndarray:
    """Return values in percent as fractions; values that are fractions already, none above 1, are kept and reported."""
    if np.nanmax(percent, initial=0) > 1:
        return percent / 100
    log.warning(f"{path} holds no value above 1: values are taken as fractions, not as percent")
    return percent
