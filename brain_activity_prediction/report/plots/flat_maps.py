"""Draw maps on the flat or inflated cortex: curvature under them, outlines and names of regions on top."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import contourpy
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from scipy.ndimage import distance_transform_edt, label

from brain_activity_prediction.report.plots.drawing import RIGHT, TOP, WIDTH, Drawn, blank, draw
from brain_activity_prediction.surfaces.rasters import Raster

PIXELS = 900  # width of a picture
GYRUS, SULCUS = 0.82, 0.68  # greys of the cortex
TITLE = 40  # height in pixels of the line above each map
HIGHEST = 0.99  # quantile of the values at the end of a colour scale
ACCURACY, NUMBERS, DIFFERENCE = "inferno", "viridis", "RdBu_r"  # colour maps
OUTLINE = [withStroke(linewidth=1.6, foreground="black")]
AROUND_TEXT = [withStroke(linewidth=1.4, foreground="black")]
LEFT, BAR, BAR_DROP, BAR_ROOM = 6, 8, 16, 46  # in points: left margin; colour bar, and the room for it
LONGEST_LINE = 74  # in characters
LEAST_PIXELS = 30  # smallest piece of a region that is outlined


@dataclass(frozen=True)
class ColourScale:
    """The colours of all maps of a figure: values beyond `low` and `high` have the colours of the ends."""

    low: float
    high: float
    colours: str
    unit: str
    clipped: tuple[bool, bool]

    @property
    def text(self) -> str:
        """Return the label of the colour bar."""
        ends = [f"below {self.low:g}"] * self.clipped[0] + [f"above {self.high:g}"] * self.clipped[1]
        ends = [end.replace("-", "−") for end in ends]
        return self.unit + (f" (clipped {' and '.join(ends)})" if ends else "")


@dataclass(frozen=True)
class CortexMap:
    """A map on the vertices (V,) of both hemispheres, NaN where missing, and the regions (V,) bool to outline."""

    title: str
    values: np.ndarray
    regions: Mapping[str, np.ndarray] = field(default_factory=dict)


def accuracy_scale(maps: Sequence[np.ndarray], unit: str, highest: float = np.inf) -> ColourScale:
    """Return a scale from 0 to the 99th percentile of all values, at most `highest`."""
    values = _finite(maps)
    high = min(_rounded_up(max(float(np.quantile(values, HIGHEST)), 0.05)), highest)
    return ColourScale(0.0, high, ACCURACY, unit, (bool(values.min() < 0), bool(values.max() > high)))


def number_scale(maps: Sequence[np.ndarray], unit: str) -> ColourScale:
    """Return a scale over all values, for layers and prompts."""
    values = _finite(maps)
    low = float(values.min())
    return ColourScale(low, max(float(values.max()), low + 1), NUMBERS, unit, (False, False))


def difference_scale(maps: Sequence[np.ndarray], unit: str) -> ColourScale:
    """Return a diverging scale that is symmetric about 0, to the 99th percentile of all absolute values."""
    values = np.abs(_finite(maps))
    high = _rounded_up(max(float(np.quantile(values, HIGHEST)), 1e-3))
    return ColourScale(-high, high, DIFFERENCE, unit, (bool(values.max() > high),) * 2)


def cortex_figure(
    name: str,
    title: str,
    maps: Sequence[CortexMap],
    scale: ColourScale,
    background: tuple[Raster, np.ndarray],
    folder: Path,
) -> Drawn:
    """Draw maps one below the other on one colour scale; vertices without a value show the cortex.

    background  the cortex: its raster, and the curvature (V,) of its vertices
    """
    (raster, curvature), whole = background, scale.colours == NUMBERS
    height = len(raster.corners)
    colours = ScalarMappable(Normalize(scale.low, scale.high), colormaps[scale.colours])
    grey = np.where(raster.nearest(curvature) > 0, SULCUS, GYRUS)
    cortex = np.column_stack([*[grey[raster.inside]] * 3, np.ones(raster.inside.sum())])
    picture = np.ones((len(maps) * (height + TITLE), raster.corners.shape[1], 4))
    picture[..., 3] = 0
    for number, one in enumerate(maps):
        rows = picture[number * (height + TITLE) + TITLE :][:height]
        rows[raster.inside] = cortex
        values = raster.nearest(one.values) if whole else raster.interpolated(one.values)
        known = np.isfinite(values)
        rows[known] = colours.to_rgba(values[known])

    tall = (WIDTH - LEFT - RIGHT) * len(picture) / picture.shape[1]  # points of the picture

    def paint(panel: Axes) -> None:
        panel.imshow(picture, interpolation="nearest")
        panel.set_axis_off()
        for number, one in enumerate(maps):
            top = number * (height + TITLE)
            panel.text(0, top + TITLE * 0.6, shown_line(one.title), fontsize=8, va="center")
            _outline(panel, raster, one.regions, top + TITLE)
        bar = panel.inset_axes((0.2, -BAR_DROP / tall, 0.6, BAR / tall))
        ends = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}
        bar = panel.figure.colorbar(colours, cax=bar, orientation="horizontal", extend=ends[scale.clipped])
        if whole:
            bar.locator = MaxNLocator(integer=True)
        bar.ax.tick_params(labelsize=8)
        bar.set_label(scale.text, fontsize=8.5)
        bar.outline.set_visible(False)

    shown = ", ".join(one.title for one in maps)
    text = f"{title}, on the cortex with the left hemisphere left: {shown}. Colours show {scale.text}."
    return draw(name, title, text, blank(tall + BAR_ROOM + TOP, LEFT, BAR_ROOM), paint, folder)


def _outline(panel: Axes, raster: Raster, regions: Mapping[str, np.ndarray], top: float) -> None:
    """Draw the border of each region and its name in each hemisphere."""
    middle = raster.corners.shape[1] // 2
    for name, members in regions.items():
        pixels = _without_specks(np.nan_to_num(raster.nearest(members)) > 0).astype(float)
        if not pixels.any():
            continue
        lines = contourpy.contour_generator(z=pixels).lines(0.5)
        panel.add_collection(
            LineCollection(
                [line + np.array([0, top]) for line in lines], colors="white", linewidths=0.7, path_effects=OUTLINE
            )
        )
        for side in (slice(0, middle), slice(middle, None)):
            if pixels[:, side].sum() >= LEAST_PIXELS:
                depth = distance_transform_edt(pixels[:, side])
                row, column = np.unravel_index(depth.argmax(), depth.shape)
                place = (column + side.start, row + top)
                panel.text(
                    *place, name, color="white", fontsize=5.5, ha="center", va="center", path_effects=AROUND_TEXT
                )


def _without_specks(pixels: np.ndarray) -> np.ndarray:
    """Return the pieces of a region (H, W) bool that have at least LEAST_PIXELS."""
    pieces, _ = label(pixels)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return (sizes >= LEAST_PIXELS)[pieces]


def shown_line(text: str) -> str:
    """Shorten a line to the width of the picture."""
    return text if len(text) <= LONGEST_LINE else f"{text[: LONGEST_LINE - 1]}…"


def _rounded_up(value: float) -> float:
    """Return a positive number rounded up to two digits."""
    step = 10.0 ** (np.floor(np.log10(value)) - 1)
    return float(f"{np.ceil(value / step - 1e-9) * step:.2g}")


def _finite(maps: Sequence[np.ndarray]) -> np.ndarray:
    values = np.concatenate([np.ravel(one) for one in maps])
    return values[np.isfinite(values)]
