"""Folders of finished scores: files with checksums, and the settings with which all of them were made."""

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
    """A folder of finished scores; files are written with the settings of `claim`, or else with the folder's own."""

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
        """Record the settings of the scores; refuse scores made with other settings, or with `redo` delete them.

        A folder without scores can take any settings, even if a run with other settings failed before its first score.
        Files that are damaged or were made with settings other than the folder's are deleted, with a warning that names
        them.
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
        """Verify a score file in full; return an error if it is damaged or was made with other settings."""
        try:
            with reading(path, "it is made again"):
                verify(path)
                read_header(path, HEADERS[path.parent.name], self.settings())
        except Damaged as error:
            return error
        return None

    def write_voxels(self, path: Path, arrays: Mapping[str, np.ndarray], about: Mapping) -> None:
        """Write arrays of one value for each voxel, with a header and the settings with which they were made.

        p is stored as float64, so that it is exactly a share of the permutations; other arrays are stored as float32.

        arrays  {name: (V,)}
        about   the header

        Raises InputError if another process has claimed the folder with other settings in the meantime.
        """
        recorded = self.settings()
        settings = recorded if self._claimed is None else self._claimed
        if difference := first_difference(recorded, settings):
            raise InputError(
                f"another process has begun scores in {self.folder} with {difference}: use the same settings, or wait "
                "for it"
            )
        arrays = {name: np.asarray(x, np.float64 if name in P_VALUES else np.float32) for name, x in arrays.items()}
        write_sealed(path, arrays, {**about, SETTINGS: dict(settings)})

    def _files(self, *subfolders: str) -> list[Path]:
        return sorted(path for name in subfolders for path in self.folder.glob(f"{name}/[!.]*.h5"))


def warn_of_edges(fit: str, counted: str, alphas: np.ndarray, ends: tuple[float, float]) -> None:
    """Warn if alphas, in an array of any shape, are at an end of their grid; NaN are ignored.

    fit      name of the fit, for the message
    counted  axes of the array, for the message
    """
    alphas = alphas[np.isfinite(alphas)]
    at_smallest, at_largest = (int(np.isclose(alphas, end, rtol=1e-5).sum()) for end in ends)
    if at_smallest or at_largest:
        log.warning(
            f"{fit}: of {alphas.size} alphas ({counted}) {at_smallest} are the smallest of the grid "
            f"and {at_largest} the largest, as expected for voxels that nothing predicts; "
            "if other voxels have them, widen the grid"
        )
