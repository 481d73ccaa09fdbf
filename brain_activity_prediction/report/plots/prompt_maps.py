"""Draw the scores of a model as colours, by prompt and region."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from brain_activity_prediction.report.plots.drawing import Drawn, FigureFolder, Words
from brain_activity_prediction.report.plots.flat_maps import ACCURACY
from brain_activity_prediction.report.plots.labels import region_labels, short_models, slug, subjects_note

CELL, AXIS = 11, 66  # height of a row, and of the prompts' names with the colour bar, in points
MOST_TICKS = 5
MARK = "●"


def prompt_map(
    model: str,
    scores: pd.DataFrame,
    regions: Sequence[str],
    prompts: Mapping[int, str],
    best: Collection[tuple[str, int]],
    figures: FigureFolder,
) -> Drawn:
    """Draw the mean r of one model, one column for each prompt and one row for each region.

    scores   result of `averages.prompt_scores`; all models share one scale
    prompts  name of each prompt
    best     (region, prompt) to mark, because r is significantly above that of every other prompt

    A cell with fewer subjects than others is labelled with their number.
    """
    scores = scores[scores["roi"].isin(regions)]
    rows = scores[scores["model_id"] == model]
    regions = [roi for roi in regions if roi in set(rows["roi"])]
    columns = [*sorted(rows["prompt"].dropna().unique()), *([None] if rows["prompt"].isna().any() else [])]
    row_of = {(row.roi, None if pd.isna(row.prompt) else row.prompt): row for row in rows.itertuples()}
    values = np.array([[getattr(row_of.get((roi, prompt)), "r", np.nan) for prompt in columns] for roi in regions])
    names = ["no prompt" if prompt is None else prompts.get(prompt, f"prompt {prompt}") for prompt in columns]
    with figures.style.applied():
        figure, (panel,) = figures.panels(1, 1, AXIS + CELL * len(regions) + 3 * max(map(len, names)))
        low, high = min(scores["r"].min(), 0), scores["r"].max()
        mesh = panel.pcolormesh(values, cmap=ACCURACY, vmin=low, vmax=high, edgecolor="white", linewidth=0.4)
        for row, roi in enumerate(regions):
            for column, prompt in enumerate(columns):
                if (score := row_of.get((roi, prompt))) is None:
                    continue
                ink = "white" if mesh.norm(score.r) < 0.55 else "black"
                marks = MARK if (roi, prompt) in best else ""
                marks += f"n={score.n_subjects}" if score.n_subjects < score.n_possible else ""
                middle = {"ha": "center", "va": "center_baseline", "fontsize": figures.style.small - 1}
                panel.text(column + 0.5, row + 0.5, marks, color=ink, **middle)
        panel.set_xticks(np.arange(len(columns)) + 0.5, names, rotation=45, ha="right", rotation_mode="anchor")
        panel.set_yticks(np.arange(len(regions)) + 0.5, region_labels(regions, scores))
        panel.set_ylim(len(regions), 0)
        panel.tick_params(length=0)
        for side in ("left", "bottom"):
            panel.spines[side].set_visible(False)
        bar = figure.colorbar(mesh, ax=panel, location="bottom", aspect=40, shrink=0.7, pad=0.02)
        bar.locator = MaxNLocator(MOST_TICKS)
        bar.set_label("mean r on held-out images")
        bar.outline.set_visible(False)
        title = short_models([model])[model]
        text = (
            f"Mean correlation on held-out images of {model}: {len(columns)} prompts against {len(regions)} regions, "
            f"from {np.nanmin(values):.2f} to {np.nanmax(values):.2f}."
        )
        note = [subjects_note(rows), "Best stream and layer of each prompt on training images."]
        if best:
            note.append(f"{MARK} r above every other prompt, q < 0.05 (FDR over pairs and regions).")
        words = Words(f"prompts_{slug(model)}", f"Prompts of {title}", text, " ".join(note))
        shown = [name for name in ("roi", "model_id", "prompt", "stream", "r", "r_se", "n_subjects") if name in rows]
        data = rows[shown].assign(
            prompt_name=rows["prompt"].map(lambda number: "no prompt" if pd.isna(number) else prompts.get(number)),
            above_every_other=[(row.roi, row.prompt) in best for row in rows.itertuples()],
        )
        return figures.save(figure, words, data)
