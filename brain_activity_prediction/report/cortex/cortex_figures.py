"""Draw the maps of a report on fsaverage: scores, layers and prompts of each model, differences and shared variance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from brain_activity_prediction.encoding.protocols import AVERAGE
from brain_activity_prediction.report.cortex.cortices import Cortices
from brain_activity_prediction.report.cortex.group_figures import significance_figure, t_figure
from brain_activity_prediction.report.cortex.subject_surface import N_FSAVERAGE5
from brain_activity_prediction.report.map_choice import Choice, best_prompt_map, choose
from brain_activity_prediction.report.map_files import ENDING, map_paths
from brain_activity_prediction.report.plots.drawing import Drawn, FigureFolder
from brain_activity_prediction.report.plots.flat_maps import (
    PIXELS,
    ColourScale,
    CortexMap,
    accuracy_scale,
    cortex_figure,
    number_scale,
    symmetric_scale,
)
from brain_activity_prediction.report.plots.labels import DIFFERENCE_OF, prompt_labels, slug
from brain_activity_prediction.report.tables.averages import layer_choice
from brain_activity_prediction.report.tables.collecting import Scored
from brain_activity_prediction.storage.folders import Output, Subject, partitioning_folder, subject_name
from brain_activity_prediction.surfaces.meshes import read_curvature, views_of_fsaverage5
from brain_activity_prediction.surfaces.rasters import cached_raster

VIEWS = ("lateral", "medial", "ventral")
MOST = 1.0  # largest value at the upper end of the colour scale of r / ceiling


def cortex_figures(
    cortices: Cortices, scored: Sequence[Scored], maps_folder: Path, figures: FigureFolder
) -> Iterator[Drawn]:
    """Draw the maps of each model on the cortex, and differences between models; all scores share one colour scale.

    scored       score tables of one protocol
    maps_folder  folder with the maps of best prompts
    """
    averaged = layer_choice(scored[0].protocol) == AVERAGE
    kind, unit = ("average_r", "r") if averaged else ("best_layer_r_normalised", "r / ceiling")
    choices = {model: _choices(cortices, scored, model) for model in dict.fromkeys(one.model_id for one in scored)}
    scores = {model: maps for model, chosen in choices.items() if (maps := _maps(cortices, chosen, kind))}
    native_rows: dict[Subject, list[CortexMap]] = {}
    if scores:
        scale = accuracy_scale([values for maps in scores.values() for values in maps.values()], unit, MOST)
    for model, chosen in choices.items():
        titles = {subject: f"subject {subject} ({choice.condition})" for subject, choice in chosen.items()}
        reliable = {} if averaged else scores.get(model, {})
        if maps := scores.get(model):
            _add_native(native_rows, cortices, chosen, kind)
            rows = cortices.rows(maps, titles) + [cortices.mean(maps)] * (len(maps) > 1)
            yield from _accuracy(cortices, model, rows, scale, figures)
            if drawn := t_figure(cortices, model, maps, unit, figures):
                yield drawn
        if not averaged:
            if drawn := significance_figure(cortices, model, _maps(cortices, chosen, "best_layer_q"), figures):
                yield drawn
            rows = cortices.rows(_where(reliable, _maps(cortices, chosen, "best_layer")), titles)
            yield from _numbers(cortices, model, rows, ("layer", {}), figures)
        paths = {subject: best_prompt_map(choice, model, maps_folder) for subject, choice in chosen.items()}
        titles = {subject: f"subject {subject} ({choice.stream})" for subject, choice in chosen.items()}
        rows = cortices.rows(_where(reliable, cortices.read(paths, "best_prompt")), titles)
        names = prompt_labels({one.prompt: _wording(one) for choice in chosen.values() for one in choice.having})
        yield from _numbers(cortices, model, rows, ("prompt", names), figures)
        if drawn := _prompt_differences(cortices, chosen, (kind, unit), figures):
            yield drawn
    if drawn := _model_differences(cortices, scores, unit, figures):
        yield drawn
    for subject, rows in native_rows.items():
        name, title = f"native_flat_{subject_name(subject)}", f"{unit}: subject {subject}, own surface"
        yield cortex_figure(name, title, rows, scale, cortices.native[subject].flat, figures)


def variance_figure(cortices: Cortices, output: Output, analysis: str, figures: FigureFolder) -> Drawn | None:
    """Draw each part of a variance partitioning, unique or shared, averaged over subjects; None without maps."""
    parts: dict[str, dict[Subject, Path]] = {}
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


def _choices(cortices: Cortices, scored: Sequence[Scored], model: str) -> dict[Subject, Choice]:
    """Return the maps that represent a model in each subject."""
    found = {}
    for subject in cortices.subjects:
        own = [one for one in scored if (one.model_id, one.subject) == (model, subject)]
        if own and (choice := choose(own)):
            found[subject] = choice
    return found


def _maps(cortices: Cortices, chosen: Mapping[Subject, Choice], kind: str) -> dict[Subject, np.ndarray]:
    """Return one kind of map of each subject's chosen stream, (n_vertices,)."""
    return cortices.read({subject: _path(one.best, one.stream, kind) for subject, one in chosen.items()}, kind)


def _where(reliable: Mapping[Subject, np.ndarray], maps: Mapping[Subject, np.ndarray]) -> dict[Subject, np.ndarray]:
    """Return maps (n_vertices,) with NaN where the subject's map in `reliable` has none; without it, unchanged."""
    return {
        subject: np.where(np.isfinite(reliable[subject]), values, np.nan) if subject in reliable else values
        for subject, values in maps.items()
    }


def _path(one: Scored, stream: str, kind: str) -> Path:
    return one.folder / "maps" / f"{stream}_{kind}{ENDING}"


def _accuracy(
    cortices: Cortices, model: str, rows: Sequence[CortexMap], scale: ColourScale, figures: FigureFolder
) -> Iterator[Drawn]:
    """Draw scores on the flat cortex, and those of the last row also on the inflated cortex."""
    title = f"{scale.unit}: {model}"
    yield cortex_figure(f"flat_r_{slug(model)}", title, rows, scale, cortices.flat, figures)
    views = cached_raster(views_of_fsaverage5(VIEWS), PIXELS), read_curvature()
    regions = {name: on_fsaverage5(members) for name, members in rows[-1].regions.items()}
    row = replace(rows[-1], values=on_fsaverage5(rows[-1].values), regions=regions)
    yield cortex_figure(f"views_r_{slug(model)}", title, [row], scale, views, figures)


def _numbers(
    cortices: Cortices,
    model: str,
    rows: Sequence[CortexMap],
    numbers: tuple[str, Mapping[int, str]],
    figures: FigureFolder,
) -> Iterator[Drawn]:
    """Draw maps of the best layer or prompt, if there are any.

    numbers  the unit, `layer` or `prompt`, and the names of numbers
    """
    unit, names = numbers
    if rows:
        scale = number_scale([row.values for row in rows], unit, names)
        yield cortex_figure(
            f"flat_best_{unit}_{slug(model)}", f"Best {unit}: {model}", rows, scale, cortices.flat, figures
        )


def _add_native(
    rows: dict[Subject, list[CortexMap]], cortices: Cortices, chosen: Mapping[Subject, Choice], kind: str
) -> None:
    """For each subject with flat patches of its own surface, add the model's map to the subject's rows."""
    for subject, choice in chosen.items():
        own, path = cortices.native.get(subject), _path(choice.best, choice.stream, kind)
        if own and (values := own.carrier.read(path, kind)) is not None and np.isfinite(values).any():
            title = f"{_short(choice.best.model_id)} ({choice.condition})"
            rows.setdefault(subject, []).append(CortexMap(title, values, own.regions))


def _prompt_differences(
    cortices: Cortices, chosen: Mapping[Subject, Choice], kind: tuple[str, str], figures: FigureFolder
) -> Drawn | None:
    """Draw the prompt with the best training score in most subjects minus each other prompt; None with one prompt.

    kind  kind of the maps, and its unit
    """
    by_prompt: dict[str, dict[Subject, np.ndarray]] = {}
    preferred = Counter(_prompt_name(choice.best) for choice in chosen.values() if choice.best.prompt is not None)
    streams = {choice.stream for choice in chosen.values()}
    if not preferred or len(streams) > 1:
        return None
    for subject, choice in chosen.items():
        for one in choice.having:
            path = _path(one, choice.stream, kind[0])
            if one.prompt is not None and (maps := cortices.read({subject: path}, kind[0])):
                by_prompt.setdefault(_prompt_name(one), {}).update(maps)
    reference, _ = preferred.most_common(1)[0]
    model = next(iter(chosen.values())).best.model_id
    name, title = f"flat_prompt_differences_{slug(model)}", f"Differences between prompts: {model}"
    return _differences(cortices, (name, title), (by_prompt, reference), kind[1], figures)


def _model_differences(
    cortices: Cortices, scores: Mapping[str, Mapping[Subject, np.ndarray]], unit: str, figures: FigureFolder
) -> Drawn | None:
    """Draw the model with the highest mean minus each other model; None with one model."""
    maps = {_short(model): own for model, own in scores.items()}
    best = max(maps, key=lambda model: np.mean([np.nanmean(values) for values in maps[model].values()]), default="")
    return _differences(cortices, ("flat_differences", "Differences between models"), (maps, best), unit, figures)


def _differences(
    cortices: Cortices,
    words: tuple[str, str],
    maps: tuple[Mapping[str, Mapping[Subject, np.ndarray]], str],
    unit: str,
    figures: FigureFolder,
) -> Drawn | None:
    """Draw a reference minus each other condition, averaged over the subjects of both; None without differences.

    words  name of the figure's files, and its title
    maps   {condition: {subject: values}}, and the condition that is the reference
    """
    by_name, reference = maps
    rows = []
    for other in [name for name in by_name if name != reference and reference in by_name]:
        shared = [subject for subject in by_name[reference] if subject in by_name[other]]
        differences = {subject: by_name[reference][subject] - by_name[other][subject] for subject in shared}
        if differences := {subject: one for subject, one in differences.items() if np.isfinite(one).any()}:
            rows.append(cortices.mean(differences, f"{reference} − {other}, mean"))
    if not rows:
        return None
    scale = symmetric_scale([row.values for row in rows], f"{DIFFERENCE_OF}{unit}")
    return cortex_figure(*words, rows, scale, cortices.flat, figures)


def _prompt_name(one: Scored) -> str:
    """Return the name of a table's prompt."""
    return prompt_labels({one.prompt: _wording(one)})[one.prompt]


def _wording(one: Scored) -> str:
    """Return the text of a table's prompt; empty if it was not recorded."""
    return one.settings.get("embeddings_prompt", "")


def _short(model: str) -> str:
    """Return a model's id without its organisation."""
    return model.rpartition("/")[2]


def on_fsaverage5(values: np.ndarray) -> np.ndarray:
    """Return the values on fsaverage5, whose vertices are the first ones of each hemisphere of fsaverage."""
    return np.concatenate([own[:N_FSAVERAGE5] for own in np.split(values, 2)])
