"""Settings of a representational similarity analysis, made once from the flags of compare_representations.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from brain_activity_prediction.encoding.layers import LayerSelection
from brain_activity_prediction.encoding.settings import ResponseSettings
from brain_activity_prediction.storage.settings_file import comparable

if TYPE_CHECKING:
    from brain_activity_prediction.rsa.brain_geometry import Brain


@dataclass(frozen=True, kw_only=True)
class SimilaritySettings(ResponseSettings):
    """Settings of a similarity analysis: which layers to compare with regions, and how."""

    features: LayerSelection
    permutations: int = 0
    ceiling_subjects: Sequence[int] = ()  # other subjects, for noise ceilings

    def recorded(self, brain: Brain, embeddings: Mapping) -> dict:
        """Return the settings that change the similarities. Tables store a fingerprint of them.

        embeddings  settings of the extraction of the hidden states
        """
        return {
            "sessions": brain.sessions,
            "zscore_sessions": self.zscore_sessions,
            "permutations": self.permutations,
            "ceiling_subjects": self.ceiling_subjects,
            "responses": brain.digest,
            "embeddings": comparable(embeddings),
        }
