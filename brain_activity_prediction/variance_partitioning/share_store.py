"""Scores of every weighting of feature spaces on disk, one file for each weighting, so that a killed run continues.

A folder holds the scores of one set of spaces and one subject. `settings.json` records the settings that change the
scores. Each `weightings/NNN.h5` has a dataset (V,) for every name in QUANTITIES, in the order of `volume[mask]`, and
the weighting in its header. Files have checksums (`sealed_hdf5`): a damaged file is detected, and its weighting is
fitted again. If the best layers of a region differ from those of the whole of nsdgeneral, a subfolder `layers_A_B`,
named by the layers of the spaces, holds the same kinds of files.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from brain_activity_prediction.encoding.scores.score_files import ScoreFolder
from brain_activity_prediction.encoding.scores.score_headers import WeightingHeader, read_header
from brain_activity_prediction.storage.files import reading
from brain_activity_prediction.storage.sealed_hdf5 import read_array

QUANTITIES = ("alpha", "cv_score", "r2")


class WeightingScores(ScoreFolder):
    """The scores of one analysis on disk, for each of its weightings (G, B)."""

    subfolders = ("weightings",)

    def __init__(self, folder: Path, weightings: np.ndarray):
        super().__init__(folder)
        self.weightings = weightings

    def left(self) -> list[int]:
        """List the rows of `weightings` that have no scores yet."""
        return [number for number in range(len(self.weightings)) if not self._path(number).exists()]

    def write(self, number: int, scores: Mapping[str, np.ndarray]) -> None:
        """Write the scores of a weighting: an array (V,) for each of QUANTITIES."""
        arrays = {name: scores[name] for name in QUANTITIES}
        self.write_voxels(self._path(number), arrays, {"weighting": self.weightings[number].tolist()})

    def read_all(self, name: str) -> np.ndarray:
        """Read one quantity for all weightings, (G, V) float32."""
        return np.stack([self._read(number, name) for number in range(len(self.weightings))])

    def _read(self, number: int, name: str) -> np.ndarray:
        path = self._path(number)
        with reading(path, "run the partitioning again, which fits this weighting again"):
            read_header(path, WeightingHeader, self.settings())
            return read_array(path, name)

    @staticmethod
    def name(number: int) -> str:
        """Name of a weighting's file, by which a process also claims the weighting."""
        return f"{number:03d}"

    def _path(self, number: int) -> Path:
        return self.folder / "weightings" / f"{self.name(number)}.h5"
