"""Folders of finished scores: files with checksums, and the settings with which all of them were made."""

import shutil
from collections.abc import Iterator, Mapping
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

    def claim(self, settings: Mapping, redo: bool = False) -> None:
        """Record the settings of the scores; refuse scores made with other settings, or with `redo` delete them."""
        for subfolder in self.subfolders:
            claim(self.folder, subfolder, settings, redo)
        self._claimed = dict(settings)

    def settings(self) -> dict:
        """Return the settings that the scores were made with."""
        return recorded_settings(self.folder, RESTORE) or {}

    def write_voxels(self, path: Path, arrays: Mapping[str, np.ndarray], about: Mapping) -> None:
        """Write arrays of one value for each voxel, see `write_voxels`."""
        write_voxels(path, arrays, about, claimed(self.folder, self._claimed))


def claim(folder: Path, subfolder: str, settings: Mapping, redo: bool) -> None:
    """Record the settings of scores; refuse scores made with other settings, or with `redo` delete them.

    A folder without scores can take any settings, even if a run with other settings failed before its first score.
    Files that are damaged or were made with settings other than the folder's are deleted, with a warning that names
    them.
    """
    remove_left_behind(folder)
    if redo:
        for finished in folder.glob(f"{subfolder}/*.h5"):
            finished.unlink()
        shutil.rmtree(folder / FOLDS, ignore_errors=True)
        (folder / "noise_ceiling.h5").unlink(missing_ok=True)
    difference = first_difference(recorded_settings(folder, RESTORE) or {}, settings) if not redo else None
    places = (subfolder, f"{FOLDS}/*/{subfolder}")
    if difference and any(path for place in places for path in folder.glob(f"{place}/[!.]*.h5")):
        raise InputError(
            f"{folder} holds scores made with {difference}: use the same settings, or --redo to replace the scores"
        )
    record_settings(folder, settings)
    for path, damaged in unfit(folder, subfolder, settings):
        log.warning(damaged)
        path.unlink(missing_ok=True)


def claimed(folder: Path, settings: Mapping | None) -> Mapping:
    """Return the settings to record in new score files: `settings`, as this process claimed, or for None the folder's.

    Raises InputError if another process has claimed the folder with other settings in the meantime.
    """
    recorded = recorded_settings(folder, RESTORE) or {}
    if settings is None:
        return recorded
    if difference := first_difference(recorded, settings):
        raise InputError(
            f"another process has begun scores in {folder} with {difference}: use the same settings, or wait for it"
        )
    return settings


def unfit(folder: Path, subfolder: str, settings: Mapping) -> Iterator[tuple[Path, Damaged]]:
    """Yield the score files that are damaged or were made with other settings, each with its error."""
    for path in sorted(folder.glob(f"{subfolder}/[!.]*.h5")):
        if error := fault(path, settings):
            yield path, error


def fault(path: Path, settings: Mapping) -> Damaged | None:
    """Verify a score file in full; return an error if it is damaged or was made with other settings."""
    try:
        with reading(path, "it is made again"):
            verify(path)
            read_header(path, HEADERS[path.parent.name], settings)
    except Damaged as error:
        return error
    return None


def alpha_range(folder: Path) -> tuple[float, float]:
    """Return the smallest and largest alpha of the grid that a folder's scores were made with."""
    settings = recorded_settings(folder, RESTORE)
    return 10 ** settings["min_log_10_alpha"], 10 ** settings["max_log_10_alpha"]


def write_voxels(path: Path, arrays: Mapping[str, np.ndarray], about: Mapping, settings: Mapping) -> None:
    """Write arrays of one value for each voxel, with a header and the settings with which they were made.

    p is stored as float64, so that it is exactly a share of the permutations; other arrays are stored as float32.

    arrays  {name: (V,)}
    about   the header
    """
    arrays = {name: np.asarray(x, np.float64 if name in P_VALUES else np.float32) for name, x in arrays.items()}
    write_sealed(path, arrays, {**about, SETTINGS: dict(settings)})


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
