"""The input of a report: the results of one dataset and, where it is at hand, the dataset."""

from __future__ import annotations

from dataclasses import dataclass

from brain_activity_prediction.datasets.dataset import Dataset
from brain_activity_prediction.storage.folders import Output


@dataclass(frozen=True)
class Source:
    """The place of the results, and their dataset; None if only the results are there."""

    output: Output
    dataset: Dataset | None = None
