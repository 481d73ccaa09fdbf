"""Families of regions: unions with a name of their own, such as V1 = V1v + V1d."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

# Members are names of regions as in tables. A family has the members that a subject has.
FAMILIES = {
    "V1": ("V1v", "V1d"),
    "V2": ("V2v", "V2d"),
    "V3": ("V3v", "V3d"),
    "early visual": ("V1v", "V1d", "V2v", "V2d", "V3v", "V3d"),
    "faces": ("OFA", "FFA-1", "FFA-2", "mTL-faces", "aTL-faces"),
    "bodies": ("EBA", "FBA-1", "FBA-2", "mTL-bodies"),
    "places": ("OPA", "PPA", "RSC"),
    "words": ("OWFA", "VWFA-1", "VWFA-2", "mfs-words", "mTL-words"),
    "ventral stream": ("midventral", "ventral"),
    "lateral stream": ("midlateral", "lateral"),
    "parietal stream": ("midparietal", "parietal"),
}


def family_masks(
    regions: Mapping[str, np.ndarray], families: Mapping[str, Sequence[str]] = FAMILIES
) -> dict[str, np.ndarray]:
    """Return the union (V,) of each family's regions that a subject has; families without a region are left out.

    regions  masks (V,) by name
    """
    return {
        family: np.any([regions[name] for name in members if name in regions], axis=0)
        for family, members in families.items()
        if any(name in regions for name in members)
    }
