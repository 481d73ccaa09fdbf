"""Layer after layer: ridge on the training images, scores and statistics on the test images, all written at once."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import numpy as np

from brain_activity_prediction.cli import shared_flags as shared
from brain_activity_prediction.encoding.layers import Layer, by_stream
from brain_activity_prediction.encoding.protocols import FOLDS
from brain_activity_prediction.runtime.claims import Claims, shared_out
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.runtime.read_ahead import read_ahead
from brain_activity_prediction.runtime.running import fill, progress_seconds
from brain_activity_prediction.runtime.stopping import until_stopped
from brain_activity_prediction.storage.folders import claims_folder

if TYPE_CHECKING:
    import torch

    from brain_activity_prediction.encoding.scores.score_store import Results
    from brain_activity_prediction.encoding.subject_data import Targets
    from brain_activity_prediction.inference.region_statistics import Asked, Statistics


def layers_left(layers: list[Layer], results: dict[int | None, Results], asked: Asked) -> list[Layer]:
    """The layers without scores, without the statistics asked for, or that lack predictions, which are then deleted."""
    from brain_activity_prediction.encoding.scores.best_predictions import layers_lacking

    left = [layer for layer in layers if not results[layer.prompt].has(layer.stream, layer.number, asked)]
    streams = by_stream(layers)
    for prompt, stream in streams.keys() - by_stream(left).keys():
        lacking = set() if asked.nothing else layers_lacking(results[prompt], stream)
        for number in lacking & {layer.number for layer in streams[prompt, stream]}:
            results[prompt].forget(stream, number)
    return [layer for layer in layers if not results[layer.prompt].has(layer.stream, layer.number, asked)]


def check_finished(layers: list[Layer], results: dict[int | None, Results], asked: Asked) -> None:
    """Raises InputError where scores that were there before or that this run wrote are not there any more."""
    if missing := [layer for layer in layers if not results[layer.prompt].has(layer.stream, layer.number, asked)]:
        raise InputError(
            f"scores of {len(missing)} of {len(layers)} layers were removed from {results[missing[0].prompt].folder} "
            "while this ran: start the same command again"
        )


def fit_layers(
    layers: list[Layer],
    targets: Targets,
    asked: Asked,
    results: dict[int | None, Results],
    arguments: argparse.Namespace,
) -> None:
    """Fits and writes layer after layer that no other process is at work on; the next one is read meanwhile."""
    import torch
    from tqdm import tqdm

    from brain_activity_prediction.encoding.scores.best_predictions import unbeaten_voxels
    from brain_activity_prediction.encoding.subject_data import scaling, varying_features

    scale = scaling(arguments.protocol)

    def left() -> dict[tuple[str], list[Layer]]:
        return {("scores",): [x for x in layers if not results[x.prompt].has(x.stream, x.number, asked)]}

    def read(claimed: tuple[list[Layer], tuple]) -> tuple[np.ndarray, np.ndarray] | None:
        if not claimed[0]:
            return None
        (layer,) = claimed[0]
        states = layer.store.read_layer(layer.stream, layer.number, targets.image_ids)
        return varying_features(*scale(*np.split(states, [len(targets.train_ids)])))

    def finish(layer: Layer, scores: dict[str, np.ndarray], statistics: Statistics | None, predicted: np.ndarray):
        found, stream, kept = results[layer.prompt], layer.stream, None
        if not asked.nothing:
            voxels = unbeaten_voxels(found, stream, layer.number, scores["cv_score"])
            kept = (voxels, predicted[:, voxels])
        found.write(stream, layer.number, layer.of, scores, statistics, kept)
        unfinished.remove(layer)
        if (layer.prompt, stream) not in by_stream(unfinished):
            assess_best_layers(found, stream, targets, asked, arguments.gpu_id)

    responses = [torch.from_numpy(part).to(arguments.gpu_id) for part in (targets.train, targets.test)]
    unfinished = list(layers)
    folder = claims_folder(arguments.base_dir, arguments.model_id, arguments.subject, arguments.protocol)
    bar = tqdm(total=len(layers), unit="layer", mininterval=progress_seconds(), disable=not layers)
    with Claims(folder) as claims, bar as progress:
        claimed = shared_out(claims, left, 1, Layer.name)
        for (layers_in_hand, _), features in until_stopped(read_ahead(claimed, read)):
            for layer in layers_in_hand:
                if not features[0].any():
                    where = f"layer {layer.number} of {layer.stream}"
                    log.warning(f"{where} is the same for all training images and predicts nothing")
                finish(layer, *score_layer(*features, *responses, asked, arguments))
                claims.finished([layer.name()])
                progress.update()
        if layers:
            fill(progress)


def score_layer(
    train: np.ndarray,
    test: np.ndarray,
    responses: torch.Tensor,
    observed: torch.Tensor,
    asked: Asked,
    arguments: argparse.Namespace,
) -> tuple[dict[str, np.ndarray], Statistics | None, np.ndarray]:
    """`{quantity: (V,)}`, statistics, predictions (n_test, V) of one layer's features, (n_train, D) and (n_test, D).

    The responses to training and test images, (n_train, V) and (n_test, V), are on the device already: all layers share
    them.
    """
    import torch

    from brain_activity_prediction.inference.missing_images import score_present
    from brain_activity_prediction.ridge.ridge_cv import ridge_cv
    from brain_activity_prediction.ridge.scores import pearson_r, r2_score

    train, test = (torch.from_numpy(part).to(arguments.gpu_id) for part in (train, test))
    fit = ridge_cv(
        train, responses, shared.alphas(arguments), folds=FOLDS, criterion=arguments.criterion, fit_intercept=False
    )
    predicted = fit.predict(test)
    scores = {
        "alpha": fit.alpha,
        "cv_score": fit.cv_score,
        "r": score_present(pearson_r, observed, predicted),
        "r2": score_present(r2_score, observed, predicted),
    }
    statistics = asked.of(observed, predicted)
    return {name: values.cpu().numpy() for name, values in scores.items()}, statistics, predicted.cpu().numpy()


def assess_best_layers(results: Results, stream: str, targets: Targets, asked: Asked, device: str) -> None:
    """The statistics asked for of every voxel at its best layer, from predictions; of these, only the best are kept."""
    import torch

    from brain_activity_prediction.encoding.scores.best_predictions import best_predictions, keep_best_only
    from brain_activity_prediction.encoding.scores.layer_choice import stream_scores

    best_layers = stream_scores(results, stream).best_layers()
    if not asked.met_by(results.read_best_statistics(stream, best_layers)):
        predicted = best_predictions(results, stream, best_layers)
        if predicted is None:
            return
        observed, predicted = (torch.from_numpy(part).to(device) for part in (targets.test, predicted))
        results.write_best_statistics(stream, best_layers, asked.of(observed, predicted))
    keep_best_only(results, stream, best_layers)
