"""Draw the maps of a report on fsaverage: scores, layers and prompts of each model, differences and shared variance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from brain_activity_prediction.encoding.protocols import AVERAGE
from brain_activity_prediction.report.cortex.cortices import Cortices
from brain_activity_prediction.report.cortex.subject_surface import N_FSAVERAGE5
from brain_activity_prediction.report.map_files import ENDING, map_paths
from brain_activity_prediction.report.plots.drawing import Drawn, FigureFolder
from brain_activity_prediction.report.plots.flat_maps import (
    PIXELS,
    CortexMap,
    accuracy_scale,
    cortex_figure,
    difference_scale,
    number_scale,
)
from brain_activity_prediction.report.plots.labels import slug
from brain_activity_prediction.report.plots.voxel_maps import Choice, best_prompt_map, choose
from brain_activity_prediction.report.tables.averages import layer_choice
from brain_activity_prediction.report.tables.collecting import Scored
from brain_activity_prediction.storage.folders import Output, partitioning_folder
from brain_activity_prediction.surfaces.meshes import curvature_of_fsaverage, views_of_fsaverage5
from brain_activity_prediction.surfaces.rasters import cached_raster

VIEWS = ("lateral", "medial", "ventral")
MOST = 1.0  # highest colour of r / ceiling


def cortex_figures(
    cortices: Cortices, scored: Sequence[Scored], maps_folder: Path, figures: FigureFolder
) -> Iterator[Drawn]:
    """Draw every model's maps on the cortex, and the differences between models.

    scored       the tables of one protocol
    maps_folder  has the maps of best prompts
    """
    averaged = layer_choice(scored[0].protocol) == AVERAGE
    kind, unit = ("average_r", "r") if averaged else ("best_layer_r_normalised", "r / ceiling")
    scores = {}
    for model in dict.fromkeys(one.model_id for one in scored):
        chosen = _choices(cortices, scored, model)
        titles = {subject: f"subject {subject} ({choice.condition})" for subject, choice in chosen.items()}
        if maps := _maps(cortices, chosen, kind):
            scores[model] = maps
            rows = cortices.rows(maps, titles) + [cortices.mean(maps)] * (len(maps) > 1)
            yield from _accuracy(cortices, model, rows, unit, figures)
        if not averaged:
            rows = cortices.rows(_maps(cortices, chosen, "best_layer"), titles)
            yield from _numbers(cortices, model, rows, "layer", figures)
        paths = {subject: best_prompt_map(choice, model, maps_folder) for subject, choice in chosen.items()}
        titles = {subject: f"subject {subject} ({choice.stream})" for subject, choice in chosen.items()}
        rows = cortices.rows(cortices.read(paths, "best_prompt"), titles)
        yield from _numbers(cortices, model, rows, "prompt", figures)
    yield from _differences(cortices, scores, unit, figures)


def variance_figure(cortices: Cortices, output: Output, analysis: str, figures: FigureFolder) -> Drawn | None:
    """Draw each part of a variance partitioning, unique or shared, averaged over subjects; None without maps."""
    parts: dict[str, dict[int, Path]] = {}
    for subject in cortices.subjects:
        for path in map_paths(partitioning_folder(output, subject, analysis) / "maps", "part_*_r2"):
            part = path.name.removeprefix("part_").removesuffix(f"_r2{ENDING}")
            if not part.endswith("_cv"):
                parts.setdefault(part, {})[subject] = path
    rows = []
    for part, paths in sorted(parts.items(), key=lambda item: (item[0].count("+"), item[0])):
        if maps := cortices.read(paths, "r2"):
            rows.append(cortices.mean(maps, f"shared by {part}, mean" if "+" in part else f"{part} alone, mean"))
    if not rows:
        return None
    scale = accuracy_scale([row.values for row in rows], "R²")
    return cortex_figure(
        f"flat_variance_{slug(analysis)}", f"Variance: {analysis}", rows, scale, cortices.flat, figures
    )


def _choices(cortices: Cortices, scored: Sequence[Scored], model: str) -> dict[int, Choice]:
    """Return the maps that represent a model in each subject."""
    found = {}
    for subject in cortices.subjects:
        own = [one for one in scored if (one.model_id, one.subject) == (model, subject)]
        if own and (choice := choose(own)):
            found[subject] = choice
    return found


def _maps(cortices: Cortices, chosen: Mapping[int, Choice], kind: str) -> dict[int, np.ndarray]:
    """Return one kind of map of each subject's chosen stream, (V,) on the vertices."""
    paths = {s: one.best.folder / "maps" / f"{one.stream}_{kind}.nii.gz" for s, one in chosen.items()}
    return cortices.read(paths, kind)


def _accuracy(
    cortices: Cortices, model: str, rows: Sequence[CortexMap], unit: str, figures: FigureFolder
) -> Iterator[Drawn]:
    """Draw scores flat and, for the last row, inflated, on one colour scale."""
    title, scale = f"{unit}: {model}", accuracy_scale([row.values for row in rows], unit, MOST)
    yield cortex_figure(f"flat_r_{slug(model)}", title, rows, scale, cortices.flat, figures)
    views = cached_raster(views_of_fsaverage5(VIEWS), PIXELS), curvature_of_fsaverage()
    row = CortexMap(rows[-1].title, on_fsaverage5(rows[-1].values), _each_on_fsaverage5(rows[-1].regions))
    yield cortex_figure(f"views_r_{slug(model)}", title, [row], scale, views, figures)


def _numbers(
    cortices: Cortices, model: str, rows: Sequence[CortexMap], unit: str, figures: FigureFolder
) -> Iterator[Drawn]:
    """Draw maps of layers or prompts, if there are any."""
    if rows:
        scale = number_scale([row.values for row in rows], unit)
        yield cortex_figure(
            f"flat_best_{unit}_{slug(model)}", f"Best {unit}: {model}", rows, scale, cortices.flat, figures
        )


def _differences(
    cortices: Cortices, scores: Mapping[str, Mapping[int, np.ndarray]], unit: str, figures: FigureFolder
) -> Iterator[Drawn]:
    """Draw the model with the highest mean minus each other model, averaged over the subjects that both have."""
    if len(scores) < 2:
        return
    best = max(scores, key=lambda model: np.mean([np.nanmean(values) for values in scores[model].values()]))
    rows = []
    for other in [model for model in scores if model != best]:
        shared = [subject for subject in scores[best] if subject in scores[other]]
        differences = {subject: scores[best][subject] - scores[other][subject] for subject in shared}
        if differences := {subject: one for subject, one in differences.items() if np.isfinite(one).any()}:
            rows.append(cortices.mean(differences, f"{_short(best)} − {_short(other)}, mean"))
    if rows:
        scale = difference_scale([row.values for row in rows], f"difference of {unit}")
        yield cortex_figure("flat_differences", "Differences between models", rows, scale, cortices.flat, figures)


def _short(model: str) -> str:
    """Return a model's id without its organisation."""
    return model.rpartition("/")[2]


def on_fsaverage5(values: np.ndarray) -> np.ndarray:
    """Return the values of fsaverage5's vertices, the first ones of each hemisphere of fsaverage."""
    return np.concatenate([own[:N_FSAVERAGE5] for own in np.split(values, 2)])


def _each_on_fsaverage5(regions: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: on_fsaverage5(members) for name, members in regions.items()}
