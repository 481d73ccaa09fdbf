"""Draw the figures of scores: bars of regions, curves over layers, prompts against regions."""

import hashlib
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.transforms import ScaledTranslation

from brain_activity_prediction.datasets.nsd.regions import LABELS
from brain_activity_prediction.datasets.roi_families import FAMILIES as ROI_FAMILIES
from brain_activity_prediction.encoding.scores.conditions import NORMALISED
from brain_activity_prediction.encoding.tables.layer_figure import shown_name
from brain_activity_prediction.report.plots.drawing import INK, POINTS_PER_INCH, Drawn, blank, draw, label_width, look
from brain_activity_prediction.report.tables.averages import ALL_VOXELS

FAMILIES = {
    "prf-visualrois": "Retinotopic areas",
    "floc-faces": "Faces",
    "floc-bodies": "Bodies",
    "floc-places": "Places",
    "floc-words": "Words",
    "streams": "Streams of visual cortex",
    "prf-eccrois": "Eccentricity",
}
LONGEST_SLUG_BYTES = 60
BAR, GAP, STAR = 10, 9, 6  # in points; STAR is the distance of a significance star from the end of the error bar


def families(regions: Sequence[str]) -> dict[str, list[str]]:
    """Group regions by their ROI file, in NSD's order; all voxels together and other regions come last."""
    found = {title: [roi for roi in LABELS[name] if roi in regions] for name, title in FAMILIES.items()}
    found["Families of regions"] = [roi for roi in ROI_FAMILIES if roi in regions]
    known = {roi for members in found.values() for roi in members}
    found["All fitted voxels"] = [roi for roi in regions if roi in ALL_VOXELS]
    found["Other regions"] = [roi for roi in regions if roi not in known | set(ALL_VOXELS)]
    return {title: members for title, members in found.items() if members}


def region_bars(title: str, regions: Sequence[str], scores: pd.DataFrame, models: Sequence[str], folder: Path) -> Drawn:
    """Draw a bar for each model and region, with its error bar, significance and noise ceiling.

    `scores` is the result of `averages.region_scores` for all regions, because figures share one scale. A mean that
    lacks subjects shows its number of subjects. `bar_scores` defines the bars.
    """
    scores, meaning = bar_scores(scores)
    errors = scores["bar_se"].fillna(0)
    low = min(0, (scores["bar"] - errors).min())
    high = max((scores["bar"] + errors).max(), np.nan_to_num(scores["bar_ceiling"].max(), nan=0.0))
    room = 0.06 if scores["complete"].all() else 0.16
    at = scores.set_index(["roi", "model_id"])
    step = len(models) * BAR + GAP
    labels = region_labels(regions, scores)

    def paint(panel: Axes) -> None:
        for row, roi in enumerate(regions):
            line = []
            for turn, model in enumerate(models):
                if (roi, model) not in at.index:
                    continue
                score, y = at.loc[(roi, model)], row * step + turn * BAR
                colour, _ = look(turn)
                error = None if np.isnan(score["bar_se"]) else score["bar_se"]
                style = {"ecolor": INK, "capsize": 2, "error_kw": {"elinewidth": 0.9}}
                hatch = "////" if turn >= 7 else None
                panel.barh(y, score["bar"], BAR * 0.86, color=colour, hatch=hatch, xerr=error, **style)
                end = max(np.nan_to_num(score["bar"]), 0) + (error or 0)
                line += [(score["bar_ceiling"], y + side * BAR / 2) for side in (-1, 1)]
                if note := _bar_note(score):
                    at_end = {"xytext": (STAR + 5, 0), "textcoords": "offset points", "va": "center_baseline"}
                    panel.annotate(note, (end, y), **at_end, fontsize=8.5)
                if score["n_significant"]:
                    all_of_them = score["n_significant"] == score["n_subjects"]
                    at_the_end = panel.transData + ScaledTranslation(
                        STAR / POINTS_PER_INCH, 0, panel.figure.dpi_scale_trans
                    )
                    face = INK if all_of_them else "none"
                    look_of_star = {"color": INK, "markerfacecolor": face, "markersize": 5, "markeredgewidth": 0.6}
                    panel.plot(end, y, "*", transform=at_the_end, **look_of_star)
            if line:
                panel.plot(*zip(*line, strict=True), color=INK, linewidth=1.4, linestyle=(0, (1.5, 1)))
        centre = (len(models) - 1) * BAR / 2
        panel.set_yticks([row * step + centre for row in range(len(regions))], labels)
        panel.set_ylim(len(regions) * step - BAR / 2 - GAP / 2, -BAR / 2 - GAP)
        panel.set_xlim(low - 0.02 * (high - low), high + room * (high - low))
        panel.tick_params(axis="y", length=0)
        panel.axvline(0, color=INK, linewidth=0.8)
        panel.spines["left"].set_visible(False)
        panel.grid(axis="x")
        panel.set_xlabel(meaning)

    text = f"Bars of {meaning} of {len(models)} models in {', '.join(labels)}. "
    shown = scores.assign(r=scores["bar"], n_subjects=scores["n_bar"])
    text += highest(shown[shown["roi"].isin(regions)], "{model_id} in {roi}")
    panel = blank(66 + len(regions) * step, label_width(labels))
    return draw(f"regions_{slug(title)}", title, text, panel, paint, folder)


def bar_scores(scores: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Return the scores with columns bar, bar_se, n_bar and bar_ceiling, and the name of the quantity.

    The bar is r relative to the noise ceiling, over all voxels of the region, and its ceiling is 1. Tables of version
    1.0.0 lack this ratio: their bar is r, with the ceiling of r if it has the same subjects.
    """
    if scores[NORMALISED].isna().all():
        ceiling = scores["r_ceiling"].where(scores["n_ceiling"] == scores["n_subjects"])
        bars = {"bar": scores["r"], "bar_se": scores["r_se"], "n_bar": scores["n_subjects"], "bar_ceiling": ceiling}
        return scores.assign(**bars), "mean r on held-out images"
    bars = {"bar": scores[NORMALISED], "bar_se": scores[f"{NORMALISED}_se"], "n_bar": scores["n_normalised"]}
    bars["complete"] = scores["complete"] & (scores["n_normalised"] == scores["n_subjects"])
    return scores.assign(**bars, bar_ceiling=1.0), "r / ceiling on held-out images"


def _bar_note(score: pd.Series) -> str:
    """Return the note for a bar that is missing or lacks subjects."""
    if not score["n_bar"]:
        return "no r / ceiling"
    return "" if score["complete"] else f"n = {score['n_bar']}"


def region_labels(regions: Sequence[str], scores: pd.DataFrame) -> list[str]:
    """Return the labels of regions: the name and, if a region has fewer subjects than others, their number."""
    n = scores.groupby("roi")["n_possible"].max()
    names = {roi: shown_name(roi) for roi in regions}
    return [f"{names[roi]} (n = {n[roi]})" if roi in n and n[roi] < n.max() else names[roi] for roi in regions]


def highest(scores: pd.DataFrame, description: str) -> str:
    """Return a sentence on the highest r, among complete scores with the largest number of subjects."""
    ranked = scores[scores["complete"] & (scores["n_subjects"] == scores["n_subjects"].max())]
    if ranked["r"].isna().all():
        return "They have different subjects, so that none is called the highest."
    best = ranked.loc[ranked["r"].idxmax()]
    return f"The highest is {best['r']:.2f}, {description.format(**best)}."


def layer_curves(
    stream: str, regions: Sequence[str], scores: pd.DataFrame, models: Sequence[str], folder: Path
) -> list[Drawn]:
    """Draw a panel for each region, with a line for each model over the depth of one stream.

    `scores` is the result of `averages.layer_scores`. All panels share one scale. Layers that lack subjects or prompts
    have hollow markers without a line. A line with fewer subjects than others shows their number.
    """
    scores = scores[scores["stream"] == stream]
    errors = scores["r_se"].fillna(0)
    bottom, top = min(0, (scores["r"] - errors).min()), (scores["r"] + errors).max()
    margin = 0.05 * (top - bottom)

    def paint(rows: pd.DataFrame, panel: Axes) -> None:
        for number, model in enumerate(models):
            line, (colour, style) = rows[rows["model_id"] == model], look(number)
            if line.empty:
                continue
            of_line = ("layer_position", "r", "r_se", "complete", "chosen")
            depth, r, error, complete, chosen = (line[name].to_numpy() for name in of_line)
            whole = np.where(complete, r, np.nan)
            panel.plot(depth, whole, style, color=colour, linewidth=1.6)
            panel.plot(depth[~complete], r[~complete], "o", color=colour, markerfacecolor="none", markersize=4)
            panel.fill_between(depth, whole - error, whole + error, color=colour, alpha=0.18, linewidth=0)
            panel.plot(depth[chosen], r[chosen], "o", color=colour, markersize=5)
            if line["n_subjects"].max() < line["n_possible"].max():
                above = {"xytext": (0, 4), "textcoords": "offset points", "ha": "right"}
                n = f"n = {line['n_subjects'].max()}"
                panel.annotate(n, (depth[-1], r[-1]), **above, color=colour, fontsize=8.5)
        panel.axhline(0, color=INK, linewidth=0.8)
        panel.grid(True, axis="y")
        panel.set_xlim(-0.02, 1.02)
        panel.set_ylim(bottom - margin, top + margin)
        panel.set_xlabel("depth: 0 enters the first layer, 1 leaves the last")
        panel.set_ylabel("mean r on held-out images")

    drawn, panel = [], blank(220)
    for roi in regions:
        rows = scores[scores["roi"] == roi]
        text = f"Mean correlation on held-out images in {roi} against the depth of the {stream} stream. "
        text += highest(rows, "{model_id} at layer {layer}")
        drawn.append(draw(f"layers_{slug(stream)}_{slug(roi)}", roi, text, panel, partial(paint, rows), folder))
    return drawn


def prompt_map(model: str, scores: pd.DataFrame, regions: Sequence[str], limits: tuple, folder: Path) -> Drawn:
    """Draw the mean r of one model, one column for each prompt and one row for each region.

    `scores` is the result of `averages.prompt_scores`. The best prompt of a region is bold. Prompts that lack subjects
    do not compete: their means show the number of subjects, small and raised.
    """
    rows = scores[scores["model_id"] == model]
    prompts = sorted(rows["prompt"].dropna().unique())
    columns = [*prompts, *([None] if rows["prompt"].isna().any() else [])]
    row_of = {(row.roi, None if pd.isna(row.prompt) else row.prompt): row for row in rows.itertuples()}
    values = np.array([[getattr(row_of.get((roi, prompt)), "r", np.nan) for prompt in columns] for roi in regions])
    ranked = rows[rows["complete"] & rows["prompt"].notna()]
    bests = ranked.groupby("roi")["r"].max()
    labels = region_labels(regions, scores)
    cell = 17

    def paint(panel: Axes) -> None:
        mesh = panel.pcolormesh(
            values, cmap="cividis", vmin=limits[0], vmax=limits[1], edgecolor="white", linewidth=0.6
        )
        for row, column in np.argwhere(np.isfinite(values)):
            value, score = values[row, column], row_of[regions[row], columns[column]]
            best = score.complete and value == bests.get(regions[row]) and len(prompts) > 1 and column < len(prompts)
            on_it = {"va": "center", "color": "white" if mesh.norm(value) < 0.55 else "black"}
            text = f"{round(value, 2) + 0:.2f}".replace("0.", ".", 1)
            weight = "bold" if best else "normal"
            panel.text(column + 0.5, row + 0.5, text, ha="center", fontsize=8.5, weight=weight, **on_it)
            if score.n_subjects < score.n_possible:
                raised = {"xytext": (9.5, 2), "textcoords": "offset points", "fontsize": 6.5}
                panel.annotate(f"{score.n_subjects}", (column + 0.5, row + 0.5), **raised, **on_it)
        panel.set_xticks(np.arange(len(columns)) + 0.5, ["none" if prompt is None else prompt for prompt in columns])
        panel.set_yticks(np.arange(len(regions)) + 0.5, labels)
        panel.set_ylim(len(regions), 0)
        panel.tick_params(length=0)
        for side in ("left", "bottom"):
            panel.spines[side].set_visible(False)
        panel.set_xlabel("prompt")

    text = (
        f"Mean correlation on held-out images of {model}: {len(columns)} prompts against {len(regions)} regions, "
        f"from {np.nanmin(values):.2f} to {np.nanmax(values):.2f}."
    )
    panel = blank(66 + cell * len(regions), label_width(labels))
    return draw(f"prompts_{slug(model)}", model, text, panel, paint, folder)


def slug(text: str) -> str:
    """Turn text into a file name of letters, digits, - and _; if many characters are lost, a digest is added."""
    name = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in text)
    if len(name.encode()) <= LONGEST_SLUG_BYTES and not re.search(r"[^\w /.:-]", text):
        return name
    return (
        f"{name.encode()[:LONGEST_SLUG_BYTES].decode(errors='ignore')}_{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    )
