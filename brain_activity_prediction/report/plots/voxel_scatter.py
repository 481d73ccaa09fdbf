"""Draw the voxels' scores of one model against those of another, as a density."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.colors import LogNorm
from matplotlib.ticker import LogFormatter

from brain_activity_prediction.report.plots.drawing import Drawn, FigureFolder, Words
from brain_activity_prediction.report.plots.labels import short_models, slug
from brain_activity_prediction.report.plots.style import INK
from brain_activity_prediction.storage.folders import Subject

TALLEST, BAR = 170, 34  # largest height of a panel, and height of the colour bar, in points
IN_A_ROW = 2  # panels in a row of a one-column figure; twice as many for two columns
HEXAGONS = 45  # number of hexagons across a panel
COLOURS = "viridis"
LONGEST_LINE = 22  # characters in a line of a model's name along an axis


def voxel_scatter(
    models: tuple[str, str], voxels: Mapping[Subject, np.ndarray], unit: str, figures: FigureFolder
) -> Drawn:
    """Draw a panel for each subject, with the first model's scores on the x axis and the second's on the y axis.

    voxels  {subject: (n_voxels, 2)}, finite scores of both models
    unit    unit of the scores
    """
    across, up = (textwrap.fill(name, LONGEST_LINE) for name in short_models(models).values())
    every = np.concatenate([*voxels.values()])
    low, high = min(float(np.quantile(every, 0.0005)), 0), float(np.quantile(every, 0.9995))
    margin = 0.03 * (high - low)
    ends = (low - margin, high + margin)
    in_a_row = min(IN_A_ROW * figures.columns, len(voxels))
    with figures.style.applied():
        n_rows = -(-len(voxels) // in_a_row)
        height = min(figures.width / in_a_row, TALLEST)  # panels are square
        figure, panels = figures.panels(n_rows, in_a_row, height + BAR / n_rows, sharex=True, sharey=True)
        shown = []
        for panel, (subject, values) in zip(panels, voxels.items(), strict=False):
            shown.append(
                panel.hexbin(
                    *values.T, gridsize=HEXAGONS, extent=(*ends, *ends), mincnt=1, cmap=COLOURS, linewidths=0.1
                )
            )
            panel.plot(ends, ends, color=INK, linewidth=0.6, linestyle=(0, (3, 2)))
            above = np.mean(values[:, 1] > values[:, 0])
            panel.set_title(f"subject {subject}, {100 * above:.0f} % above", loc="left")
            panel.set_aspect("equal")
        for empty in panels[len(voxels) :]:
            empty.set_axis_off()
        for place, panel in enumerate(panels[: len(voxels)]):
            lowest = place + in_a_row >= len(voxels)
            panel.set(xlim=ends, ylim=ends, xlabel=across if lowest else "", ylabel="" if place % in_a_row else up)
            panel.tick_params(labelbottom=lowest)
        scale = LogNorm(1, max(max(one.get_array().max() for one in shown), 2))
        for one in shown:
            one.set_norm(scale)
        bar = figure.colorbar(
            shown[0], ax=panels, location="bottom", aspect=40, shrink=0.7, pad=0.02, format=LogFormatter()
        )
        bar.set_label("voxels in a hexagon")
        bar.outline.set_visible(False)
        counts = ", ".join(f"{len(values):,} (subject {subject})" for subject, values in voxels.items())
        note = (
            f"{unit} of each voxel on held-out images. Voxels: {counts}. Dashed line: equal scores; the percentages "
            "are the voxels above this line. At most 0.1 % of the scores are outside of the axes."
        )
        first, second = short_models(models).values()
        text = f"Voxels of {len(voxels)} subjects by {unit} of {models[0]} against {models[1]}."
        words = Words(f"voxels_{slug(models[0])}_{slug(models[1])}", f"{second} against {first}", text, note)
        data = pd.concat(
            pd.DataFrame({"subject": str(subject), models[0]: values[:, 0], models[1]: values[:, 1]})
            for subject, values in voxels.items()
        )
        return figures.save(figure, words, data)
