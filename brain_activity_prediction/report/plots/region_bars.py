"""Draw the scores of regions: a bar for each model, with error bar, dots of subjects, stars and noise ceiling."""

from collections.abc import Sequence
from typing import Any

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

BAR, GAP, STAR = 7, 5, 4  # sizes in points; STAR is the distance of a significance star from the end of the error bar
AXIS = 30  # points below the bars
CEILING = {"color": INK, "linewidth": 1.0, "linestyle": (0, (1.5, 1))}
DOT = {"marker": "o", "markersize": 2, "markerfacecolor": "white", "markeredgecolor": INK, "markeredgewidth": 0.4}
DOT |= {"linestyle": ""}
HATCHED_FROM = 7  # number of the first model whose colour repeats


def region_bars(
    title: str, regions: Sequence[str], scores: pd.DataFrame, models: Sequence[str], figures: FigureFolder
) -> Drawn:
    """Draw a bar for each model and region, with error bar, dots of subjects, stars and noise ceiling.

    scores  result of `averages.region_scores` for all regions, because figures share one scale

    A mean that lacks subjects is labelled with their number. `bar_scores` defines the bars.
    """
    scores, meaning = bar_scores(scores)
    shown = scores[scores["roi"].isin(regions) & scores["model_id"].isin(models)]
    step = len(models) * BAR + GAP
    labels = region_labels(regions, scores)
    with figures.style.applied():
        figure, (panel,) = figures.panels(1, 1, AXIS + len(regions) * step)
        panel.set_xlim(*_limits(scores))  # set before the bars are drawn, so that these do not compute limits
        turns, rows = ({name: number for number, name in enumerate(names)} for names in (models, regions))
        shown = shown.assign(turn=shown["model_id"].map(turns), row=shown["roi"].map(rows))
        shown = shown.assign(y=shown["row"] * step + shown["turn"] * BAR).sort_values("y")
        for turn, bars in shown.groupby("turn"):
            _bars(panel, bars, int(turn), figures)
        for _, bars in shown.groupby("row"):
            ends = np.stack([bars["y"] - BAR / 2, bars["y"] + BAR / 2], axis=1)
            panel.plot(np.repeat(bars["bar_ceiling"], 2), ends.ravel(), **CEILING)
        centre = (len(models) - 1) * BAR / 2
        panel.set_yticks([row * step + centre for row in range(len(regions))], labels)
        panel.set_ylim(len(regions) * step - BAR / 2 - GAP / 2, -BAR / 2 - GAP)
        panel.tick_params(axis="y", length=0)
        panel.axvline(0, color=INK, linewidth=0.6)
        panel.spines["left"].set_visible(False)
        panel.grid(axis="x")
        panel.set_xlabel(meaning)
        text = f"Bars of {meaning} of {len(models)} models in {', '.join(labels)}. "
        text += highest(shown.assign(r=shown["bar"], n_subjects=shown["n_bar"]), "{model_id} in {roi}")
        words = Words(f"regions_{slug(title)}", title, text, _note(scores))
        return figures.save(figure, words, _values(shown), _legend(models, shown, figures))


def _bars(panel: Axes, bars: pd.DataFrame, turn: int, figures: FigureFolder) -> None:
    """Draw the bars of one model at their heights `y`, with error bars, dots of subjects, stars and notes.

    turn  number of the model, from 0
    """
    y, errors = bars["y"].to_numpy(), bars["bar_se"].to_numpy(float)
    look = {"color": figures.look(turn)[0], "hatch": "////" if turn >= HATCHED_FROM else None}
    panel.barh(y, bars["bar"], BAR * 0.86, **look, **error_bars("xerr", errors))
    several = [values if len(values) > 1 else () for values in bars["bar_values"]]
    draw_subjects(panel, y, several)
    ends = [
        max([value + error, 0, *(one for one in values if np.isfinite(one))])
        for value, error, values in zip(
            np.nan_to_num(bars["bar"]), np.nan_to_num(errors), bars["bar_values"], strict=True
        )
    ]
    at_end = {"xytext": (STAR + 4, 0), "textcoords": "offset points", "va": "center_baseline"}
    for end, bar in zip(ends, bars.itertuples(), strict=True):
        if note := _bar_note(bar):
            panel.annotate(note, (end, bar.y), **at_end, fontsize=figures.style.small)
    shift = ScaledTranslation(STAR / POINTS_PER_INCH, 0, panel.figure.dpi_scale_trans)
    in_every = bars["n_significant"] == bars["n_subjects"]
    for filled, starred in ((True, in_every), (False, ~in_every)):
        if (chosen := (starred & (bars["n_significant"] > 0)).to_numpy()).any():
            panel.plot(np.array(ends)[chosen], y[chosen], transform=panel.transData + shift, **_star(filled))


def error_bars(direction: str, errors: np.ndarray) -> dict[str, object]:
    """Return matplotlib's parameters for bars with errors (n,), which may be NaN; `direction` is xerr or yerr."""
    if np.isnan(errors).all():
        return {}
    return {direction: errors, "ecolor": INK, "capsize": 1.5, "error_kw": {"elinewidth": 0.7, "capthick": 0.7}}


def draw_subjects(panel: Axes, y: np.ndarray, values: Sequence[Sequence[float]]) -> None:
    """Draw the values of each bar's subjects as dots at its height `y`."""
    known = [np.array([value for value in own if np.isfinite(value)]) for own in values]
    heights = [centre + BAR * 0.3 * np.linspace(-1, 1, len(own)) for centre, own in zip(y, known, strict=True)]
    if any(map(len, known)):
        panel.plot(np.concatenate(known), np.concatenate(heights), **DOT, clip_on=False)


def _star(filled: bool) -> dict:
    face = INK if filled else "none"
    star = {"marker": "*", "color": INK, "markerfacecolor": face, "markersize": 3.6, "markeredgewidth": 0.5}
    return star | {"linestyle": ""}


def bar_scores(scores: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Return scores with columns bar, bar_se, bar_values, n_bar and bar_ceiling, and the name of the quantity.

    The bar is r divided by the noise ceiling, over all voxels of the region, so that its ceiling is 1. Tables of
    version 1.0.0 lack this ratio: for them, the bar is r, and the ceiling is that of r if it is from the same subjects.
    `bar_values` are the values of the subjects.
    """
    of_r, of_ratio = ([tuple(one[place] for one in subjects) for subjects in scores["of_subjects"]] for place in (1, 2))
    if scores[NORMALISED].isna().all():
        ceiling = scores["r_ceiling"].where(scores["n_ceiling"] == scores["n_subjects"])
        bars = {"bar": scores["r"], "bar_se": scores["r_se"], "n_bar": scores["n_subjects"], "bar_ceiling": ceiling}
        return scores.assign(**bars, bar_values=of_r), "mean r on held-out images"
    bars = {"bar": scores[NORMALISED], "bar_se": scores[f"{NORMALISED}_se"], "n_bar": scores["n_normalised"]}
    bars["complete"] = scores["complete"] & (scores["n_normalised"] == scores["n_subjects"])
    return scores.assign(**bars, bar_values=of_ratio, bar_ceiling=1.0), "r / noise ceiling on held-out images"


def _bar_note(bar: Any) -> str:
    """Return the note for a bar that is missing or lacks subjects."""
    if not bar.n_bar:
        return "no r / ceiling"
    return "" if bar.complete else f"n = {bar.n_bar}"


def _limits(scores: pd.DataFrame) -> tuple[float, float]:
    """Return the ends of the axis, with room for stars and notes."""
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
    """Return the values of a figure as a table, with a row for each mean and each subject."""
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
        legend["subject"] = Line2D([], [], **DOT)
    if scores["bar_ceiling"].notna().any():
        legend["noise ceiling"] = Line2D([], [], **CEILING)
    return legend
