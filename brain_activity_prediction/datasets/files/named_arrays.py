"""Read one array of a MATLAB or HDF5 file by its name."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from brain_activity_prediction.datasets.nsd.matlab import read_arrays
from brain_activity_prediction.storage.files import reading
from brain_activity_prediction.storage.hdf5_file import is_hdf5, open_hdf5, small_array

LARGEST_BYTES = 2**28  # a volume of 1 mm takes 33 MB


def named_array(path: Path, name: str) -> np.ndarray | None:
    """Return an array in the shape that MATLAB or Python gives it; None if the file has no array of this name.

    Raises InputError for a damaged file.
    """
    if not is_hdf5(path):
        with reading(path):
            return read_arrays(path, {name}).get(name)
    with open_hdf5(path) as file:
        if file.get(name, getclass=True) is not h5py.Dataset:
            return None
        values = small_array(file, name, LARGEST_BYTES)
        return values.T if path.suffix.lower() == ".mat" else values  # a reader in C order has the axes reversed
