"""Select regions by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.wording import did_you_mean


def chosen_regions(found: Mapping[str, np.ndarray], names: Sequence[str] | None, whose: str) -> dict[str, np.ndarray]:
    """Return the regions with these names, and always the first region, which holds all units.

    names  None for all regions
    whose  owner of the regions, named in messages, such as `subject sub-01 of THINGS-fMRI`
    """
    for name in names or ():
        if name not in found:
            listed = ", ".join(list(found)[:40])
            raise InputError(f"{whose} has no region {name}{did_you_mean(name, found)}; available: {listed}")
    first = next(iter(found))
    return {name: members for name, members in found.items() if names is None or name == first or name in names}
