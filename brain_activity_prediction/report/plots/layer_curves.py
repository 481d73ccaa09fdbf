"""Draw scores against the depth of a stream: small panels with error bands and the noise ceiling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from brain_activity_prediction.encoding.tables.layer_figure import shown_name
from brain_activity_prediction.report.plots.drawing import Drawn, FigureFolder, Words
from brain_activity_prediction.report.plots.labels import highest, short_models, slug, subjects_note
from brain_activity_prediction.report.plots.region_bars import CEILING
from brain_activity_prediction.report.plots.style import INK

PANEL = 92  # height in points
IN_A_ROW = 2  # panels in a row of a one-column figure; twice as many for two columns
CHOSEN, HOLLOW = {"markersize": 3.4}, {"markersize": 2.8, "markerfacecolor": "none", "markeredgewidth": 0.6}


def layer_curves(
    stream: str,
    family: str,
    regions: Sequence[str],
    scores: pd.DataFrame,
    models: Sequence[str],
    figures: FigureFolder,
) -> Drawn:
    """Draw a panel for each region with a line for each model, or one panel with the regions of a single model.

    scores  result of `averages.layer_scores`; all figures of a stream share one scale

    Layers that lack subjects or prompts have hollow markers without a line. A line with fewer subjects than others is
    labelled with their number.
    """
    scores = scores[scores["stream"] == stream]
    shown = scores[scores["roi"].isin(regions) & scores["model_id"].isin(models)]
    shown_models = [model for model in models if model in set(shown["model_id"])]
    by_region = len(shown_models) > 1 or len(regions) == 1 or len(regions) > len(figures.style.colours)
    panels_of, lines_of = ("roi", "model_id") if by_region else ("model_id", "roi")
    panel_names, line_names = (regions, shown_models) if by_region else (shown_models, regions)
    line_names = [name for name in line_names if name in set(shown[lines_of])]
    looks = {name: figures.look(list(models if by_region else regions).index(name)) for name in line_names}
    in_a_row = min(IN_A_ROW * figures.columns, len(panel_names))
    with figures.style.applied():
        n_rows = -(-len(panel_names) // in_a_row)
        height = PANEL if in_a_row > 1 else 1.4 * PANEL
        figure, panels = figures.panels(n_rows, in_a_row, height, sharex=True, sharey=True)
        # Set before the lines are drawn, so that these do not compute limits
        panels[0].set(xlim=(-0.02, 1.02), ylim=_limits(scores))
        for panel, name in zip(panels, panel_names, strict=False):
            rows = shown[shown[panels_of] == name]
            _curves(panel, {line: rows[rows[lines_of] == line] for line in line_names}, looks, figures.style.small)
            panel.set_title(shown_name(name), loc="left")
        for empty in panels[len(panel_names) :]:
            empty.set_axis_off()
        for place, panel in enumerate(panels[: len(panel_names)]):
            lowest = place + in_a_row >= len(panel_names)
            panel.tick_params(labelbottom=lowest)
            panel.set_xlabel("relative depth" if lowest else "")
            panel.set_ylabel("r" if place % in_a_row == 0 else "")
        text = f"Mean correlation on held-out images in {', '.join(regions)} against the depth of the {stream} stream. "
        text += highest(shown, "{model_id} at layer {layer} in {roi}")
        names = short_models(line_names) if by_region else {name: shown_name(name) for name in line_names}
        legend = {names[line]: Line2D([], [], color=look[0], linestyle=look[1]) for line, look in looks.items()}
        if shown["r_ceiling"].notna().any():
            legend["noise ceiling"] = Line2D([], [], **CEILING)
        name = f"layers_{slug(stream)}_{slug(family)}"
        words = Words(name, f"{family}: {stream} stream", text, _note(shown))
        columns = ["roi", "model_id", "stream", "layer", "layer_position", "r", "r_se", "r_ceiling"]
        return figures.save(figure, words, shown[[*columns, "n_subjects", "complete", "chosen"]], legend)


def _curves(panel: Axes, lines: Mapping[str, pd.DataFrame], looks: Mapping[str, tuple], small: float) -> None:
    """Draw the lines of a panel with error bands, dots for the chosen layers, and the noise ceilings."""
    ceilings = {}  # with (ceiling, colour) as keys, because models share the ceiling of a region
    of_lines = len(looks) > 1 and len({roi for line in lines.values() for roi in line["roi"]}) > 1
    for name, line in lines.items():
        if line.empty:
            continue
        colour, style = looks[name]
        depth, r, error, complete, chosen = (
            line[column].to_numpy() for column in ("layer_position", "r", "r_se", "complete", "chosen")
        )
        whole = np.where(complete, r, np.nan)
        panel.plot(depth, whole, style, color=colour)
        if not complete.all():
            panel.plot(depth[~complete], r[~complete], "o", color=colour, **HOLLOW)
        panel.fill_between(depth, whole - error, whole + error, color=colour, alpha=0.2, linewidth=0)
        panel.plot(depth[chosen], r[chosen], "o", color=colour, **CHOSEN)
        if line["n_subjects"].max() < line["n_possible"].max():
            above = {"xytext": (0, 2), "textcoords": "offset points", "ha": "right"}
            n = f"n = {line['n_subjects'].max()}"
            panel.annotate(n, (depth[-1], r[-1]), **above, color=colour, fontsize=small)
        if (ceiling := _ceiling(line)) is not None:
            ceilings[ceiling, colour if of_lines else INK] = None
    for ceiling, colour in ceilings:
        panel.axhline(ceiling, **CEILING | {"color": colour})
    panel.axhline(0, color=INK, linewidth=0.5)
    panel.grid(True, axis="y")


def _ceiling(line: pd.DataFrame) -> float | None:
    """Return the noise ceiling of a line, from its complete layers; None if it is unknown."""
    ceilings = line.loc[line["complete"], "r_ceiling"].dropna()
    return None if ceilings.empty else float(ceilings.iloc[0])


def _limits(scores: pd.DataFrame) -> tuple[float, float]:
    errors = scores["r_se"].fillna(0)
    bottom = min(0, (scores["r"] - errors).min())
    top = max((scores["r"] + errors).max(), np.nan_to_num(scores["r_ceiling"].max(), nan=-1.0))
    margin = 0.05 * (top - bottom)
    return bottom - margin, top + margin


def _note(scores: pd.DataFrame) -> str:
    parts = ["r: mean correlation on held-out images, averaged over prompts and subjects.", subjects_note(scores)]
    if scores["r_se"].notna().any():
        parts.append("Bands: ± 1 SE over subjects.")
    parts.append("Dots: best layer on training images.")
    if not scores["complete"].all():
        parts.append("Hollow: layers that lack subjects or prompts.")
    return " ".join([*parts, "Relative depth: 0 is the input of the first layer, 1 the output of the last."])
