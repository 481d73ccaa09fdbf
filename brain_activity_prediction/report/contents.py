"""Gather everything that a report shows, before the layout."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from brain_activity_prediction.report.answers import Answered, sample_answers
from brain_activity_prediction.report.cortex.cortex_figures import cortex_figures, variance_figure
from brain_activity_prediction.report.cortex.cortices import read_cortices
from brain_activity_prediction.report.plots.drawing import Drawn
from brain_activity_prediction.report.plots.score_figures import families, layer_curves, prompt_map, region_bars
from brain_activity_prediction.report.plots.slices import Slices, slices, static_slices
from brain_activity_prediction.report.plots.variance import (
    errors_of,
    read_shares,
    shares_over_subjects,
    spaces_of,
    variance_bars,
)
from brain_activity_prediction.report.plots.voxel_maps import stream_order, voxel_maps
from brain_activity_prediction.report.source import Source
from brain_activity_prediction.report.tables import missing
from brain_activity_prediction.report.tables.averages import (
    at_a_glance,
    errors_over,
    layer_choice,
    layer_scores,
    prompt_scores,
    region_scores,
)
from brain_activity_prediction.report.tables.collecting import Scored, Tables
from brain_activity_prediction.report.tables.comparable import made_otherwise, rows_of, with_one_ceiling
from brain_activity_prediction.report.tables.other_analyses import OtherAnalysis, other_tables
from brain_activity_prediction.report.tables.protocol_comparison import compared_protocols
from brain_activity_prediction.report.tables.selection import Selection
from brain_activity_prediction.storage.folders import is_simulated

DATA_USED = ("subject", "n_sessions", "n_train", "n_test", "test_repeats_mean")


@dataclass
class Contents:
    """The figures, tables and text of a report; lists are in the order of the page."""

    protocol: str
    layer_choice: str
    n_of_others: int  # number of tables of the other protocol
    models: list[str]
    prompts: dict[int, str]  # number: wording, empty where it was not recorded
    subjects: list[int]
    regions: list[str]
    n_rows: int
    n_tested: int  # number of tested rows, over which q is adjusted
    family_sizes: dict[tuple[str, str], int]  # Tables.family_sizes
    errors_over: str  # what the error bars vary over: subjects, photographs, or empty
    curves_have_errors: bool
    scores: pd.DataFrame  # averages.region_scores
    by_prompt: pd.DataFrame  # averages.prompt_scores
    glance: pd.DataFrame  # averages.at_a_glance
    settings: list[tuple[str, list[tuple[str, int]]]]
    gaps: list[missing.Gap]
    absent: list[str]
    bars: list[Drawn] = field(default_factory=list)
    curves: dict[str, list[Drawn]] = field(default_factory=dict)  # by stream
    prompt_maps: list[Drawn] = field(default_factory=list)
    slices: list[Slices] = field(default_factory=list)
    on_cortex: list[Drawn] = field(default_factory=list)
    without_surfaces: list[str] = field(default_factory=list)  # for each subject, the transforms that it lacks
    libraries: list[str] = field(default_factory=list)  # JavaScript libraries that all slice viewers share
    # Figure, and the results of variance.spaces_of and variance.errors_of.
    variance: list[tuple[Drawn, list[tuple[str, str]], str]] = field(default_factory=list)
    shares: pd.DataFrame = field(default_factory=pd.DataFrame)
    answers: list[Answered] = field(default_factory=list)
    other_analyses: list[OtherAnalysis] = field(default_factory=list)
    both_protocols: pd.DataFrame = field(default_factory=pd.DataFrame)  # protocol_comparison.compared_protocols
    held_out: dict[int, int] = field(default_factory=dict)  # missing.held_out
    data_used: pd.DataFrame = field(default_factory=pd.DataFrame)  # data_used
    simulated: bool = False


def gather(
    source: Source, tables: Tables, shown: dict[str, pd.DataFrame], selection: Selection, folder: Path
) -> Contents:
    """Gather the contents of the page for the first protocol in `shown`; write figures and maps to `folder`.

    `shown` is the result of `writing.shown_tables`.
    """
    protocol, table = next(iter(shown.items()))
    of_any = [one for one in tables.scored if selection.takes(one.subject, one.model_id, one.prompt)]
    selected = [one for one in of_any if one.protocol == protocol]
    otherwise = made_otherwise(selected)
    scored, whole = [one for one in selected if one not in otherwise], table
    table, of_other_ceilings = with_one_ceiling(rows_of(scored, table) if otherwise else table)
    by_family = families(list(dict.fromkeys(table["roi"])))
    scores, curves, figures = region_scores(table), layer_scores(table), folder / "figures"
    contents = Contents(
        protocol=protocol,
        layer_choice=layer_choice(protocol),
        n_of_others=len(of_any) - len(selected),
        models=sorted(table["model_id"].unique()),
        prompts=wordings(scored),
        subjects=sorted(table["subject"].unique().tolist()),
        regions=[roi for members in by_family.values() for roi in members],
        n_rows=len(table),
        n_tested=tables.family_sizes.get((protocol, layer_choice(protocol)), 0),
        family_sizes=tables.family_sizes,
        errors_over=errors_over(scores),
        curves_have_errors=bool(curves["r_se"].notna().any()),
        scores=scores,
        by_prompt=prompt_scores(table),
        glance=at_a_glance(table, scores),
        settings=values_of_settings(selected),
        gaps=missing.gaps(source, selected, whole, selection) + missing.left_out(otherwise),
        absent=missing.absent_analyses(table) + of_other_ceilings,
        simulated=is_simulated(folder),
    )
    for name, regions in families([roi for roi in contents.regions if roi in set(scores["roi"])]).items():
        contents.bars.append(region_bars(name, regions, scores, contents.models, figures))
    contents.curves = _curves(curves, contents, figures)
    contents.prompt_maps = _prompt_maps(contents, figures)
    for one in voxel_maps(source, scored, folder / "maps"):
        viewer, contents.libraries = slices(one)
        contents.slices.append(viewer)
        static_slices(one, figures)
    cortices, contents.without_surfaces = read_cortices(source, contents.subjects)
    if cortices is not None:
        contents.on_cortex = list(cortex_figures(cortices, scored, folder))
    contents.shares = shares_over_subjects(read_shares(source.output, selection))
    for analysis in contents.shares["analysis"].unique():
        drawn = variance_bars(analysis, contents.shares, contents.regions, figures)
        contents.variance.append((drawn, spaces_of(analysis, contents.shares), errors_of(analysis, contents.shares)))
        if cortices is not None and (drawn := variance_figure(cortices, source.output, analysis, figures)):
            contents.on_cortex.append(drawn)
    contents.both_protocols = compared_protocols(of_any, shown)
    contents.held_out = missing.held_out(source, scored)
    contents.data_used = data_used(table)
    contents.other_analyses = other_tables(source.output, selection, protocol)
    contents.answers = sample_answers(source, missing.stored_states(source.output, selection))
    return contents


def _curves(scores: pd.DataFrame, contents: Contents, folder: Path) -> dict[str, list[Drawn]]:
    """Draw the curves over layers: for each stream, one panel per region. A stream of a single layer has no curve."""
    with_layers = [stream for stream, rows in scores.groupby("stream") if rows["layer"].nunique() > 1]
    scored = scores.dropna(subset="r").groupby("stream")["roi"].unique()
    return {
        stream: layer_curves(
            stream, [roi for roi in contents.regions if roi in scored.get(stream, ())], scores, contents.models, folder
        )
        for stream in sorted(with_layers, key=stream_order)
    }


def _prompt_maps(contents: Contents, folder: Path) -> list[Drawn]:
    """Draw the maps of prompts against regions: one panel for each model with prompts, all on one colour scale."""
    rows = contents.by_prompt
    prompted = set(rows.loc[rows["prompt"].notna(), "model_id"])
    limits = (min(rows["r"].min(), 0), rows["r"].max())
    return [prompt_map(model, rows, contents.regions, limits, folder) for model in contents.models if model in prompted]


def wordings(scored: Sequence[Scored]) -> dict[int, str]:
    """Return `{prompt number: text}`, as recorded with the hidden states."""
    found = {one.prompt: one.settings.get("embeddings_prompt", "") for one in scored if one.prompt is not None}
    return dict(sorted(found.items()))


def data_used(table: pd.DataFrame) -> pd.DataFrame:
    """Return the sessions, images, repeats and voxels of each subject's scores; empty for tables of version 1.0.0."""
    if not set(DATA_USED) <= set(table):
        return pd.DataFrame()
    voxels = table.groupby([*DATA_USED], as_index=False)["n_voxels"].max()
    return voxels.sort_values("subject")


def values_of_settings(scored: Sequence[Scored]) -> list[tuple[str, list[tuple[str, int]]]]:
    """Return `(setting, [(value, number of tables with it)])`, sorted by setting; values are as in settings.json."""
    counts: dict[str, dict[str, int]] = {}
    for one in scored:
        for name, value in one.settings.items():
            of_value = counts.setdefault(name, {})
            text = value if isinstance(value, str) else json.dumps(value)
            of_value[text] = of_value.get(text, 0) + 1
    return [(name, list(values.items())) for name, values in sorted(counts.items())]
