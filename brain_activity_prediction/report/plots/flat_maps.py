"""Draw maps on the flat or inflated cortex, over its curvature, with outlines and names of regions.

V is the number of vertices of both hemispheres.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from brain_activity_prediction.report.plots.drawing import Drawn, FigureFolder, Words
from brain_activity_prediction.report.plots.labels import map_note
from brain_activity_prediction.report.plots.region_names import name_regions
from brain_activity_prediction.report.plots.style import INK
from brain_activity_prediction.surfaces.rasters import Raster

PIXELS = 900  # width of a picture
GYRUS, SULCUS = 0.82, 0.68  # grey levels of the cortex
TITLE = 11  # height of the line above each map, in points
GAP = 30  # pixels between columns of maps
TALLEST = 600  # largest height of a figure's maps in points; a page has about 700
NAMED = 150  # smallest width of a map, in points, with names of regions
WHOLE = 240  # smallest width of a map, in points, with lines of full width
HIGHEST = 0.99  # quantile of the values at the upper end of a colour scale
ACCURACY, NUMBERS, DIFFERENCE = "inferno", "viridis", "RdBu_r"  # colour maps
ENDS = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}
BAR_GAP, BAR_ROOM = 3, 32  # gap between picture and colour bar, and height of the bar with its label, in points
CHARACTER = 3.3  # width of a character in the line above a map, in points
NOTE = "Left hemisphere left. Grey: cortex without a value, dark in sulci."


@dataclass(frozen=True)
class ColourScale:
    """The colour scale of all maps of a figure; values beyond `low` and `high` get the colours of the ends.

    names  names of numbers such as prompts; if given, a legend replaces the colour bar
    """

    low: float
    high: float
    colours: str
    unit: str
    clipped: tuple[bool, bool] = (False, False)
    names: Mapping[int, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """Return the label of the colour bar."""
        ends = [f"below {self.low:g}"] * self.clipped[0] + [f"above {self.high:g}"] * self.clipped[1]
        ends = [end.replace("-", "−") for end in ends]
        return self.unit + (f" (clipped {' and '.join(ends)})" if ends else "")

    def of(self, maps: Sequence[np.ndarray]) -> ColourScale:
        """Return the scale for these maps, marked as clipped at the ends that some values exceed."""
        values = _finite(maps)
        return replace(self, clipped=(bool((values < self.low).any()), bool((values > self.high).any())))


@dataclass(frozen=True)
class CortexMap:
    """A map (V,), NaN where it has no value, and the regions to outline, each (V,) bool."""

    title: str
    values: np.ndarray
    regions: Mapping[str, np.ndarray] = field(default_factory=dict)
    is_mean: bool = False  # whether it is a mean over subjects


@dataclass(frozen=True)
class DrawnCortex(Drawn):
    """A figure of maps on the cortex, with the maps for the 3-D page."""

    maps: Sequence[CortexMap]
    scale: ColourScale


def accuracy_scale(maps: Sequence[np.ndarray], unit: str, highest: float = np.inf) -> ColourScale:
    """Return a scale from 0 to the 99th percentile of all values, or to `highest` if that is less."""
    high = min(_rounded_up(max(float(np.quantile(_finite(maps), HIGHEST)), 0.05)), highest)
    return ColourScale(0.0, high, ACCURACY, unit)


def number_scale(maps: Sequence[np.ndarray], unit: str, names: Mapping[int, str] | None = None) -> ColourScale:
    """Return a scale over the range of all values, for maps of layers, or of prompts with their names."""
    values = _finite(maps)
    low = float(values.min())
    shown = {number: name for number, name in (names or {}).items() if number in values}
    return ColourScale(low, max(float(values.max()), low + 1), NUMBERS, unit, names=shown)


def symmetric_scale(maps: Sequence[np.ndarray], unit: str) -> ColourScale:
    """Return a diverging scale, symmetric about 0, up to the 99th percentile of all absolute values."""
    high = _rounded_up(max(float(np.quantile(np.abs(_finite(maps)), HIGHEST)), 1e-3))
    return ColourScale(-high, high, DIFFERENCE, unit)


def cortex_figure(
    name: str,
    title: str,
    maps: Sequence[CortexMap],
    scale: ColourScale,
    background: tuple[Raster, np.ndarray],
    figures: FigureFolder,
) -> DrawnCortex:
    """Draw maps on one colour scale; vertices without a value show the cortex.

    The maps are arranged in rows, with the fewest columns for which the figure fits on a page.

    background  raster of the cortex, and curvature (V,) of its vertices
    """
    (raster, curvature), whole = background, scale.colours == NUMBERS
    scale = scale.of([one.values for one in maps])  # other figures may use the same scale
    rows, across = raster.corners.shape[:2]
    n_columns = _columns(len(maps), rows / across, figures.width)
    wide = figures.width / n_columns  # width of a map in points
    title_rows = round(TITLE * across / wide)
    places = [(n % n_columns * (across + GAP), n // n_columns * (rows + title_rows)) for n in range(len(maps))]
    colours = ScalarMappable(Normalize(scale.low, scale.high), colormaps[scale.colours])
    grey = np.where(raster.nearest(curvature) > 0, SULCUS, GYRUS)
    grey = np.round(255 * grey[raster.inside]).astype(np.uint8)
    shape = places[-1][1] + title_rows + rows, places[n_columns - 1][0] + across, 4
    picture = np.full(shape, (255, 255, 255, 0), dtype=np.uint8)
    for (left, top), one in zip(places, maps, strict=True):
        pixels = picture[top + title_rows :, left:][:rows, :across]
        pixels[raster.inside] = np.column_stack([grey, grey, grey, np.full_like(grey, 255)])
        values = raster.nearest(one.values) if whole else raster.interpolated(one.values)
        known = np.isfinite(values)
        pixels[known] = colours.to_rgba(values[known], bytes=True)

    tall = (figures.width - 6) * shape[0] / shape[1]  # height of the picture in points
    with figures.style.applied():
        figure, (panel,) = figures.panels(1, 1, tall + (0 if scale.names else BAR_ROOM))
        panel.imshow(picture, interpolation="nearest")
        panel.set_axis_off()
        panel.set_anchor("N")  # leaves room for the colour bar below
        borders: list[np.ndarray] = []
        for (left, top), one in zip(places, maps, strict=True):
            line = shown_line(one.title, int(wide / CHARACTER))
            panel.text(left, top + title_rows * 0.6, line, fontsize=figures.style.small, va="center")
            borders += name_regions(panel, raster, one.regions, (left, top + title_rows), wide >= NAMED)
        thin = min(wide / WHOLE, 1)
        around = [withStroke(linewidth=1.2 * thin, foreground="black")]
        lines = LineCollection(borders, colors="white", linewidths=0.5 * thin, path_effects=around)
        panel.add_collection(lines, autolim=False)
        if not scale.names:
            place = {"ax": panel, "location": "bottom", "aspect": 40, "shrink": 0.7, "pad": BAR_GAP / tall}
            bar = figure.colorbar(colours, **place, extend=ENDS[scale.clipped])
            if whole:
                bar.locator = MaxNLocator(integer=True)
            bar.set_label(scale.text)
            bar.outline.set_visible(False)
        legend = {
            name: Patch(facecolor=colours.to_rgba(number), edgecolor=INK, linewidth=0.4)
            for number, name in scale.names.items()
        }
        titles = ", ".join(one.title for one in maps)
        text = f"{title}, on the cortex with the left hemisphere left: {titles}. Colours show {scale.text}."
        names = ", ".join(dict.fromkeys(name for one in maps for name in one.regions))
        lines_are = f" Lines: {'regions of interest' if wide >= NAMED else names}." if borders else ""
        note = f"{map_note(scale.unit, any(one.is_mean for one in maps))}{NOTE}{lines_are}"
        drawn = figures.save(figure, Words(name, title, text, note), _values(maps), legend)
        return DrawnCortex(**vars(drawn), maps=maps, scale=scale)


def _values(maps: Sequence[CortexMap]) -> pd.DataFrame:
    """Return the values as a table, with a row for each vertex that has a value, and a column for each map."""
    values = np.stack([one.values for one in maps], axis=1)
    known = np.flatnonzero(np.isfinite(values).any(axis=1))
    per_side = len(values) // 2
    rows = pd.DataFrame({"hemisphere": np.where(known < per_side, "lh", "rh"), "vertex": known % per_side})
    titles = [one.title if [other.title for other in maps].count(one.title) == 1 else "" for one in maps]
    return rows.assign(**{title or f"map {n + 1}": values[known, n] for n, title in enumerate(titles)})


def _columns(n: int, ratio: float, width: float) -> int:
    """Return the smallest number of columns for which n maps fit on a page.

    ratio  height of a map divided by its width
    width  width of the figure, in points
    """
    heights = {columns: -(-n // columns) * (TITLE + ratio * width / columns) for columns in range(1, n + 1)}
    return next((columns for columns, height in heights.items() if height <= TALLEST), n)


def shown_line(text: str, longest: int) -> str:
    """Shorten a line to a number of characters."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _rounded_up(value: float) -> float:
    """Return a positive number rounded up to two digits."""
    step = 10.0 ** (np.floor(np.log10(value)) - 1)
    return float(f"{np.ceil(value / step - 1e-9) * step:.2g}")


def _finite(maps: Sequence[np.ndarray]) -> np.ndarray:
    values = np.concatenate([np.ravel(one) for one in maps])
    return values[np.isfinite(values)]
