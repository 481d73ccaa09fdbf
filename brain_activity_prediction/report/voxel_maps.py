"""Select the voxel maps of a report: for each model and subject, each voxel's best layer, its r, and its best prompt.

For a protocol that averages layers, the maps are the average r and the best prompt.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel
import numpy as np
from scipy.ndimage import gaussian_filter

from brain_activity_prediction.datasets.dataset import Dataset
from brain_activity_prediction.datasets.nsd.nsd import NSD
from brain_activity_prediction.datasets.units import write_map
from brain_activity_prediction.encoding.protocols import AVERAGE, BEST_PER_REGION
from brain_activity_prediction.report.map_files import ENDING, REMEDY, is_written, map_paths, read_values
from brain_activity_prediction.report.plots.labels import slug
from brain_activity_prediction.report.source import Source
from brain_activity_prediction.report.tables.averages import layer_choice
from brain_activity_prediction.report.tables.collecting import Scored
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.storage.files import reading
from brain_activity_prediction.storage.folders import Subject, subject_name
from brain_activity_prediction.storage.grid import Grid, on_grid
from brain_activity_prediction.storage.nifti import read_grid

PREFERRED = ("language", "response", "vision")  # streams to show first; the others follow by name
MARGIN = 2  # voxels around the part of the brain that is shown
# For each layer_choice: prefix of file names, and name, unit and title of each map.
SHOWN = {
    BEST_PER_REGION: (
        "best_layer",
        (("best_layer", "layer", "Best layer"), ("best_layer_r", "r", "Held-out r of the best layer")),
    ),
    AVERAGE: ("average", (("average_r", "r", "Held-out r, mean over layers"),)),
}
Cortex = tuple[np.ndarray, Grid]  # `shaded`, (X, Y, Z)


@dataclass(frozen=True)
class VoxelMap:
    """A map with one value for each voxel, (X, Y, Z) with NaN outside, and its background: `shaded` cortex or None."""

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
        """Return the map cropped to the box that contains values and cortex, or only values if no cortex is known."""
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
    """Return the cropped maps of every model and subject; the map of best prompts is also written to `folder` as NIfTI.

    The maps belong to one stream, under the prompt with the highest training score over all voxels. Maps without a
    value, such as the ceilings of sessions in which no image is repeated, are left out.
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
            title = f"Noise ceiling, subject {subject}"
            yield VoxelMap(f"noise_ceiling_{subject_name(subject)}", title, "R²", *shown_on(behind, *read(ceiling)))


@dataclass(frozen=True)
class Choice:
    """The maps that represent a model in a subject: one stream, and the prompt with the best training score.

    having  all prompts that have the stream's maps, `{table: path of its map of training scores}`
    """

    stream: str
    best: Scored
    having: dict[Scored, Path]

    @property
    def condition(self) -> str:
        """Return the stream and the prompt in words."""
        return self.stream if self.best.prompt is None else f"{self.stream}, prompt {self.best.prompt}"


def choose(scored: Sequence[Scored]) -> Choice | None:
    """Choose the stream and prompt that represent a model in a subject; None without maps.

    scored  the tables of one model and subject
    """
    start, _ = SHOWN[layer_choice(scored[0].protocol)]
    stream, having = shown_stream(scored, start)
    if stream is None:
        return None
    paths = {one: one.folder / "maps" / f"{stream}_{start}_cv_score{ENDING}" for one in having}
    means = {one: np.nan_to_num(np.nanmean(read_values(path)), nan=-np.inf) for one, path in paths.items()}
    return Choice(stream, max(having, key=lambda one: means[one]), paths)


def score_maps(scored: Sequence[Scored]) -> tuple[dict[str, dict[Subject, np.ndarray]], str]:
    """Return {model: {subject: map of its chosen stream}} and the unit: r / ceiling where every model has it, else r.

    scored  the tables of one protocol

    The maps of a subject share a grid (X, Y, Z), or are of its vertices.
    """
    pairs = dict.fromkeys((one.model_id, one.subject) for one in scored)
    chosen = {pair: choose([one for one in scored if (one.model_id, one.subject) == pair]) for pair in pairs}
    chosen = {pair: choice for pair, choice in chosen.items() if choice is not None}
    average = layer_choice(scored[0].protocol) == AVERAGE
    kinds = {"average_r": "r"} if average else {"best_layer_r_normalised": "r / noise ceiling", "best_layer_r": "r"}
    paths = {
        kind: {pair: one.best.folder / "maps" / f"{one.stream}_{kind}{ENDING}" for pair, one in chosen.items()}
        for kind in kinds
    }
    everywhere = [kind for kind in kinds if all(map(is_written, paths[kind].values()))]
    kind = next(iter([*everywhere, *kinds]))
    maps: dict[str, dict[Subject, np.ndarray]] = {}
    grids: dict[Subject, Grid] = {}
    for (model, subject), path in paths[kind].items():
        if path.exists():
            values, grid = read(path)
            maps.setdefault(model, {})[subject] = on_grid(values, grid, grids.setdefault(subject, grid))
        elif is_written(path):
            maps.setdefault(model, {})[subject] = read_values(path)
    return maps, kinds[kind]


def best_prompt_map(choice: Choice, model: str, folder: Path) -> Path:
    """Return the path at which a report writes the map of each voxel's best prompt."""
    return folder / f"{choice.stream}_best_prompt_{slug(model)}_{subject_name(choice.best.subject)}.nii.gz"


def _of_model(model: str, scored: Sequence[Scored], behind: Cortex | None, folder: Path) -> Iterator[VoxelMap]:
    choice = choose(scored)
    if choice is None:
        return
    _, kinds = SHOWN[layer_choice(scored[0].protocol)]
    stream, best = choice.stream, choice.best
    source, ending = f"{model}, subject {best.subject}", f"{slug(model)}_{subject_name(best.subject)}"
    for kind, unit, quantity in kinds:
        path = best.folder / "maps" / f"{stream}_{kind}.nii.gz"
        if path.exists():
            title = f"{quantity}: {source} ({choice.condition})"
            yield VoxelMap(f"{kind}_{ending}", title, unit, *shown_on(behind, *read(path)))
    prompts = {one: path for one, path in choice.having.items() if one.prompt is not None and path.exists()}
    if len(prompts) > 1:
        grid = read_grid(choice.having[best])
        values = best_prompt([one.prompt for one in prompts], [on_grid(*read(path), grid) for path in prompts.values()])
        inside = np.isfinite(values)
        write_map(best_prompt_map(choice, model, folder), values[inside], inside, grid.affine)
        title = f"Best prompt: {source} ({stream})"
        yield VoxelMap(f"best_prompt_{ending}", title, "prompt", *shown_on(behind, values, grid))


def shown_stream(scored: Sequence[Scored], start: str) -> tuple[str | None, list[Scored]]:
    """Return the stream that the maps of a model show, and the tables of all prompts that have this stream's maps."""
    end = f"_{start}_cv_score"
    found = {one: map_paths(one.folder / "maps", f"*{end}") for one in scored}
    there = {one: {path.name.removesuffix(end + ENDING) for path in paths} for one, paths in found.items()}
    streams = sorted(set().union(*there.values()), key=stream_order)
    if not streams:
        return None, []
    return streams[0], [one for one in scored if streams[0] in there[one]]


def stream_order(name: str) -> tuple:
    """Return a sorting key for streams: those of PREFERRED come first."""
    return (*(name != first for first in PREFERRED), name)


def best_prompt(prompts: Sequence[int], cv_scores: Sequence[np.ndarray]) -> np.ndarray:
    """Return the prompt with the highest cross-validated score in each voxel; NaN without a score."""
    known = np.isfinite(cv_scores).any(axis=0)
    of_known = np.stack([scores[known] for scores in cv_scores])
    best = np.full(known.shape, np.nan, dtype=np.float32)
    best[known] = np.asarray(prompts)[np.where(np.isfinite(of_known), of_known, -np.inf).argmax(axis=0)]
    return best


def cortex(dataset: Dataset | None, subject: Subject) -> Cortex | None:
    """Return the subject's `shaded` cortex, made from NSD's nsdgeneral, and its grid; None for other datasets."""
    if not isinstance(dataset, NSD):
        return None
    try:
        path = dataset.nsdgeneral(subject)
    except InputError:
        return None
    values, grid = read(path)
    return shaded(values >= 0), grid


def shown_on(behind: Cortex | None, values: np.ndarray, grid: Grid) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Return a map (X, Y, Z), its affine, and the cortex `behind` it in its voxel order; refuse another grid."""
    return values, grid.affine, None if behind is None else on_grid(*behind, grid)


def shaded(inside: np.ndarray) -> np.ndarray:
    """Shade a mask in greys that show the folds of the cortex: 0 outside, up to 1.3 if all neighbours are inside."""
    return inside * (np.float32(0.3) + gaussian_filter(inside.astype(np.float32), 1.5))


def read(path: Path) -> tuple[np.ndarray, Grid]:
    """Read a volume (X, Y, Z) and its grid."""
    with reading(path, REMEDY):
        image = nibabel.load(path)
        return np.asarray(image.dataobj, dtype=np.float32).reshape(image.shape[:3]), read_grid(path)
