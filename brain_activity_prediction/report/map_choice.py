"""Choose the maps that represent each model in a subject: one stream, and the prompt with the best training score."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from brain_activity_prediction.encoding.protocols import AVERAGE, BEST_PER_REGION
from brain_activity_prediction.report.map_files import ENDING, is_written, map_paths, read_values, read_volume
from brain_activity_prediction.report.plots.labels import slug
from brain_activity_prediction.report.tables.averages import layer_choice
from brain_activity_prediction.report.tables.collecting import Scored
from brain_activity_prediction.storage.folders import Subject, subject_name
from brain_activity_prediction.storage.grid import Grid, on_grid

PREFERRED = ("language", "response", "vision")  # streams to show first; the others follow by name
# For each layer_choice: prefix of file names, and name, unit and title of each map.
SHOWN = {
    BEST_PER_REGION: (
        "best_layer",
        (("best_layer", "layer", "Best layer"), ("best_layer_r", "r", "Held-out r of the best layer")),
    ),
    AVERAGE: ("average", (("average_r", "r", "Held-out r, mean over layers"),)),
}


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
            values, grid = read_volume(path)
            maps.setdefault(model, {})[subject] = on_grid(values, grid, grids.setdefault(subject, grid))
        elif is_written(path):
            maps.setdefault(model, {})[subject] = read_values(path)
    return maps, kinds[kind]


def best_prompt_map(choice: Choice, model: str, folder: Path) -> Path:
    """Return the path at which a report writes the map of each voxel's best prompt."""
    return folder / f"{choice.stream}_best_prompt_{slug(model)}_{subject_name(choice.best.subject)}.nii.gz"


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
