"""Outline the regions of a flat cortex, and label them with their names."""

from __future__ import annotations

from collections.abc import Mapping

import contourpy
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.patheffects import withStroke
from scipy.ndimage import distance_transform_edt, find_objects, label
from scipy.optimize import isotonic_regression

from brain_activity_prediction.report.plots.drawing import POINTS_PER_INCH
from brain_activity_prediction.report.plots.style import INK, PAPER
from brain_activity_prediction.surfaces.rasters import Raster

AROUND = [withStroke(linewidth=1.2, foreground=PAPER)]
LEADER = {"colors": INK, "linewidths": 0.4, "path_effects": AROUND, "zorder": 3}  # above the borders
BORDER_STEP = 3  # only every third point of a border is drawn, for a third of the size of an SVG
NAME_SIZE, NAME_LINE, LETTER = 5, 6.2, 3.2  # of regions' names: font size, line height, width of a letter, in points
NAME_GAP = 12  # pixels between regions and their names
LEAST_PIXELS = 30  # smallest piece of a region that is outlined


def name_regions(
    panel: Axes,
    raster: Raster,
    regions: Mapping[str, np.ndarray],
    corner: tuple[float, float],
    has_names: bool = True,
) -> list[np.ndarray]:
    """Write the names of regions in both hemispheres, and return the lines of all borders, in pixels.

    A name is at the lateral side of its region, with a line to the region's middle.

    corner     column and row of the panel at which the raster begins
    has_names  False to return only the borders
    """
    middle, borders = raster.corners.shape[1] // 2, []
    for half, lateral in ((slice(0, middle), -1), (slice(middle, None), 1)):
        anchors, own = {}, []
        for name, members in regions.items():
            if found := _cropped(raster.shows(members)[:, half]):
                piece, row, column = found
                shift = np.array([column + half.start, row]) + corner
                lines = contourpy.contour_generator(z=piece.astype(float)).lines(0.5)
                own += [np.concatenate([line[::BORDER_STEP], line[-1:]]) + shift for line in lines]
                depth = distance_transform_edt(piece)
                anchors[name] = np.array(np.unravel_index(depth.argmax(), depth.shape))[::-1] + shift
        if anchors and has_names:
            ends = corner[0], corner[0] + raster.corners.shape[1]
            _write_names(panel, anchors, np.concatenate(own), ends, lateral)
        borders += own
    return borders


def _write_names(
    panel: Axes, anchors: Mapping[str, np.ndarray], border: np.ndarray, ends: tuple[float, float], lateral: int
) -> None:
    """Write each name outside of the border, as near to the height of its anchor as possible without overlap.

    anchors  point of each region to which the line from its name leads
    border   points (n, 2) of all borders
    ends     first and last column of the raster
    lateral  side of the names, -1 for left and 1 for right; a name without room is put on the other side
    """
    names = sorted(anchors, key=lambda name: anchors[name][1])
    point = panel.get_xlim()[1] / panel.figure.get_figwidth() / POINTS_PER_INCH
    steps = NAME_LINE * point * np.arange(len(names))
    leaders: list[np.ndarray] = []
    heights = isotonic_regression([anchors[name][1] for name in names] - steps).x + steps
    for name, y in zip(names, heights, strict=True):
        near = np.append(border[np.abs(border[:, 1] - y) <= NAME_LINE * point, 0], anchors[name][0])
        left, right, length = near.min() - NAME_GAP, near.max() + NAME_GAP, LETTER * point * len(name)
        is_left = left - ends[0] > length if lateral < 0 else right > ends[1] - length
        x, align = (left, "right") if is_left else (right, "left")
        style = {"color": INK, "fontsize": NAME_SIZE, "path_effects": AROUND}
        panel.text(x, y, name, ha=align, va="center", **style).set_in_layout(False)
        leaders.append(np.array([(x + np.copysign(NAME_GAP / 4, anchors[name][0] - x), y), anchors[name]]))
    panel.add_collection(LineCollection(leaders, **LEADER), autolim=False)


def _cropped(pixels: np.ndarray) -> tuple[np.ndarray, int, int] | None:
    """Return a box with the region's pieces of at least LEAST_PIXELS, and the box's first row and column.

    pixels  (H, W) bool

    The box has a margin of 1. The result is None if no piece is large enough.
    """
    pieces, _ = label(pixels)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    if not (sizes >= LEAST_PIXELS).any():
        return None
    shown = (sizes >= LEAST_PIXELS)[pieces]
    ((rows, columns),) = find_objects(shown.astype(int))
    return np.pad(shown[rows, columns], 1), rows.start - 1, columns.start - 1
