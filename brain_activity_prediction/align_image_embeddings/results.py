"""Scores of every voxel on disk: one file a layer, so that a killed run continues with the layer it was at.

A folder (one model, prompt and subject) holds `settings.json`, what changes the numbers, and under `voxels/` a file
`STREAM_layer_NN.h5` a layer, with a dataset (V,) for each name in QUANTITIES, in the order of `volume[mask]`, and `p`
where a permutation test was asked for, with the p of regions in its header.
`noise_ceiling.h5` holds what all layers share; no score depends on it, so that a run may write it anew.
All are sealed (`sealed_hdf5`): a damaged layer is noticed and fitted again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from brain_activity_prediction.align_image_embeddings import score_files
from brain_activity_prediction.files import reading
from brain_activity_prediction.sealed_hdf5 import read_array, read_seal
from brain_activity_prediction.settings_file import fingerprint, recorded_settings

QUANTITIES = ("alpha", "cv_score", "r", "r2")
REMEDY = "align again, which fits this layer again"


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
        score_files.claim(self.folder, "voxels", settings, redo)

    def has(self, stream: str, layer: int, n_permutations: int = 0) -> bool:
        """Whether a layer is finished, with a test of that many permutations unless they are 0.

        A layer whose file is damaged is not, and a line on stderr says so.
        """
        path = self._path(stream, layer)
        if not score_files.is_finished(path):
            return False
        test = self.read_test(stream, layer) if n_permutations else None
        return not n_permutations or (test is not None and test.n_permutations == n_permutations)

    def write(
        self,
        stream: str,
        layer: int,
        n_layers: int,
        scores: Mapping[str, np.ndarray],
        test: PermutationTest | None = None,
    ) -> None:
        """Adds a layer: an array (V,) for each of QUANTITIES, and its permutation test if there was one."""
        about = {"stream": stream, "layer": layer, "n_layers": n_layers}
        arrays = {name: scores[name] for name in QUANTITIES}
        if test is not None:
            arrays["p"] = test.p
            about |= {"n_permutations": test.n_permutations, "region_p": dict(test.region_p)}
        score_files.write_voxels(self._path(stream, layer), arrays, about)

    def read(self, stream: str, layer: int) -> dict[str, np.ndarray]:
        """`{quantity: (V,) float32}` of a finished layer."""
        path = self._path(stream, layer)
        with reading(path, REMEDY):
            return {name: read_array(path, name) for name in QUANTITIES}

    def read_test(self, stream: str, layer: int) -> PermutationTest | None:
        """The permutation test of a finished layer, None where none was asked for."""
        path = self._path(stream, layer)
        with reading(path, REMEDY):
            about = read_seal(path).about
            if "n_permutations" not in about:
                return None
            return PermutationTest(about["n_permutations"], read_array(path, "p"), about["region_p"])

    def write_noise_ceiling(self, ceiling: np.ndarray, ncsnr_from: str) -> None:
        """Keeps the ceiling (V,) of the test images, in R2 units, and where its ncsnr came from."""
        score_files.write_voxels(self._ceiling_path, {"noise_ceiling": ceiling}, {"ncsnr": ncsnr_from})

    def read_noise_ceiling(self) -> np.ndarray:
        """The ceiling (V,) float32 of the test images, in R2 units."""
        with reading(self._ceiling_path, "align again, which writes it anew"):
            return read_array(self._ceiling_path, "noise_ceiling")

    def layers(self) -> list[tuple[str, int, int]]:
        """(stream, layer, number of layers of the stream) of every finished layer, in order."""
        found = []
        for path in self.folder.glob("voxels/[!.]*.h5"):
            with reading(path, REMEDY):
                about = read_seal(path).about
                found.append((about["stream"], about["layer"], about["n_layers"]))
        return sorted(found)

    def fingerprint(self) -> str:
        """Eight hexadecimal digits that tell the recorded settings from any others."""
        return fingerprint(recorded_settings(self.folder, score_files.RESTORE))

    def alpha_range(self) -> tuple[float, float]:
        """The ends of the grid that alphas were chosen from."""
        settings = recorded_settings(self.folder, score_files.RESTORE)
        return 10 ** settings["min_log_10_alpha"], 10 ** settings["max_log_10_alpha"]

    @property
    def _ceiling_path(self) -> Path:
        return self.folder / "noise_ceiling.h5"

    def _path(self, stream: str, layer: int) -> Path:
        return self.folder / "voxels" / f"{stream}_layer_{layer:02d}.h5"
