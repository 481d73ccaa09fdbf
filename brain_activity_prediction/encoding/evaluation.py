"""Score held-out predictions of each layer, and of every voxel's best layer.

Statistics of a voxel's best layer need its predictions, but the best layer is known only after all layers are fitted.
To avoid a second fit, a layer's file first holds the predictions of all voxels that no earlier layer predicts better.
When all layers of a stream are finished, predictions for other than the best layer are deleted. A stream then takes
4 n V bytes, whatever its number of layers. Scores and predictions are written to one file at once, so that a crash
cannot separate them.

Letters: n test images, V voxels.
"""

import numpy as np
import torch

from brain_activity_prediction.encoding.layers import Layer
from brain_activity_prediction.encoding.scores.layer_choice import stream_scores
from brain_activity_prediction.encoding.scores.score_store import ScoreStore
from brain_activity_prediction.inference.missing_images import score_present
from brain_activity_prediction.inference.region_statistics import StatisticsRequest
from brain_activity_prediction.ridge.ridge_cv import RidgeFit
from brain_activity_prediction.ridge.scores import pearson_r, r2_score
from brain_activity_prediction.runtime.errors import Damaged


def evaluate(fit: RidgeFit, observed: torch.Tensor, predicted: torch.Tensor) -> dict[str, np.ndarray]:
    """Return `{quantity: (V,)}` of a fit: alpha, cross-validated score, and r and R2 of the predictions (n, V)."""
    scores = {
        "alpha": fit.alpha,
        "cv_score": fit.cv_score,
        "r": score_present(pearson_r, observed, predicted),
        "r2": score_present(r2_score, observed, predicted),
    }
    return {name: values.cpu().numpy() for name, values in scores.items()}


def score_best_layers(store: ScoreStore, stream: str, observed: torch.Tensor, statistics: StatisticsRequest) -> None:
    """Compute the statistics of every voxel at its best layer, then drop the predictions of all other layers.

    observed  (n, V) responses to the test images; statistics are computed on their device
    """
    best_layers = stream_scores(store, stream).best_layers()
    if not statistics.met_by(store.read_best_statistics(stream, best_layers)):
        predicted = best_predictions(store, stream, best_layers)
        if predicted is None:
            return
        predicted = torch.from_numpy(predicted).to(observed.device)
        store.write_best_statistics(stream, best_layers, statistics.compute(observed, predicted))
    keep_best_only(store, stream, best_layers)


def predictions_to_keep(
    store: ScoreStore, layer: Layer, cv_score: np.ndarray, predicted: torch.Tensor
) -> tuple[np.ndarray, np.ndarray]:
    """Return the voxels (k,) that no other finished layer predicts better, and this layer's predictions (n, k).

    cv_score   (V,) of this layer
    predicted  (n, V), on any device
    """
    voxels = unbeaten_voxels(store, layer.stream, layer.number, cv_score)
    return voxels, predicted.cpu().numpy()[:, voxels]


def unbeaten_voxels(store: ScoreStore, stream: str, layer: int, cv_score: np.ndarray) -> np.ndarray:
    """Return the voxels (k,) for which no other finished layer has a higher cross-validated score."""
    unbeaten = np.isfinite(cv_score)
    for name, other, _ in store.layers():
        if name == stream and other != layer:
            try:
                unbeaten &= ~(store.read(stream, other)["cv_score"] > cv_score.astype(np.float32))
            except Damaged:  # the other layer will be fitted again
                continue
    return np.flatnonzero(unbeaten)


def layers_lacking_predictions(store: ScoreStore, stream: str) -> set[int]:
    """List the finished layers that are a voxel's best layer but lack its predictions."""
    try:
        best = stream_scores(store, stream).best_layers()
    except Damaged:  # the damaged layer will be fitted again, or was not requested
        return set()
    held = {layer: store.predicted_voxels(stream, layer) for layer in np.unique(best[best >= 0]).tolist()}
    return {layer for layer, voxels in held.items() if not np.isin(np.flatnonzero(best == layer), voxels).all()}


def best_predictions(store: ScoreStore, stream: str, best_layers: np.ndarray) -> np.ndarray | None:
    """Return the predictions (n, V) of each voxel's best layer; NaN for voxels without a best layer.

    Returns None if predictions of a best layer are missing.
    """
    predicted = None
    for layer in np.unique(best_layers[best_layers >= 0]).tolist():
        voxels, of_layer = store.read_predictions(stream, layer)
        wanted = best_layers[voxels] == layer
        if wanted.sum() < (best_layers == layer).sum():
            return None
        if predicted is None:
            predicted = np.full((len(of_layer), len(best_layers)), np.nan, dtype=np.float32)
        predicted[:, voxels[wanted]] = of_layer[:, wanted]
    return predicted


def keep_best_only(store: ScoreStore, stream: str, best_layers: np.ndarray) -> None:
    """Delete the predictions of each voxel from the files of all layers except its best layer (V,)."""
    for name, layer, _ in store.layers():
        if name == stream:
            voxels = store.predicted_voxels(stream, layer)
            if not (best_layers[voxels] == layer).all():
                store.keep_predictions(stream, layer, np.flatnonzero(best_layers == layer))
