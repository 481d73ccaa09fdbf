"""The input of a report: the results of one dataset and, if available, the dataset itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from brain_activity_prediction.datasets.dataset import Dataset, Reading
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.storage.folders import Output


@dataclass(frozen=True)
class Source:
    """The place of the results, and their dataset; None if only the results are available."""

    output: Output
    dataset: Dataset | None = None

    def read_for(self, settings: Mapping[str, Any]) -> Dataset | None:
        """Return the dataset as the scores with these settings read it: their betas, space and mask."""
        try:
            return self.dataset and self.dataset.reading(Reading.recorded(settings))
        except InputError:  # the dataset in the folder does not have these betas, space or mask
            return self.dataset
