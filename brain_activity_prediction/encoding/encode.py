"""Encoding models: ridge regression from each layer's hidden states to every voxel, scored on held-out images.

For NSD, training images are those that only this subject saw, and test images those that all subjects saw.
"""

from collections.abc import Sequence

import numpy as np
import torch

from brain_activity_prediction.datasets.dataset import Dataset
from brain_activity_prediction.encoding import planning
from brain_activity_prediction.encoding.analysis import Analysis, prepare_analysis
from brain_activity_prediction.encoding.evaluation import evaluate, predictions_to_keep, score_best_layers
from brain_activity_prediction.encoding.layers import Layer, by_stream
from brain_activity_prediction.encoding.scaling import scaling, varying_features
from brain_activity_prediction.encoding.settings import EncodingSettings
from brain_activity_prediction.encoding.tables.image_classes import write_class_tables
from brain_activity_prediction.encoding.tables.summary import write_tables
from brain_activity_prediction.ridge.ridge_cv import ridge_cv
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.runtime.shared_work import shared_work
from brain_activity_prediction.storage.folders import claims_folder


def encode(settings: EncodingSettings, dataset: Dataset, layers: Sequence[Layer]) -> None:
    """Fit and score all layers without scores, then write the tables, figures and maps of all finished layers."""
    analysis, observed = fit_missing(settings, dataset, layers)
    write_tables(analysis, observed, settings)
    write_class_tables(analysis, observed, settings, dataset)


def fit_missing(settings: EncodingSettings, dataset: Dataset, layers: Sequence[Layer]) -> tuple[Analysis, torch.Tensor]:
    """Fit and score all layers without scores.

    Returns the analysis, and the responses to the test images (n_test, V), on the device.
    """
    analysis = prepare_analysis(settings, dataset, layers)
    missing = planning.missing_layers(layers, analysis.stores, analysis.statistics)
    unusable = planning.layers_without_predictions(layers, missing, analysis.stores, analysis.statistics)
    planning.discard(unusable, analysis.stores)
    left = [layer for layer in layers if layer in missing or layer in unusable]
    planning.log_left(left, layers)

    observed = torch.from_numpy(analysis.subject_data.test).to(settings.device)
    fit_layers(left, analysis, observed, settings)
    planning.check_finished(layers, analysis.stores, analysis.statistics)
    return analysis, observed


def fit_layers(layers: Sequence[Layer], analysis: Analysis, observed: torch.Tensor, settings: EncodingSettings) -> None:
    """Fit, score and store each layer, except those that another process is computing.

    observed  responses to the test images (n_test, V), on the device
    """
    data, stores, statistics = analysis.subject_data, analysis.stores, analysis.statistics
    scale, alphas = scaling(settings.protocol), settings.alphas.values()
    responses = torch.from_numpy(data.train).to(settings.device)

    def unfinished() -> list[Layer]:
        return planning.missing_layers(layers, stores, statistics)

    def read_features(layer: Layer) -> tuple[np.ndarray, np.ndarray]:
        """Return a layer's scaled hidden states for training images (n_train, D) and test images (n_test, D)."""
        states = layer.store.read_layer(layer.stream, layer.number, data.image_ids)
        return varying_features(*scale(*np.split(states, [len(data.train_ids)])))

    def fit(layer: Layer, features: tuple[np.ndarray, np.ndarray]) -> None:
        train, test = (torch.from_numpy(part).to(settings.device) for part in features)
        model = ridge_cv(train, responses, alphas, folds=data.folds, criterion=settings.criterion, fit_intercept=False)
        predicted = model.predict(test)
        store, scores, kept = stores[layer.prompt], evaluate(model, observed, predicted), None
        if not statistics.nothing:
            kept = predictions_to_keep(store, layer, scores["cv_score"], predicted)
        store.write(layer.stream, layer.number, layer.n_layers, scores, statistics.compute(observed, predicted), kept)

    left = list(layers)
    claims = claims_folder(settings.output, settings.features.model_id, settings.subject, settings.protocol)
    fold = f"_fold_{settings.split.fold}" if settings.split.fold else ""
    with shared_work(claims, unfinished, lambda layer: layer.name() + fold, "layer", read_features) as work:
        for layer, features in work:
            if not features[0].any():
                where = f"layer {layer.number} of {layer.stream}"
                log.warning(f"{where} is the same for all training images and predicts nothing")
            fit(layer, features)
            left.remove(layer)
            if (layer.prompt, layer.stream) not in by_stream(left):
                score_best_layers(stores[layer.prompt], layer.stream, observed, statistics)
