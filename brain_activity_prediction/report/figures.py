"""Writes figures for print: each as PDF, SVG and PNG, with its values as CSV and its caption as text.

These are the figures of the report and two more kinds: pairs of conditions with their tests, and voxels of one model
against those of another. They are written to BASE_DIR/report/print/ or, with flags that select scores, to a subfolder.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import brain_activity_prediction  # noqa: F401, handles signals from here on

# isort: split
from brain_activity_prediction.datasets.find import dataset_if_any
from brain_activity_prediction.report.flags import output_and_selection, parser
from brain_activity_prediction.runtime.background import Background
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.running import run_script
from brain_activity_prediction.runtime.wording import count
from brain_activity_prediction.storage.folders import PROTOCOLS, part_of

KINDS = ("regions", "layers", "prompts", "pairs", "voxels", "variance", "cortex")
# Kinds of figures for the questions in the study's abstract, which use the study's scoring.
PRESETS = {
    "study-models": ("regions", "voxels"),
    "study-instructions": ("prompts", "pairs"),
    "study-shared-variance": ("variance",),
}
STUDY_PROTOCOL = "paper"


def flags() -> argparse.ArgumentParser:
    flags = parser(__doc__)
    flags.add_argument("kind", nargs="*", metavar="KIND", help=f"draw only these: {', '.join(KINDS)} (default: all)")
    flags.add_argument("--roi", nargs="+", metavar="NAME", help="draw only these regions (default: all but atlases)")
    flags.add_argument(
        "--protocol",
        choices=PROTOCOLS,
        help=f"scoring protocol (default: {PROTOCOLS[0]}; with --preset: {STUDY_PROTOCOL})",
    )
    flags.add_argument("--preset", choices=tuple(PRESETS), help="draw a figure of the study, with the study's protocol")
    flags.add_argument(
        "--style",
        type=Path,
        metavar="FILE",
        help="style that replaces the default: a TOML file like report/plots/style.toml, or a matplotlib style file",
    )
    flags.add_argument(
        "--columns", type=int, choices=(1, 2), default=1, help="width of the figures, in columns of a journal"
    )
    return flags


def main() -> None:
    arguments = flags().parse_args()
    if unknown := [kind for kind in arguments.kind if kind not in KINDS]:
        raise InputError(f"there is no kind of figure {unknown[0]}; available: {', '.join(KINDS)}")
    if arguments.kind and arguments.preset:
        raise InputError("--preset chooses the kinds of figures: leave out the kinds, or --preset")
    output, selection = output_and_selection(arguments)
    kinds = arguments.kind or PRESETS.get(arguments.preset, ())
    protocol = arguments.protocol or (STUDY_PROTOCOL if arguments.preset else PROTOCOLS[0])
    folder = part_of(output, "report") / "print" / selection.name

    from brain_activity_prediction.report.gallery.print_figures import draw_kinds, read_study
    from brain_activity_prediction.report.plots.drawing import FigureFolder
    from brain_activity_prediction.report.plots.style import read_style
    from brain_activity_prediction.report.source import Source

    style = read_style(arguments.style)
    source = Source(output, dataset_if_any(arguments.base_dir, arguments.dataset))
    with Background() as background:
        figures = FigureFolder(folder, style, arguments.columns, pdf=True, run=background)
        drawn = draw_kinds(read_study(source, protocol, selection, figures), kinds or KINDS, named=bool(kinds))
    print(f"{folder}: {count(len(drawn), 'figure')}, each as PDF, SVG, PNG, CSV and TXT")


if __name__ == "__main__":
    run_script(main)
