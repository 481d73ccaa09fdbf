"""Which layer speaks for a voxel or a region: chosen by the cross-validated score of the training images alone.

K finished layers of one stream, V voxels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from brain_activity_prediction.align_image_embeddings.results import QUANTITIES, Results

EACH, BEST_PER_REGION, BEST_PER_VOXEL, AVERAGE = "each", "best_per_region", "best_per_voxel", "average"
CHOICES = (BEST_PER_REGION, BEST_PER_VOXEL, AVERAGE)  # what a stream's score may be the score of


@dataclass(frozen=True)
class StreamScores:
    """The scores of every finished layer of a stream, in the order of the layers."""

    stream: str
    layers: np.ndarray  # (K,) numbers from 0
    n_layers: int  # of the stream, finished or not
    scores: dict[str, np.ndarray]  # {quantity: (K, V)} for each of QUANTITIES
    p: np.ndarray  # (K, V), NaN where images were not permuted

    @property
    def complete(self) -> bool:
        return len(self.layers) == self.n_layers

    def position(self, layer):
        """Depth of a layer, from 0, what enters the first layer, to 1, the last one."""
        return layer / max(self.n_layers - 1, 1)

    def best_of_voxels(self) -> np.ndarray:
        """Position (V,) among the finished layers of each voxel's best one, the first of equals; -1 without a score."""
        cv_score = np.where(np.isfinite(self.scores["cv_score"]), self.scores["cv_score"], -np.inf)
        return np.where(np.isfinite(cv_score).any(axis=0), cv_score.argmax(axis=0), -1)

    def at(self, chosen: np.ndarray) -> dict[str, np.ndarray]:
        """`{quantity: (V,)}`, and `layer` and `p`, of each voxel at its `chosen` layer (V,); NaN where that is -1."""
        everything = {"layer": np.broadcast_to(self.layers[:, None], self.p.shape), "p": self.p, **self.scores}
        picked = {
            name: np.take_along_axis(values, np.maximum(chosen, 0)[None], axis=0)[0].astype(np.float32)
            for name, values in everything.items()
        }
        for values in picked.values():
            values[chosen < 0] = np.nan
        return picked

    def mean(self) -> dict[str, np.ndarray]:
        """`{quantity: (V,)}`, the means over layers; a mean of alphas says nothing and is NaN."""
        means = {name: values.mean(axis=0, dtype=np.float64) for name, values in self.scores.items()}
        return means | {"alpha": np.full_like(means["r"], np.nan)}


def stream_scores(results: Results, stream: str) -> StreamScores:
    """Reads every finished layer of a stream."""
    found = [(layer, n_layers) for name, layer, n_layers in results.layers() if name == stream]
    by_layer = [results.read(stream, layer) for layer, _ in found]
    tests = [results.read_test(stream, layer) for layer, _ in found]
    untested = np.full(by_layer[0]["r"].shape, np.nan, np.float32)
    return StreamScores(
        stream=stream,
        layers=np.array([layer for layer, _ in found]),
        n_layers=found[0][1],
        scores={name: np.stack([scores[name] for scores in by_layer]) for name in QUANTITIES},
        p=np.stack([test.p if test else untested for test in tests]),
    )
