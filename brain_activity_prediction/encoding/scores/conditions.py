"""Read one subject's scores for models, prompts and streams: the means of each region, with their resamples.

Letters: R regions, B resamples of the test images.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from brain_activity_prediction.encoding.layers import Stream
from brain_activity_prediction.encoding.protocols import AVERAGE, BEST_PER_REGION, STANDARD
from brain_activity_prediction.encoding.scores.layer_choice import StreamScores, stream_scores
from brain_activity_prediction.encoding.scores.score_store import ScoreStore
from brain_activity_prediction.inference.outer_folds import mean_of_resampled
from brain_activity_prediction.inference.region_ceilings import resampled_score
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.runtime.wording import did_you_mean
from brain_activity_prediction.storage.folders import FOLDS, Output, Subject, alignment_folder, subject_folder
from brain_activity_prediction.storage.settings_file import other_responses
from brain_activity_prediction.storage.table_files import read_score_table

SCORES = "scores.parquet"
NORMALISED = "r_normalised_all_voxels"
CONDITION = ("model_id", "prompt", "stream")  # columns that name a condition


@dataclass(frozen=True)
class Condition(Stream):
    """A stream of a model under a prompt, with its scores in each region."""

    regions: dict[str, str]  # {name: digest of the region's voxels}
    n_voxels: np.ndarray  # (R,)
    r: np.ndarray  # (R,)
    resampled: np.ndarray  # (B, R)
    r_normalised: np.ndarray  # (R,) r_normalised_all_voxels of the table, NaN where it is unknown
    normalised_resampled: np.ndarray  # (B, R)
    settings: Mapping  # settings of the alignment that made the scores


@dataclass(frozen=True, kw_only=True)
class ComparisonSettings:
    """Settings of a comparison of one subject's scores, made once from the flags of compare.py."""

    output: Output
    subject: Subject
    model_ids: Sequence[str]
    prompts: Sequence[int]
    with_p: bool = False  # True if the user gave -p; every prompt must then have scores
    streams: Sequence[str] = ()  # empty for all
    protocol: str = STANDARD
    layer_choice: str = BEST_PER_REGION
    name: str = "comparison"  # name of the table file that is written


def read_conditions(settings: ComparisonSettings) -> list[Condition]:
    """Read the scores of all selected models, prompts and streams, in this order.

    Raises InputError if a model has no scores, if scores have no resamples, or if two models were scored on different
    responses.
    """
    conditions: list[Condition] = []
    for model_id in settings.model_ids:
        by_prompt = {prompt: list(_conditions(settings, model_id, prompt)) for prompt in (None, *settings.prompts)}
        if not any(by_prompt.values()):
            near = did_you_mean(model_id, _scored_ids(settings))
            raise InputError(f"no scores of {model_id}{near} for these prompts and streams: run align_model.py first")
        if settings.with_p:
            _check_prompts(model_id, by_prompt, settings.streams)
        conditions += [condition for of_prompt in by_prompt.values() for condition in of_prompt]
    if settings.with_p and all(condition.prompt is None for condition in conditions):
        log.warning("none of these streams depends on a prompt: -p changes nothing")
    _check_streams(conditions, settings.streams)
    check_responses((condition, condition.settings) for condition in conditions)
    return conditions


def _check_prompts(model_id: str, by_prompt: dict[int | None, list[Condition]], streams: Sequence[str]) -> None:
    """Raise InputError if a prompt of -p has no scores of a model, or none of a stream that another prompt has."""
    streams_of = {prompt: {one.stream for one in conditions} for prompt, conditions in by_prompt.items()}
    fixed = streams_of.pop(None)
    takes_prompts = any(streams_of.values()) or any(one.settings.get("embeddings_template") for one in by_prompt[None])
    depending = set().union(*streams_of.values()).intersection(streams)
    for prompt, scored in streams_of.items():
        stream = min(depending - scored, default=None)
        if stream or (takes_prompts and not scored and not (streams and fixed.issuperset(streams))):
            raise InputError(
                f"no {f'{stream} ' if stream else ''}scores of {model_id} under prompt {prompt}: run align_model.py "
                f"with -p {prompt} first, or leave it out of -p"
            )


def _check_streams(conditions: Sequence[Condition], streams: Sequence[str]) -> None:
    """Warn of models without a named stream; raise InputError if no model has it."""
    model_ids = dict.fromkeys(one.model_id for one in conditions)
    for stream in streams:
        having = {one.model_id for one in conditions if one.stream == stream}
        if not having:
            available = sorted({one.stream for one in conditions})
            near = did_you_mean(stream, available)
            raise InputError(f"no scores of stream {stream}{near}; available: {', '.join(available)}")
        if lacking := [model_id for model_id in model_ids if model_id not in having]:
            log.warning(f"{', '.join(lacking)}: no scores of stream {stream}")


def _scored_ids(settings: ComparisonSettings) -> set[str]:
    """Guess the ids of models with scores from folder names, in which the first underscore was usually a slash."""
    folder = subject_folder(settings.output, settings.subject, settings.protocol)
    return {path.parent.name.replace("_", "/", 1) for path in folder.glob(f"*prompt*/*/{SCORES}")}


def check_responses(scored: Iterable[tuple[Stream, Mapping]]) -> None:
    """Raise InputError if recorded settings show that two streams of a subject were scored on different responses."""
    (first, wanted), *others = scored
    for other, settings in others:
        if difference := other_responses(settings, wanted):
            reason = difference.replace("this run has", "the latter")
            raise InputError(
                f"{other} and {first} were scored on different responses ({reason}): align both with the same flags"
            )


def _conditions(settings: ComparisonSettings, model_id: str, prompt: int | None) -> Iterator[Condition]:
    """Yield the conditions of a model under a prompt, one for each selected stream with scores."""
    folder = alignment_folder(settings.output, settings.subject, model_id, prompt, settings.protocol)
    if not (folder / SCORES).exists():
        return
    of_folds = sorted((folder / FOLDS).glob("fold_*"))
    if not of_folds:
        yield from _of_folder(folder, settings, model_id, prompt)
        return
    folds = [{found.stream: found for found in _of_folder(one, settings, model_id, prompt)} for one in of_folds]
    recorded = ScoreStore(folder).settings()
    for stream in folds[0]:
        if all(stream in fold for fold in folds):
            yield _mean_over_folds([fold[stream] for fold in folds], recorded)


def _mean_over_folds(folds: Sequence[Condition], settings: Mapping) -> Condition:
    """Average the scores and resamples of the outer folds of a nested cross-validation."""
    return replace(
        folds[0],
        r=np.mean([one.r for one in folds], axis=0),
        resampled=mean_of_resampled([one.resampled for one in folds]),
        r_normalised=_root(np.mean([_square(one.r_normalised) for one in folds], axis=0)),
        normalised_resampled=_root(mean_of_resampled([_square(one.normalised_resampled) for one in folds])),
        settings=settings,
    )


def _square(score: np.ndarray) -> np.ndarray:
    """Square a score and keep its sign. The result is a share of explainable variance, which can be averaged."""
    return np.sign(score) * score**2


def _root(share: np.ndarray) -> np.ndarray:
    return np.sign(share) * np.sqrt(np.abs(share))


def _of_folder(folder: Path, settings: ComparisonSettings, model_id: str, prompt: int | None) -> Iterator[Condition]:
    """Yield the conditions of a folder of scores."""
    layer_choice = settings.layer_choice
    store = ScoreStore(folder)
    table = read_score_table(folder / SCORES, "align again")
    for stream in store.streams():
        if settings.streams and stream not in settings.streams:
            continue
        rows = table[(table["stream"] == stream) & (table["layer_choice"] == layer_choice)].set_index("roi")
        if rows.empty:
            raise InputError(f"{folder} has no {layer_choice} scores of {stream}: align all layers of this stream")
        scores = stream_scores(store, stream)
        regions, resampled = _resampled(scores.resampled_r, scores, rows, layer_choice)
        if resampled is None:
            raise InputError(
                f"{folder} has no resamples of {stream}, or different numbers of them for its layers: align again with "
                "--bootstrap"
            )
        rows = rows.loc[list(regions)]
        r_normalised, normalised_resampled = _normalised(store, scores, rows, layer_choice, resampled)
        yield Condition(
            model_id=model_id,
            prompt=prompt,
            stream=stream,
            regions=regions,
            n_voxels=rows["n_voxels"].to_numpy(),
            r=rows["r"].to_numpy(),
            resampled=resampled,
            r_normalised=r_normalised,
            normalised_resampled=normalised_resampled,
            settings=store.settings(),
        )


def _normalised(store: ScoreStore, scores: StreamScores, rows, layer_choice: str, resampled: np.ndarray):
    """Return r_normalised_all_voxels (R,), and its resamples (B, R); NaN if an older version wrote the scores."""
    unknown = np.full(resampled.shape[1], np.nan), np.full_like(resampled, np.nan)
    regions, explained = _resampled(scores.resampled_explained, scores, rows, layer_choice)
    ceilings = store.read_region_ceilings()
    if explained is None or ceilings is None or NORMALISED not in rows:
        return unknown
    score = rows[NORMALISED].to_numpy(float)
    return score, resampled_score(score, explained, ceilings.of(regions))


def _resampled(resample, scores: StreamScores, rows, layer_choice: str) -> tuple[dict[str, str], np.ndarray | None]:
    """Return the regions of `rows` as `{name: digest}`, and their resamples (B, R); None if some are missing.

    resample  method of `scores` that returns the resamples of a layer
    """
    known = scores.best_statistics if layer_choice not in (AVERAGE, BEST_PER_REGION) else scores.statistics[0]
    if known is None:
        return {}, None
    regions = {name: digest for name, digest in known.regions.items() if name in rows.index}
    if layer_choice != BEST_PER_REGION:
        return regions, resample(layer_choice, regions)
    places = [np.flatnonzero(scores.layers == rows.loc[name, "layer"])[0] for name in regions]
    by_layer = {place: resample(place, regions) for place in set(places)}
    if any(resampled is None for resampled in by_layer.values()):
        return regions, None
    return regions, np.stack([by_layer[place][:, column] for column, place in enumerate(places)], axis=1)
