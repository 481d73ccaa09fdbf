"""Select the voxel maps of a report: for each model and subject, each voxel's best layer, its r, and its best prompt.

If the protocol averages over layers, the maps show the average r and the best prompt.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from brain_activity_prediction.datasets.dataset import Dataset
from brain_activity_prediction.datasets.nsd.nsd import NSD
from brain_activity_prediction.datasets.units import write_map
from brain_activity_prediction.report.map_choice import SHOWN, best_prompt, best_prompt_map, choose
from brain_activity_prediction.report.map_files import ENDING, is_written, read_both_sides, read_volume, write_sides
from brain_activity_prediction.report.plots.labels import slug
from brain_activity_prediction.report.source import Source
from brain_activity_prediction.report.tables.averages import layer_choice
from brain_activity_prediction.report.tables.collecting import Scored
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.storage.folders import Subject, subject_name
from brain_activity_prediction.storage.grid import Grid, on_grid
from brain_activity_prediction.storage.nifti import read_grid

MARGIN = 2  # voxels around the part of the brain that is shown
Cortex = tuple[np.ndarray, Grid]  # `shaded`, (X, Y, Z)


@dataclass(frozen=True)
class VoxelMap:
    """A map (X, Y, Z), NaN outside the fitted voxels, and its background, the `shaded` cortex or None."""

    name: str
    title: str
    unit: str  # layer, prompt, r or R²
    values: np.ndarray
    affine: np.ndarray
    behind: np.ndarray | None

    @property
    def whole_numbers(self) -> bool:
        return self.unit in ("layer", "prompt")

    def cropped(self) -> "VoxelMap":
        """Return the map cropped to the values and the cortex; if the cortex is unknown, to the values."""
        fitted = np.isfinite(self.values)
        behind = shaded(fitted) if self.behind is None else self.behind
        shown = fitted | (behind > 0)
        box, first = [], []
        for axis in range(3):
            planes = np.flatnonzero(shown.any(axis=tuple({0, 1, 2} - {axis})))
            first.append(max(planes[0] - MARGIN, 0))
            box.append(slice(first[-1], planes[-1] + MARGIN + 1))
        affine = self.affine.copy()
        affine[:3, 3] = (self.affine @ [*first, 1])[:3]
        return replace(self, values=self.values[tuple(box)], behind=behind[tuple(box)], affine=affine)


def voxel_maps(source: Source, scored: Sequence[Scored], folder: Path) -> Iterator[VoxelMap]:
    """Return the cropped maps of every model and subject; write maps of best prompts to `folder` as NIfTI files.

    The maps of a model show one stream, with the prompt that has the highest training score over all voxels. Maps
    without a value, such as noise ceilings of sessions without repeated images, are left out.
    """
    return (shown.cropped() for shown in _maps(source, scored, folder) if np.isfinite(shown.values).any())


def _maps(source: Source, scored: Sequence[Scored], folder: Path) -> Iterator[VoxelMap]:
    for subject in sorted({one.subject for one in scored}):
        of_subject = [one for one in scored if one.subject == subject]
        behind = cortex(source.read_for(of_subject[0].settings), subject)
        for model in dict.fromkeys(one.model_id for one in of_subject):
            yield from _of_model(model, [one for one in of_subject if one.model_id == model], behind, folder)
        ceiling = of_subject[0].folder / "maps" / "noise_ceiling.nii.gz"
        if ceiling.exists():
            name, title = f"noise_ceiling_{subject_name(subject)}", f"Noise ceiling, subject {subject}"
            yield VoxelMap(name, title, "R²", *shown_on(behind, *read_volume(ceiling)))


def _of_model(model: str, scored: Sequence[Scored], behind: Cortex | None, folder: Path) -> Iterator[VoxelMap]:
    choice = choose(scored)
    if choice is None:
        return
    _, kinds = SHOWN[layer_choice(scored[0].protocol)]
    stream, best = choice.stream, choice.best
    source, ending = f"{model}, subject {best.subject}", f"{slug(model)}_{subject_name(best.subject)}"
    normalised = best.folder / "maps" / f"{stream}_best_layer_r_normalised{ENDING}"
    for kind, unit, quantity in kinds:
        path = best.folder / "maps" / f"{stream}_{kind}{ENDING}"
        if path.exists():
            title, (values, grid) = f"{quantity}: {source} ({choice.condition})", read_volume(path)
            shown = _reliable(values, grid, normalised) if unit == "layer" else values
            yield VoxelMap(f"{kind}_{ending}", title, unit, *shown_on(behind, shown, grid))
    prompts = {one.prompt: path for one, path in choice.having.items() if one.prompt is not None and is_written(path)}
    if len(prompts) < 2:
        return
    target = best_prompt_map(choice, model, folder)
    if not choice.having[best].exists():
        write_sides(target, _best_prompt_of_vertices(prompts))
        return
    grid = read_grid(choice.having[best])
    values = best_prompt([*prompts], [on_grid(*read_volume(path), grid) for path in prompts.values()])
    inside = np.isfinite(values)
    write_map(target, values[inside], inside, grid.affine)
    title = f"Best prompt: {source} ({stream})"
    yield VoxelMap(
        f"best_prompt_{ending}", title, "prompt", *shown_on(behind, _reliable(values, grid, normalised), grid)
    )


def _reliable(values: np.ndarray, grid: Grid, normalised: Path) -> np.ndarray:
    """Return values (X, Y, Z) with NaN where the noise ceiling is too low for a normalised score.

    normalised  path of the map of normalised scores; without this file, all values are kept
    """
    if not normalised.exists():
        return values
    return np.where(np.isfinite(on_grid(*read_volume(normalised), grid)), values, np.nan)


def _best_prompt_of_vertices(paths: Mapping[int, Path]) -> dict[str, np.ndarray]:
    """Return the best prompt at each vertex of both hemispheres; `paths` are {prompt: map of its training scores}."""
    maps = [read_both_sides(path) for path in paths.values()]
    return {side: best_prompt([*paths], [own[side] for own in maps]) for side in maps[0]}


def cortex(dataset: Dataset | None, subject: Subject) -> Cortex | None:
    """Return the subject's `shaded` cortex, from NSD's nsdgeneral, and its grid; None for other datasets."""
    if not isinstance(dataset, NSD):
        return None
    try:
        path = dataset.nsdgeneral(subject)
    except InputError:
        return None
    values, grid = read_volume(path)
    return shaded(values >= 0), grid


def shown_on(behind: Cortex | None, values: np.ndarray, grid: Grid) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Return a map (X, Y, Z), its affine, and the cortex `behind` it in its voxel order; refuse another grid."""
    return values, grid.affine, None if behind is None else on_grid(*behind, grid)


def shaded(inside: np.ndarray) -> np.ndarray:
    """Shade a mask in greys that show the folds of the cortex: 0 outside, up to 1.3 if all neighbours are inside."""
    return inside * (np.float32(0.3) + gaussian_filter(inside.astype(np.float32), 1.5))
