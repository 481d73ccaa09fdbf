"""Gather all contents of a report, before the page is laid out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from brain_activity_prediction.report.answers import Answered, sample_answers
from brain_activity_prediction.report.cortex.cortex_figures import cortex_figures, variance_figure
from brain_activity_prediction.report.cortex.cortices import read_cortices
from brain_activity_prediction.report.gallery.score_figures import bars_of_families, curves_of_streams, maps_of_prompts
from brain_activity_prediction.report.plots.drawing import Drawn, FigureFolder
from brain_activity_prediction.report.plots.flat_maps import DrawnCortex
from brain_activity_prediction.report.plots.labels import families
from brain_activity_prediction.report.plots.slices import Slices, limits_of, slices, static_slices
from brain_activity_prediction.report.plots.variance import (
    errors_of,
    read_shares,
    shares_over_subjects,
    spaces_of,
    variance_bars,
)
from brain_activity_prediction.report.source import Source
from brain_activity_prediction.report.tables import findings, missing
from brain_activity_prediction.report.tables.averages import (
    at_a_glance,
    errors_over,
    layer_choice,
    layer_choices,
    layer_scores,
    prompt_scores,
    region_scores,
)
from brain_activity_prediction.report.tables.collecting import Scored, Tables
from brain_activity_prediction.report.tables.comparable import made_otherwise, rows_of, with_one_ceiling
from brain_activity_prediction.report.tables.other_analyses import OtherAnalysis, other_tables
from brain_activity_prediction.report.tables.page_tables import (
    PageTable,
    chosen_layers_table,
    data_table,
    models_table,
    prompts_table,
    protocols_table,
    regions_table,
    settings_table,
    shares_table,
    wordings_table,
)
from brain_activity_prediction.report.tables.pairwise import read_pairs
from brain_activity_prediction.report.tables.protocol_comparison import compared_protocols
from brain_activity_prediction.report.tables.selection import Selection
from brain_activity_prediction.report.voxel_maps import voxel_maps
from brain_activity_prediction.storage.folders import NSD_IMAGES, is_simulated
from brain_activity_prediction.storage.settings_file import comparable

DATA_USED = ("subject", "n_sessions", "n_train", "n_test", "test_repeats_mean")


@dataclass
class Contents:
    """The sentences, figures and tables of a report; lists are in the order of the page."""

    protocol: str
    layer_choice: str
    n_of_others: int  # number of score tables of the other protocol
    of_nsd: bool
    models: list[str]
    prompts: dict[int, str]  # number: text, empty if it was not recorded
    subjects: list[int]
    regions: list[str]
    n_rows: int
    n_tested: int  # number of tested rows, over which q is adjusted
    family_sizes: dict[tuple[str, str], int]  # Tables.family_sizes
    errors_over: str  # what the standard errors are computed over: subjects, images, or empty for none
    curves_have_errors: bool
    scores: pd.DataFrame  # averages.region_scores
    gaps: list[missing.Gap]
    absent: list[str]
    held_out: dict[int, int]  # missing.held_out
    simulated: bool
    tables: dict[str, PageTable]  # by name, only tables with rows
    findings: dict[str, str] = field(default_factory=dict)  # by question
    bars: list[Drawn] = field(default_factory=list)
    curves: dict[str, list[Drawn]] = field(default_factory=dict)  # by stream
    prompt_maps: list[Drawn] = field(default_factory=list)
    slices: list[Slices] = field(default_factory=list)
    on_cortex: list[DrawnCortex] = field(default_factory=list)
    without_surfaces: list[str] = field(default_factory=list)  # for each subject, the transforms that it lacks
    libraries: list[str] = field(default_factory=list)  # JavaScript libraries that all slice viewers share
    # Figure, and the results of variance.spaces_of and variance.errors_of.
    variance: list[tuple[Drawn, list[tuple[str, str]], str]] = field(default_factory=list)
    answers: list[Answered] = field(default_factory=list)
    other_analyses: list[OtherAnalysis] = field(default_factory=list)

    @property
    def questions(self) -> list[str]:
        """Return the names of the questions that these contents answer; the last one is `open` if any is missing."""
        answered = {
            "how-well": True,
            "where": bool(self.slices or self.on_cortex or self.findings["where"]),
            "layer": bool(self.curves or "layers" in self.tables),
            "prompt": bool(self.prompt_maps),
            "model": bool(self.findings["model"] or self.other_tables("model")),
            "shared": bool(self.variance),
            "answers": bool(self.answers),
            "trust": True,
        }
        names = [name for name, there in answered.items() if there]
        has_maps = bool(self.slices or self.on_cortex)
        complete = len(names) == len(answered) and has_maps and all(one.rows for one in self.other_analyses)
        return names if complete else [*names, "open"]

    def other_tables(self, question: str) -> list[PageTable]:
        """Return the tables of other analyses that belong to a question."""
        return [one.for_page() for one in self.other_analyses if one.rows and one.kind.question == question]


def gather(
    source: Source, tables: Tables, shown: dict[str, pd.DataFrame], selection: Selection, figures: FigureFolder
) -> Contents:
    """Gather the contents of the page for the first protocol in `shown`; write `figures`, and maps/ next to them.

    shown  result of `writing.shown_tables`
    """
    folder = figures.path.parent
    protocol, table = next(iter(shown.items()))
    of_any = [one for one in tables.scored if selection.takes(one.subject, one.model_id, one.prompt)]
    selected = [one for one in of_any if one.protocol == protocol]
    otherwise = made_otherwise(selected)
    scored, whole = [one for one in selected if one not in otherwise], table
    table, of_other_ceilings = with_one_ceiling(rows_of(scored, table) if otherwise else table)
    by_family = families(list(dict.fromkeys(table["roi"])))
    scores, curves = region_scores(table), layer_scores(table)
    by_prompt, choices = prompt_scores(table), layer_choices(table)
    shares = shares_over_subjects(read_shares(source.output, selection))
    regions, prompts = [roi for members in by_family.values() for roi in members], wordings(scored)
    contents = Contents(
        protocol=protocol,
        layer_choice=layer_choice(protocol),
        n_of_others=len(of_any) - len(selected),
        of_nsd=source.output.dataset in (None, *NSD_IMAGES),
        models=sorted(table["model_id"].unique()),
        prompts=prompts,
        subjects=sorted(table["subject"].unique().tolist()),
        regions=regions,
        n_rows=len(table),
        n_tested=tables.family_sizes.get((protocol, layer_choice(protocol)), 0),
        family_sizes=tables.family_sizes,
        errors_over=errors_over(scores),
        curves_have_errors=bool(curves["r_se"].notna().any()),
        scores=scores,
        gaps=missing.gaps(source, selected, whole, selection) + missing.left_out(otherwise),
        absent=missing.absent_analyses(table) + of_other_ceilings,
        held_out=missing.held_out(source, scored, table),
        simulated=is_simulated(folder),
        tables=with_rows(
            models=models_table(at_a_glance(table, scores)),
            regions=regions_table(scores, regions),
            layers=chosen_layers_table(choices, regions),
            prompts=prompts_table(by_prompt, regions),
            wordings=wordings_table(prompts),
            protocols=protocols_table(compared_protocols(of_any, shown), regions),
            shares=shares_table(shares),
            data=data_table(data_used(table)),
            settings=settings_table(values_of_settings(selected)),
        ),
    )
    contents.bars = bars_of_families(scores, contents.models, regions, figures)
    contents.curves = curves_of_streams(curves, contents.models, regions, figures)
    pairs = read_pairs(source.output, protocol, table, selection)
    pairs = pairs[pairs["layer_choice"] == contents.layer_choice]
    contents.prompt_maps = maps_of_prompts(by_prompt, pairs, prompts, regions, figures)
    maps = list(voxel_maps(source, scored, folder / "maps"))
    for one, limits in zip(maps, limits_of(maps), strict=True):
        viewer, contents.libraries = slices(one, limits)
        contents.slices.append(viewer)
        static_slices(one, limits, figures)
    cortices, contents.without_surfaces = read_cortices(source, scored)
    if cortices is not None:
        contents.on_cortex = list(cortex_figures(cortices, scored, folder / "maps", figures))
    for analysis in shares["analysis"].unique():
        drawn = variance_bars(analysis, shares, regions, figures)
        contents.variance.append((drawn, spaces_of(analysis, shares), errors_of(analysis, shares)))
        if cortices is not None and (drawn := variance_figure(cortices, source.output, analysis, figures)):
            contents.on_cortex.append(drawn)
    contents.other_analyses = other_tables(source.output, selection, protocol)
    contents.answers = sample_answers(source, missing.stored_states(source.output, selection))
    contents.findings = {
        "how-well": findings.how_well(scores, contents.errors_over),
        "where": findings.where(scores),
        "layer": findings.which_layer(choices, scores),
        "prompt": findings.which_prompt(by_prompt, scores),
        "model": findings.which_model(table, scores),
        "shared": findings.what_is_shared(shares),
        "answers": findings.what_answers(contents.answers),
        "trust": findings.can_it_be_trusted(table, contents.held_out, len(contents.gaps) + len(contents.absent)),
    }
    return contents


def with_rows(**tables: PageTable) -> dict[str, PageTable]:
    """Return the tables that have rows."""
    return {name: table for name, table in tables.items() if table.rows}


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
    """Return `(setting, [(value, number of tables with it)])`, sorted by setting, with values as in settings.json.

    The list of input files is left out.
    """
    counts: dict[str, dict[str, int]] = {}
    for one in scored:
        for name, value in comparable(one.settings).items():
            of_value = counts.setdefault(name, {})
            text = value if isinstance(value, str) else json.dumps(value)
            of_value[text] = of_value.get(text, 0) + 1
    return [(name, list(values.items())) for name, values in sorted(counts.items())]
