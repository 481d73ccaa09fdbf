"""BOLD5000, release 2: GLMsingle's single-trial responses in volumes, one file for each session.

CSI1_GLMbetas-TYPED-FITHRF-GLMDENOISE-RR_ses-01.nii.gz   (X, Y, Z, trials), percent signal change
CSI1_brainmask.nii.gz
CSI1_imgnames.txt                                         names of the images of all sessions, in order
derivatives/spm/sub-CSI1/sub-CSI1_mask-LHEarlyVis.nii.gz  optional: regions of OpenNeuro's ds001499; also read from
                                                          sub-CSI1/, or as regions/CSI1/NAME.nii.gz
BOLD5000_Stimuli/Scene_Stimuli/Presented_Stimuli/         the folders COCO, ImageNet and Scene; also read from images/
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from brain_activity_prediction.datasets.dataset import ALL_UNITS, Dataset
from brain_activity_prediction.datasets.files.image_files import ImageFiles
from brain_activity_prediction.datasets.files.picture_names import ENDINGS
from brain_activity_prediction.datasets.region_choice import chosen_regions
from brain_activity_prediction.datasets.units import Voxels
from brain_activity_prediction.datasets.valid_trials import mark_invalid
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.storage.files import read_bytes, reading
from brain_activity_prediction.storage.nifti import open_volumes, read_shape, read_volume

BETAS = "GLMbetas-TYPED-FITHRF-GLMDENOISE-RR"
N_SESSIONS = {"CSI1": 15, "CSI2": 15, "CSI3": 15, "CSI4": 9}
LARGEST_BYTES = 2**24
SLAB_TRIALS = 16
REPEATED = 3  # smallest number of trials of an image that counts as repeated
IMAGE_FOLDERS = (
    "images",
    "Presented_Stimuli",
    "Scene_Stimuli/Presented_Stimuli",
    "BOLD5000_Stimuli/Scene_Stimuli/Presented_Stimuli",
)
REGION_FILES = ("regions/{0}/*", "derivatives/spm/sub-{0}/sub-{0}_mask-*", "sub-{0}/sub-{0}_mask-*")
MISSPELT = {"LHLO": "LHLOC", "RHLO": "RHLOC", "RHRRSC": "RHRSC"}  # names of some of ds001499's files
LARGEST_MISMATCH = 0.05  # fraction of the brain mask's voxels that may lack responses


class BOLD5000(Dataset[str, Voxels]):
    """BOLD5000; test images are the repeated ones, about 110, shown 3 or 4 times."""

    name = "bold5000"
    title = "BOLD5000"
    citation = "Chang et al. (2019), Scientific Data 6, 49; release 2 by the same authors"
    terms = "bold5000-dataset.github.io/website/terms.html"

    def __init__(self, base_dir: Path):
        self.base_dir = base_dir

    def subjects(self) -> list[str]:
        return [path.name.split("_")[0] for path in sorted(self.base_dir.glob("CSI?_imgnames.txt"))]

    def n_sessions_planned(self, subject: str) -> int:
        return N_SESSIONS.get(subject, len(self.sessions(subject)))

    def sessions(self, subject: str) -> list[int]:
        found = sorted(self._session_files(subject))
        if not found:
            expected = self.base_dir / f"{subject}_{BETAS}_ses-01.nii.gz"
            raise InputError(f"subject {subject} has no responses: expected {expected}")
        return found

    def trial_ids(self, subject: str, sessions: Sequence[int]) -> np.ndarray:
        ends, names = self._ends(subject), self._names(subject)
        for session in sessions:
            if session not in ends:
                raise InputError(f"subject {subject} has no {self.base_dir}/{subject}_{BETAS}_ses-{session:02d}.nii.gz")
        return np.concatenate([names[slice(*ends[session])] for session in sessions])

    def image_ids(self, subject: str) -> np.ndarray:
        return np.unique(self._names(subject))

    def open_images(self) -> ImageFiles:
        folders = [self.base_dir / name for name in IMAGE_FOLDERS]
        folder = next((path for path in folders if path.is_dir()), folders[0])
        files = {path.stem: path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS}
        names = self.image_ids_of_any(self.subjects()).tolist()
        return ImageFiles({name: files.get(Path(name).stem, folder / name) for name in names}, folder)

    @cache  # noqa: B019, one dataset lives as long as its process
    def units(self, subject: str) -> Voxels:
        """Return the voxels of the brain mask; if many of them lack responses, the voxels with responses instead.

        The affine is taken from the mask, because that of the responses gives no position in the brain.
        """
        volume, grid = read_volume(self._mask_file(subject))
        mask, path = volume > 0, next(iter(self._session_files(subject).values()), None)
        if path is None:
            return Voxels(mask, grid.affine)
        with open_volumes(path) as volumes:
            first = np.asarray(volumes.numbers[..., 0])
        if first.shape != mask.shape:
            raise InputError(f"{path} has volumes of shape {first.shape}, but the brain mask has {mask.shape}")
        answering = np.isfinite(first) & (first != 0)
        if (lost := int((mask & ~answering).sum())) > LARGEST_MISMATCH * mask.sum():
            log.warning(
                f"subject {subject}: {lost:,} of the brain mask's {mask.sum():,} voxels have no responses, so the "
                f"{answering.sum():,} voxels with responses are fitted instead; maps may be shifted from the anatomy"
            )
            mask = answering
        return Voxels(mask, grid.affine)

    def response_files(self, subject: str, sessions: Sequence[int]) -> list[Path]:
        files = self._session_files(subject)
        missing = [session for session in sessions if session not in files]
        if missing:
            raise InputError(f"subject {subject} has no {self.base_dir}/{subject}_{BETAS}_ses-{missing[0]:02d}.nii.gz")
        names = self.base_dir / f"{subject}_imgnames.txt"
        return [names, self._mask_file(subject), *(files[session] for session in sessions)]

    def read_session(self, subject: str, session: int, units: Voxels) -> np.ndarray:
        path = self._session_files(subject)[session]
        with open_volumes(path) as volumes:
            if volumes.shape[:3] != units.mask.shape:
                raise InputError(f"{path} has volumes of shape {volumes.shape[:3]} instead of {units.mask.shape}")
            responses = np.empty((volumes.shape[3], units.n), dtype=np.float32)
            for start in range(0, len(responses), SLAB_TRIALS):
                part = slice(start, start + SLAB_TRIALS)
                responses[part] = np.asarray(volumes.numbers[..., part])[units.mask].T
        return mark_invalid(responses)

    def regions(self, subject: str, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        units = self.units(subject)
        found = {ALL_UNITS: np.ones(units.n, dtype=bool)}
        for path in sorted(self._region_files(subject)):
            volume, grid = read_volume(path)
            if grid.shape != units.mask.shape:
                raise InputError(f"{path} has shape {grid.shape}, but the brain mask has {units.mask.shape}")
            name = path.name.removesuffix(".nii.gz").rpartition("_mask-")[2]
            found[MISSPELT.get(name, name)] = volume[units.mask] > 0
        return chosen_regions(found, names, f"subject {subject} of {self.title}")

    def test_images(self, subject: str) -> np.ndarray:
        names, n = np.unique(self._names(subject), return_counts=True)
        return names[n >= REPEATED]

    def _mask_file(self, subject: str) -> Path:
        path = self.base_dir / f"{subject}_brainmask.nii.gz"
        if not path.is_file():
            raise InputError(f"subject {subject} of {self.title} has no {path}")
        return path

    def _region_files(self, subject: str) -> list[Path]:
        patterns = (pattern.format(subject) + ".nii.gz" for pattern in REGION_FILES)
        return next((found for pattern in patterns if (found := list(self.base_dir.glob(pattern)))), [])

    def _session_files(self, subject: str) -> dict[int, Path]:
        files = self.base_dir.glob(f"{subject}_{BETAS}_ses-[0-9][0-9].nii.gz")
        return {int(path.name[-9:-7]): path for path in files}

    @cache  # noqa: B019
    def _names(self, subject: str) -> np.ndarray:
        path = self.base_dir / f"{subject}_imgnames.txt"
        with reading(path):
            names = read_bytes(path, LARGEST_BYTES).decode("utf-8-sig").split("\n")
        return np.array([Path(name.strip()).name for name in names if name.strip()])

    @cache  # noqa: B019
    def _ends(self, subject: str) -> dict[int, tuple[int, int]]:
        """Return the start and end of each existing session's trials in the list of image names.

        If one session is missing, its number of trials follows from the number of names and the other sessions.
        """
        files, n_names = self._session_files(subject), self._names(subject).size
        sizes = {session: (*read_shape(path), 1)[3] for session, path in files.items()}
        planned = range(1, self.n_sessions_planned(subject) + 1)
        if other := sizes.keys() - set(planned):
            raise InputError(f"subject {subject} has sessions 1 to {planned[-1]}, but {files[min(other)]} exists")
        absent = [session for session in planned if session not in sizes]
        left = n_names - sum(sizes.values())
        if len(absent) > 1 or (left and not absent) or left < 0:
            raise InputError(
                f"subject {subject}: the files of sessions hold {sum(sizes.values()):,} trials, but "
                f"{subject}_imgnames.txt has {n_names:,} names; absent sessions: {' '.join(map(str, absent)) or 'none'}"
            )
        sizes |= dict.fromkeys(absent, left)
        ends = np.cumsum([sizes[session] for session in planned])
        return {s: (int(end) - sizes[s], int(end)) for s, end in zip(planned, ends, strict=True) if s in files}


def find_bold5000(base_dir: Path) -> BOLD5000:
    return BOLD5000(base_dir)
