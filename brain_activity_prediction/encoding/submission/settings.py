"""Settings of the predictions for a challenge, made once from the flags of predict_challenge.py."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from brain_activity_prediction.encoding.layers import LayerSelection
from brain_activity_prediction.encoding.settings import AlphaGrid
from brain_activity_prediction.storage.folders import Output, Subject


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
