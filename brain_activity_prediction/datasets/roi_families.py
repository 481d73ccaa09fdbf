"""Families of regions: named unions, such as V1 = V1v + V1d.

A lab can add families, or replace these, in BASE_DIR/roi_families.json: `{"V1-V3": ["V1v", "V1d", ...], ...}`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.wording import did_you_mean
from brain_activity_prediction.storage.checked_json import read_json

OWN_TABLE = "roi_families.json"
# Members are region names of NSD and LAION-fMRI, as in tables. A family is the union of the members that a subject has.
FAMILIES = {
    "V1": ("V1v", "V1d"),
    "V2": ("V2v", "V2d"),
    "V3": ("V3v", "V3d"),
    "early visual": ("V1v", "V1d", "V2v", "V2d", "V3v", "V3d"),
    "faces": ("OFA", "FFA-1", "FFA-2", "mTL-faces", "aTL-faces", "FFA1", "FFA2", "pSTSfaces"),
    "bodies": ("EBA", "FBA-1", "FBA-2", "mTL-bodies", "FBA"),
    "places": ("OPA", "PPA", "RSC", "MPA"),
    "words": ("OWFA", "VWFA-1", "VWFA-2", "mfs-words", "mTL-words", "VWFA1", "VWFA2", "mfswords"),
    "ventral stream": ("midventral", "ventral"),
    "lateral stream": ("midlateral", "lateral"),
    "parietal stream": ("midparietal", "parietal"),
}


def family_masks(
    regions: Mapping[str, np.ndarray], families: Mapping[str, Sequence[str]] = FAMILIES
) -> dict[str, np.ndarray]:
    """Return the union (n_units,) of each family's existing regions; families without an existing region are left out.

    regions  masks (n_units,) by name
    """
    return {
        family: np.any([regions[name] for name in members if name in regions], axis=0)
        for family, members in families.items()
        if any(name in regions for name in members)
    }


def read_families(base_dir: Path, known: Collection[str]) -> dict[str, Sequence[str]]:
    """Return FAMILIES, extended by the lab's own table if it exists; a family in it replaces one of the same name.

    known  names of all regions of a subject, with or without voxels

    Raises InputError for a damaged table, and for a region that no ROI file has.
    """
    path = base_dir / OWN_TABLE
    if not path.exists():
        return dict(FAMILIES)
    own = read_json(path, dict[str, list[str]], "correct it, a list of regions for each family")
    for family, members in own.items():
        for member in members:
            if member not in known:
                raise InputError(
                    f"{path}: {family} has the region {member}, which no ROI file has{did_you_mean(member, known)}"
                )
        if not members:
            raise InputError(f"{path}: {family} has no regions: list its regions or delete it")
    return {**FAMILIES, **own}
