"""Read FreeSurfer's MGH and MGZ files: values of vertices, a few columns at a time."""

from __future__ import annotations

import gzip
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from nibabel.arrayproxy import ArrayProxy
from nibabel.freesurfer.mghformat import MGHHeader

from brain_activity_prediction.storage.files import reading

MOST_DEFLATED = 1032  # bytes that gzip can store in one


@contextmanager
def open_mgh(path: Path) -> Iterator[ArrayProxy]:
    """Open a .mgh or .mgz file: an array (X, Y, Z) or (X, Y, Z, n) that reads only the requested part."""
    with reading(path), gzip.open(path) if path.suffix == ".mgz" else path.open("rb") as file:
        header = MGHHeader.from_fileobj(file)
        shape, n_bytes = header["dims"].tolist(), path.stat().st_size
        stated = math.prod(shape) * header.get_data_dtype().itemsize
        if not 0 < stated <= n_bytes * (MOST_DEFLATED if path.suffix == ".mgz" else 1):
            raise ValueError(f"its header states the shape {shape}, but it has {n_bytes:,} bytes")
        yield ArrayProxy(file, header, mmap=False)


def read_mgh(path: Path) -> np.ndarray:
    """Read all values of a file as one array (n_vertices,)."""
    with open_mgh(path) as numbers:
        return np.asarray(numbers).reshape(-1)
