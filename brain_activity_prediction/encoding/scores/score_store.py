"""Scores of every voxel on disk. Each layer has a file, so that a run that was killed continues with unfinished layers.

A folder holds the scores of one model, prompt and subject:

- `settings.json`: all settings that change the scores.
- `voxels/STREAM_layer_NN.h5`: scores of a layer: for each name in QUANTITIES a dataset (V,), in the order of
  `volume[mask]`. Also the layer's `Statistics`, if requested, and held-out predictions of some voxels (see
  `evaluation.best_predictions`).
- `best_layers/STREAM.h5`: statistics of every voxel at its best layer.
- `noise_ceiling.h5`: noise ceilings. Scores do not depend on this file, and a run may replace it.

All files have checksums (`sealed_hdf5`) and record their settings. If a file is damaged or was copied from another
folder, its layer is fitted again.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np

from brain_activity_prediction.encoding.scores.score_files import ScoreFolder
from brain_activity_prediction.encoding.scores.score_headers import (
    BestLayersHeader,
    CeilingHeader,
    LayerHeader,
    OfStream,
    ScoreHeader,
    read_header,
)
from brain_activity_prediction.inference.region_ceilings import RegionCeilings
from brain_activity_prediction.inference.region_statistics import Statistics, StatisticsRequest
from brain_activity_prediction.storage.files import reading
from brain_activity_prediction.storage.folders import FOLDS
from brain_activity_prediction.storage.made_from import state_of
from brain_activity_prediction.storage.sealed_hdf5 import read_array, read_seal
from brain_activity_prediction.storage.settings_file import fingerprint

CEILINGS = RegionCeilings.ARRAYS
QUANTITIES = ("alpha", "cv_score", "r", "r2")
VOXELS, PREDICTED = "predicted_voxels", "predicted"
REMEDY = "align again, which fits this layer again"


class ScoreStore(ScoreFolder):
    """The scores of one model, prompt and subject on disk."""

    subfolders = ("voxels", "best_layers")

    def has(self, stream: str, layer: int, requested: StatisticsRequest | None = None, *, claimed: bool = True) -> bool:
        """Return whether a layer has scores and the requested statistics.

        claimed  True if `claim` has already verified the file; False to verify all its bytes. A damaged file counts as
            missing
        """
        path = self._path(stream, layer)
        if not path.exists() or (not claimed and self.fault(path)):
            return False
        return requested is None or requested.met_by(self.read_statistics(stream, layer))

    def write(
        self,
        stream: str,
        layer: int,
        n_layers: int,
        scores: Mapping[str, np.ndarray],
        statistics: Statistics | None = None,
        predictions: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> None:
        """Store a layer.

        scores       an array (V,) for each of QUANTITIES
        predictions  voxels (k,), and held-out predictions (n_test, k) for them
        """
        about = {"stream": stream, "layer": layer, "n_layers": n_layers}
        arrays = {name: scores[name] for name in QUANTITIES} | _prediction_arrays(predictions)
        self._write(self._path(stream, layer), arrays, about, statistics)

    def discard(self, stream: str, layer: int) -> None:
        """Delete a layer, so that it is fitted again."""
        self._path(stream, layer).unlink(missing_ok=True)

    def read(self, stream: str, layer: int) -> dict[str, np.ndarray]:
        """Read `{quantity: (V,) float32}` of a finished layer."""
        path = self._path(stream, layer)
        with self._reading(path, LayerHeader):
            return {name: read_array(path, name) for name in QUANTITIES}

    def read_statistics(self, stream: str, layer: int) -> Statistics | None:
        """Read the statistics of a finished layer; None if none were requested."""
        return self._read_statistics(self._path(stream, layer), LayerHeader)

    def predicted_voxels(self, stream: str, layer: int) -> np.ndarray:
        """Return the voxels (k,) for which a layer's file holds predictions."""
        path = self._path(stream, layer)
        with self._reading(path, LayerHeader):
            held = VOXELS in read_seal(path).datasets
            return read_array(path, VOXELS).astype(int) if held else np.empty(0, dtype=int)

    def read_predictions(self, stream: str, layer: int) -> tuple[np.ndarray, np.ndarray]:
        """Read the voxels (k,) for which a layer's file holds predictions, and these predictions (n_test, k)."""
        voxels, path = self.predicted_voxels(stream, layer), self._path(stream, layer)
        with self._reading(path, LayerHeader):
            return voxels, read_array(path, PREDICTED) if len(voxels) else np.empty((0, 0), dtype=np.float32)

    def keep_predictions(self, stream: str, layer: int, voxels: np.ndarray) -> None:
        """Delete all predictions from a layer's file except those for these voxels."""
        held, predicted = self.read_predictions(stream, layer)
        wanted = np.isin(held, voxels)
        _, _, n_layers = next(found for found in self.layers() if found[:2] == (stream, layer))
        left = (held[wanted], predicted[:, wanted])
        self.write(stream, layer, n_layers, self.read(stream, layer), self.read_statistics(stream, layer), left)

    def write_best_statistics(self, stream: str, best_layers: np.ndarray, statistics: Statistics) -> None:
        """Write the statistics of every voxel at its best layer.

        best_layers  (V,) number of each voxel's best layer
        """
        self._write(self._best_statistics_path(stream), {"layer": best_layers}, {"stream": stream}, statistics)

    def read_best_statistics(self, stream: str, best_layers: np.ndarray) -> Statistics | None:
        """Read the statistics of every voxel at its best layer; None if the best layers have changed since."""
        path = self._best_statistics_path(stream)
        if not path.exists():
            return None
        with self._reading(path, BestLayersHeader):
            of_these = np.array_equal(read_array(path, "layer"), best_layers)
        return self._read_statistics(path, BestLayersHeader) if of_these else None

    def write_noise_ceiling(
        self,
        ceiling: np.ndarray,
        ncsnr_from: str,
        of_regions: RegionCeilings | None = None,
        data_used: Mapping | None = None,
    ) -> None:
        """Write the noise ceiling (V,) of the test images, in R2 units, and the ceilings of regions.

        ncsnr_from  source of the ceiling's ncsnr, see `ceiling_source`
        data_used   see `SubjectData.data_used`
        """
        about, arrays = {"ncsnr": ncsnr_from, "data_used": dict(data_used or {})}, {"noise_ceiling": ceiling}
        if of_regions is not None:
            about |= {"regions": of_regions.regions, "n_test_images": of_regions.n_test_images}
            arrays |= {f"region_{name}": getattr(of_regions, name) for name in CEILINGS}
        self.write_voxels(self._ceiling_path, arrays, about)

    def read_noise_ceiling(self) -> np.ndarray:
        """Read the noise ceiling (V,) float32 of the test images, in R2 units."""
        with self._reading_ceiling():
            return read_array(self._ceiling_path, "noise_ceiling")

    def read_region_ceilings(self) -> RegionCeilings | None:
        """Read the mean ceilings of regions over all their voxels; None if an older version wrote the ceiling."""
        with self._reading_ceiling() as header:
            if header.n_test_images is None:
                return None
            arrays = {name: read_array(self._ceiling_path, f"region_{name}") for name in CEILINGS}
            return RegionCeilings(header.regions, **arrays, n_test_images=header.n_test_images)

    def data_used(self) -> dict[str, float]:
        """Return the numbers of images and sessions behind the scores; empty if an older version wrote them."""
        with self._reading_ceiling() as header:
            return header.data_used

    def ncsnr_from(self) -> str:
        """Return the source of the ceiling's ncsnr, see `ceiling_source`."""
        with self._reading_ceiling() as header:
            return header.ncsnr

    def layers(self) -> list[tuple[str, int, int]]:
        """List (stream, layer, number of layers of the stream) of every finished layer, in order."""
        found, settings = [], self.settings()
        for path in self.folder.glob("voxels/[!.]*.h5"):
            with reading(path, REMEDY):
                header = read_header(path, LayerHeader, settings)
                # Paths of other files are made from these names, so that they must be right.
                if self._path(header.stream, header.layer) != path:
                    raise ValueError(f"its header names layer {header.layer} of {header.stream!r}")
                found.append((header.stream, header.layer, header.n_layers))
        return sorted(found)

    def streams(self) -> list[str]:
        """List the streams with a finished layer."""
        return list(dict.fromkeys(stream for stream, _, _ in self.layers()))

    def state(self) -> str:
        """Return a digest of the layers' files in all folds, which changes if a file changes (`made_from.state_of`)."""
        layers = (path for place in ("voxels", f"{FOLDS}/*/voxels") for path in self.folder.glob(f"{place}/*.h5"))
        return state_of(self.folder, layers)

    def fingerprint(self) -> str:
        """Return eight hexadecimal digits that identify the recorded settings."""
        return fingerprint(self.settings())

    @contextmanager
    def _reading(self, path: Path, kind: type[ScoreHeader], remedy: str = REMEDY) -> Iterator[ScoreHeader]:
        """Open a file and yield its header; raise `Damaged` with the remedy if it is damaged or has other settings."""
        with reading(path, remedy):
            yield read_header(path, kind, self.settings())

    def _reading_ceiling(self) -> AbstractContextManager[CeilingHeader]:
        return self._reading(self._ceiling_path, CeilingHeader, "align again, which computes it again")

    def _write(self, path: Path, arrays: Mapping[str, np.ndarray], about: Mapping, statistics: Statistics | None):
        if statistics is not None:
            arrays, about = {**arrays, **statistics.arrays()}, {**about, "statistics": statistics.about()}
        self.write_voxels(path, arrays, about)

    def _read_statistics(self, path: Path, kind: type[OfStream]) -> Statistics | None:
        with self._reading(path, kind) as header:
            if header.statistics is None:
                return None
            held = read_seal(path).datasets
            arrays = {name: read_array(path, name) if name in held else None for name in Statistics.ARRAYS}
            return Statistics(**asdict(header.statistics), **arrays)

    @property
    def _ceiling_path(self) -> Path:
        return self.folder / "noise_ceiling.h5"

    def _best_statistics_path(self, stream: str) -> Path:
        return self.folder / "best_layers" / f"{stream}.h5"

    def _path(self, stream: str, layer: int) -> Path:
        return self.folder / "voxels" / f"{stream}_layer_{layer:02d}.h5"


def _prediction_arrays(predictions: tuple[np.ndarray, np.ndarray] | None) -> dict[str, np.ndarray]:
    if predictions is None or not len(predictions[0]):
        return {}
    return dict(zip((VOXELS, PREDICTED), predictions, strict=True))
