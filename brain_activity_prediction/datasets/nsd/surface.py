"""Read NSD's responses on cortical surfaces: on fsaverage or on the subject's own surface."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from brain_activity_prediction.datasets.files.hdf5_chunks import read_chunks
from brain_activity_prediction.datasets.files.surfaces.mgh import open_mgh, read_mgh
from brain_activity_prediction.datasets.nsd.base import NSD, checked_ratio
from brain_activity_prediction.datasets.nsd.betas import INTEGERS_PER_PERCENT
from brain_activity_prediction.datasets.nsd.layout import HEMISPHERES, SURFACES
from brain_activity_prediction.datasets.nsd.regions import CORTEX, named_regions
from brain_activity_prediction.datasets.units import Vertices
from brain_activity_prediction.datasets.valid_trials import mark_invalid
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.storage.hdf5_file import dataset, open_hdf5, read_part

SIDES = tuple(side.rstrip(".") for side in HEMISPHERES)
ENDING = ".mgz"
SLAB_BYTES = 64 * 2**20
CACHE_BYTES = 2**23  # a slab that stays in the processor's cache


class NSDSurface(NSD[Vertices], spaces=SURFACES):
    """NSD on a surface; units are the vertices of the masks, the left hemisphere first.

    Labels are read from `lh.NAME.mgz` and `rh.NAME.mgz`. Betas on fsaverage are floats in percent signal change. Betas
    on the subject's own surface are integers: percent signal change times 300.
    """

    @property
    def description(self) -> str:
        return f"NSD on {self.space}"

    def betas_of(self, subject: int, session: int) -> dict[str, Path]:
        """Return the files of betas of both hemispheres, by side ("lh", "rh")."""
        return {side: self.existing("surface betas", subject=subject, session=session, side=side) for side in SIDES}

    def _sessions_if_any(self, subject: int) -> list[int]:
        return [
            session
            for session in range(1, 100)
            if any(path.is_file() for path in self.expected("surface betas", subject, session, side=SIDES[0]))
        ]

    def units(self, subject: int) -> Vertices:
        sizes = {side: _n_vertices(path) for side, path in self.betas_of(subject, self.sessions(subject)[0]).items()}
        masks = {}
        for side, n in sizes.items():
            masks[side] = np.zeros(n, dtype=bool)
            for name in self.mask:
                if name == CORTEX:
                    masks[side][:] = True
                else:
                    path = self.existing("surface labels", subject=subject, name=f"{side}.{name}")
                    masks[side] |= _labels(path, n) > 0
        if not any(mask.any() for mask in masks.values()):
            raise InputError(f"--mask {' '.join(self.mask)} marks no vertex")
        return Vertices(masks)

    def response_files(self, subject: int, sessions: Sequence[int]) -> list[Path]:
        betas = [path for session in sessions for path in self.betas_of(subject, session).values()]
        names = [f"{side}.{name}" for name in self.mask for side in SIDES if name != CORTEX]
        labels = [self.existing("surface labels", subject=subject, name=name) for name in names]
        return [self.design(), *labels, *betas]

    def response_settings(self, subject: int) -> dict[str, Any]:
        return {"space": self.space}

    def read_session(self, subject: int, session: int, units: Vertices) -> np.ndarray:
        n_trials = self._design.trials_per_session
        responses = np.empty((n_trials, units.n), dtype=np.float32)
        first = 0
        for side, path in self.betas_of(subject, session).items():
            mask = units.masks[side]
            last = first + int(np.count_nonzero(mask))
            _fill(responses[:, first:last], path, mask)
            first = last
        return mark_invalid(responses)

    def regions(self, subject: int, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        units = self.units(subject)

        def read_labels(name: str) -> np.ndarray:
            parts = []
            for side, mask in units.masks.items():
                own = name if name.startswith(HEMISPHERES) else f"{side}.{name}"
                if own.startswith(f"{side}."):
                    path = self.existing("surface labels", subject=subject, name=own)
                    parts.append(_labels(path, mask.size)[mask])
                else:
                    parts.append(np.zeros(np.count_nonzero(mask), dtype=int))
            return np.concatenate(parts)

        return named_regions(self, subject, units.n, read_labels, names)

    def roi_files(self, subject: int) -> set[str]:
        folder = self.expected("surface labels", subject, name="any")[0].parent
        return {path.name.removesuffix(ENDING) for side in HEMISPHERES for path in folder.glob(f"{side}*{ENDING}")}

    def roi(self, subject: int, name: str) -> list[Path]:
        names = [name] if name.startswith(HEMISPHERES) else [side + name for side in HEMISPHERES]
        return [self.existing("surface labels", subject=subject, name=one) for one in names]

    def ncsnr(self, subject: int, units: Vertices) -> np.ndarray:
        parts = []
        for side, mask in units.masks.items():
            path = self.existing("surface ncsnr", subject=subject, side=side)
            parts.append(checked_ratio(_values(path, mask.size)[mask], path))
        return np.concatenate(parts)

    def check_ncsnr(self, subject: int) -> None:
        self.existing("surface ncsnr", subject=subject, side=SIDES[0])


def _n_vertices(path: Path) -> int:
    if path.suffix == ".hdf5":
        with open_hdf5(path) as file:
            return int(dataset(file, "betas", check_chunks=False).shape[-1])
    with open_mgh(path) as numbers:
        return int(numbers.shape[0])


def _fill(responses: np.ndarray, path: Path, mask: np.ndarray) -> None:
    """Read one hemisphere's betas through a mask into `responses` (n_trials, n_vertices of the mask)."""
    n_trials = len(responses)
    if path.suffix == ".hdf5":
        with open_hdf5(path) as file:
            data = dataset(file, "betas", check_chunks=False)
            _check(path, data.shape[::-1], mask, n_trials)
            places = np.flatnonzero(mask)
            if data.chunks == (n_trials, 1) and not data.id.get_create_plist().get_nfilters():
                step = max(1, SLAB_BYTES // (n_trials * data.dtype.itemsize))
                for start in range(0, places.size, step):
                    corners = np.pad(places[start : start + step, None], ((0, 0), (1, 0)))  # trial 0 of each vertex
                    responses[:, start : start + step] = read_chunks(data, corners)[:, :, 0].T
            else:
                step = max(1, SLAB_BYTES // (mask.size * data.dtype.itemsize))
                for start in range(0, n_trials, step):
                    responses[start : start + step] = read_part(data, slice(start, start + step))[:, mask]
            if data.dtype.kind in "iu":
                responses /= INTEGERS_PER_PERCENT
        return
    with open_mgh(path) as numbers:
        _check(path, (numbers.shape[0], numbers.shape[-1] if len(numbers.shape) == 4 else 1), mask, n_trials)
        step, places = max(1, CACHE_BYTES // (4 * mask.size)), np.flatnonzero(mask)
        for start in range(0, n_trials, step):
            # The file stores all vertices of a trial in a row. Reshaping in this order copies only the mask's vertices.
            part = np.asarray(numbers[..., start : start + step]).reshape((mask.size, -1), order="F")
            responses[start : start + step] = np.take(part.T, places, axis=1)


def _check(path: Path, shape: tuple[int, ...], mask: np.ndarray, n_trials: int) -> None:
    if shape != (mask.size, n_trials):
        raise InputError(
            f"{path} holds {shape[0]} vertices x {shape[1]} trials instead of {mask.size} x {n_trials}: fetch it again"
        )


def _labels(path: Path, n: int) -> np.ndarray:
    return np.rint(np.nan_to_num(_values(path, n))).astype(int)


def _values(path: Path, n: int) -> np.ndarray:
    values = read_mgh(path).astype(np.float64)
    if values.size != n:
        raise InputError(f"{path} has {values.size} vertices, but the betas have {n}")
    return values
