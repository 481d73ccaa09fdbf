"""The vertices of subjects whose responses lie on fsaverage or fsaverage5: no transform is needed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from brain_activity_prediction.datasets.dataset import Dataset
from brain_activity_prediction.datasets.units import Vertices
from brain_activity_prediction.report.cortex.subject_surface import N_FSAVERAGE5
from brain_activity_prediction.report.map_files import map_paths, read_sides
from brain_activity_prediction.storage.folders import Subject
from brain_activity_prediction.surfaces.transforms import HEMISPHERES, N_FSAVERAGE


def vertices_of_maps(folder: Path) -> int | None:
    """Return the vertices of a hemisphere in a folder's maps; None unless these lie on fsaverage or fsaverage5."""
    for path in map_paths(folder, "*"):
        if (sides := read_sides(path)) is not None:
            n = {len(values) for values in sides.values()}
            return n.pop() if n in ({N_FSAVERAGE}, {N_FSAVERAGE5}) else None
    return None


def regions_on_vertices(dataset: Dataset | None, subject: Subject) -> dict[str, dict[str, np.ndarray]]:
    """Return the regions of a subject by hemisphere, (V,); none without the dataset, or if it has no vertices."""
    if dataset is None or not isinstance(units := dataset.units(subject), Vertices):
        return {}
    return {name: _of_units(units, members) for name, members in dataset.regions(subject).items()}


def _of_units(units: Vertices, members: np.ndarray) -> dict[str, np.ndarray]:
    parts = np.split(members, [np.count_nonzero(units.masks[HEMISPHERES[0]])])
    found = {}
    for side, own in zip(HEMISPHERES, parts, strict=True):
        found[side] = np.zeros(units.masks[side].shape, dtype=bool)
        found[side][units.masks[side]] = own
    return found


def joined_at(values: Mapping[str, np.ndarray], n_vertices: int) -> np.ndarray:
    """Join the first vertices of both hemispheres, the left one first: fsaverage5 is the first of fsaverage's."""
    return np.concatenate([values[side][:n_vertices] for side in HEMISPHERES])
