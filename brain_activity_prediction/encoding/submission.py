"""Predict the responses to the images of a challenge, with models that are fitted to all images with responses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from brain_activity_prediction.datasets.dataset import Dataset
from brain_activity_prediction.encoding.layers import Layer, by_stream, check_complete
from brain_activity_prediction.encoding.protocols import FOLDS
from brain_activity_prediction.encoding.scaling import standardise, varying_features
from brain_activity_prediction.encoding.settings import SubmissionSettings
from brain_activity_prediction.ridge.ridge_cv import ridge_cv
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.runtime.wording import count
from brain_activity_prediction.storage.files import written_whole
from brain_activity_prediction.storage.folders import alignment_folder, subject_name


@dataclass(frozen=True)
class Training:
    """A subject's scaled responses to all images, and the mean and SD that undo the scaling.

    images    (n_images,) ids
    scaled    (n_images, V) responses with mean 0 and SD 1
    mean, sd  (V,) mean and SD of the responses before scaling
    """

    images: np.ndarray
    scaled: torch.Tensor
    mean: np.ndarray
    sd: np.ndarray

    @classmethod
    def of(cls, images: np.ndarray, responses: np.ndarray, device: str) -> Training:
        """Scale responses (n_images, V) in place."""
        mean, sd = responses.mean(axis=0, dtype=np.float64), responses.std(axis=0, dtype=np.float64)
        scaled, _ = standardise(responses, responses[:0])
        return cls(images, torch.from_numpy(scaled).to(device), mean, sd)


def predict_challenge(settings: SubmissionSettings, dataset: Dataset, layers: Sequence[Layer]) -> None:
    """Write the arrays that the challenge requires, each unit predicted from its best layer by cross-validated score.

    The arrays of a stream are written to `submission/STREAM/subjNN/` in the folder of scores.
    """
    subject = settings.subject
    images, challenge = dataset.trial_ids(subject, dataset.sessions(subject)), dataset.challenge_images(subject)
    if not challenge.size:
        raise InputError(f"{dataset.title} has no challenge: no images without responses, which could be predicted")
    check_complete(layers, np.concatenate([images, challenge]))
    (session,) = dataset.sessions(subject)
    responses = dataset.read_session(subject, session, dataset.units(subject))
    training = Training.of(images, responses, settings.device)
    log.info(f"subject {subject}: {count(len(images), 'training image')}, {len(challenge)} images to predict")
    for (prompt, stream), of_stream in by_stream(layers).items():
        predicted = predict(settings, of_stream, training, challenge)
        scores = alignment_folder(settings.output, subject, settings.features.model_id, prompt)
        folder = scores / "submission" / stream / subject_name(subject)
        for name, array in dataset.submission(subject, predicted).items():
            write_array(folder / name, array)
        print(f"predictions for the challenge: {folder}")


def predict(
    settings: SubmissionSettings, layers: Sequence[Layer], training: Training, challenge: np.ndarray
) -> np.ndarray:
    """Predict responses (n_challenge, V) from each unit's best layer, before scaling.

    layers     all layers of one stream
    challenge  (n_challenge,) ids of the images to predict
    """
    n_units, alphas = len(training.mean), settings.alphas.values()
    predicted = np.full((len(challenge), n_units), np.nan, dtype=np.float32)
    best = np.full(n_units, -np.inf)
    for layer in tqdm(layers, layers[0].stream, unit="layer"):
        states = layer.store.read_layer(layer.stream, layer.number, np.concatenate([training.images, challenge]))
        parts = varying_features(*standardise(*np.split(states, [len(training.images)])))
        train, new = (torch.from_numpy(part).to(settings.device) for part in parts)
        fit = ridge_cv(train, training.scaled, alphas, folds=FOLDS, criterion=settings.criterion, fit_intercept=False)
        score = fit.cv_score.cpu().numpy()
        better = score > best
        best[better] = score[better]
        own = fit.predict(new).cpu().numpy()[:, better]
        predicted[:, better] = own * training.sd[better] + training.mean[better]
    if missing := int(np.isneginf(best).sum()):
        log.warning(f"{missing} of {len(best)} units have responses that are not finite: their predictions are 0")
        predicted[:, np.isneginf(best)] = 0
    return predicted


def write_array(path: Path, array: np.ndarray) -> None:
    """Write an array as .npy without pickles, atomically."""
    with written_whole(path) as aside:
        np.save(aside, array, allow_pickle=False)
