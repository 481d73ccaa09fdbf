"""Choose the layer that represents a voxel or a region, by the cross-validated score of the training images.

Letters: K finished layers of one stream, V voxels, R regions, B resamples and P permutations of the images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from brain_activity_prediction.encoding.protocols import AVERAGE, BEST_PER_VOXEL
from brain_activity_prediction.encoding.scores.score_store import QUANTITIES, ScoreStore
from brain_activity_prediction.inference.region_statistics import Statistics
from brain_activity_prediction.inference.resampling import share_reaching

EACH = "each"
TEST = ("n_permutations", "permutation_block", "n_images_not_permuted")  # tests are combined only if all are equal
Regions = Mapping[str, str]  # {name: digest of its voxels}, see `region_statistics.digests`


@dataclass(frozen=True)
class StreamScores:
    """Scores of all finished layers of a stream, in order."""

    stream: str
    layers: np.ndarray  # (K,) numbers from 0
    n_layers: int  # all layers of the stream, finished or not
    scores: dict[str, np.ndarray]  # {quantity: (K, V)} for each of QUANTITIES
    statistics: list[Statistics | None]  # of each finished layer
    best_statistics: Statistics | None  # of all voxels, each at its best layer

    @property
    def complete(self) -> bool:
        """True if every layer of the stream is finished."""
        return len(self.layers) == self.n_layers

    def position(self, layer):
        """Return the relative depth of a layer: 0 is the input of the first layer, 1 the output of the last."""
        return layer / max(self.n_layers - 1, 1)

    def best_of_voxels(self) -> np.ndarray:
        """Return the index (V,) of each voxel's best layer, the first one if equal; -1 for voxels without a score."""
        cv_score = np.where(np.isfinite(self.scores["cv_score"]), self.scores["cv_score"], -np.inf)
        return np.where(np.isfinite(cv_score).any(axis=0), cv_score.argmax(axis=0), -1)

    def best_layers(self) -> np.ndarray:
        """Return the number (V,) of each voxel's best layer; -1 for voxels without a score."""
        best = self.best_of_voxels()
        return np.where(best < 0, -1, self.layers[best]).astype(np.int32)

    def p(self) -> np.ndarray:
        """Return the p value (K, V) of r for each layer and voxel; NaN for layers without a permutation test."""
        shape = self.scores["r"].shape[1:]
        return np.stack([np.full(shape, np.nan) if s is None or s.p is None else s.p for s in self.statistics])

    def at(self, chosen: np.ndarray) -> dict[str, np.ndarray]:
        """Return each voxel's scores, layer number and p at one layer, `{quantity: (V,)}`.

        chosen  (V,) index of the layer for each voxel; -1 gives NaN
        """
        layers = np.broadcast_to(self.layers[:, None], self.scores["r"].shape)
        everything = {"layer": layers, "p": self.p(), **self.scores}
        picked = {
            name: np.take_along_axis(values, np.maximum(chosen, 0)[None], axis=0)[0]
            for name, values in everything.items()
        }
        picked = {name: values.astype(np.float64 if name == "p" else np.float32) for name, values in picked.items()}
        for values in picked.values():
            values[chosen < 0] = np.nan
        return picked

    def mean(self) -> dict[str, np.ndarray]:
        """Return each voxel's mean scores over layers, `{quantity: (V,)}`; alpha, whose mean has no use, is NaN."""
        means = {name: values.mean(axis=0, dtype=np.float64) for name, values in self.scores.items()}
        return means | {"alpha": np.full_like(means["r"], np.nan)}

    def region_p(self, which: int | str, regions: Regions) -> np.ndarray:
        """Return the p value (R,) of each region's mean r; NaN for regions without a permutation test.

        `which` is the index of a finished layer, BEST_PER_VOXEL or AVERAGE. For AVERAGE, each permutation is averaged
        over layers, which is possible because all layers share the permutations of the images.
        """
        if which == AVERAGE:
            rows = self.permuted_r(which, regions)
            return np.full(len(regions), np.nan) if rows is None else share_reaching(rows)
        found = self.best_statistics if which == BEST_PER_VOXEL else self.statistics[which]
        return np.full(len(regions), np.nan) if found is None else found.p_of(regions)

    def permuted_r(self, which: int | str, regions: Regions) -> np.ndarray | None:
        """Return each region's mean r (P + 1, R): the observed one, then one per permutation; None without a test."""
        return self._averaged("region_r_permuted", which, regions, TEST)

    def resampled_r(self, which: int | str, regions: Regions, normalised_by: str | None = None) -> np.ndarray | None:
        """Return each region's mean r (B, R) in each resample; None if layers have different numbers of resamples.

        With the digest of a ceiling, return each region's mean of r / sqrt(ceiling) instead; None if the scores were
        made with another ceiling.

        `which` is the index of a finished layer, BEST_PER_VOXEL or AVERAGE. For AVERAGE, each resample is averaged over
        layers.
        """
        if normalised_by is None:
            return self._averaged("region_r", which, regions, ("n_resamples",))
        rows = self._averaged("region_r_normalised", which, regions, ("n_resamples", "normalised_by"))
        same = rows is not None and self._of(which)[0].normalised_by == normalised_by
        return rows if same else None

    def resampled_explained(self, which: int | str, regions: Regions) -> np.ndarray | None:
        """Return each region's mean explained variance (B, R) per resample; None in scores of older versions."""
        return self._averaged("region_explained", which, regions, ("n_resamples",))

    def how_many(self, which: int | str) -> dict[str, int]:
        """Return n_resamples and the numbers in TEST; 0 without statistics. `which` is as in `region_p`."""
        found = self._of(which)[0]
        return {name: getattr(found, name, 0) for name in (*TEST, "n_resamples")}

    def _of(self, which: int | str) -> list[Statistics | None]:
        if which == AVERAGE:
            return self.statistics if self.complete else [None]
        return [self.best_statistics if which == BEST_PER_VOXEL else self.statistics[which]]

    def _averaged(self, name: str, which: int | str, regions: Regions, alike: tuple[str, ...]) -> np.ndarray | None:
        """Average an array of the statistics over layers; None if a layer lacks it, or if layers differ in `alike`.

        alike  fields of the statistics that must be equal in all layers
        """
        found = self._of(which)
        if any(statistics is None or getattr(statistics, name) is None for statistics in found):
            return None
        if len({tuple(getattr(statistics, key) for key in alike) for statistics in found}) > 1:
            return None
        return sum(statistics.rows_of(name, regions) for statistics in found) / len(found)


def stream_scores(results: ScoreStore, stream: str) -> StreamScores:
    """Read the scores of all finished layers of a stream."""
    found = [(layer, n_layers) for name, layer, n_layers in results.layers() if name == stream]
    by_layer = [results.read(stream, layer) for layer, _ in found]
    scores = StreamScores(
        stream=stream,
        layers=np.array([layer for layer, _ in found]),
        n_layers=found[0][1],
        scores={name: np.stack([scores[name] for scores in by_layer]) for name in QUANTITIES},
        statistics=[results.read_statistics(stream, layer) for layer, _ in found],
        best_statistics=None,
    )
    return replace(scores, best_statistics=results.read_best_statistics(stream, scores.best_layers()))
