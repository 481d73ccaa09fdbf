"""Score held-out predictions of each layer, and of every voxel's best layer. Letters: n test images, V voxels."""

import numpy as np
import torch

from brain_activity_prediction.encoding.scores.best_predictions import best_predictions, keep_best_only
from brain_activity_prediction.encoding.scores.layer_choice import stream_scores
from brain_activity_prediction.encoding.scores.score_store import ScoreStore
from brain_activity_prediction.inference.missing_images import score_present
from brain_activity_prediction.inference.region_statistics import StatisticsRequest
from brain_activity_prediction.ridge.ridge_cv import RidgeFit
from brain_activity_prediction.ridge.scores import pearson_r, r2_score


def evaluate(fit: RidgeFit, observed: torch.Tensor, predicted: torch.Tensor) -> dict[str, np.ndarray]:
    """Return a fit's scores, `{quantity: (V,)}`: alpha, cross-validated score, and r and R2 of predictions (n, V)."""
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
