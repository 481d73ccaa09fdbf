"""Folders of finished scores. All files of a folder have checksums and were made with the same settings."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from brain_activity_prediction.encoding.scores.score_headers import (
    BestLayersHeader,
    LayerHeader,
    WeightingHeader,
    read_header,
)
from brain_activity_prediction.runtime.errors import Damaged, InputError
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.storage.files import reading, remove_left_behind
from brain_activity_prediction.storage.folders import FOLDS
from brain_activity_prediction.storage.sealed_hdf5 import verify, write_sealed
from brain_activity_prediction.storage.settings_file import first_difference, record_settings, recorded_settings

P_VALUES = ("p", "region_p")
RESTORE, SETTINGS = "restore it, or use --redo", "settings"
HEADERS = {"voxels": LayerHeader, "best_layers": BestLayersHeader, "weightings": WeightingHeader}  # by subfolder


class ScoreFolder:
    """A folder of finished scores.

    Each file records the settings that were given to `claim`, or the settings of the folder if there was no `claim`.
    """

    subfolders: tuple[str, ...]

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        self._claimed: Mapping | None = None

    def settings(self) -> dict:
        """Return the settings that the scores were made with."""
        return recorded_settings(self.folder, RESTORE) or {}

    def alpha_range(self) -> tuple[float, float]:
        """Return the smallest and largest alpha of the grid that the scores were made with."""
        settings = self.settings()
        return 10 ** settings["min_log_10_alpha"], 10 ** settings["max_log_10_alpha"]

    def claim(self, settings: Mapping, redo: bool = False) -> None:
        """Record the settings of the scores that will be written.

        If the folder has scores that were made with other settings, raise InputError, or delete them with `redo`. A
        file that is damaged, or was copied from a folder with other settings, is deleted with a warning.
        """
        remove_left_behind(self.folder)
        if redo:
            for finished in self._files(*self.subfolders):
                finished.unlink()
            shutil.rmtree(self.folder / FOLDS, ignore_errors=True)
            (self.folder / "noise_ceiling.h5").unlink(missing_ok=True)
        difference = first_difference(self.settings(), settings) if not redo else None
        scores = self.subfolders[0]
        if difference and self._files(scores, f"{FOLDS}/*/{scores}"):
            raise InputError(
                f"{self.folder} holds scores made with {difference}: use the same settings, another --output, or "
                "--redo to replace the scores"
            )
        record_settings(self.folder, settings)
        self._claimed = dict(settings)
        for path in self._files(*self.subfolders):
            if damaged := self.fault(path):
                log.warning(damaged)
                path.unlink(missing_ok=True)

    def fault(self, path: Path) -> Damaged | None:
        """Verify every byte of a score file; return an error if it is damaged or was made with other settings."""
        try:
            with reading(path, "it is made again"):
                verify(path)
                read_header(path, HEADERS[path.parent.name], self.settings())
        except Damaged as error:
            return error
        return None

    def write_voxels(self, path: Path, arrays: Mapping[str, np.ndarray], about: Mapping) -> None:
        """Write arrays with one value for each voxel, a header, and the settings of the scores.

        Arrays are stored as float32, except p, which float64 keeps exact.

        arrays  {name: (V,)}
        about   fields of the header

        Raises InputError if another process has claimed the folder with other settings in the meantime.
        """
        recorded = self.settings()
        settings = recorded if self._claimed is None else self._claimed
        if difference := first_difference(recorded, settings):
            raise InputError(
                f"another process is writing scores in {self.folder} with {difference}: use the same settings, or wait "
                "until it has finished"
            )
        arrays = {name: np.asarray(x, np.float64 if name in P_VALUES else np.float32) for name, x in arrays.items()}
        write_sealed(path, arrays, {**about, SETTINGS: dict(settings)})

    def _files(self, *subfolders: str) -> list[Path]:
        return sorted(path for name in subfolders for path in self.folder.glob(f"{name}/[!.]*.h5"))


def warn_of_edges(fit: str, counted: str, alphas: np.ndarray, ends: tuple[float, float]) -> None:
    """Warn if alphas are at an end of their grid. `alphas` has any shape, and NaN are ignored.

    fit      name of the fit, for the message
    counted  axes of the array, for the message
    """
    alphas = alphas[np.isfinite(alphas)]
    at_smallest, at_largest = (int(np.isclose(alphas, end, rtol=1e-5).sum()) for end in ends)
    if at_smallest or at_largest:
        log.warning(
            f"{fit}: of {alphas.size} alphas ({counted}) {at_smallest} are the smallest of the grid "
            f"and {at_largest} the largest. This is expected for voxels that cannot be predicted. If well predicted "
            "voxels have these alphas, widen the grid"
        )
