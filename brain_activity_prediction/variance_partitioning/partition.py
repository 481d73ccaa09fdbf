"""Fit two to four feature spaces jointly, and split the variance that they predict into unique and shared parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from brain_activity_prediction.datasets.dataset import Dataset
from brain_activity_prediction.encoding.protocols import COMPUTED, ceiling_source
from brain_activity_prediction.encoding.scaling import standardise, varying_features
from brain_activity_prediction.encoding.subject_data import (
    SubjectData,
    ceiling_of_test_images,
    log_data_used,
    read_subject_data,
)
from brain_activity_prediction.inference.missing_images import score_present
from brain_activity_prediction.ridge.banded import FeatureSpaces
from brain_activity_prediction.ridge.scores import r2_score
from brain_activity_prediction.ridge.weightings import Combination, random_weightings, weighting_grid
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.runtime.shared_work import shared_work
from brain_activity_prediction.runtime.wording import are, count
from brain_activity_prediction.storage.folders import Output, partitioning_folder, responses_folder
from brain_activity_prediction.variance_partitioning.feature_spaces import Space
from brain_activity_prediction.variance_partitioning.region_layers import LayerChoice, layer_choices
from brain_activity_prediction.variance_partitioning.settings import PartitioningSettings
from brain_activity_prediction.variance_partitioning.share_store import WeightingScores, resampled_shares
from brain_activity_prediction.variance_partitioning.share_table import Ceilings, summarise


def partition(settings: PartitioningSettings, dataset: Dataset) -> None:
    """Fit all weightings without scores, for each choice of layers, and write the table and the maps."""
    regions = dataset.regions(settings.subject, settings.rois)
    if settings.ncsnr != COMPUTED:
        dataset.check_ncsnr(settings.subject)
    cache = responses_folder(settings.output)
    data = read_subject_data(dataset, settings.subject, settings.responses, cache)
    ceiling = ceiling_of_test_images(data, dataset, settings.subject, settings.ncsnr)
    for space in settings.spaces:
        space.store(settings.output).check_images(space.stream, data.image_ids)
    choices = layer_choices(settings.spaces, settings.output, settings.subject, data, regions)
    analyses = [(choice, score_store(choice, choice is choices[0], settings)) for choice in choices]
    for choice, scores in analyses:
        scores.claim(settings.recorded(choice.spaces, data), settings.redo)
    log_data_used(data, settings.subject)
    resampled = [fit_choice(choice, scores, data, settings) for choice, scores in analyses]
    ceilings = Ceilings(ceiling, ceiling_source(dataset.name, settings.ncsnr), settings.min_noise_ceiling)
    summarise(analyses, data, regions, ceilings, resampled, settings.subject)


def score_store(choice: LayerChoice, first: bool, settings: PartitioningSettings) -> WeightingScores:
    """Open the store of scores of a choice of layers: for the first choice the analysis' folder, else a subfolder."""
    folder = partitioning_folder(settings.output, settings.subject, settings.name)
    if settings.random_weightings:
        weightings = random_weightings(len(choice.spaces), settings.random_weightings, settings.seed)
    else:
        weightings = weighting_grid(len(choice.spaces))
    return WeightingScores(folder if first else folder / choice.folder_name, weightings)


def fit_choice(
    choice: LayerChoice, scores: WeightingScores, data: SubjectData, settings: PartitioningSettings
) -> Mapping[Combination, np.ndarray] | None:
    """Fit all weightings without scores; return the resampled shares, or None without --bootstrap."""
    alphas = settings.alphas.values()
    fits = JointFits(choice.spaces, settings.output, data, scores.weightings, alphas, settings.device)
    if missing := scores.left():
        log.info(
            f"{count(len(scores.weightings), 'weighting')} of {len(choice.spaces)} spaces, {len(missing)} "
            f"{are(len(missing))} left (layers {choice.layers})"
        )
    observed = torch.from_numpy(data.test)
    with shared_work(scores.folder / "claims", scores.left, WeightingScores.name, "weighting") as work:
        for number, _ in work:
            alpha, cv_score, predicted = fits.fit(number)
            r2 = score_present(r2_score, observed, predicted.cpu())
            scores.write(number, {"alpha": alpha.cpu(), "cv_score": cv_score.cpu(), "r2": r2})
    if not settings.bootstrap:
        return None
    return resampled_shares(scores, data.test, choice.regions, settings.bootstrap, fits.predictions)


@dataclass(frozen=True)
class JointFits:
    """The joint fits of an analysis. Hidden states are read only when the first fit needs them."""

    spaces: Sequence[Space]
    output: Output
    subject_data: SubjectData
    weightings: np.ndarray  # (G, number of spaces)
    alphas: np.ndarray  # (A,)
    device: str

    def fit(self, number: int, voxels: np.ndarray | slice = slice(None)) -> tuple[torch.Tensor, ...]:
        """Fit the weighting with this number; return alpha (v,), cv_score (v,) and predictions (n_test, v)."""
        responses = torch.from_numpy(np.ascontiguousarray(self.subject_data.train[:, voxels]))
        return self._features.fit(self.weightings[number], responses, self.alphas, folds=self.subject_data.folds)

    def predictions(self, number: int, voxels: np.ndarray) -> torch.Tensor:
        """Return the predictions (n_test, v) for the given voxels (v,), from the weighting with this number."""
        return self.fit(number, voxels)[2]

    @cached_property
    def _features(self) -> FeatureSpaces:
        return FeatureSpaces.of(*zip(*map(self._read, self.spaces), strict=True))

    def _read(self, space: Space) -> list[torch.Tensor]:
        """Read the standardised hidden states (n_train, D) and (n_test, D) of a space, on the device."""
        data = self.subject_data
        states = space.store(self.output).read_layer(space.stream, space.layer, data.image_ids)
        parts = varying_features(*standardise(*np.split(states, [len(data.train_ids)])))
        return [torch.from_numpy(part).to(self.device) for part in parts]
