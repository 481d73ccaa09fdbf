"""Read ROI files as whole volumes of labels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from brain_activity_prediction.datasets.nsd.label_tables import label_names
from brain_activity_prediction.datasets.nsd.layout import Layout
from brain_activity_prediction.datasets.nsd.regions import whole_numbers
from brain_activity_prediction.storage.grid import Grid
from brain_activity_prediction.storage.nifti import read_volume_on


def roi_volumes(layout: Layout, subject: int, grid: Grid) -> Iterator[tuple[str, np.ndarray, dict[int, str]]]:
    """Yield each ROI file that exists for both hemispheres: name, labels (X, Y, Z) int, and the names of its labels.

    Labels are below 0 outside the cortex, 0 if unlabelled, and from 1 in regions. Labels without a voxel or without a
    name are left out.

    grid  the grid of the returned volumes
    """
    for name in layout.roi_names(subject):
        if layout.lone_half(subject, name):
            continue
        parts = [whole_numbers(path, read_volume_on(path, grid)) for path in layout.roi(subject, name)]
        labels = np.max(parts, axis=0)
        names = {
            number: label for number, label in label_names(layout, subject, name).items() if (labels == number).any()
        }
        names = {number: label for number, label in names.items() if number > 0}
        if names:
            yield name, np.where((labels > 0) & ~np.isin(labels, list(names)), 0, labels), names
