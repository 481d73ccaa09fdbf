"""Open GIFTI files: XML with arrays of the values, labels, points or faces of a surface.

nibabel's parser trusts the sizes that a file states, and inflates arrays before it compares them with these sizes.
"""

from __future__ import annotations

import base64
import gzip
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.gifti import GiftiImage
from nibabel.gifti.parse_gifti_fast import GiftiImageParser
from nibabel.gifti.util import array_index_order_codes, gifti_encoding_codes, gifti_endian_codes
from nibabel.nifti1 import data_type_codes

from brain_activity_prediction.storage.files import readable

# A file may need this many bytes of memory, or this many for each of its bytes if that is more. Constant arrays shrink
# to a thousandth; ROOM holds 400 of them on fsaverage.
ROOM, MOST_INFLATED = 2**28, 100
OF_ELEMENT = 1024  # bytes; an array without values took nibabel 730, a label 220
MOST_AXES = 6  # of GIFTI's definition


def open_gifti(path: Path) -> GiftiImage:
    """Return nibabel's image of a .gii or .gii.gz file; it has at least one array, and each has its values.

    Raises ValueError, before memory is taken, if arrays have other sizes than stated, or need far more memory than the
    size of the file.
    """
    parser = _Parser(path)
    with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as file:
        parser.parse(fptr=file)
    if parser.img is None or not parser.img.darrays:
        raise ValueError("it holds no arrays")
    if any(array.data is None for array in parser.img.darrays):
        raise ValueError("one of its arrays has no values")
    return parser.img


class _Parser(GiftiImageParser):
    """nibabel's parser, which asks for room before it takes memory."""

    def __init__(self, path: Path):
        super().__init__(buffer_size=2**20)  # nibabel's own takes 35 MB for any file
        self.path, self.external = path, dict[Path, int]()
        self.room = self.allowed = max(ROOM, MOST_INFLATED * path.stat().st_size)

    def StartElementHandler(self, name: str, attrs: dict[str, str]) -> None:
        self._take(OF_ELEMENT)
        if int(attrs.get("Dimensionality", 0)) > MOST_AXES:
            raise ValueError(f"it states {attrs['Dimensionality']} axes of an array")
        super().StartElementHandler(name, attrs)

    def CharacterDataHandler(self, data: str) -> None:
        self._take(len(data))
        super().CharacterDataHandler(data)

    def flush_chardata(self) -> None:
        if self.write_to != "Data":
            super().flush_chardata()
            return
        dtype: Any = data_type_codes.dtype[self.da.datatype]
        stated = math.prod(self.da.dims) * dtype.itemsize
        if min(self.da.dims, default=0) < 0:
            raise ValueError(f"it states an array of shape {tuple(self.da.dims)}")
        encoding = gifti_encoding_codes.label[self.da.encoding]
        if encoding == "External":
            self._check_external(stated)
        elif self._char_blocks is None:
            raise ValueError("one of its arrays has no values")
        self._take(stated)
        if encoding != "B64GZ":
            super().flush_chardata()
            return
        content = _inflated("".join(self._char_blocks), stated)
        self._char_blocks = None
        order: Any = array_index_order_codes.npcode[self.da.ind_ord]
        values = np.frombuffer(content, dtype.newbyteorder(gifti_endian_codes.byteorder[self.da.endian]))
        self.da.data = values.reshape(tuple(self.da.dims), order=order)

    def _take(self, n_bytes: int) -> None:
        self.room -= n_bytes
        if self.room < 0:
            size = self.path.stat().st_size
            raise ValueError(f"its content needs more than {readable(self.allowed)}, but it has {size:,} bytes")

    def _check_external(self, stated: int) -> None:
        """Raise ValueError unless the file next to it that holds an array is as large as stated."""
        path, start = self.path.parent / self.da.ext_fname, self.da.ext_offset
        if not path.is_file():
            raise ValueError(f"its values should be in {path}, which is not a file")
        size = path.stat().st_size
        if not 0 <= start <= size - stated:
            raise ValueError(f"it states {stated:,} bytes from byte {start:,} of {path.name}, which has {size:,} bytes")
        if path not in self.external:
            self.external[path] = size
            self.room, self.allowed = self.room + MOST_INFLATED * size, self.allowed + MOST_INFLATED * size


def _inflated(text: str, stated: int) -> bytearray:
    """Return the bytes of a compressed array, which can be written to as nibabel's; inflate no more than stated."""
    inflating = zlib.decompressobj()
    content = bytearray(inflating.decompress(base64.b64decode(text), stated + 1))
    if len(content) != stated or not inflating.eof:
        than = "more" if len(content) > stated else "fewer"
        raise ValueError(f"it states {stated:,} bytes of an array, which has {than}")
    return content
