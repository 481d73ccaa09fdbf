"""Read NIfTI files to the last byte, so that the checksum at the end of a .nii.gz is verified."""

import gzip
import logging
import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from nibabel.arrayproxy import ArrayProxy
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header

from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.storage.files import reading
from brain_activity_prediction.storage.grid import Grid, on_grid

HEADERS = {348: Nifti1Header, 540: Nifti2Header}  # by the first number of a file, the length of its header in bytes
# Silence nibabel's log of header flaws, because this module reports them itself.
QUIET = logging.Logger("nifti headers", logging.CRITICAL)
LARGEST_VOLUME = 2**24  # voxels; NSD's 1.8 mm volumes have under 10**6
LARGEST_OVERHANG = 2**20  # largest number of bytes before the voxel values, and after them


@dataclass(frozen=True)
class Volumes:
    """An open NIfTI file: its values, shape (X, Y, Z) or (X, Y, Z, n), and its voxel grid."""

    numbers: ArrayProxy  # indexed like an array; only the requested part is read, fastest in file order
    grid: Grid

    @property
    def shape(self) -> tuple[int, ...]:
        return self.numbers.shape

    @property
    def stored_as_integers(self) -> bool:
        """Return whether the file stores integers that its header does not scale."""
        return self.numbers.dtype.kind in "iu" and (self.numbers.slope, self.numbers.inter) == (1, 0)


@contextmanager
def open_volumes(path: Path) -> Iterator[Volumes]:
    """Open a .nii or .nii.gz file as `Volumes`.

    Raises InputError for other files. Damage is reported at the end of the block, because gzip detects it only after
    the whole file has been read.
    """
    with reading(path), _opened(path) as file:
        header = _header(file)
        volumes = Volumes(ArrayProxy(file, header, mmap=False), _grid(path, header))
        yield volumes
        file.seek(header.get_data_offset() + math.prod(volumes.shape) * volumes.numbers.dtype.itemsize)
        file.read(LARGEST_OVERHANG)
        if file.read(1):
            raise ValueError("it has more bytes after its last volume")


def read_volume(path: Path) -> tuple[np.ndarray, Grid]:
    """Read the single volume (X, Y, Z) of a file, and its grid; trailing axes of length 1 are dropped."""
    with open_volumes(path) as volumes:
        if len(volumes.shape) < 3 or math.prod(volumes.shape[3:]) != 1:
            raise InputError(f"{path} has shape {volumes.shape} instead of one volume (X, Y, Z)")
        return np.asarray(volumes.numbers).reshape(volumes.shape[:3]), volumes.grid


def read_volume_on(path: Path, reference: Grid) -> np.ndarray:
    """Read the single volume (X, Y, Z) of a file in the voxel order of the `reference` grid.

    Raises InputError if the file's voxels differ in number, size, position or angle.
    """
    numbers, grid = read_volume(path)
    return on_grid(numbers, grid, reference)


def read_grid(path: Path) -> Grid:
    """Read the voxel grid from a file's header; the voxel values are neither read nor checked."""
    with reading(path), _opened(path) as file:
        return _grid(path, _header(file))


def read_shape(path: Path) -> tuple[int, ...]:
    """Read the shape of the volumes, (X, Y, Z) or (X, Y, Z, n), from a file's header."""
    with reading(path), _opened(path) as file:
        return _header(file).get_data_shape()


def _opened(path: Path) -> Any:
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")


def _grid(path: Path, header: Any) -> Grid:
    shape, affine = header.get_data_shape()[:3], header.get_best_affine()
    if not np.isfinite(affine).all():
        raise ValueError("its affine is not finite")
    if math.prod(shape) > LARGEST_VOLUME:
        raise ValueError(f"volumes of shape {shape} are larger than any of NSD's")
    return Grid(path, shape, affine, bool(header["sform_code"] or header["qform_code"]))


def _header(file: IO[bytes]) -> Any:
    """Read the NIfTI header without its extensions, whose stated lengths cannot be trusted."""
    length = file.read(4)
    for order in "<>":
        if len(length) == 4 and (kind := HEADERS.get(struct.unpack(f"{order}i", length)[0])):
            header = kind(length + file.read(kind.template_dtype.itemsize - 4), order, check=False)
            if not 1 <= header["dim"][0] <= 7:
                raise ValueError(f"its header has {header['dim'][0]} axes")
            header.check_fix(QUIET)
            if header.get_data_dtype().kind not in "iuf" or header.get_data_dtype().itemsize > 8:
                raise ValueError(f"its numbers are {header.get_data_dtype()}")
            if not kind.template_dtype.itemsize <= header.get_data_offset() <= LARGEST_OVERHANG:
                raise ValueError(f"its numbers begin at byte {header.get_data_offset()}")
            return header
    raise ValueError("no NIfTI header")
