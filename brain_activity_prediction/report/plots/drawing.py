"""Save every figure as SVG, PNG and PDF, with the values that it shows as CSV and its caption as text.

A figure can be read without the report: it has a title, a legend, and a note on n, error bars and tests.
"""

from __future__ import annotations

import re
import textwrap
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO, StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from PIL import Image
from pyarrow import csv

from brain_activity_prediction.encoding.tables.layer_figure import COLOURS, STYLES
from brain_activity_prediction.report.plots.style import INK, LINE, PAPER, Style, read_style
from brain_activity_prediction.report.tables.writing import without_formulas
from brain_activity_prediction.runtime.background import at_once
from brain_activity_prediction.runtime.errors import one_line
from brain_activity_prediction.storage.files import written_whole
from brain_activity_prediction.storage.folders import is_simulated

POINTS_PER_INCH = 72
PNG_DPI = 300
LAYOUT_DPI = 300  # resolution at which texts are measured; equal to PNG_DPI, so that they are measured once
IMAGE_DPI = 200  # resolution of images in SVG and PDF
COMPRESSION = 1  # PNG compression level of 9: files are a sixth larger than at level 6, in two thirds of the time
PAGE_COLOURS = {INK: "currentColor", LINE: "var(--line)", PAPER: "var(--panel)"}
GAP = 4  # points between title, panels, legend and note
MOST_LEGEND_COLUMNS = 4
DECIMALS = 6  # decimals of positions in a figure


@dataclass(frozen=True)
class Drawn:
    """A figure of the page: its files are `folder`/`name`.*, and `text` is its description for screen readers."""

    name: str
    title: str
    text: str
    folder: Path

    @property
    def svg(self) -> str:
        """Return the figure as an SVG element for the page."""
        return for_page((self.folder / f"{self.name}.svg").read_text(encoding="utf-8"), self.name)


@dataclass(frozen=True)
class Words:
    """The texts of a figure.

    name  name of its files, without ending
    text  description for screen readers
    note  text below the panels: n, and the meaning of error bars, dots, lines and tests
    """

    name: str
    title: str
    text: str
    note: str = ""


@dataclass(frozen=True)
class FigureFolder:
    """The folder in which figures are written, and their style.

    columns  width of a figure in columns of a journal, 1 or 2
    pdf      whether PDF files are written too, which doubles the time because fonts are embedded
    run      function that runs the writing of a figure: in this process (`at_once`), or in others (`Background`)
    """

    path: Path
    style: Style = field(default_factory=read_style)
    columns: int = 1
    pdf: bool = False
    run: Callable[..., object] = at_once

    @property
    def width(self) -> float:
        """Return the width of figures in points."""
        return self.style.width(self.columns)

    def look(self, number: int) -> tuple[str, str]:
        """Return the colour and line style of the nth model."""
        return look(number, self.style.colours)

    def panels(self, rows: int, columns: int, height: float, **shared: bool) -> tuple[Figure, list[Axes]]:
        """Return a figure and its panels, row by row; `height` is the height of a row with its labels, in points."""
        figure = Figure(
            figsize=(self.width / POINTS_PER_INCH, rows * height / POINTS_PER_INCH),
            dpi=LAYOUT_DPI,
            facecolor="white",
            layout="constrained",
        )
        FigureCanvasAgg(figure)
        return figure, [*figure.subplots(rows, columns, squeeze=False, **shared).flat]

    def save(
        self, figure: Figure, words: Words, data: pd.DataFrame, legend: Mapping[str, Artist] | None = None
    ) -> Drawn:
        """Write the files of a figure: NAME.svg, .png, .pdf, .csv with `data`, and .txt with its caption.

        legend  {label: artist that the legend shows}
        """
        title = f"Simulated data: {words.title}" if is_simulated(self.path) else words.title
        words = Words(words.name, one_line(title), one_line(words.text), one_line(words.note))
        self.run(replace(self, run=at_once).write_files, figure, words, data, legend or {})
        return Drawn(words.name, words.title, words.text, self.path)

    def write_files(self, figure: Figure, words: Words, data: pd.DataFrame, legend: Mapping[str, Artist]) -> None:
        """Arrange a figure, which may have been made in another process, and write its files."""
        FigureCanvasAgg(figure)
        with self.style.applied(**{"svg.hashsalt": words.name}), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph")  # the font lacks the characters of some languages
            self._arrange(figure, words.title, words.note, legend)
            self._write_pictures(figure, words.name, words.title)
        with written_whole(self.path / f"{words.name}.csv") as path:
            csv.write_csv(without_formulas(pa.Table.from_pandas(data, preserve_index=False)), path)
        self._write(f"{words.name}.txt", f"{words.title}. {words.note}\n".replace("..", ".").encode())

    def _arrange(self, figure: Figure, title: str, note: str, legend: Mapping[str, Artist]) -> None:
        """Add title, note and legend, and enlarge the figure's height to make room for them."""
        panels = figure.get_figheight() * POINTS_PER_INCH
        size = self.style.small
        texts = (
            [(title, size + 0.5, "bold"), (note, size, "normal")] if self.style.notes else [("", size, "normal")] * 2
        )
        head, foot = (self._wrapped(figure, *text) for text in texts)
        above, below = (_height(figure, one) for one in (head, foot))
        shown = self._legend(figure, legend)
        of_legend = _height(figure, shown)
        whole = panels + above + of_legend + below
        figure.set_figheight(whole / POINTS_PER_INCH)
        figure.get_layout_engine().set(
            rect=(0, (below + of_legend) / whole, 1, panels / whole),
            w_pad=2 / POINTS_PER_INCH,
            h_pad=2 / POINTS_PER_INCH,
        )
        left = 2 / self.width
        if head:
            head.set_position((left, 1 - GAP / 2 / whole))
        if foot:
            foot.set_position((left, (below - GAP / 2) / whole))
        if shown:
            shown.set_bbox_to_anchor((0.5, below / whole))
        figure.get_layout_engine().execute(figure)
        figure.set_layout_engine("none")  # all files have the same layout
        for panel in figure.axes:  # rounded, because the last digits differ between runs and enter ids in SVG
            box = panel.get_position(original=True).bounds
            panel.set_position([round(length, DECIMALS) for length in box], which="original")
            label = panel.xaxis.label  # layouts ignore its width
            if label.get_text() and label.get_window_extent().x1 > figure.bbox.x1:
                label.set(x=1, ha="right")

    def _wrapped(self, figure: Figure, text: str, size: float, weight: str) -> Artist | None:
        """Add a text at the top left, wrapped to the figure's width; return None for an empty text."""
        if not text:
            return None
        artist = figure.text(0, 1, text, fontsize=size, fontweight=weight, va="top", in_layout=False)
        length = artist.get_window_extent().width / LAYOUT_DPI * POINTS_PER_INCH
        most = max(int(len(text) * (self.width - 6) / length * 0.96), 10)
        artist.set_text("\n".join(textwrap.wrap(text, most)))
        return artist

    def _legend(self, figure: Figure, legend: Mapping[str, Artist]) -> Artist | None:
        """Add a legend with as many columns as fit; return None if there are no entries."""
        shown = None
        for columns in range(min(len(legend), MOST_LEGEND_COLUMNS), 0, -1):
            if shown is not None:
                shown.remove()
            shown = figure.legend(
                [*legend.values()],
                [*legend],
                loc="lower center",
                ncols=columns,
                columnspacing=1.2,
                borderaxespad=0,
                borderpad=0.2,
            )
            shown.set_in_layout(False)
            if shown.get_window_extent().width / LAYOUT_DPI * POINTS_PER_INCH <= self.width:
                break
        return shown

    def _write_pictures(self, figure: Figure, name: str, title: str) -> None:
        """Write PNG with a white background, and SVG and PDF without a background."""
        figure.dpi = PNG_DPI
        figure.canvas.draw()
        pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3]
        with written_whole(self.path / f"{name}.png") as path:
            Image.fromarray(pixels).save(path, compress_level=COMPRESSION, dpi=(PNG_DPI, PNG_DPI))
        figure.patch.set_visible(False)
        for panel in figure.axes:
            panel.patch.set_visible(False)
        figure.dpi = IMAGE_DPI
        if self.pdf:
            self._write_pdf(figure, name, title)
        svg = StringIO()  # `Figure.savefig` would draw twice
        FigureCanvasSVG(figure).print_svg(svg, metadata={"Date": None, "Title": title})
        self._write(f"{name}.svg", svg.getvalue().encode())

    def _write_pdf(self, figure: Figure, name: str, title: str) -> None:
        pdf = BytesIO()
        FigureCanvasPdf(figure).print_pdf(pdf, metadata={"CreationDate": None, "Title": title})
        self._write(f"{name}.pdf", pdf.getvalue())

    def _write(self, name: str, content: bytes) -> None:
        with written_whole(self.path / name) as path:
            path.write_bytes(content)


def _height(figure: Figure, artist: Artist | None) -> float:
    """Return the height of an artist in points, including a gap; 0 for None."""
    if artist is None:
        return 0.0
    return artist.get_window_extent(figure.canvas.get_renderer()).height / LAYOUT_DPI * POINTS_PER_INCH + GAP


def for_page(svg: str, name: str) -> str:
    """Convert an SVG file to an element with the page's font and colours; ids get `name` as a prefix to be unique."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<title>.*?</title>|<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' (height|width)="[\d.]+pt"', "", svg, count=2).replace("<svg", '<svg aria-hidden="true"', 1)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r'(href="|url\()#', rf"\1#{name}-", svg)
    svg = re.sub(r" ?font-family: [^;\"]+;", "", svg)
    # Two decimals of a point are precise enough, and halve the size of the page.
    svg = re.sub(r'(?<= d=")[^"]+', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path[0]), svg)
    for colour, of_page in PAGE_COLOURS.items():
        svg = svg.replace(colour, of_page)
    return svg


def look(number: int, colours: Sequence[str] = COLOURS) -> tuple[str, str]:
    """Return the colour and line style of the nth model; both differ for up to seven models."""
    return colours[number % len(colours)], STYLES[number // len(colours) % len(STYLES)]
