"""Draw every figure of a report in one style, and save it as PNG and SVG; the page uses the SVG."""

import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from brain_activity_prediction.encoding.tables.layer_figure import COLOURS, PLAIN_TEXT, STYLES
from brain_activity_prediction.runtime.errors import one_line
from brain_activity_prediction.storage.files import written_whole
from brain_activity_prediction.storage.folders import is_simulated

# In points, which the page shows as pixels: a panel is as wide as a phone's screen.
WIDTH, FONT, RIGHT, TOP = 360, 10.5, 10, 24
POINTS_PER_INCH = 72
PNG_DPI = 200
SVG_DPI = 100  # resolution of images within an SVG
COMPRESSION = 1  # PNG compression level, up to 9: files are a sixth larger than at 6, but take two thirds of the time
# Colours that the page replaces with its own, which differ in dark mode.
INK, LINE = "#1b1b1f", "#d5d6db"
PAGE_COLOURS = {INK: "currentColor", LINE: "var(--line)"}
STYLE = {
    "svg.fonttype": "none",  # text stays text: it can be selected, searched and read aloud
    "font.size": FONT,
    "axes.labelsize": FONT,
    "axes.titlesize": FONT + 1,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titley": 1,  # the position that matplotlib would find by measuring every label
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "hatch.linewidth": 0.6,
    **PLAIN_TEXT,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
    **{"grid.color": LINE, "grid.linewidth": 0.8},
}


@dataclass(frozen=True)
class Drawn:
    """A figure of the page; `name` is the name of its files, `text` its description for screen readers."""

    name: str
    title: str
    text: str
    svg: str


def blank(height: float, left: float = 46, bottom: float = 40) -> Axes:
    """Return an empty panel on a figure of WIDTH x height points.

    `left` and `bottom` are the margins for labels, in points. They are fixed, so that neighbouring panels line up.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH / POINTS_PER_INCH, height / POINTS_PER_INCH), dpi=PNG_DPI, facecolor="white")
        FigureCanvasAgg(figure)
        inner = (left / WIDTH, bottom / height, 1 - (left + RIGHT) / WIDTH, 1 - (bottom + TOP) / height)
        return figure.add_axes(inner)


def label_width(labels: Sequence[str]) -> float:
    """Return the width in points of the labels of a vertical axis."""
    return 14 + 6.2 * max(map(len, labels))


def draw(name: str, title: str, text: str, panel: Axes, paint: Callable[[Axes], None], folder: Path) -> Drawn:
    """Draw on a panel and save its figure as `folder`/`name`.png and .svg.

    Afterwards lines, areas and texts are removed from the panel, so that the next figure can reuse its axes. Creating
    axes takes a third of a figure's time.
    """
    title = f"Simulated data: {title}" if is_simulated(folder) else title
    figure, title, text = panel.figure, one_line(title), one_line(text)
    with matplotlib.rc_context(STYLE | {"svg.hashsalt": name}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # the font lacks the characters of some languages
        paint(panel)
        panel.set_title(title)
        _fill(panel, True)
        figure.canvas.draw()
        pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3]  # without transparency, on white
        with written_whole(folder / f"{name}.png") as path:
            Image.fromarray(pixels).save(path, compress_level=COMPRESSION, dpi=(PNG_DPI, PNG_DPI))
        _fill(panel, False)
        drawn = StringIO()
        figure.savefig(drawn, format="svg", dpi=SVG_DPI, metadata={"Date": None, "Title": title})
    for artist in (*panel.lines, *panel.collections, *panel.texts):
        artist.remove()
    svg = drawn.getvalue()
    with written_whole(folder / f"{name}.svg") as path:
        path.write_text(svg, encoding="utf-8")
    return Drawn(name, title, text, for_page(svg, name))


def _fill(panel: Axes, filled: bool) -> None:
    """Make a figure's background white or transparent."""
    for patch in (panel.patch, panel.figure.patch):
        patch.set_visible(filled)


def for_page(svg: str, name: str) -> str:
    """Return the SVG element of a figure in the page's font and colours; its ids begin with `name`, to be unique."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<title>.*?</title>|<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' (height|width)="[\d.]+pt"', "", svg, count=2).replace("<svg", '<svg aria-hidden="true"', 1)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r'(href="|url\()#', rf"\1#{name}-", svg)
    svg = re.sub(r" ?font-family: [^;\"]+;", "", svg)
    for colour, of_page in PAGE_COLOURS.items():
        svg = svg.replace(colour, of_page)
    return svg


def look(number: int) -> tuple[str, str]:
    """Return the colour and line style of the nth model; both differ for up to seven models."""
    return COLOURS[number % len(COLOURS)], STYLES[number // len(COLOURS) % len(STYLES)]
