"""Scores of every voxel on disk: one file a layer, so that a killed run continues with the layer it was at.

A folder (one model, prompt and subject) holds `settings.json`, what changes the numbers, and under `voxels/` a file
`STREAM_layer_NN.h5` a layer, with a dataset (V,) for each name in QUANTITIES, in the order of `volume[mask]`, and `p`
where a permutation test was asked for, with the p of regions in its attributes.
`noise_ceiling.h5` holds what all layers share; no score depends on it, so that a run may write it anew.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from brain_activity_prediction.errors import InputError
from brain_activity_prediction.files import reading, remove_left_behind, written_whole
from brain_activity_prediction.settings_file import first_difference, record_settings, recorded_settings

QUANTITIES = ("alpha", "cv_score", "r", "r2")


@dataclass(frozen=True)
class PermutationTest:
    """What `significance.permutation_p` found in a layer."""

    n_permutations: int
    p: np.ndarray  # (V,)
    region_p: Mapping[str, float]


class Results:
    """The finished layers of one alignment."""

    def __init__(self, folder: Path):
        self.folder = Path(folder)

    def claim(self, settings: Mapping, redo: bool = False) -> None:
        """Records what the scores are made with; layers scored otherwise are refused, or with `redo` deleted."""
        remove_left_behind(self.folder)
        remove_left_behind(self.folder / "voxels")
        if redo:
            for finished in self.folder.glob("voxels/*.h5"):
                finished.unlink()
        elif difference := first_difference(recorded_settings(self.folder) or {}, settings):
            raise InputError(
                f"{self.folder} holds scores made with {difference}: use the same, or --redo to replace them"
            )
        record_settings(self.folder, settings)

    def has(self, stream: str, layer: int, n_permutations: int = 0) -> bool:
        """Whether a layer is finished, with a test of that many permutations unless they are 0."""
        if not self._path(stream, layer).exists() or not n_permutations:
            return self._path(stream, layer).exists()
        test = self.read_test(stream, layer)
        return test is not None and test.n_permutations == n_permutations

    def write(
        self,
        stream: str,
        layer: int,
        n_layers: int,
        scores: Mapping[str, np.ndarray],
        test: PermutationTest | None = None,
    ) -> None:
        """Adds a layer: an array (V,) for each of QUANTITIES, and its permutation test if there was one."""
        path = self._path(stream, layer)
        with written_whole(path) as aside, h5py.File(aside, "w", locking=False) as file:
            file.attrs.update(stream=stream, layer=layer, n_layers=n_layers)
            for name in QUANTITIES:
                _write_voxels(file, name, scores[name])
            if test is not None:
                attributes = _write_voxels(file, "p", test.p).attrs
                attributes["n_permutations"] = test.n_permutations
                attributes["region_p"] = json.dumps(test.region_p)

    def read(self, stream: str, layer: int) -> dict[str, np.ndarray]:
        """`{quantity: (V,) float32}` of a finished layer."""
        path = self._path(stream, layer)
        with reading(path, "delete it and align again"), h5py.File(path, "r", locking=False) as file:
            return {name: file[name][:] for name in QUANTITIES}

    def read_test(self, stream: str, layer: int) -> PermutationTest | None:
        """The permutation test of a finished layer, None where none was asked for."""
        path = self._path(stream, layer)
        with reading(path, "delete it and align again"), h5py.File(path, "r", locking=False) as file:
            if "p" not in file:
                return None
            attributes = file["p"].attrs
            return PermutationTest(int(attributes["n_permutations"]), file["p"][:], json.loads(attributes["region_p"]))

    def write_noise_ceiling(self, ceiling: np.ndarray, ncsnr_from: str) -> None:
        """Keeps the ceiling (V,) of the test images, in R2 units, and where its ncsnr came from."""
        with written_whole(self._ceiling_path) as aside, h5py.File(aside, "w", locking=False) as file:
            file.attrs["ncsnr"] = ncsnr_from
            _write_voxels(file, "noise_ceiling", ceiling)

    def read_noise_ceiling(self) -> np.ndarray:
        """The ceiling (V,) float32 of the test images, in R2 units."""
        path = self._ceiling_path
        with reading(path, "delete it and align again"), h5py.File(path, "r", locking=False) as file:
            return file["noise_ceiling"][:]

    def layers(self) -> list[tuple[str, int, int]]:
        """(stream, layer, number of layers of the stream) of every finished layer, in order."""
        found = []
        for path in self.folder.glob("voxels/*.h5"):
            with reading(path, "delete it and align again"), h5py.File(path, "r", locking=False) as file:
                found.append((str(file.attrs["stream"]), int(file.attrs["layer"]), int(file.attrs["n_layers"])))
        return sorted(found)

    def alpha_range(self) -> tuple[float, float]:
        """The ends of the grid that alphas were chosen from."""
        settings = recorded_settings(self.folder)
        return 10 ** settings["min_log_10_alpha"], 10 ** settings["max_log_10_alpha"]

    @property
    def _ceiling_path(self) -> Path:
        return self.folder / "noise_ceiling.h5"

    def _path(self, stream: str, layer: int) -> Path:
        return self.folder / "voxels" / f"{stream}_layer_{layer:02d}.h5"


def _write_voxels(file: h5py.File, name: str, values: np.ndarray) -> h5py.Dataset:
    values = np.asarray(values, dtype=np.float32)
    return file.create_dataset(name, data=values, chunks=values.shape, fletcher32=True)
