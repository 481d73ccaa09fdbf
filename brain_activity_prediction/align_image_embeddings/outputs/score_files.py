"""A folder of finished scores: sealed files of one subfolder, and the settings that all of them were made with."""

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from brain_activity_prediction.errors import Damaged, InputError
from brain_activity_prediction.files import reading, remove_left_behind
from brain_activity_prediction.sealed_hdf5 import verify, write_sealed
from brain_activity_prediction.settings_file import first_difference, record_settings, recorded_settings

RESTORE = "restore it, or use --redo"


def claim(folder: Path, subfolder: str, settings: Mapping, redo: bool) -> None:
    """Records what the scores are made with; scores made otherwise are refused, or with `redo` deleted."""
    remove_left_behind(folder)
    if redo:
        for finished in folder.glob(f"{subfolder}/*.h5"):
            finished.unlink()
    elif difference := first_difference(recorded_settings(folder, RESTORE) or {}, settings):
        raise InputError(f"{folder} holds scores made with {difference}: use the same, or --redo to replace them")
    record_settings(folder, settings)


def alpha_range(folder: Path) -> tuple[float, float]:
    """The ends of the grid that the alphas in a folder were chosen from."""
    settings = recorded_settings(folder, RESTORE)
    return 10 ** settings["min_log_10_alpha"], 10 ** settings["max_log_10_alpha"]


def is_finished(path: Path) -> bool:
    """Whether a file of scores is there and as it was written; where it is damaged, a line on stderr says so."""
    if not path.exists():
        return False
    try:
        with reading(path, "it is fitted again"):
            verify(path)
    except Damaged as error:
        print(error, file=sys.stderr)
        return False
    return True


def write_voxels(path: Path, arrays: Mapping[str, np.ndarray], about: Mapping) -> None:
    """Writes values (V,) by name, float32, and what they are about."""
    write_sealed(path, {name: np.asarray(values, dtype=np.float32) for name, values in arrays.items()}, about)
