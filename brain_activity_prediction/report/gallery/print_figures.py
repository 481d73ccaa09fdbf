"""Draw each kind of figure from the scores of one protocol."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from brain_activity_prediction.report.contents import wordings
from brain_activity_prediction.report.cortex.cortex_figures import cortex_figures, variance_figure
from brain_activity_prediction.report.cortex.cortices import read_cortices
from brain_activity_prediction.report.gallery.score_figures import bars_of_families, curves_of_streams, maps_of_prompts
from brain_activity_prediction.report.map_choice import score_maps
from brain_activity_prediction.report.plots.comparison_bars import MOST_CONDITIONS, comparison_bars
from brain_activity_prediction.report.plots.drawing import Drawn, FigureFolder
from brain_activity_prediction.report.plots.labels import families, prompt_labels
from brain_activity_prediction.report.plots.variance import read_shares, shares_over_subjects, variance_bars
from brain_activity_prediction.report.plots.voxel_scatter import voxel_scatter
from brain_activity_prediction.report.source import Source
from brain_activity_prediction.report.tables.averages import layer_choice, layer_scores, prompt_scores, region_scores
from brain_activity_prediction.report.tables.collecting import Scored, Tables, find_scored
from brain_activity_prediction.report.tables.comparable import made_otherwise, rows_of, with_one_ceiling
from brain_activity_prediction.report.tables.missing import unscored_regions
from brain_activity_prediction.report.tables.pairwise import conditions_of, read_pairs
from brain_activity_prediction.report.tables.selection import Selection
from brain_activity_prediction.report.tables.writing import shown_tables
from brain_activity_prediction.report.voxel_maps import voxel_maps
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.messages import log

# For each kind of figure, the command whose results it shows.
NEEDS = {
    "regions": "align_model.py",
    "layers": "align_model.py, of streams with several layers",
    "prompts": "align_model.py, of several prompts",
    "pairs": f"across_subjects.py (compare.py for one subject), of up to {MOST_CONDITIONS} conditions: select models, "
    "prompts and streams",
    "voxels": "align_model.py, of two models in the same subject",
    "variance": "partition_variance.py",
    "cortex": "align_model.py, on fsaverage or with NSD's transforms (see docs/surfaces.md)",
}


@dataclass(frozen=True)
class Study:
    """The scores of one protocol that were made with the same settings, which a report shows."""

    source: Source
    protocol: str
    selection: Selection
    scored: Sequence[Scored]
    table: pd.DataFrame
    figures: FigureFolder

    @property
    def models(self) -> list[str]:
        return sorted(self.table["model_id"].unique())

    @property
    def families(self) -> dict[str, list[str]]:
        return families(list(dict.fromkeys(self.table["roi"])))

    @property
    def regions(self) -> list[str]:
        return [roi for members in self.families.values() for roi in members]


def read_study(source: Source, protocol: str, selection: Selection, figures: FigureFolder) -> Study:
    """Read the selected scores of a protocol; raise InputError without any."""
    of_protocol = [one for one in find_scored(source.output) if one.protocol == protocol]
    if not of_protocol:
        raise InputError(f"no scores of protocol {protocol}: run align_model.py with --protocol {protocol}")
    tables = Tables(of_protocol)
    tables.check(selection)
    table = shown_tables(tables.selected(selection), selection)[protocol]
    selected = [one for one in tables.scored if selection.takes(one.subject, one.model_id, one.prompt)]
    otherwise = made_otherwise(selected)
    if otherwise:
        log.warning(f"{len(otherwise)} score tables with other settings are left out; the report lists them")
    scored = [one for one in selected if one not in otherwise]
    table, _ = with_one_ceiling(rows_of(scored, table) if otherwise else table)
    if without := unscored_regions(table):
        log.warning(f"no figure shows {', '.join(without)}, because no model has an r in these regions")
    return Study(source, protocol, selection, scored, table, figures)


def draw_kinds(study: Study, kinds: Sequence[str], named: bool) -> list[Drawn]:
    """Draw figures of several kinds; a kind without data is reported or, if `named`, refused with InputError.

    named  whether the user chose these kinds
    """
    drawn = []
    for kind in kinds:
        of_kind = list(DRAWN_BY[kind](study))
        if not of_kind and named:
            raise InputError(f"no figure of {kind} can be drawn, because it needs results of {NEEDS[kind]}")
        if not of_kind:
            log.info(f"no figures of {kind}, because they need results of {NEEDS[kind]}")
        drawn += of_kind
    return drawn


def draw_regions(study: Study) -> Iterator[Drawn]:
    yield from bars_of_families(region_scores(study.table), study.models, study.regions, study.figures)


def draw_layers(study: Study) -> Iterator[Drawn]:
    for drawn in curves_of_streams(layer_scores(study.table), study.models, study.regions, study.figures).values():
        yield from drawn


def draw_prompts(study: Study) -> Iterator[Drawn]:
    scores, texts = prompt_scores(study.table), wordings(study.scored)
    yield from maps_of_prompts(scores, _pairs(study), texts, study.regions, study.figures)


def draw_pairs(study: Study) -> Iterator[Drawn]:
    names = prompt_labels(wordings(study.scored))
    for _, pairs in _pairs(study).groupby("analysis"):
        if len(conditions_of(pairs)) <= MOST_CONDITIONS:
            for name, regions in families([roi for roi in study.regions if roi in set(pairs["roi"])]).items():
                yield comparison_bars(pairs, study.table, name, regions, names, study.figures)


def draw_voxels(study: Study) -> Iterator[Drawn]:
    """Draw the voxels of the model with the highest mean against those of each other model."""
    maps, unit = score_maps(study.scored)
    means = {model: np.mean([np.nanmean(one) for one in own.values()]) for model, own in maps.items()}
    best = max(means, key=means.__getitem__, default=None)
    for other in [model for model in study.models if model in maps and model != best]:
        shared = {subject: np.stack([maps[other][subject], maps[best][subject]], axis=-1) for subject in maps[other]}
        voxels = {subject: both[np.isfinite(both).all(axis=-1)] for subject, both in shared.items()}
        if voxels := {subject: both for subject, both in voxels.items() if len(both)}:
            yield voxel_scatter((other, best), voxels, unit, study.figures)


def draw_variance(study: Study) -> Iterator[Drawn]:
    shares = shares_over_subjects(read_shares(study.source.output, study.selection))
    for analysis in shares["analysis"].unique():
        yield variance_bars(analysis, shares, study.regions, study.figures)


def draw_cortex(study: Study) -> Iterator[Drawn]:
    cortices, lacking = read_cortices(study.source, study.scored)
    for text in lacking:
        log.warning(text)
    if cortices is not None:
        maps = study.figures.path / "maps"
        for _ in voxel_maps(study.source, study.scored, maps):  # the loop writes the maps of best prompts
            pass
        yield from cortex_figures(cortices, study.scored, maps, study.figures)
        for analysis in shares_over_subjects(read_shares(study.source.output, study.selection))["analysis"].unique():
            if drawn := variance_figure(cortices, study.source.output, analysis, study.figures):
                yield drawn


DRAWN_BY = {
    "regions": draw_regions,
    "layers": draw_layers,
    "prompts": draw_prompts,
    "pairs": draw_pairs,
    "voxels": draw_voxels,
    "variance": draw_variance,
    "cortex": draw_cortex,
}


def _pairs(study: Study) -> pd.DataFrame:
    """Read the tests of the shown subjects, for the protocol's choice of layers."""
    pairs = read_pairs(study.source.output, study.protocol, study.table, study.selection)
    return pairs[pairs["layer_choice"] == layer_choice(study.protocol)]
