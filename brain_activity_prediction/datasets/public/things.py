"""THINGS-fMRI in its table form: a row for each voxel and a column for each trial.

betas_csv/sub-01_ResponseData.h5       one pandas frame, read without pandas, because pandas would load pickles in it
betas_csv/sub-01_StimulusMetadata.csv  a row for each trial
betas_csv/sub-01_VoxelMetadata.csv     a row for each voxel: coordinates, ceilings in percent, regions
brainmasks/sub-01_space-T1w_brainmask.nii.gz   optional: with it, maps are volumes
object_images/CONCEPT/CONCEPT_NNs.jpg
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from brain_activity_prediction.datasets.dataset import ALL_UNITS, Dataset
from brain_activity_prediction.datasets.files.image_files import ImageFiles
from brain_activity_prediction.datasets.files.tables import read_numbers, read_rows
from brain_activity_prediction.datasets.public.percent import as_fractions
from brain_activity_prediction.datasets.region_choice import chosen_regions
from brain_activity_prediction.datasets.units import Rows, Units, Voxels
from brain_activity_prediction.inference.noise_ceiling import ncsnr_of_ceiling
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.storage.hdf5_file import dataset, open_hdf5
from brain_activity_prediction.storage.nifti import read_volume

if TYPE_CHECKING:
    import pandas as pd

TABLES = "betas_csv"
NOT_REGIONS = ("voxel_id", "subject_id", "voxel_x", "voxel_y", "voxel_z")
NO_REGION_BEGINS = ("nc_", "splithalf", "prf-")
COORDINATES = ("voxel_x", "voxel_y", "voxel_z")
SLAB_BYTES = 64 * 2**20


class THINGS(Dataset[str, Units]):
    """THINGS-fMRI; test images are the 100 images shown once in each of the 12 sessions."""

    name = "things"
    title = "THINGS-fMRI"
    citation = "Hebart et al. (2023), eLife 12, e82580"
    terms = "those of doi.org/10.25452/figshare.plus.20492835, and of the pictures: things-initiative.org"

    def __init__(self, base_dir: Path):
        self.base_dir = base_dir

    def subjects(self) -> list[str]:
        return [path.name.split("_")[0] for path in sorted(self._tables.glob("sub-*_StimulusMetadata.csv"))]

    def sessions(self, subject: str) -> list[int]:
        self._response_file(subject)
        return sorted(set(self._trials(subject)["session"].tolist()))

    def trial_ids(self, subject: str, sessions: Sequence[int]) -> np.ndarray:
        trials = self._trials(subject)
        if absent := set(sessions) - set(trials["session"].tolist()):
            raise InputError(f"{self._trial_file(subject)} has no trials of session {min(absent)}")
        return np.concatenate([trials["image"][trials["session"] == session] for session in sessions])

    def image_ids(self, subject: str) -> np.ndarray:
        return np.unique(self._trials(subject)["image"])

    def open_images(self) -> ImageFiles:
        folder = next((path for path in self._image_folders if path.is_dir()), self._image_folders[0])
        names = self.image_ids_of_any(self.subjects()).tolist()
        return ImageFiles({name: folder / name.rpartition("_")[0] / name for name in names}, folder)

    def units(self, subject: str) -> Units:
        """Return the voxels of the brain mask in C order, as nilearn does; without a mask, the rows of the table."""
        voxels, path = self._voxels(subject), self._mask_file(subject)
        if path is None:
            return Rows(voxels["voxel_id"].astype(str).tolist())
        volume, grid = read_volume(path)
        mask = volume > 0
        if not np.array_equal(np.argwhere(mask), voxels[list(COORDINATES)]):
            raise InputError(
                f"{path} does not mark the {len(voxels):,} voxels of {self._voxel_file(subject)} in the same order"
            )
        return Voxels(mask, grid.affine)

    def response_files(self, subject: str, sessions: Sequence[int]) -> list[Path]:
        return [self._response_file(subject), self._trial_file(subject), self._voxel_file(subject)]

    def read_session(self, subject: str, session: int, units: Units) -> np.ndarray:
        trials, path = self._trials(subject), self._response_file(subject)
        columns = trials["column"][trials["session"] == session]
        with open_hdf5(path) as file:
            block, first = _block(file, len(trials["session"]), units.n)
            responses = np.empty((columns.size, units.n), dtype=np.float32)
            places = columns + first
            low, high = int(places.min()), int(places.max()) + 1
            step = max(1, SLAB_BYTES // (block.dtype.itemsize * (high - low)))
            for start in range(0, units.n, step):  # reads a slab of voxels, and of it only the session's trials
                part = block[start : start + step, low:high]
                responses[:, start : start + step] = part[:, places - low].T
        return responses

    def regions(self, subject: str, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        voxels = self._voxels(subject)
        found = {ALL_UNITS: np.ones(len(voxels), dtype=bool)}
        for name in voxels.columns:
            if name not in NOT_REGIONS and not name.startswith(NO_REGION_BEGINS):
                values = voxels[name].to_numpy()
                if values.dtype.kind in "iufb" and np.isin(values, (0, 1)).all() and values.any():
                    found[name] = values == 1
        return chosen_regions(found, names, f"subject {subject} of {self.title}")

    def test_images(self, subject: str) -> np.ndarray:
        trials = self._trials(subject)
        return np.unique(trials["image"][trials["test"]])

    def ncsnr(self, subject: str, units: Units) -> np.ndarray:
        """Return the ncsnr (n_units,), computed from the published noise ceiling of a single trial."""
        return ncsnr_of_ceiling(self._ceilings(subject))

    @cached_property
    def _tables(self) -> Path:
        return self.base_dir / TABLES

    @property
    def _image_folders(self) -> list[Path]:
        return [self.base_dir / name for name in ("object_images", "images")]

    def _response_file(self, subject: str) -> Path:
        return self._existing(subject, "ResponseData.h5")

    def _trial_file(self, subject: str) -> Path:
        return self._existing(subject, "StimulusMetadata.csv")

    def _voxel_file(self, subject: str) -> Path:
        return self._existing(subject, "VoxelMetadata.csv")

    def _existing(self, subject: str, ending: str) -> Path:
        path = self._tables / f"{subject}_{ending}"
        if not path.is_file():
            raise InputError(f"subject {subject} of {self.title} has no {path}")
        return path

    def _mask_file(self, subject: str) -> Path | None:
        path = self.base_dir / "brainmasks" / f"{subject}_space-T1w_brainmask.nii.gz"
        return path if path.is_file() else None

    @cache  # noqa: B019, one dataset lives as long as its process
    def _trials(self, subject: str) -> Mapping[str, np.ndarray]:
        """Return arrays (n_trials,): session, column of the response table, image, and whether it is a test image."""
        rows = read_rows(self._trial_file(subject), ("trial_type", "session", "trial_id", "stimulus"))
        if not rows:
            raise InputError(f"{self._trial_file(subject)} has no trials")
        in_order = np.arange(len(rows))
        columns = np.array([int(row["trial_id"]) for row in rows])
        if not np.array_equal(np.sort(columns), in_order):
            columns = in_order  # trial_id does not number the columns; the authors' notebook counts rows instead
        return {
            "session": np.array([int(row["session"]) for row in rows]),
            "column": columns,
            "image": np.array([row["stimulus"] for row in rows]),
            "test": np.array([row["trial_type"] == "test" for row in rows]),
        }

    @cache  # noqa: B019
    def _ceilings(self, subject: str) -> np.ndarray:
        percent = self._voxels(subject)["nc_singletrial"].to_numpy(dtype=np.float64)
        return as_fractions(percent, self._voxel_file(subject))

    @cache  # noqa: B019
    def _voxels(self, subject: str) -> pd.DataFrame:
        return read_numbers(self._voxel_file(subject), ("voxel_id", *COORDINATES, "nc_singletrial"))


def _block(file: Any, n_trials: int, n_voxels: int) -> tuple[Any, int]:
    """Return the block of a pandas frame that holds the responses (voxels x trials), and the column of trial 0.

    A frame has one block of values for each type of number. The voxel numbers are in a separate block or in the first
    column. The column names and the blocks of text are pickles and are not read.
    """
    frames = [group for group in file.values() if hasattr(group, "keys") and "block0_values" in group]
    if len(frames) != 1:
        raise ValueError("it does not hold one pandas frame in the fixed format")
    for name in sorted(name for name in frames[0] if name.startswith("block") and name.endswith("_values")):
        values = frames[0][name]
        first = values.shape[1] - n_trials if len(values.shape) == 2 else -1
        if values.shape[0] == n_voxels and first in (0, 1):
            return dataset(frames[0], name, check_chunks=bool(values.chunks)), first
    raise ValueError(f"it has no block of {n_voxels:,} voxels x {n_trials:,} trials")


def find_things(base_dir: Path) -> THINGS:
    return THINGS(base_dir)
