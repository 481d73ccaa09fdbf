"""Scores of every weighting of feature spaces on disk. Each weighting has a file, so that a killed run can continue.

A folder holds the scores of one set of spaces and one subject. `settings.json` records the settings that change the
scores. Each `weightings/NNN.h5` has a dataset (V,) for every name in QUANTITIES, in the order of `volume[mask]`. Its
header has the weighting. Files have checksums (`sealed_hdf5`). The weighting of a damaged file is fitted again. If the
best layers of a region differ from those of nsdgeneral, a subfolder `layers_A_B`, named after the layers of the spaces,
holds the same kinds of files.

`resampled.h5` holds the R2 of every joint fit on resamples of the test images. It needs predictions, but those of all
weightings would be too large to store. Therefore each voxel is fitted again with its best weighting of each combination
of spaces, which takes a tenth to a third of the time of the first fits.

Letters: n test images, V voxels, R regions, B resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

from brain_activity_prediction.encoding.scores.score_files import SETTINGS, ScoreFolder
from brain_activity_prediction.encoding.scores.score_headers import WeightingHeader, read_header
from brain_activity_prediction.inference.bootstrap import resampled_r2, resamples
from brain_activity_prediction.inference.region_statistics import digests
from brain_activity_prediction.ridge.weightings import Combination
from brain_activity_prediction.runtime.errors import Damaged
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.storage.files import reading
from brain_activity_prediction.storage.sealed_hdf5 import read_array, read_seal
from brain_activity_prediction.variance_partitioning.feature_spaces import LETTERS
from brain_activity_prediction.variance_partitioning.parts import best_weightings

QUANTITIES = ("alpha", "cv_score", "r2")
Refit = Callable[[int, np.ndarray], "torch.Tensor"]  # (number of a weighting, voxels (v,)) -> predictions (n, v)


class WeightingScores(ScoreFolder):
    """The scores of one analysis on disk, one file for each of its weightings (G, B)."""

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
        """Read one quantity of all weightings, (G, V) float32."""
        return np.stack([self._read(number, name) for number in range(len(self.weightings))])

    def _read(self, number: int, name: str) -> np.ndarray:
        path = self._path(number)
        with reading(path, "run the partitioning again, which fits this weighting again"):
            read_header(path, WeightingHeader, self.settings())
            return read_array(path, name)

    @staticmethod
    def name(number: int) -> str:
        """Name of a weighting's file. A process also claims the weighting by this name."""
        return f"{number:03d}"

    def _path(self, number: int) -> Path:
        return self.folder / "weightings" / f"{self.name(number)}.h5"


def resampled_shares(
    scores: WeightingScores,
    responses: np.ndarray,
    regions: Mapping[str, np.ndarray],
    n_resamples: int,
    refit: Refit,
) -> dict[Combination, np.ndarray]:
    """Return the mean R2 of each region in each resample, for the joint fit of each combination: `{spaces: (B, R)}`.

    Voxels without a score are left out of the means. If a file already has the result for these regions, resamples and
    settings, it is read instead.

    responses  (n, V) responses to the test images
    refit      function that returns a weighting's predictions of the test images for the given voxels
    """
    best = best_weightings(scores.weightings, scores.read_all("cv_score"))
    path = scores.folder / "resampled.h5"
    about = {"regions": digests(regions), "n_resamples": n_resamples}
    names = {chosen: "".join(LETTERS[space] for space in chosen) for chosen in best}
    try:
        with reading(path, "it is made again"):
            if read_seal(path).about == {**about, SETTINGS: scores.settings()}:
                read_seal(path).check_axes(dict.fromkeys(names.values(), "BR"), {"B": n_resamples, "R": len(regions)})
                return {chosen: read_array(path, name) for chosen, name in names.items()}
    except Damaged as error:
        if path.exists():
            log.warning(error)
    found = _resampled(best, responses, np.stack(list(regions.values())), n_resamples, refit)
    scores.write_voxels(path, {name: found[chosen] for chosen, name in names.items()}, about)
    return found


def _resampled(best, responses, members, n_resamples, refit) -> dict[Combination, np.ndarray]:
    shares = torch.from_numpy(resamples(len(responses), n_resamples)) / len(responses)
    sums = {chosen: np.zeros((n_resamples, len(members))) for chosen in best}
    for number in np.unique(np.concatenate(list(best.values()))):
        voxels = np.flatnonzero((np.stack(list(best.values())) == number).any(axis=0) & members.any(axis=0))
        if number < 0 or not len(voxels):  # voxels without a score, or a weighting that no voxel of the regions chose
            continue
        r2 = resampled_r2(torch.from_numpy(responses[:, voxels]), refit(int(number), voxels).cpu(), shares).numpy()
        for chosen, row in best.items():
            own = row[voxels] == number
            sums[chosen] += r2[:, own] @ members[:, voxels[own]].T
    counted = (members & (next(iter(best.values())) >= 0)).sum(axis=1)
    with np.errstate(invalid="ignore"):
        return {chosen: (total / counted).astype(np.float32) for chosen, total in sums.items()}
