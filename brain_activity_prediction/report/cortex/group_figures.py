"""Draw statistics over subjects on the cortex: Student's t, and the number of subjects with a significant score."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from brain_activity_prediction.report.cortex.cortices import Cortices
from brain_activity_prediction.report.cortex.writing import is_significant, n_significant, over_subjects
from brain_activity_prediction.report.plots.drawing import Drawn, FigureFolder
from brain_activity_prediction.report.plots.flat_maps import (
    NUMBERS,
    ColourScale,
    CortexMap,
    cortex_figure,
    symmetric_scale,
)
from brain_activity_prediction.report.plots.labels import slug
from brain_activity_prediction.report.tables.averages import SIGNIFICANT
from brain_activity_prediction.storage.folders import Subject

FEWEST_FOR_T = 3  # smallest number of subjects for t, which has one degree of freedom for two subjects


def t_figure(
    cortices: Cortices, model: str, maps: Mapping[Subject, np.ndarray], unit: str, figures: FigureFolder
) -> Drawn | None:
    """Draw Student's t of scores against 0 over subjects; None with fewer than FEWEST_FOR_T subjects.

    Only vertices where all subjects have a value are shown, so that t has the same degrees of freedom everywhere.
    """
    if len(maps) < FEWEST_FOR_T:
        return None
    statistics = over_subjects(maps.values())
    t = np.where(statistics["n_subjects"] == len(maps), statistics["t"], np.nan)
    if not np.isfinite(t).any():
        return None
    row = CortexMap(f"over {len(maps)} subjects, {len(maps) - 1} df", t, cortices.shared_regions(list(maps)))
    title = f"t of {unit} against 0: {model}"
    return cortex_figure(f"flat_t_{slug(model)}", title, [row], symmetric_scale([t], "t"), cortices.flat, figures)


def significance_figure(
    cortices: Cortices, model: str, q: Mapping[Subject, np.ndarray], figures: FigureFolder
) -> Drawn | None:
    """Draw the number of subjects with a significant score at each vertex; None unless several were tested."""
    if len(q) < 2:
        return None
    counts = n_significant([is_significant(own) for own in q.values()])
    row = CortexMap(f"of {len(q)} subjects", counts, cortices.shared_regions(list(q)))
    scale = ColourScale(0, len(q), NUMBERS, f"subjects with q < {SIGNIFICANT}")
    title = f"Subjects with significant r: {model}"
    return cortex_figure(f"flat_n_significant_{slug(model)}", title, [row], scale, cortices.flat, figures)
