"""Open .npy files without ever unpickling."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from brain_activity_prediction.runtime.errors import InputError

PICKLE = b"\x80"  # first byte since protocol 2


def open_npy(
    path: Path,
    n_axes: int | tuple[int, ...],
    pickled: Callable[[Path], str] = lambda path: "it is a pickle: write it as numbers",
) -> np.ndarray:
    """Return a memory map of an array of numbers; raise InputError for other files.

    n_axes   the number of axes it must have, or several possible ones
    pickled  function that returns the advice for a file with Python objects
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist")
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise InputError(f"{path} is not read: {pickled(path) if _is_pickle(path, error) else _said(error)}") from None
    except Exception as error:  # a damaged header raises many kinds
        raise InputError(f"cannot read {path} ({error}): fetch or make it again") from None
    if not isinstance(array, np.ndarray):
        raise InputError(f"{path} is an archive of arrays: save one of its arrays with numpy.save")
    possible = n_axes if isinstance(n_axes, tuple) else (n_axes,)
    if array.dtype.kind not in "biuf" or array.ndim not in possible:
        axes = " or ".join(map(str, possible))
        raise InputError(f"{path} holds {array.dtype} of shape {array.shape} instead of numbers with {axes} axes")
    return array


def _said(error: ValueError) -> str:
    """Return numpy's message; it calls every file without the mark of an array pickled."""
    return "it is no array that numpy.save wrote" if "pickled" in str(error) else str(error)


def _is_pickle(path: Path, error: ValueError) -> bool:
    """Return whether a file has Python objects: an array of them, or a pickle under the name of an array."""
    with path.open("rb") as file:
        return file.read(1) == PICKLE or "objects in dtype" in str(error)
