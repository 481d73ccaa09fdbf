"""Every figure stands alone in files for print, in the style that a lab gives."""

import os
import re
import subprocess
import sys
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from brain_activity_prediction.report.plots.drawing import PNG_DPI, FigureFolder, Words
from brain_activity_prediction.report.plots.style import read_style
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.storage.folders import PLANTED

WORDS = Words("one", "Scores", "A line.", "n = 4 subjects. Bands: ± 1 SE over subjects.")
SCRIPT = "import sys; sys.path.insert(0, sys.argv[1]); import test_report_drawing as t; t.save(sys.argv[2])"


def save(folder, style=None, **settings):
    """Save a figure of one line, with its legend."""
    figures = FigureFolder(Path(folder), read_style(style), pdf=True, **settings)
    with figures.style.applied():
        figure, (panel,) = figures.panels(1, 1, 60)
        (line,) = panel.plot([0, 1], [0.1, 0.2], color=figures.look(0)[0])
        panel.set_xlabel("depth")
        return figures.save(figure, WORDS, pd.DataFrame({"roi": ["=V1"], "r": [0.1]}), {"llava": line})


def width_mm(path):
    with Image.open(path) as picture:
        return picture.width / picture.info["dpi"][0] * 25.4


def test_a_figure_is_written_for_print_with_its_values_and_its_caption(tmp_path):
    save(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {f"one.{kind}" for kind in ("pdf", "svg", "png", "csv", "txt")}
    svg, pdf = (tmp_path / "one.svg").read_text(), (tmp_path / "one.pdf").read_bytes()
    for text in ("Scores", "n = 4 subjects", "llava", "depth"):
        assert re.search(rf"<text[^>]*>[^<]*{text}", svg), text
    assert b"/FontFile2" in pdf  # an embedded TrueType font
    assert b"/Type3" not in pdf
    width = float(re.search(r'<svg[^>]* width="([\d.]+)pt"', svg)[1])
    assert width == pytest.approx(85 / 25.4 * 72, abs=0.01)
    assert float(re.search(rb"/MediaBox \[ ?0 0 ([\d.]+)", pdf)[1]) == pytest.approx(width, abs=0.01)
    assert width_mm(tmp_path / "one.png") == pytest.approx(85, abs=0.1)
    assert (tmp_path / "one.txt").read_text() == "Scores. n = 4 subjects. Bands: ± 1 SE over subjects.\n"
    assert (tmp_path / "one.csv").read_text().splitlines()[1] == '"\'=V1",0.1'


def test_files_of_a_figure_are_the_same_in_every_run(tmp_path):
    save(tmp_path / "here")
    run = [sys.executable, "-c", SCRIPT, str(Path(__file__).parent), str(tmp_path / "there")]
    subprocess.run(run, check=True, env=os.environ | {"PYTHONHASHSEED": "1"})
    for path in (tmp_path / "here").iterdir():
        assert path.read_bytes() == (tmp_path / "there" / path.name).read_bytes(), path.name


def test_files_are_the_same_if_a_layout_differs_in_its_last_digits(tmp_path, monkeypatch):
    save(tmp_path / "here")
    layout = Figure.draw_without_rendering

    def moved(figure):
        layout(figure)
        for panel in figure.axes:
            panel.set_position(np.add(panel.get_position().bounds, 1e-13), which="original")

    monkeypatch.setattr(Figure, "draw_without_rendering", moved)
    save(tmp_path / "there")
    assert (tmp_path / "here/one.svg").read_bytes() == (tmp_path / "there/one.svg").read_bytes()


def test_a_figure_from_another_process_has_the_same_files(tmp_path):
    def sent(*call):
        function, *arguments = ForkingPickler.loads(ForkingPickler.dumps(call))
        function(*arguments)

    save(tmp_path / "here")
    save(tmp_path / "there", run=sent)
    for path in (tmp_path / "here").iterdir():
        assert path.read_bytes() == (tmp_path / "there" / path.name).read_bytes(), path.name


def test_a_lab_replaces_fonts_widths_and_colours_by_its_style(tmp_path):
    style = tmp_path / "lab.toml"
    style.write_text(
        'one_column_mm = 60\nnotes = false\ncolours = ["#112233"]\n[matplotlib]\n"font.family" = "DejaVu Serif"\n'
    )
    drawn = save(tmp_path, style)
    assert "#112233" in drawn.svg
    svg = (tmp_path / "one.svg").read_text()
    assert "DejaVu Serif" in svg
    assert "subjects" not in svg
    assert "subjects" in (tmp_path / "one.txt").read_text()
    assert width_mm(tmp_path / "one.png") == pytest.approx(60, abs=0.1)


def test_a_style_file_of_matplotlib_is_a_style(tmp_path):
    style = tmp_path / "lab.mplstyle"
    style.write_text("font.size: 9\naxes.prop_cycle: cycler('color', ['112233', '445566'])\npdf.fonttype: 3\n")
    assert read_style(style).colours == ("#112233", "#445566")
    save(tmp_path, style, columns=2)
    assert b"/Type3" not in (tmp_path / "one.pdf").read_bytes()
    assert width_mm(tmp_path / "one.png") == pytest.approx(180, abs=0.1)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("one_column_mm = 3", "one_column_mm is 3: give millimetres, 30 to 500"),
        ("one_colum_mm = 85", "no setting one_colum_mm.*one_column_mm"),
        ('notes = "no"', "notes is 'no': write true or false"),
        ('colours = ["blu"]', "colours is"),
        ('[matplotlib]\n"font.sise" = 7', r"no parameter font.sise.*font.size"),
        ('[matplotlib]\n"font.size" = "big"', "font.size: "),
        ("one_column_mm =", "is not a style"),
    ],
)
def test_a_style_that_cannot_be_used_is_refused_in_one_line(tmp_path, content, says):
    path = tmp_path / "lab.toml"
    path.write_text(content)
    with pytest.raises(InputError, match=says) as refused:
        read_style(path)
    assert str(path) in str(refused.value)
    with pytest.raises(InputError, match=r"other\.toml"):
        read_style(tmp_path / "other.toml")


def test_a_figure_of_simulated_data_says_so(tmp_path):
    (tmp_path / PLANTED).touch()
    assert save(tmp_path / "report" / "figures").title == "Simulated data: Scores"
    assert "Simulated data: Scores" in (tmp_path / "report/figures/one.svg").read_text()


def test_a_long_legend_and_note_make_a_figure_higher_and_stay_inside(tmp_path):
    figures = FigureFolder(tmp_path)
    with figures.style.applied():
        figure, (panel,) = figures.panels(1, 1, 60)
        legend = {f"a model with the long name {number}": Line2D([], []) for number in range(5)}
        figures.save(figure, Words("one", "Scores " * 20, "", "A long note. " * 40), pd.DataFrame({"r": [1]}), legend)
    figure.dpi = PNG_DPI
    whole, renderer = figure.bbox, FigureCanvasAgg(figure).get_renderer()
    for artist in (*figure.texts, *figure.legends, panel.xaxis):
        box = artist.get_tightbbox(renderer)
        assert box.x0 >= whole.x0 - 1
        assert box.x1 <= whole.x1 + 1
        assert box.y0 >= whole.y0 - 1
        assert box.y1 <= whole.y1 + 1
    note, shown = figure.texts[1], figure.legends[0]
    assert note.get_window_extent().y1 <= shown.get_window_extent().y0 + 1
    assert panel.get_tightbbox().y0 >= shown.get_window_extent().y1 - 1


def test_the_paths_of_a_page_have_two_decimals_and_the_file_has_all(tmp_path):
    drawn = save(tmp_path)
    long = re.compile(r' d="[^"]*\.\d{3}')
    assert re.search(r' d="[^"]*\.\d\d', drawn.svg)
    assert not long.search(drawn.svg)
    assert long.search((tmp_path / "one.svg").read_text())
