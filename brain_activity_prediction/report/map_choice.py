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

PREFERRED = ("language", "response", "vision")  # streams that are shown first; others follow in alphabetical order
# For each layer_choice, the prefix of file names, and the name, unit and title of each map.
SHOWN = {
    BEST_PER_REGION: (
        "best_layer",
        (("best_layer", "layer", "Best layer"), ("best_layer_r", "r", "Held-out r of the best layer")),
    ),
    AVERAGE: ("average", (("average_r", "r", "Held-out r, mean over layers"),)),
}


@dataclass(frozen=True)
class Choice:
    """The maps that represent a model in a subject: one stream, with the prompt that has the best training score.

    best    score table of this prompt
    having  `{score table: path of its map of training scores}` for all prompts with maps of the stream
    """

    stream: str
    best: Scored
    having: dict[Scored, Path]

    @property
    def condition(self) -> str:
        """Return the stream and the prompt as text."""
        return self.stream if self.best.prompt is None else f"{self.stream}, prompt {self.best.prompt}"


def choose(scored: Sequence[Scored]) -> Choice | None:
    """Choose the stream and prompt that represent a model in a subject; None if it has no maps.

    scored  score tables of one model and subject
    """
    start, _ = SHOWN[layer_choice(scored[0].protocol)]
    stream, having = shown_stream(scored, start)
    if stream is None:
        return None
    paths = {one: one.folder / "maps" / f"{stream}_{start}_cv_score{ENDING}" for one in having}
    means = {one: np.nan_to_num(np.nanmean(read_values(path)), nan=-np.inf) for one, path in paths.items()}
    return Choice(stream, max(having, key=lambda one: means[one]), paths)


def score_maps(scored: Sequence[Scored]) -> tuple[dict[str, dict[Subject, np.ndarray]], str]:
    """Return {model: {subject: map of the chosen stream}} and the unit: r / ceiling if all models have it, else r.

    scored  score tables of one protocol

    The maps of a subject are on one grid (X, Y, Z), or on its vertices.
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
    """Return the stream that represents a model, and the score tables of all prompts with maps of this stream."""
    end = f"_{start}_cv_score"
    found = {one: map_paths(one.folder / "maps", f"*{end}") for one in scored}
    there = {one: {path.name.removesuffix(end + ENDING) for path in paths} for one, paths in found.items()}
    streams = sorted(set().union(*there.values()), key=stream_order)
    if not streams:
        return None, []
    return streams[0], [one for one in scored if streams[0] in there[one]]


def stream_order(name: str) -> tuple:
    """Return a sorting key for streams, by which those in PREFERRED come first."""
    return (*(name != first for first in PREFERRED), name)


def best_prompt(prompts: Sequence[int], cv_scores: Sequence[np.ndarray]) -> np.ndarray:
    """Return the prompt with the highest cross-validated score in each voxel; NaN if no prompt has a score."""
    known = np.isfinite(cv_scores).any(axis=0)
    of_known = np.stack([scores[known] for scores in cv_scores])
    best = np.full(known.shape, np.nan, dtype=np.float32)
    best[known] = np.asarray(prompts)[np.where(np.isfinite(of_known), of_known, -np.inf).argmax(axis=0)]
    return best
