"""Draw conditions that were tested against each other: bars, dots of subjects, a bracket for each significant pair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from brain_activity_prediction.encoding.protocols import AVERAGE, BEST_PER_REGION, BEST_PER_VOXEL
from brain_activity_prediction.encoding.scores.conditions import CONDITION
from brain_activity_prediction.encoding.tables.layer_figure import shown_name
from brain_activity_prediction.inference.subject_statistics import mean_and_error
from brain_activity_prediction.report.plots.drawing import Drawn, FigureFolder, Words
from brain_activity_prediction.report.plots.labels import short_models, slug
from brain_activity_prediction.report.plots.region_bars import DOT
from brain_activity_prediction.report.plots.style import INK
from brain_activity_prediction.report.tables.pairwise import ACROSS, A, B, conditions_in, conditions_of
from brain_activity_prediction.runtime.errors import InputError

MOST_CONDITIONS = 6
PANEL, BRACKET = 96, 6  # height of a panel without brackets, and of a bracket, in points
IN_A_ROW = 3  # panels in a row of a one-column figure; twice as many for two columns
LEVELS = ((0.001, "***"), (0.01, "**"), (0.05, "*"))
LAYERS = {  # by layer_choice
    BEST_PER_REGION: "Layer: the best of each region on training images.",
    BEST_PER_VOXEL: "Layer: the best of each voxel on training images.",
    AVERAGE: "r is averaged over layers.",
}
ROUNDING = 1e-6  # largest deviation of a tested difference from the difference of the scores


def comparison_bars(
    pairs: pd.DataFrame,
    scores: pd.DataFrame,
    family: str,
    regions: Sequence[str],
    prompts: Mapping[int, str],
    figures: FigureFolder,
) -> Drawn:
    """Draw a panel for each region with a bar for each condition, and a bracket for each significant pair.

    pairs    tests of one analysis from `pairwise.read_pairs`, with up to MOST_CONDITIONS conditions
    scores   score tables of the subjects, which contain the tested rows
    prompts  name of each prompt

    Raises InputError if the scores have changed since the test.
    """
    analysis, choice = pairs["analysis"].iloc[0], pairs["layer_choice"].iloc[0]
    pairs = pairs[pairs["roi"].isin(regions)]
    regions = [roi for roi in regions if roi in set(pairs["roi"])]
    conditions = conditions_of(pairs)
    rows = scores[(scores["layer_choice"] == choice) & scores["roi"].isin(regions)]
    rows = rows.assign(condition=_numbers(rows, CONDITION, conditions)).dropna(subset="condition")
    values = rows.pivot(index=["roi", "condition"], columns="subject", values="r")
    values = _complete(values[values.notna().any(axis=1)])
    tested = pairs.assign(a=_numbers(pairs, A, conditions), b=_numbers(pairs, B, conditions))
    _check(tested, values, analysis)
    counts = values.notna().sum(axis=1)
    mean, error = mean_and_error(values.to_numpy(float).T)
    if values.shape[1] == 1:
        error = rows.set_index(["roi", "condition"])["r_se"].reindex(values.index).to_numpy(float)
    bars = pd.DataFrame({"r": mean, "se": error}, index=values.index)
    in_a_row = min(IN_A_ROW * figures.columns, len(regions))
    levels = max(int((tested[tested["roi"] == roi]["q"] < LEVELS[-1][0]).sum()) for roi in regions)
    with figures.style.applied():
        height = PANEL + BRACKET * levels
        figure, panels = figures.panels(-(-len(regions) // in_a_row), in_a_row, height, sharey=True)
        top = max((bars["r"] + bars["se"].fillna(0)).max(), float(values.max(axis=None)))
        low = min((bars["r"] - bars["se"].fillna(0)).min(), float(values.min(axis=None)), 0)
        step = (top - low) * BRACKET / (PANEL - 40)
        for panel, roi in zip(panels, regions, strict=False):
            for turn in range(len(conditions)):
                if (roi, turn) in bars.index:
                    one = bars.loc[(roi, turn)]
                    se = None if np.isnan(one["se"]) else one["se"]
                    errors = {"yerr": se, "ecolor": INK, "capsize": 1.5, "error_kw": {"elinewidth": 0.7}}
                    panel.bar(turn, one["r"], 0.8, color=figures.look(turn)[0], **errors)
                    own = values.loc[(roi, turn)].dropna().to_numpy()
                    if len(own) > 1:
                        panel.plot(turn + np.linspace(-0.25, 0.25, len(own)), own, **DOT)
            _brackets(panel, tested[tested["roi"] == roi], (top, step), figures.style.small)
            n = counts.xs(roi, level="roi").max()
            panel.set_title(shown_name(roi) + f" (n = {n})" * bool(n < values.shape[1]), loc="left")
            panel.set_xticks([])
            panel.axhline(0, color=INK, linewidth=0.6)
            panel.set_xlim(-0.7, len(conditions) - 0.3)
        for empty in panels[len(regions) :]:
            empty.set_axis_off()
        for panel in panels[::in_a_row]:
            panel.set_ylabel("mean r")
        panels[0].set_ylim(low, top + step * (levels + 1))
        labels = _labels(conditions, prompts)
        legend = {label: Patch(facecolor=figures.look(turn)[0]) for turn, label in enumerate(labels)}
        if values.shape[1] > 1:
            legend["subject"] = Line2D([], [], **DOT)
        text = f"Bars of mean correlation of {', '.join(labels)} in {', '.join(regions)}, with tests of their pairs."
        title = f"{family}: pairs of conditions" if analysis == ACROSS else f"{family}: {analysis}"
        words = Words(f"pairs_{slug(analysis)}_{slug(family)}", title, text, _note(values, choice))
        return figures.save(figure, words, _values(bars, values, pairs, conditions), legend)


def _complete(values: pd.DataFrame) -> pd.DataFrame:
    """Return the rows, (roi, condition) x subject, in which no subject is missing that has the region."""
    has_region = values.notna().groupby(level="roi").transform("any")
    return values[(values.notna() == has_region).all(axis=1)]


def _check(tested: pd.DataFrame, values: pd.DataFrame, analysis: str) -> None:
    """Raise InputError if the tested differences do not agree with the scores."""
    known = values.mean(axis=1).to_dict()
    for row in tested.itertuples():
        difference = known.get((row.roi, row.a), np.nan) - known.get((row.roi, row.b), np.nan)
        if not abs(difference - row.difference) <= ROUNDING:
            script = "across_subjects.py" if analysis == ACROSS else "compare.py"
            raise InputError(
                f"the tests of {analysis} in {row.roi} belong to other scores: run {script} again with these conditions"
            )


def _brackets(panel: Axes, pairs: pd.DataFrame, scale: tuple[float, float], small: float) -> None:
    """Draw a bracket for each significant pair, short ones lowest.

    scale  upper end of the bars, and height of a bracket, in units of the axis
    """
    top, step = scale
    spans = [(*sorted((row.a, row.b)), row.q) for row in pairs.itertuples()]
    shown = sorted((span for span in spans if span[2] < LEVELS[-1][0]), key=lambda span: (span[1] - span[0], span[0]))
    for level, (left, right, q) in enumerate(shown):
        y = top + step * (level + 0.6)
        panel.plot([left, left, right, right], [y - step / 4, y, y, y - step / 4], color=INK, linewidth=0.6)
        stars = next(text for limit, text in LEVELS if q < limit)
        panel.text((left + right) / 2, y, stars, ha="center", va="baseline", fontsize=small)


def _labels(conditions: Sequence[tuple], prompts: Mapping[int, str]) -> list[str]:
    """Return a label for each condition: the parts (model, prompt, stream) that differ between conditions."""
    names = short_models([model for model, _, _ in conditions])
    parts = [
        (names[model], "" if prompt is None else prompts.get(prompt, f"prompt {prompt}"), stream)
        for model, prompt, stream in conditions
    ]
    differ = [len(set(column)) > 1 for column in zip(*parts, strict=True)]
    return [", ".join(part for part, kept in zip(one, differ, strict=True) if kept and part) for one in parts]


def _numbers(rows: pd.DataFrame, columns: Sequence[str], conditions: Sequence[tuple]) -> pd.Series:
    """Return the position of each row's condition in `conditions`; NaN for other conditions."""
    numbers = {condition: number for number, condition in enumerate(conditions)}
    return pd.Series([numbers.get(one) for one in conditions_in(rows, columns)], index=rows.index)


def _note(values: pd.DataFrame, choice: str) -> str:
    n = values.shape[1]
    rest = " unless another n is given" if values.isna().any(axis=None) else ""
    over = "subjects" if n > 1 else "images"
    test = "paired t test over subjects" if n > 1 else "paired bootstrap over images"
    return (
        f"r: mean correlation on held-out images. n = {n} subject{'s' * (n > 1)}{rest}. "
        f"Bars and error bars: mean ± 1 SE over {over}. {LAYERS[choice]} "
        f"Brackets: {test}, * q < 0.05, ** q < 0.01, *** q < 0.001 (FDR over all pairs and regions tested together); "
        "other pairs: q ≥ 0.05."
    )


def _values(bars: pd.DataFrame, values: pd.DataFrame, pairs: pd.DataFrame, conditions: Sequence[tuple]) -> pd.DataFrame:
    """Return the values of the figure as a table, with rows for means, subjects and pairs."""
    kinds = [("mean", *key, row.r, row.se) for key, row in bars.iterrows()]
    kinds += [
        (f"subject {subject}", *key, r, np.nan) for key, own in values.iterrows() for subject, r in own.dropna().items()
    ]
    table = pd.DataFrame(kinds, columns=["kind", "roi", "condition", "r", "se"])
    names = pd.DataFrame([conditions[int(number)] for number in table["condition"]], columns=list(CONDITION))
    table = pd.concat([table[["kind", "roi"]], names.astype({"prompt": "Int64"}), table[["r", "se"]]], axis=1)
    pairs = pairs[["roi", *A, *B, "difference", "q"]].rename(columns=dict(zip(A, CONDITION, strict=True)))
    return pd.concat([table, pairs.assign(kind="pair")], ignore_index=True)
