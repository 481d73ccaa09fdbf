"""LAION-fMRI: single-trial responses by GLMsingle in volumes, with the authors' splits.

derivatives/glmsingle-tedana/sub-03/ses-01/func/
    sub-03_ses-01_task-images_space-T1w_stat-effect_desc-SingletrialBetas_statmap.nii.gz   (X, Y, Z, trials)
    sub-03_ses-01_task-images_space-T1w_desc-SingletrialBetas_trials.tsv     beta_index, label: the image's file
derivatives/glmsingle-tedana/sub-03/**/*desc-meanR2gt15mask_mask.nii.gz      voxels to fit
derivatives/glmsingle-tedana/sub-03/**/*desc-NoiseceilingAllrep_statmap.nii.gz   percent
derivatives/atlases/sub-03/rois/ROI.nii.gz
stimuli/images/LABEL
laion_fmri_splits/{shared,sub-03}_{tau,ood,random_0,cluster_k5_0}.json, or splits/data/{shared,sub-03}/tau.json
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from brain_activity_prediction.datasets.dataset import ALL_UNITS, Dataset
from brain_activity_prediction.datasets.files.image_files import ImageFiles, find_files
from brain_activity_prediction.datasets.files.tables import read_rows
from brain_activity_prediction.datasets.region_choice import chosen_regions
from brain_activity_prediction.datasets.units import Voxels
from brain_activity_prediction.datasets.valid_trials import mark_invalid
from brain_activity_prediction.inference.noise_ceiling import ncsnr_of_ceiling
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.storage.checked_json import checked
from brain_activity_prediction.storage.files import read_bytes, reading
from brain_activity_prediction.storage.nifti import open_volumes, read_grid, read_volume_on

DERIVATIVES = ("derivatives/glmsingle-tedana", "derivatives/glmsingle")
SPLIT_FOLDERS = ("laion_fmri_splits", "splits", "laion_fmri/splits/data", "splits/data")
OWN_SPLIT = "tau"
OOD = "ood"
SLAB_TRIALS = 8
LARGEST_BYTES = 2**26


@dataclass(frozen=True)
class Variant:
    """One division of a split file; ids are labels."""

    variant_id: int
    train_ids: list[str]
    test_ids: list[str]


class LAIONfMRI(Dataset[str, Voxels]):
    """LAION-fMRI; its own split is `tau`. `ood:TYPE` tests on one type of the images out of distribution."""

    name = "laion_fmri"
    title = "LAION-fMRI"
    citation = "LAION-fMRI (2026), github.com/ViCCo-Group/LAION-fMRI"

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

    def open_images(self) -> ImageFiles:
        folder = self.base_dir / "stimuli" / "images"
        return ImageFiles(find_files(folder, self.image_ids_of_any(self.subjects()).tolist()), folder)

    def units(self, subject: str) -> Voxels:
        """Return the voxels of the authors' mask, with a mean R2 above 15 %; without it, those of all responses."""
        first = self._file(subject, self.sessions(subject)[0], "stat-effect_desc-SingletrialBetas_statmap.nii.gz")
        grid = read_grid(first)
        path = self._of_subject(subject, "desc-meanR2gt15mask_mask.nii.gz")
        if path is not None:
            return Voxels(read_volume_on(path, grid) > 0, grid.affine)
        with open_volumes(first) as volumes:
            responses = np.asarray(volumes.numbers[..., 0])
        mask = np.isfinite(responses) & (responses != 0)
        log.info(f"subject {subject}: no mask of mean R2 above 15 %, so all {mask.sum():,} voxels are fitted")
        return Voxels(mask, grid.affine)

    def response_files(self, subject: str, sessions: Sequence[int]) -> list[Path]:
        endings = ("stat-effect_desc-SingletrialBetas_statmap.nii.gz", "desc-SingletrialBetas_trials.tsv")
        files = [self._file(subject, session, ending) for session in sessions for ending in endings]
        mask = self._of_subject(subject, "desc-meanR2gt15mask_mask.nii.gz")
        splits = [path for path in self._split_files(OWN_SPLIT, subject) if path.is_file()]
        return [*files, *([mask] if mask else []), *splits]

    def read_session(self, subject: str, session: int, units: Voxels) -> np.ndarray:
        path = self._file(subject, session, "stat-effect_desc-SingletrialBetas_statmap.nii.gz")
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
        units = self.units(subject)
        grid = read_grid(
            self._file(subject, self.sessions(subject)[0], "stat-effect_desc-SingletrialBetas_statmap.nii.gz")
        )
        found = {ALL_UNITS: np.ones(units.n, dtype=bool)}
        for path in sorted((self.base_dir / "derivatives" / "atlases" / subject / "rois").glob("*.nii.gz")):
            found[path.name.removesuffix(".nii.gz")] = read_volume_on(path, grid)[units.mask] > 0
        return chosen_regions(found, names, f"subject {subject} of {self.title}")

    def ncsnr(self, subject: str, units: Voxels) -> np.ndarray:
        """Return the ncsnr that the published ceiling, in percent of a mean of 4 trials, implies."""
        path = self._of_subject(subject, "desc-Noiseceiling4rep_statmap.nii.gz")
        if path is None:
            raise InputError(f"subject {subject} has no desc-Noiseceiling4rep_statmap.nii.gz: leave out --ncsnr")
        grid = read_grid(
            self._file(subject, self.sessions(subject)[0], "stat-effect_desc-SingletrialBetas_statmap.nii.gz")
        )
        return ncsnr_of_ceiling(read_volume_on(path, grid)[units.mask] / 100, 4)

    def test_images(self, subject: str) -> np.ndarray:
        if not any(path.is_file() for path in self._split_files(OWN_SPLIT, subject)):
            return np.empty(0, dtype=str)
        return self.split(OWN_SPLIT, subject)[1]

    def excluded_images(self, subject: str) -> np.ndarray:
        """Return the images out of distribution, which the authors' other splits leave out."""
        if not any(path.is_file() for path in self._split_files(OWN_SPLIT, subject)):
            return np.empty(0, dtype=str)
        images = self.image_ids(subject)
        return np.setdiff1d(images, np.concatenate(self.split(OWN_SPLIT, subject)))

    def split_names(self) -> list[str]:
        names = {path.stem.split("_", 1)[1] for path in self.base_dir.glob(f"{SPLIT_FOLDERS[0]}/*_*.json")}
        names |= {path.stem for folder in SPLIT_FOLDERS[1:] for path in (self.base_dir / folder).glob("*/*.json")}
        types = self._ood_types() if OOD in names else []
        return sorted(names) + [f"{OOD}:{name}" for name in types]

    def split(self, name: str, subject: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the training and the test images; a file of the subject's own goes before that of all subjects."""
        base, _, ood_type = name.partition(":")
        files = [path for path in self._split_files(base, subject) if path.is_file()]
        if not files:
            expected = self._split_files(base, subject)[0]
            raise InputError(f"{self.title} has no split {name} for subject {subject}: expected {expected}")
        parts = [_variant(path) for path in files]
        train, test = (
            np.unique([label for part in parts for label in getattr(part, ids)]) for ids in ("train_ids", "test_ids")
        )
        if ood_type:
            test = np.array([label for label in test if f"_OOD_{ood_type}_" in label])
        return train, test

    def _ood_types(self) -> list[str]:
        files = [path for path in self._split_files(OOD, "shared") if path.is_file()]
        with reading(files[0]):
            params = json.loads(read_bytes(files[0], LARGEST_BYTES)).get("params", {})
            return [str(name) for name in params.get("ood_types", [])]

    def _split_files(self, name: str, subject: str) -> list[Path]:
        """Return the possible files of a split: of the images of all subjects, and of all images of one subject."""
        files = []
        for owner in (subject, "shared"):
            files.append(self.base_dir / SPLIT_FOLDERS[0] / f"{owner}_{name}.json")
            files += [self.base_dir / folder / owner / f"{name}.json" for folder in SPLIT_FOLDERS[1:]]
        own = [path for path in files[: len(files) // 2] if path.is_file()]
        return own or files[len(files) // 2 :]

    def _session_folders(self, subject: str) -> dict[int, Path]:
        folders = (self._root / subject).glob("ses-[0-9][0-9]")
        return {int(path.name[4:]): path / "func" for path in folders if (path / "func").is_dir()}

    def _file(self, subject: str, session: int, ending: str) -> Path:
        name = f"{subject}_ses-{session:02d}_task-images_space-T1w_{ending}"
        path = self._root / subject / f"ses-{session:02d}" / "func" / name
        if not path.is_file():
            raise InputError(f"subject {subject} of {self.title} has no {path}")
        return path

    def _of_subject(self, subject: str, ending: str) -> Path | None:
        folder = self._root / subject
        return next(iter(sorted([*folder.glob(f"*{ending}"), *folder.glob(f"func/*{ending}")])), None)

    @cache  # noqa: B019, one dataset lives as long as its process
    def _labels(self, subject: str, session: int) -> np.ndarray:
        path = self._file(subject, session, "desc-SingletrialBetas_trials.tsv")
        rows: list[Mapping[str, str]] = read_rows(path, ("beta_index", "label"))
        places = [int(row["beta_index"]) for row in rows]
        if places != list(range(len(rows))):
            raise InputError(f"{path}: beta_index is not 0 to {len(rows) - 1} in order")
        return np.array([row["label"] for row in rows])


def _variant(path: Path) -> Variant:
    """Read the first variant of a split file."""
    with reading(path):
        content = json.loads(read_bytes(path, LARGEST_BYTES))
        variants = content.get("variants") if isinstance(content, dict) else None
        if not isinstance(variants, list) or not variants:
            raise ValueError("it has no variants")
        return checked({name: variants[0].get(name) for name in ("variant_id", "train_ids", "test_ids")}, Variant)


def find_laion(base_dir: Path) -> LAIONfMRI:
    return LAIONfMRI(base_dir)
