"""Settings of an encoding analysis and of a challenge submission, created once from the flags of their scripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from brain_activity_prediction.datasets.dataset import Reading
from brain_activity_prediction.datasets.splits import SplitChoice
from brain_activity_prediction.encoding.layers import LayerSelection
from brain_activity_prediction.encoding.protocols import BEST_PER_REGION, FOLDS, NCSNR, STANDARD, STANDARDISED_BY
from brain_activity_prediction.ridge import CRITERIA
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.storage.folders import Output, Subject
from brain_activity_prediction.storage.settings_file import comparable

if TYPE_CHECKING:
    from brain_activity_prediction.datasets.responses import ResponseChoice
    from brain_activity_prediction.encoding.subject_data import SubjectData


@dataclass(frozen=True)
class AlphaGrid:
    """Grid of ridge penalties with even logarithmic spacing; InputError if the smallest exceeds the largest."""

    min_log_10_alpha: float = 1
    max_log_10_alpha: float = 4
    num_alphas: int = 60

    def __post_init__(self):
        if self.min_log_10_alpha > self.max_log_10_alpha:
            raise InputError("--min-log-10-alpha is larger than --max-log-10-alpha")

    def values(self) -> np.ndarray:
        """Return the alphas (A,), ascending."""
        return np.logspace(*astuple(self))


@dataclass(frozen=True, kw_only=True)
class SubjectSettings:
    """Settings of every analysis of one subject."""

    base_dir: Path
    dataset: str | None = None  # the name given with --dataset
    output: Output
    subject: Subject
    device: str  # a torch device name


@dataclass(frozen=True, kw_only=True)
class ResponseSettings(SubjectSettings):
    """Settings that select a subject's responses."""

    sessions: Sequence[int] | None = None  # None for all
    zscore_sessions: bool = True
    reading: Reading = field(default_factory=Reading)
    split: SplitChoice = field(default_factory=SplitChoice)
    rois: Sequence[str] | None = None  # names of ROI files, None for all

    @property
    def responses(self) -> ResponseChoice:
        """Return the choice of responses."""
        from brain_activity_prediction.datasets.responses import ResponseChoice

        return ResponseChoice(self.sessions, self.zscore_sessions, self.split)


@dataclass(frozen=True, kw_only=True)
class FittingSettings(ResponseSettings):
    """Settings of every analysis that fits models to one subject's responses."""

    redo: bool = False
    trials: str = "average"  # one of `datasets.responses.TRIALS`
    alphas: AlphaGrid = AlphaGrid()
    ncsnr: str = NCSNR[0]  # one of `NCSNR`
    min_noise_ceiling: float = 0.1  # in R2 units; three repeats reach it with an ncsnr of 0.19
    bootstrap: int = 999

    @property
    def responses(self) -> ResponseChoice:
        return replace(super().responses, trials=self.trials)

    def recorded_fits(self) -> dict:
        """Return the settings that all fits record in `settings.json`."""
        return {
            **asdict(self.alphas),
            "folds": FOLDS,
            "zscore_sessions": self.zscore_sessions,
            **({} if self.trials == FittingSettings.trials else {"trials": self.trials}),
        }


@dataclass(frozen=True, kw_only=True)
class EncodingSettings(FittingSettings):
    """Settings of an encoding analysis: which layers to fit, and how to score them."""

    features: LayerSelection
    protocol: str = STANDARD
    criterion: str = CRITERIA[0]  # cross-validated score that chooses alpha
    permutations: int = 0
    permutation_block: int = 1
    layer_choice: str = BEST_PER_REGION  # one of `LAYER_CHOICES`, shown in the terminal

    def recorded(self, subject_data: SubjectData, embeddings: Mapping) -> dict:
        """Return the settings that change the scores, for `settings.json`.

        embeddings  settings of the extraction of the hidden states
        """
        return {
            "protocol": self.protocol,
            "criterion": self.criterion,
            **self.recorded_fits(),
            **self.split.recorded(),
            "standardised_by": STANDARDISED_BY[self.protocol],
            **subject_data.recorded(),
            **{f"embeddings_{name}": value for name, value in comparable(embeddings).items()},
        }


@dataclass(frozen=True, kw_only=True)
class SubmissionSettings(SubjectSettings):
    """Settings of a challenge submission: which models to fit to all images with responses."""

    features: LayerSelection
    alphas: AlphaGrid = AlphaGrid()
    criterion: str = CRITERIA[0]  # cross-validated score that chooses alpha and each unit's layer
