"""Keep averaged responses in a sealed HDF5 file, with a record of the files and settings from which they were made."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from brain_activity_prediction.runtime.claims import Claims, remove_left_claims
from brain_activity_prediction.runtime.errors import Damaged
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.runtime.shared_work import shared_out
from brain_activity_prediction.storage.files import check_room, reading, remove_left_behind, sampled_digest
from brain_activity_prediction.storage.sealed_hdf5 import read_array, read_seal, write_sealed

Arrays: TypeAlias = dict[str, np.ndarray]  # named as in AXES
FORMAT = 4  # version of the file format: increase it when the arrays or their names change
LARGE = {"betas", "trials"}
ROWS_A_PIECE = 256  # rows of a large array that are sealed together
AXES = {  # axes of the arrays: n images, V voxels, G groups of images, k incomplete voxels, s sessions, t trials
    **{"image_ids": "n", "n_repeats": "n", "betas": "nV", "within_image_ss": "GV", "image_groups": "n"},
    **{"incomplete": "k", "valid_repeats": "nk", "voxels_by_session": "s", "trials": "tV"},
}
OFTEN_EMPTY = {"incomplete", "valid_repeats", "trials"}  # empty if no trial is missing; without single trials


def inputs_of(base_dir: Path, files: Iterable[Path], **settings: Any) -> dict[str, Any]:
    """Return what a cache file depends on: the settings, and the size, time of change and digest of each input file."""
    inputs = {
        "format": FORMAT,
        **settings,
        # Paths are relative, so that the cache stays valid if the dataset is mounted elsewhere.
        **{_name(path, base_dir): _content(path) for path in files},
    }
    return json.loads(json.dumps(inputs))


def _name(path: Path, base_dir: Path) -> str:
    return path.relative_to(base_dir).as_posix() if path.is_relative_to(base_dir) else str(path)


def _content(path: Path) -> list[int | str]:
    with reading(path):
        stat = path.stat()
        return [stat.st_size, stat.st_mtime_ns, sampled_digest(path)]


def load_or_make(path: Path, inputs: Mapping[str, Any], n_bytes: int, make: Callable[[], Arrays]) -> Arrays:
    """Load the arrays of a cache file, or compute them with `make()` and store them there.

    If several processes need the same file, one makes it and the others wait. Raises InputError if `n_bytes` do not fit
    on the disk.
    """
    claimed_in = path.with_suffix(".claims")
    arrays = load(path, inputs)
    if arrays is not None:
        remove_left_claims(claimed_in)
        return arrays
    check_room(path.parent, n_bytes, path.name)
    with Claims(claimed_in) as claims:
        for mine, _ in shared_out(claims, lambda: {} if _is_made(path, inputs) else {("arrays",): [path.stem]}, 1, str):
            if mine:
                remove_left_behind(path.parent)
                arrays = make()
                store(path, arrays, inputs)
    if arrays is None:  # another process made the file, so load it
        arrays = load(path, inputs)
    return make() if arrays is None else arrays


def load(path: Path, inputs: Mapping[str, Any]) -> Arrays | None:
    """Load the arrays of a cache file; return None unless it was made from exactly these inputs.

    A warning gives the reason if a file exists but cannot be used. A damaged file is deleted.
    """
    if not path.exists():
        return None
    try:
        with reading(path, "it is computed again"):
            seal = read_seal(path)
            changed = [key for key in {**seal.about, **inputs} if seal.about.get(key) != inputs.get(key)]
            if not changed:
                seal.check_axes(AXES)
                if missing := AXES.keys() - OFTEN_EMPTY - seal.datasets.keys():
                    raise ValueError(f"it holds no {min(missing)}")
                return {name: read_array(path, name) for name in seal.datasets}
            reason = f"{', '.join(changed[:3])} changed since it was made"
    except Damaged as error:
        path.unlink(missing_ok=True)
        reason = f"it is damaged: {error}"
    log.warning(f"computing {path} again: {reason}")
    return None


def store(path: Path, arrays: Arrays, inputs: Mapping[str, Any]) -> None:
    """Write a cache file atomically: the non-empty arrays, and the inputs that they depend on."""
    arrays = {name: array for name, array in arrays.items() if array.size}
    pieces = {name: (0, min(ROWS_A_PIECE, len(array))) for name, array in arrays.items() if name in LARGE}
    write_sealed(path, arrays, inputs, cuts=pieces)


def _is_made(path: Path, inputs: Mapping[str, Any]) -> bool:
    """Return whether a cache file made from exactly these inputs exists, without reading its arrays."""
    with suppress(OSError, ValueError):
        return read_seal(path).about == inputs
    return False
