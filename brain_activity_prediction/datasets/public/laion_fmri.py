"""LAION-fMRI: single-trial responses by GLMsingle in volumes, as the authors' package downloads them.

derivatives/glmsingle-tedana/sub-03/
    ses-01/func/sub-03_ses-01_task-images_space-T1w_stat-effect_desc-SingletrialBetas_statmap.nii.gz   (X, Y, Z, trials)
    ses-01/func/sub-03_ses-01_task-images_desc-SingletrialBetas_trials.tsv     beta_index, label: the image's name
    sub-03_task-images_space-T1w_stat-rsquare_desc-R2mean_statmap.nii.gz       mean R2 of GLMsingle over sessions
    sub-03_task-images_space-T1w_desc-Noiseceiling4rep_statmap.nii.gz          percent
derivatives/rois/sub-03/retinotopy/sub-03_space-T1w_res-1pt8_label-V1v_mask.nii.gz
stimuli/task-images_stimuli.h5, task-images_metadata.csv

The layout of the first release is read as well: regions in derivatives/atlases/sub-03/rois/ROI.nii.gz, a mask
desc-meanR2gt15mask_mask.nii.gz, and pictures in stimuli/images/. `laion_splits` reads the splits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from brain_activity_prediction.datasets.dataset import ALL_UNITS, Dataset, Images
from brain_activity_prediction.datasets.files.image_files import ImageFiles
from brain_activity_prediction.datasets.files.packed_images import PackedImages
from brain_activity_prediction.datasets.files.picture_names import find_files
from brain_activity_prediction.datasets.files.tables import read_rows
from brain_activity_prediction.datasets.public import laion_splits
from brain_activity_prediction.datasets.public.percent import as_fractions
from brain_activity_prediction.datasets.region_choice import chosen_regions
from brain_activity_prediction.datasets.units import Voxels
from brain_activity_prediction.datasets.valid_trials import mark_invalid
from brain_activity_prediction.inference.noise_ceiling import ncsnr_of_ceiling
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.storage.grid import Grid
from brain_activity_prediction.storage.nifti import open_volumes, read_grid, read_volume_on

DERIVATIVES = ("derivatives/glmsingle-tedana", "derivatives/glmsingle")
BETAS = "space-T1w_stat-effect_desc-SingletrialBetas_statmap.nii.gz"
TRIALS = ("desc-SingletrialBetas_trials.tsv", "space-T1w_desc-SingletrialBetas_trials.tsv")
LEAST_R2 = 0.15  # voxels with a larger R2 are fitted; the threshold of the authors' mask
SCREEN = (128, 128, 128)  # PsychoPy's default background, seen through transparent pixels of some images
SLAB_TRIALS = 8


class LAIONfMRI(Dataset[str, Voxels]):
    """LAION-fMRI; the default split is the authors' `tau`."""

    name = "laion_fmri"
    title = "LAION-fMRI"
    citation = "LAION-fMRI (2026), github.com/ViCCo-Group/LAION-fMRI"
    terms = "responses CC0 1.0; pictures may not be passed on: laion-fmri.hebartlab.com/terms"

    def __init__(self, base_dir: Path):
        self.base_dir = base_dir
        self._root = next(
            (base_dir / one for one in DERIVATIVES if (base_dir / one).is_dir()), base_dir / DERIVATIVES[0]
        )

    def subjects(self) -> list[str]:
        return [path.name for path in sorted(self._root.glob("sub-*")) if path.is_dir()]

    def sessions(self, subject: str) -> list[int]:
        found = sorted(self._session_folders(subject))
        if not found:
            raise InputError(f"subject {subject} has no responses: expected {self._root / subject}/ses-01/func/")
        return found

    def trial_ids(self, subject: str, sessions: Sequence[int]) -> np.ndarray:
        return np.concatenate([self._labels(subject, session) for session in sessions])

    def open_images(self) -> Images:
        folder = self.base_dir / "stimuli"
        if (packed := folder / "task-images_stimuli.h5").exists():
            return PackedImages(packed, folder / "task-images_metadata.csv", "image_name", SCREEN)
        folder = folder / "images"
        return ImageFiles(find_files(folder, self.image_ids_of_any(self.subjects()).tolist()), folder)

    @cache  # noqa: B019, one dataset lives as long as its process
    def units(self, subject: str) -> Voxels:
        """Return the voxels whose mean R2 is above 15 %; without a map of R2, all voxels with responses."""
        grid = self._grid(subject)
        if (path := self._mask_file(subject)) is None:
            with open_volumes(self._file(subject, self.sessions(subject)[0], BETAS)) as volumes:
                responses = np.asarray(volumes.numbers[..., 0])
            mask = np.isfinite(responses) & (responses != 0)
            log.info(f"subject {subject}: no map of R2, so all {mask.sum():,} voxels are fitted")
        elif path.name.endswith("_mask.nii.gz"):
            mask = read_volume_on(path, grid) > 0
        else:
            mask = as_fractions(np.nan_to_num(read_volume_on(path, grid)), path) > LEAST_R2
        if not mask.any():
            raise InputError(f"subject {subject} of {self.title}: {path} leaves no voxel")
        return Voxels(mask, grid.affine)

    def response_files(self, subject: str, sessions: Sequence[int]) -> list[Path]:
        files = [self._file(subject, session, *names) for session in sessions for names in ((BETAS,), TRIALS)]
        mask = self._mask_file(subject)
        return [*files, *([mask] if mask else []), *laion_splits.own_files(self.base_dir, subject)]

    def read_session(self, subject: str, session: int, units: Voxels) -> np.ndarray:
        path = self._file(subject, session, BETAS)
        n = self._labels(subject, session).size
        with open_volumes(path) as volumes:
            if volumes.shape != (*units.mask.shape, n):
                raise InputError(f"{path} has shape {volumes.shape} instead of {(*units.mask.shape, n)}")
            responses = np.empty((n, units.n), dtype=np.float32)
            for start in range(0, n, SLAB_TRIALS):
                part = slice(start, start + SLAB_TRIALS)
                responses[part] = np.asarray(volumes.numbers[..., part])[units.mask].T
        return mark_invalid(responses)

    def regions(self, subject: str, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        units, grid = self.units(subject), self._grid(subject)
        found = {ALL_UNITS: np.ones(units.n, dtype=bool)}
        for name, path in self._region_files(subject).items():
            found[name] = read_volume_on(path, grid)[units.mask] > 0
        return chosen_regions(found, names, f"subject {subject} of {self.title}")

    def ncsnr(self, subject: str, units: Voxels) -> np.ndarray:
        """Return the ncsnr (n_voxels,), computed from the published noise ceiling of the mean of 4 trials."""
        return ncsnr_of_ceiling(self._ceilings(subject)[units.mask], 4)

    def test_images(self, subject: str) -> np.ndarray:
        return self._own_split(subject)[1]

    def excluded_images(self, subject: str) -> np.ndarray:
        """Return the out-of-distribution images, which are in no part of the default split."""
        regular = np.concatenate(self._own_split(subject))
        return np.setdiff1d(self.image_ids(subject), regular) if regular.size else regular

    def split_names(self) -> list[str]:
        return laion_splits.names(self.base_dir)

    def split(self, name: str, subject: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the training and the test images; a split file of the subject is preferred to that of all subjects."""
        return laion_splits.read(self.base_dir, name, subject)

    @cache  # noqa: B019
    def _ceilings(self, subject: str) -> np.ndarray:
        """Return the published noise ceilings (X, Y, Z) of the mean of 4 trials, as R2 from 0 to 1."""
        path = self._of_subject(subject, "desc-Noiseceiling4rep_statmap.nii.gz")
        if path is None:
            raise InputError(f"subject {subject} has no desc-Noiseceiling4rep_statmap.nii.gz: leave out --ncsnr")
        return as_fractions(read_volume_on(path, self._grid(subject)), path)

    def _own_split(self, subject: str) -> tuple[np.ndarray, np.ndarray]:
        if not laion_splits.own_files(self.base_dir, subject):
            return np.empty(0, dtype=str), np.empty(0, dtype=str)
        return self.split(laion_splits.OWN, subject)

    def _grid(self, subject: str) -> Grid:
        return read_grid(self._file(subject, self.sessions(subject)[0], BETAS))

    def _mask_file(self, subject: str) -> Path | None:
        names = ("desc-meanR2gt15mask_mask.nii.gz", "stat-rsquare_desc-R2mean_statmap.nii.gz")
        return next((path for name in names if (path := self._of_subject(subject, name))), None)

    def _region_files(self, subject: str) -> dict[str, Path]:
        """Return the file of each region; if two folders have the same name, the folder is added, as in face/FFA1."""
        ends = f"{subject}_space-T1w*_label-*_mask.nii.gz"
        paths = sorted((self.base_dir / "derivatives" / "rois" / subject).glob(f"*/{ends}"))
        labels = [path.name.split("_label-")[1].removesuffix("_mask.nii.gz") for path in paths]
        found = {
            name if labels.count(name) == 1 else f"{path.parent.name}/{name}": path
            for name, path in zip(labels, paths, strict=True)
        }
        former = sorted((self.base_dir / "derivatives" / "atlases" / subject / "rois").glob("*.nii.gz"))
        return found or {path.name.removesuffix(".nii.gz"): path for path in former}

    def _session_folders(self, subject: str) -> dict[int, Path]:
        folders = (path / "func" for path in (self._root / subject).glob("ses-[0-9][0-9]"))
        return {int(path.parent.name[4:]): path for path in folders if any(path.glob("*desc-SingletrialBetas_*"))}

    def _file(self, subject: str, session: int, *endings: str) -> Path:
        """Return the first of the possible files of a session that exists."""
        start = f"{subject}_ses-{session:02d}_task-images_"
        folder = self._root / subject / f"ses-{session:02d}" / "func"
        paths = [folder / (start + ending) for ending in endings]
        path = next((path for path in paths if path.is_file()), None)
        if path is None:
            raise InputError(f"subject {subject} of {self.title} has no {paths[0]}")
        return path

    def _of_subject(self, subject: str, ending: str) -> Path | None:
        folder = self._root / subject
        return next(iter(sorted([*folder.glob(f"*{ending}"), *folder.glob(f"func/*{ending}")])), None)

    @cache  # noqa: B019
    def _labels(self, subject: str, session: int) -> np.ndarray:
        path = self._file(subject, session, *TRIALS)
        rows: list[Mapping[str, str]] = read_rows(path, ("beta_index", "label"))
        places = [int(row["beta_index"]) for row in rows]
        if places != list(range(len(rows))):
            raise InputError(f"{path}: beta_index is not 0 to {len(rows) - 1} in order")
        return np.array([row["label"] for row in rows])


def find_laion(base_dir: Path) -> LAIONfMRI:
    return LAIONfMRI(base_dir)
