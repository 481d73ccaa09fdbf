"""Settings of an encoding analysis and of a submission, made once from the flags of their scripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from brain_activity_prediction.encoding.layers import LayerSelection
from brain_activity_prediction.encoding.protocols import FOLDS, STANDARDISED_BY
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.storage.folders import Output, Subject
from brain_activity_prediction.storage.settings_file import comparable

if TYPE_CHECKING:
    import numpy as np

    from brain_activity_prediction.datasets.dataset import Reading
    from brain_activity_prediction.datasets.responses import ResponseChoice
    from brain_activity_prediction.datasets.splits import SplitChoice
    from brain_activity_prediction.encoding.subject_data import SubjectData


@dataclass(frozen=True)
class AlphaGrid:
    """Grid of ridge penalties, evenly spaced by logarithm; InputError if the smallest exceeds the largest."""

    min_log_10_alpha: float
    max_log_10_alpha: float
    num_alphas: int

    def __post_init__(self):
        if self.min_log_10_alpha > self.max_log_10_alpha:
            raise InputError("--min-log-10-alpha is larger than --max-log-10-alpha")

    def values(self) -> np.ndarray:
        """Return the alphas (A,), ascending."""
        import numpy as np

        return np.logspace(*astuple(self))


@dataclass(frozen=True, kw_only=True)
class SubjectSettings:
    """Settings of every analysis of one subject's responses."""

    base_dir: Path
    dataset: str | None  # the name given with --dataset
    output: Output
    subject: Subject
    device: str  # a torch device name
    sessions: Sequence[int] | None  # None for all
    zscore_sessions: bool
    reading: Reading
    split: SplitChoice
    rois: Sequence[str] | None  # names of ROI files, None for all

    @property
    def responses(self) -> ResponseChoice:
        """Return the choice of responses."""
        from brain_activity_prediction.datasets.responses import ResponseChoice

        return ResponseChoice(self.sessions, self.zscore_sessions, self.split)


@dataclass(frozen=True, kw_only=True)
class FittingSettings(SubjectSettings):
    """Settings of every analysis that fits models to one subject's responses."""

    redo: bool
    trials: str  # one of `datasets.responses.TRIALS`
    alphas: AlphaGrid
    ncsnr: str  # one of `NCSNR`
    min_noise_ceiling: float  # R2 units
    bootstrap: int

    @property
    def responses(self) -> ResponseChoice:
        return replace(super().responses, trials=self.trials)

    def recorded_fits(self) -> dict:
        """Return the settings of all fits, as recorded in `settings.json`."""
        return {
            **asdict(self.alphas),
            "folds": FOLDS,
            "zscore_sessions": self.zscore_sessions,
            **({} if self.trials == "average" else {"trials": self.trials}),
        }


@dataclass(frozen=True, kw_only=True)
class EncodingSettings(FittingSettings):
    """Settings of an encoding analysis: layers to fit, and ways to score."""

    features: LayerSelection
    protocol: str
    criterion: str  # score whose cross-validated value chooses alpha
    permutations: int
    permutation_block: int
    layer_choice: str  # one of `LAYER_CHOICES`, shown in the terminal

    def recorded(self, subject_data: SubjectData, embeddings: Mapping) -> dict:
        """Return the settings that change the scores, as recorded in `settings.json`.

        embeddings  the settings that the hidden states were extracted with
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
class SubmissionSettings:
    """The models to fit to all images with responses, whose predictions for the challenge's images are written."""

    base_dir: Path
    dataset: str | None  # the name given with --dataset
    output: Output
    subject: Subject
    device: str  # a torch device name
    features: LayerSelection
    alphas: AlphaGrid
    criterion: str  # score whose cross-validated value chooses alpha, and each unit's layer
