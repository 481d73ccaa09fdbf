"""Convert noise ceilings and R2 that datasets publish in percent to fractions."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from brain_activity_prediction.runtime.messages import log


def as_fractions(percent: np.ndarray, path: Path) -> np.ndarray:
    """Divide values in percent by 100; if none is above 1, they are fractions already and are kept, with a warning."""
    if np.nanmax(percent, initial=0) > 1:
        return percent / 100
    log.warning(f"{path} holds no value above 1, so its values are read as fractions, not as percent")
    return percent
