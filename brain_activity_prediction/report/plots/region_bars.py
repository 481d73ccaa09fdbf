"""Draw the scores of regions: a bar for each model, with error bar, subjects, significance and noise ceiling."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.transforms import ScaledTranslation

from brain_activity_prediction.encoding.scores.conditions import NORMALISED
from brain_activity_prediction.report.plots.drawing import POINTS_PER_INCH, Drawn, FigureFolder, Words
from brain_activity_prediction.report.plots.labels import highest, region_labels, short_models, slug, subjects_note
from brain_activity_prediction.report.plots.style import INK
from brain_activity_prediction.report.tables.averages import errors_over

BAR, GAP, STAR = 7, 5, 4  # in points; STAR is the distance of a significance star from the end of the error bar
AXIS = 30  # points below the bars
CEILING = {"color": INK, "linewidth": 1.0, "linestyle": (0, (1.5, 1))}
DOT = {"marker": "o", "markersize": 2, "markerfacecolor": "white", "markeredgecolor": INK, "markeredgewidth": 0.4}
HATCHED_FROM = 7  # number of the first model whose colour repeats


def region_bars(
    title: str, regions: Sequence[str], scores: pd.DataFrame, models: Sequence[str], figures: FigureFolder
) -> Drawn:
    """Draw a bar for each model and region, with its error bar, subjects, significance and noise ceiling.

    `scores` is the result of `averages.region_scores` for all regions, because figures share one scale. A mean that
    lacks subjects shows its number of subjects. `bar_scores` defines the bars.
    """
    scores, meaning = bar_scores(scores)
    shown = scores[scores["roi"].isin(regions) & scores["model_id"].isin(models)]
    step = len(models) * BAR + GAP
    labels = region_labels(regions, scores)
    with figures.style.applied():
        figure, (panel,) = figures.panels(1, 1, AXIS + len(regions) * step)
        at = shown.set_index(["roi", "model_id"])
        for row, roi in enumerate(regions):
            ceiling = []
            for turn, model in enumerate(models):
                if (roi, model) in at.index:
                    score, y = at.loc[(roi, model)], row * step + turn * BAR
                    _bar(panel, score, y, turn, figures)
                    ceiling += [(score["bar_ceiling"], y + side * BAR / 2) for side in (-1, 1)]
            if ceiling:
                panel.plot(*zip(*ceiling, strict=True), **CEILING)
        centre = (len(models) - 1) * BAR / 2
        panel.set_yticks([row * step + centre for row in range(len(regions))], labels)
        panel.set_ylim(len(regions) * step - BAR / 2 - GAP / 2, -BAR / 2 - GAP)
        panel.set_xlim(*_limits(scores))
        panel.tick_params(axis="y", length=0)
        panel.axvline(0, color=INK, linewidth=0.6)
        panel.spines["left"].set_visible(False)
        panel.grid(axis="x")
        panel.set_xlabel(meaning)
        text = f"Bars of {meaning} of {len(models)} models in {', '.join(labels)}. "
        text += highest(shown.assign(r=shown["bar"], n_subjects=shown["n_bar"]), "{model_id} in {roi}")
        words = Words(f"regions_{slug(title)}", title, text, _note(scores))
        return figures.save(figure, words, _values(shown), _legend(models, shown, figures))


def _bar(panel: Axes, score: pd.Series, y: float, turn: int, figures: FigureFolder) -> None:
    """Draw one bar at the height `y`, with all that belongs to it."""
    colour, _ = figures.look(turn)
    error = None if np.isnan(score["bar_se"]) else score["bar_se"]
    bars = {"color": colour, "hatch": "////" if turn >= HATCHED_FROM else None}
    errors = {"xerr": error, "ecolor": INK, "capsize": 1.5, "error_kw": {"elinewidth": 0.7, "capthick": 0.7}}
    panel.barh(y, score["bar"], BAR * 0.86, **bars, **errors)
    values = [value for value in score["bar_values"] if np.isfinite(value)]
    if len(score["bar_values"]) > 1:
        draw_subjects(panel, y, values)
    end = max([np.nan_to_num(score["bar"]) + (error or 0), *values, 0])
    if note := _bar_note(score):
        at_end = {"xytext": (STAR + 4, 0), "textcoords": "offset points", "va": "center_baseline"}
        panel.annotate(note, (end, y), **at_end, fontsize=figures.style.small)
    if score["n_significant"]:
        shift = ScaledTranslation(STAR / POINTS_PER_INCH, 0, panel.figure.dpi_scale_trans)
        panel.plot(end, y, transform=panel.transData + shift, **_star(score["n_significant"] == score["n_subjects"]))


def draw_subjects(panel: Axes, y: float, values: Sequence[float]) -> None:
    """Draw the values of subjects as dots on a bar at the height `y`."""
    if values:
        panel.plot(values, y + BAR * 0.3 * np.linspace(-1, 1, len(values)), linestyle="", **DOT, clip_on=False)


def _star(filled: bool) -> dict:
    face = INK if filled else "none"
    return {"marker": "*", "color": INK, "markerfacecolor": face, "markersize": 3.6, "markeredgewidth": 0.5}


def bar_scores(scores: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Return scores with columns bar, bar_se, bar_values, n_bar and bar_ceiling, and the name of the quantity.

    The bar is r relative to the noise ceiling, over all voxels of the region, and its ceiling is 1. Tables of version
    1.0.0 lack this ratio: their bar is r, with the ceiling of r if it has the same subjects. bar_values are those of
    the subjects.
    """
    of_r, of_ratio = ([tuple(one[place] for one in subjects) for subjects in scores["of_subjects"]] for place in (1, 2))
    if scores[NORMALISED].isna().all():
        ceiling = scores["r_ceiling"].where(scores["n_ceiling"] == scores["n_subjects"])
        bars = {"bar": scores["r"], "bar_se": scores["r_se"], "n_bar": scores["n_subjects"], "bar_ceiling": ceiling}
        return scores.assign(**bars, bar_values=of_r), "mean r on held-out images"
    bars = {"bar": scores[NORMALISED], "bar_se": scores[f"{NORMALISED}_se"], "n_bar": scores["n_normalised"]}
    bars["complete"] = scores["complete"] & (scores["n_normalised"] == scores["n_subjects"])
    return scores.assign(**bars, bar_values=of_ratio, bar_ceiling=1.0), "r / noise ceiling on held-out images"


def _bar_note(score: pd.Series) -> str:
    """Return the note for a bar that is missing or lacks subjects."""
    if not score["n_bar"]:
        return "no r / ceiling"
    return "" if score["complete"] else f"n = {score['n_bar']}"


def _limits(scores: pd.DataFrame) -> tuple[float, float]:
    """Return the ends of the scale, with room for stars and notes."""
    errors = scores["bar_se"].fillna(0)
    values = [value for of_bar in scores["bar_values"] for value in of_bar if np.isfinite(value)]
    low = min([0, (scores["bar"] - errors).min(), *values])
    high = max([(scores["bar"] + errors).max(), np.nan_to_num(scores["bar_ceiling"].max(), nan=0.0), *values])
    room = 0.06 if scores["complete"].all() else 0.16
    return low - 0.02 * (high - low), high + room * (high - low)


def _note(scores: pd.DataFrame) -> str:
    parts = [subjects_note(scores)]
    if over := errors_over(scores):
        parts.append(f"Bars and error bars: mean ± 1 SE over {over}.")
    if (scores["n_tested"] > 0).any():
        parts.append("Stars: r above chance, q < 0.05 (permutation test, FDR); filled: in every subject.")
    return " ".join(parts)


def _values(scores: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each mean and each subject of a figure."""
    columns = ["roi", "model_id", "bar", "bar_se", "bar_ceiling", "n_bar", "n_significant", "n_tested", "q"]
    means = scores[columns].assign(subject="mean")
    subjects = [
        {"roi": row.roi, "model_id": row.model_id, "subject": str(one[0]), "bar": value}
        for row in scores.itertuples()
        for one, value in zip(row.of_subjects, row.bar_values, strict=True)
    ]
    table = pd.concat([means, pd.DataFrame(subjects)], ignore_index=True)
    names = {"bar": "value", "bar_se": "se", "bar_ceiling": "ceiling", "n_bar": "n_subjects"}
    return table[["roi", "model_id", "subject", *columns[2:]]].rename(columns=names)


def _legend(models: Sequence[str], scores: pd.DataFrame, figures: FigureFolder) -> dict:
    legend = {
        name: Patch(facecolor=figures.look(turn)[0], hatch="////" if turn >= HATCHED_FROM else None)
        for turn, name in enumerate(short_models(models).values())
    }
    if (scores["n_subjects"] > 1).any():
        legend["subject"] = Line2D([], [], linestyle="", **DOT)
    if scores["bar_ceiling"].notna().any():
        legend["noise ceiling"] = Line2D([], [], **CEILING)
    return legend
