"""Read single images from NSD's HDF5 file."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
from PIL import Image

from brain_activity_prediction.datasets.nsd.design import stimulus_rows
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.wording import count
from brain_activity_prediction.storage.files import reading
from brain_activity_prediction.storage.hdf5_file import dataset, open_hdf5, read_part

LARGEST_SIZE = 4096  # pixels; NSD's images have 425
SAMPLES = 64
N_IMAGES = 73_000  # number of images in NSD


class Stimuli:
    """NSD's images by 1-based NSD id; the file is opened read-only, and only requested images are read.

    Use it in a `with` block, or call `close`. Raises InputError if the file is broken or holds no `imgBrick` of uint8
    images (n_images, size, size, 3).
    """

    def __init__(self, path: Path | str):
        self.path = Path(path)
        with ExitStack() as opened:
            file = opened.enter_context(open_hdf5(self.path))
            if "imgBrick" not in file:
                raise InputError(f"{self.path} is not NSD's stimulus file: it holds no dataset 'imgBrick'")
            self._brick = dataset(file, "imgBrick")
            if problem := _problem(self._brick):
                raise InputError(f"{self.path} is not NSD's stimulus file: {problem}")
            self._opened = opened.pop_all()

    def __enter__(self) -> Stimuli:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._opened.close()

    @property
    def n_images(self) -> int:
        return self._brick.shape[0]

    @property
    def image_size(self) -> int:
        """Return the height, equal to the width, of an image in pixels."""
        return self._brick.shape[1]

    @property
    def settings(self) -> dict[str, Any]:
        """Return the settings that change a model's hidden states: the image size, and a digest of SAMPLES images.

        The sample is spread evenly over the file. It detects another set of images, but rarely a single changed image.
        """
        digest = hashlib.sha256(str(self._brick.shape).encode())
        with reading(self.path):
            for row in np.unique(np.linspace(0, self.n_images - 1, SAMPLES, dtype=int)):
                digest.update(read_part(self._brick, int(row)).data)
        return {"stimulus_pixels": self.image_size, "stimulus_images": digest.hexdigest()[:16]}

    def check(self, ids: npt.ArrayLike) -> None:
        """Raise InputError if NSD ids are not in the file."""
        ids = np.asarray(ids, dtype=int)
        outside = ids[(ids < 1) | (ids > self.n_images)]
        if outside.size:
            raise InputError(
                f"{self.path} lacks {outside.size:,} of {count(ids.size, 'image')} (first: image {outside[0]}): "
                f"it holds images 1 to {self.n_images}; NSD's own nsd_stimuli.hdf5 holds all {N_IMAGES:,}"
            )

    def images(self, ids: npt.ArrayLike) -> list[Image.Image]:
        """Return the RGB images of these NSD ids, a list of PIL.Image in the given order."""
        self.check(ids)
        with reading(self.path):
            # Row by row: h5py's selection by list takes time quadratic in its length.
            return [Image.fromarray(read_part(self._brick, row)) for row in stimulus_rows(ids)]


def _problem(brick: h5py.Dataset) -> str | None:
    """Describe in a few words what is wrong with the HDF5 dataset; None if it is as expected."""
    if brick.dtype != np.uint8:
        return f"imgBrick is {brick.dtype} instead of uint8"
    if brick.ndim != 4 or brick.shape[1] != brick.shape[2] or brick.shape[3] != 3:
        return f"imgBrick has shape {brick.shape} instead of (images, size, size, 3)"
    if not len(brick) or not 0 < brick.shape[1] <= LARGEST_SIZE:
        return f"imgBrick has shape {brick.shape} instead of images of up to {LARGEST_SIZE} pixels"
    return None
