"""Scores of models, prompts and streams of one subject, read back to be compared: region by region, with resamples.

R regions, B resamples of the test images.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from brain_activity_prediction.encoding.scores.layer_choice import AVERAGE, BEST_PER_REGION, StreamScores, stream_scores
from brain_activity_prediction.encoding.scores.score_store import Results
from brain_activity_prediction.encoding.streams import Stream
from brain_activity_prediction.inference.region_ceilings import resampled_score
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.runtime.wording import did_you_mean
from brain_activity_prediction.storage.folders import alignment_folder, subject_folder
from brain_activity_prediction.storage.settings_file import other_responses
from brain_activity_prediction.storage.table_files import read_score_table

SCORES = "scores.parquet"
NORMALISED = "r_normalised_all_voxels"


@dataclass(frozen=True)
class Condition(Stream):
    """A stream with its regions' scores."""

    regions: dict[str, str]  # name: digest of its voxels
    n_voxels: np.ndarray  # (R,)
    r: np.ndarray  # (R,)
    resampled: np.ndarray  # (B, R)
    r_normalised: np.ndarray  # (R,) r_normalised_all_voxels of the table, NaN where it is unknown
    normalised_resampled: np.ndarray  # (B, R)
    settings: Mapping  # what the scores were made with


def read_conditions(
    arguments: argparse.Namespace, prompts: Sequence[int], streams: Sequence[str] | None
) -> list[Condition]:
    """All that the models, prompts and streams asked for have scores of, in this order.

    Raises InputError where a model has none, or scores have no resamples or are of other responses than the first.
    """
    found: list[Condition] = []
    for model_id in arguments.model_id:
        of_model = {}
        for prompt in (None, *prompts):
            of = (arguments.base_dir, arguments.subject, model_id, prompt, arguments.protocol)
            folder = alignment_folder(*of)
            of_model[prompt] = list(_conditions(folder, model_id, prompt, streams, arguments.layers))
        if not any(of_model.values()):
            meant = did_you_mean(model_id, _scored_ids(arguments))
            raise InputError(
                f"no scores of {model_id}{meant} under these prompts and streams: run align_model.py first"
            )
        if arguments.prompt_number:
            _check_prompts(model_id, of_model, streams)
        found += [condition for conditions in of_model.values() for condition in conditions]
    if arguments.prompt_number and all(condition.prompt is None for condition in found):
        log.warning("none of these streams depends on a prompt: -p changes nothing")
    _check_streams(found, streams)
    check_responses((condition, condition.settings) for condition in found)
    return found


def _check_prompts(model_id: str, of_model: dict[int | None, list[Condition]], streams: Sequence[str] | None) -> None:
    """Raises InputError where a model lacks a prompt, or under it a stream, that was asked for by name."""
    by_prompt = {prompt: {one.stream for one in conditions} for prompt, conditions in of_model.items()}
    fixed = by_prompt.pop(None)
    takes_prompts = any(by_prompt.values()) or any(one.settings.get("embeddings_template") for one in of_model[None])
    depending = set().union(*by_prompt.values()).intersection(streams or ())
    for prompt, there in by_prompt.items():
        what = min(depending - there, default=None)
        if what or (takes_prompts and not there and not (streams and fixed.issuperset(streams))):
            raise InputError(
                f"no {f'{what} ' if what else ''}scores of {model_id} under prompt {prompt}: run align_model.py with "
                f"-p {prompt} first, or leave it out of -p"
            )


def _check_streams(found: Sequence[Condition], streams: Sequence[str] | None) -> None:
    """Says on stderr which model lacks a stream that was asked for; InputError where none has it."""
    for stream in streams or ():
        having = {one.model_id for one in found if one.stream == stream}
        lacking = [model for model in dict.fromkeys(one.model_id for one in found) if model not in having]
        if not having:
            there = sorted({one.stream for one in found})
            meant = did_you_mean(stream, there)
            raise InputError(f"no scores of stream {stream}{meant}: there are {', '.join(there)}")
        if lacking:
            log.warning(f"no scores of stream {stream} of {', '.join(lacking)}")


def _scored_ids(arguments: argparse.Namespace) -> set[str]:
    """The ids of the models that have scores, as far as their folders tell: an organisation may have an underscore."""
    scored = subject_folder(arguments.base_dir, arguments.subject, arguments.protocol).glob(f"*prompt*/*/{SCORES}")
    return {path.parent.name.replace("_", "/", 1) for path in scored}


def check_responses(scored: Iterable[tuple[Stream, Mapping]]) -> None:
    """Raises InputError where, by the settings, a subject's streams were not all scored on the same responses."""
    (first, wanted), *others = scored
    for other, settings in others:
        if difference := other_responses(settings, wanted):
            said = difference.replace("this run has", "the latter")
            raise InputError(
                f"{other} was scored on other responses than {first} ({said}): align both with the same flags"
            )


def _conditions(
    folder: Path, model_id: str, prompt: int | None, streams: Sequence[str] | None, layers: str
) -> Iterator[Condition]:
    if not (folder / SCORES).exists():
        return
    results = Results(folder)
    table = read_score_table(folder / SCORES, "align again")
    for stream in results.streams():
        if streams is not None and stream not in streams:
            continue
        rows = table[(table["stream"] == stream) & (table["layer_choice"] == layers)].set_index("roi")
        if rows.empty:
            raise InputError(f"{folder} has no {layers} of {stream}: align all of its layers")
        scores = stream_scores(results, stream)
        regions, resampled = _resampled(scores.resampled_r, scores, rows, layers)
        if resampled is None:
            raise InputError(
                f"{folder} has no resamples of {stream}, or not as many for all layers: align again with --bootstrap"
            )
        rows = rows.loc[list(regions)]
        yield Condition(
            *(model_id, prompt, stream, regions, rows["n_voxels"].to_numpy(), rows["r"].to_numpy(), resampled),
            *_normalised(results, scores, rows, layers, resampled),
            settings=results.settings(),
        )


def _normalised(results: Results, stream: StreamScores, rows, layers: str, resampled: np.ndarray):
    """r_normalised_all_voxels (R,) of the rows, and in each resample (B, R); NaN where an older version scored them."""
    unknown = np.full(resampled.shape[1], np.nan), np.full_like(resampled, np.nan)
    regions, explained = _resampled(stream.resampled_explained, stream, rows, layers)
    ceilings = results.read_region_ceilings()
    if explained is None or ceilings is None or NORMALISED not in rows:
        return unknown
    score = rows[NORMALISED].to_numpy(float)
    return score, resampled_score(score, explained, ceilings.of(regions))


def _resampled(resampled_of, stream: StreamScores, rows, layers: str) -> tuple[dict[str, str], np.ndarray | None]:
    """Regions of a stream by name and digest, those of `rows`, and what a method of the stream resampled of them."""
    known = stream.best_statistics if layers not in (AVERAGE, BEST_PER_REGION) else stream.statistics[0]
    if known is None:
        return {}, None
    regions = {name: digest for name, digest in known.regions.items() if name in rows.index}
    if layers != BEST_PER_REGION:
        return regions, resampled_of(layers, regions)
    places = [np.flatnonzero(stream.layers == rows.loc[name, "layer"])[0] for name in regions]
    by_layer = {place: resampled_of(place, regions) for place in set(places)}
    if any(resampled is None for resampled in by_layer.values()):
        return regions, None
    return regions, np.stack([by_layer[place][:, column] for column, place in enumerate(places)], axis=1)
