"""Settings of a variance partitioning, made once from the flags of partition_variance.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from brain_activity_prediction.encoding.protocols import STANDARD, STANDARDISED_BY
from brain_activity_prediction.encoding.settings import FittingSettings
from brain_activity_prediction.storage.settings_file import comparable
from brain_activity_prediction.variance_partitioning.feature_spaces import LETTERS, Space

if TYPE_CHECKING:
    from brain_activity_prediction.encoding.subject_data import SubjectData


@dataclass(frozen=True, kw_only=True)
class PartitioningSettings(FittingSettings):
    """Settings of a variance partitioning: which feature spaces to fit jointly, and how to score them."""

    name: str  # name of the results' folder
    spaces: Sequence[Space]  # two to four
    random_weightings: int | None = None  # number of random weightings for each combination of spaces; None for a grid
    seed: int = 0

    def recorded(self, spaces: Sequence[Space], subject_data: SubjectData) -> dict:
        """Return the settings that change the scores, for `settings.json`.

        spaces  the feature spaces, with layer numbers instead of BEST
        """
        drawn = self.random_weightings
        settings = {
            "spaces": [str(space) for space in spaces],
            **self.recorded_fits(),
            "weightings": f"{drawn} random, seed {self.seed}" if drawn else "grid",
            "standardised_by": STANDARDISED_BY[STANDARD],
            **subject_data.recorded(),
        }
        for letter, space in zip(LETTERS, spaces, strict=False):
            embeddings = comparable(space.store(self.output).settings() or {})
            settings |= {f"{letter}_embeddings_{name}": value for name, value in embeddings.items()}
        return settings
