"""The held-out predictions of every voxel at its best layer, kept so that its statistics need no second fit.

A layer's file holds the predictions of those voxels that no layer finished before predicts better, and once the stream
is finished only those of the voxels it is best for: 4 n V bytes a stream, however many layers it has. So a layer that
is there is there with its predictions, whichever process wrote it and whenever one was killed. n test images, V voxels.
"""

from __future__ import annotations

import numpy as np

from brain_activity_prediction.encoding.scores.layer_choice import stream_scores
from brain_activity_prediction.encoding.scores.score_store import Results
from brain_activity_prediction.runtime.errors import Damaged


def unbeaten_voxels(results: Results, stream: str, layer: int, cv_score: np.ndarray) -> np.ndarray:
    """Voxels (k,) whose score (V,) by this layer no other finished layer of the stream exceeds."""
    unbeaten = np.isfinite(cv_score)
    for name, other, _ in results.layers():
        if name == stream and other != layer:
            try:
                unbeaten &= ~(results.read(stream, other)["cv_score"] > cv_score.astype(np.float32))
            except Damaged:  # it is fitted again
                continue
    return np.flatnonzero(unbeaten)


def layers_lacking(results: Results, stream: str) -> set[int]:
    """Finished layers that are the best one of a voxel without holding its predictions."""
    try:
        best = stream_scores(results, stream).best_layers()
    except Damaged:  # a layer that is fitted again, or was not asked for
        return set()
    held = {layer: results.predicted_voxels(stream, layer) for layer in np.unique(best[best >= 0]).tolist()}
    return {layer for layer, voxels in held.items() if not np.isin(np.flatnonzero(best == layer), voxels).all()}


def best_predictions(results: Results, stream: str, best_layers: np.ndarray) -> np.ndarray | None:
    """Predictions (n, V) of every voxel by its best layer (V,), NaN without one; None where some are not kept."""
    predicted = None
    for layer in np.unique(best_layers[best_layers >= 0]).tolist():
        voxels, of_layer = results.read_predictions(stream, layer)
        wanted = best_layers[voxels] == layer
        if wanted.sum() < (best_layers == layer).sum():
            return None
        if predicted is None:
            predicted = np.full((len(of_layer), len(best_layers)), np.nan, dtype=np.float32)
        predicted[:, voxels[wanted]] = of_layer[:, wanted]
    return predicted


def keep_best_only(results: Results, stream: str, best_layers: np.ndarray) -> None:
    """Leaves in each layer's file the predictions of the voxels it is best for, (V,)."""
    for name, layer, _ in results.layers():
        if name == stream:
            voxels = results.predicted_voxels(stream, layer)
            if not (best_layers[voxels] == layer).all():
                results.keep_predictions(stream, layer, np.flatnonzero(best_layers == layer))
