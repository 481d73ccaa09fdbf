"""Select regions by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.wording import did_you_mean


def chosen_regions(found: Mapping[str, np.ndarray], names: Sequence[str] | None, whose: str) -> dict[str, np.ndarray]:
    """Return the first region, of all units, and the regions of these names; None for all.

    whose  for messages: `subject sub-01 of THINGS-fMRI`
    """
    for name in names or ():
        if name not in found:
            listed = ", ".join(list(found)[:40])
            raise InputError(f"{whose} has no region {name}{did_you_mean(name, found)}: there are {listed}")
    first = next(iter(found))
    return {name: members for name, members in found.items() if names is None or name == first or name in names}
