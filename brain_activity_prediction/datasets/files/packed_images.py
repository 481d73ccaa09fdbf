"""Read a dataset's images from one HDF5 file that holds the bytes of picture files, with a table of their names."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from brain_activity_prediction.datasets.files.image_files import NamedImages, decode_image
from brain_activity_prediction.datasets.files.tables import read_rows
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.wording import count, did_you_mean
from brain_activity_prediction.storage.embeddings.batch_files import ImageId
from brain_activity_prediction.storage.files import reading
from brain_activity_prediction.storage.hdf5_file import dataset_of_files, open_hdf5


class PackedImages(NamedImages):
    """Picture files in the dataset `images` (n,) of an HDF5 file; a column of a table with n rows holds their names.

    background  colour of the screen behind transparent pixels
    """

    def __init__(self, path: Path, table: Path, column: str, background: tuple[int, int, int]):
        super().__init__()
        self._path, self._table, self._background = path, table, background
        self._rows = {row[column]: place for place, row in enumerate(read_rows(table, (column,)))}

    def __enter__(self) -> PackedImages:
        self._opened = open_hdf5(self._path)
        try:
            self._images = dataset_of_files(self._opened.__enter__(), "images")
            if len(self._images) != len(self._rows):
                raise ValueError(f"it has {len(self._images):,} images, but {self._table} names {len(self._rows):,}")
        except BaseException as error:
            self._opened.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.__exit__(None, None, None)

    def has(self, name: ImageId) -> bool:
        return name in self._rows

    def check(self, image_ids: Sequence[ImageId] | np.ndarray) -> None:
        """Raise InputError if the table lacks an image."""
        missing = [str(name) for name in image_ids if name not in self._rows]
        if missing:
            raise InputError(
                f"{self._table} lacks {len(missing):,} of {count(len(image_ids), 'image')} "
                f"(first: {missing[0]}){did_you_mean(missing[0], list(self._rows))}"
            )

    def _decoded(self, name: ImageId) -> Image.Image:
        with reading(self._path):
            try:
                return decode_image(io.BytesIO(self._read(name)), f"{self._path}: image {name}", self._background)
            except InputError:
                raise
            except Exception as error:
                raise ValueError(f"image {name}: {error}") from error

    def _read(self, name: ImageId) -> bytes:
        with reading(self._path):
            return self._images[self._rows[str(name)]].tobytes()
