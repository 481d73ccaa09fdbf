"""Joint fits of feature spaces by banded ridge, one for each weighting of the spaces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from brain_activity_prediction.encoding.scaling import standardise, varying_features
from brain_activity_prediction.encoding.subject_data import SubjectData
from brain_activity_prediction.ridge.banded import FeatureSpaces
from brain_activity_prediction.storage.folders import Output
from brain_activity_prediction.variance_partitioning.feature_spaces import Space


@dataclass(frozen=True)
class JointFits:
    """The joint fits of an analysis; hidden states are read when the first fit needs them."""

    spaces: Sequence[Space]
    output: Output
    subject_data: SubjectData
    weightings: np.ndarray  # (G, number of spaces)
    alphas: np.ndarray  # (A,)
    device: str

    def fit(self, number: int, voxels: np.ndarray | slice = slice(None)) -> tuple[torch.Tensor, ...]:
        """Fit a weighting, given by its number; return alpha (v,), cv_score (v,) and predictions (n_test, v)."""
        responses = torch.from_numpy(np.ascontiguousarray(self.subject_data.train[:, voxels]))
        return self._features.fit(self.weightings[number], responses, self.alphas, folds=self.subject_data.folds)

    def predictions(self, number: int, voxels: np.ndarray) -> torch.Tensor:
        """Return the predictions (n_test, v) for some voxels (v,) by a weighting, given by its number."""
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
