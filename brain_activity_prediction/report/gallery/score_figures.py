"""Draw the figures of scores that a report and `figures.py` share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from brain_activity_prediction.report.map_choice import stream_order
from brain_activity_prediction.report.plots.drawing import Drawn, FigureFolder
from brain_activity_prediction.report.plots.labels import families, prompt_labels
from brain_activity_prediction.report.plots.layer_curves import layer_curves
from brain_activity_prediction.report.plots.prompt_maps import prompt_map
from brain_activity_prediction.report.plots.region_bars import region_bars
from brain_activity_prediction.report.tables.pairwise import best_prompts


def bars_of_families(
    scores: pd.DataFrame, models: Sequence[str], regions: Sequence[str], figures: FigureFolder
) -> list[Drawn]:
    """Draw `averages.region_scores`, one figure for each family of regions."""
    scored = [roi for roi in regions if roi in set(scores["roi"])]
    return [region_bars(name, members, scores, models, figures) for name, members in families(scored).items()]


def curves_of_streams(
    scores: pd.DataFrame, models: Sequence[str], regions: Sequence[str], figures: FigureFolder
) -> dict[str, list[Drawn]]:
    """Draw `averages.layer_scores`, one figure for each stream and family; streams of one layer have no curve."""
    with_layers = [stream for stream, rows in scores.groupby("stream") if rows["layer"].nunique() > 1]
    scored = scores.dropna(subset="r").groupby("stream")["roi"].unique()
    return {
        stream: [
            layer_curves(stream, name, members, scores, models, figures)
            for name, members in families([roi for roi in regions if roi in scored.get(stream, ())]).items()
        ]
        for stream in sorted(with_layers, key=stream_order)
    }


def maps_of_prompts(
    scores: pd.DataFrame,
    pairs: pd.DataFrame,
    wordings: Mapping[int, str],
    regions: Sequence[str],
    figures: FigureFolder,
) -> list[Drawn]:
    """Draw `averages.prompt_scores`, one figure for each model with prompts, all on one colour scale.

    pairs  tests from `pairwise.read_pairs`, with the layer_choice of `scores`
    """
    names = prompt_labels(wordings)
    prompted = scores[scores["prompt"].notna()]
    return [
        prompt_map(model, scores, regions, names, best_prompts(rows, pairs), figures)
        for model, rows in prompted.groupby("model_id")
    ]
