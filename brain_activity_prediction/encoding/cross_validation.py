"""Nested cross-validation for datasets without held-out images.

Each outer fold in turn is the test set. Alpha and layers are chosen on the images of the other folds, as in the
ordinary analysis. The scores of a fold are stored in `folds/fold_N` of the folder of scores, and the means over folds
in that folder itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from brain_activity_prediction.datasets.dataset import Dataset
from brain_activity_prediction.datasets.units import Units
from brain_activity_prediction.encoding.encode import fit_missing
from brain_activity_prediction.encoding.evaluation import best_predictions, score_best_layers
from brain_activity_prediction.encoding.layers import Layer
from brain_activity_prediction.encoding.scores.layer_choice import StreamScores, stream_scores
from brain_activity_prediction.encoding.scores.score_files import warn_of_edges
from brain_activity_prediction.encoding.scores.score_store import ScoreStore
from brain_activity_prediction.encoding.settings import EncodingSettings
from brain_activity_prediction.encoding.tables.fold_means import mean_maps, mean_table, same_rows
from brain_activity_prediction.encoding.tables.region_table import Alignment, region_table
from brain_activity_prediction.encoding.tables.summary import log_low_ceilings, write_and_show, write_maps
from brain_activity_prediction.inference.false_discovery import adjusted
from brain_activity_prediction.inference.missing_images import filled_with_mean
from brain_activity_prediction.inference.region_statistics import digests, usable_ceiling
from brain_activity_prediction.inference.significance import permuted_over_folds
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.storage.files import remove_left_behind
from brain_activity_prediction.storage.folders import alignment_folder
from brain_activity_prediction.storage.made_from import write_note
from brain_activity_prediction.storage.table_files import write_table


@dataclass(frozen=True)
class Fold:
    """The parts of one fold's analysis from which means over folds are computed."""

    stores: Mapping[int | None, ScoreStore]  # by prompt
    regions: Mapping[str, np.ndarray]  # masks (V,) by name
    ceiling: np.ndarray  # (V,) in R2 units
    units: Units
    observed: np.ndarray  # (n, V) responses to the test images; a missing response is the voxel's mean
    ceiling_state: str  # see `protocols.ceiling_state`


def cross_validate(settings: EncodingSettings, dataset: Dataset, layers: Sequence[Layer]) -> None:
    """Score each outer fold, then write the table, figure and maps of the mean scores over folds."""
    folds = []
    if held_out := dataset.test_images(settings.subject).size:
        log.warning(f"--cv-test also trains on the {held_out} images that {dataset.title} holds out")
    for split in settings.split.folds():
        log.info(f"fold {split.fold} of {split.cv_test}")
        analysis, observed = fit_missing(replace(settings, split=split), dataset, layers)
        for store in analysis.stores.values():
            for stream in store.streams():
                score_best_layers(store, stream, observed, analysis.statistics)
        folds.append(
            Fold(
                analysis.stores,
                analysis.regions,
                analysis.ceiling,
                analysis.subject_data.units,
                filled_with_mean(observed).cpu().numpy(),
                analysis.ceiling_state,
            )
        )
    log_low_ceilings(np.mean([fold.ceiling for fold in folds], axis=0), settings.min_noise_ceiling)
    for prompt in folds[0].stores:
        write_means(folds, prompt, settings)


def write_means(folds: Sequence[Fold], prompt: int | None, settings: EncodingSettings) -> None:
    """Write the table, figure and maps of a prompt's mean scores over folds, and the table of each fold.

    Raises InputError if no stream has the same layers in all folds.
    """
    folder = alignment_folder(settings.output, settings.subject, settings.features.model_id, prompt, settings.protocol)
    remove_left_behind(folder)
    made_from = None
    # Another process may finish layers while this one writes; the tables must include these layers, too.
    while made_from != (state := ScoreStore(folder).state()):
        made_from = state
        _write_means(folder, folds, prompt, settings)
    write_note(folder, made_from + folds[0].ceiling_state)


def _write_means(folder: Path, folds: Sequence[Fold], prompt: int | None, settings: EncodingSettings) -> None:
    alignment, lowest = Alignment(settings.features.model_id, prompt, settings.subject), settings.min_noise_ceiling
    stores, regions = [fold.stores[prompt] for fold in folds], folds[0].regions
    tables = [region_table(store, regions, alignment, lowest) for store in stores]
    for store, table in zip(stores, tables, strict=True):
        write_table(table, store.folder, "scores")
    streams = {stream: [stream_scores(store, stream) for store in stores] for stream in _complete(tables, folder)}
    table = mean_table(tables, stores, streams, digests(regions), lowest)
    table = table.assign(settings=ScoreStore(folder).fingerprint())
    units = folds[0].units
    units.write_map(folder / "maps" / "noise_ceiling", np.mean([fold.ceiling for fold in folds], axis=0))
    for stream, scores in streams.items():
        maps = mean_maps(scores, [usable_ceiling(fold.ceiling, lowest) for fold in folds])
        p = _best_layer_p(folds, stores, scores, settings.device)
        maps |= {} if p is None else {"best_layer_p": p, "best_layer_q": adjusted(p)}
        write_maps(folder, stream, maps, units)
        alphas = np.stack([of_fold.scores["alpha"] for of_fold in scores])
        warn_of_edges(stream, "voxels x layers x folds", alphas, ScoreStore(folder).alpha_range())
    write_and_show(table, folder, alignment, settings.layer_choice)


def _complete(tables: Sequence[pd.DataFrame], folder: Path) -> list[str]:
    """Return the streams that have the same layers in all folds; warn of the streams that do not."""
    streams = same_rows(tables)
    others = sorted({stream for table in tables for stream in table["stream"]} - set(streams))
    if others:
        log.warning(
            f"{', '.join(others)}: no mean over folds, because some folds in {folder} lack layers. Align all layers"
        )
    if not streams:
        raise InputError(
            f"no stream has scores of the same layers in all folds in {folder}: align all layers, without -l"
        )
    return streams


def _best_layer_p(
    folds: Sequence[Fold], stores: Sequence[ScoreStore], scores: Sequence[StreamScores], device: str
) -> np.ndarray | None:
    """Return p (V,) of each voxel's mean r over folds, each at its own best layer; None without a permutation test."""
    pairs, tests = [], []
    for fold, store, of_fold in zip(folds, stores, scores, strict=True):
        predicted, tested = best_predictions(store, of_fold.stream, of_fold.best_layers()), of_fold.best_statistics
        if predicted is None or tested is None or not tested.n_permutations:
            return None
        pairs.append(tuple(torch.from_numpy(part).to(device) for part in (fold.observed, predicted)))
        tests.append((tested.n_permutations, tested.permutation_block))
    n_permutations, block = min(tests)
    return permuted_over_folds(pairs, n_permutations, block)
