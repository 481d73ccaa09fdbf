"""Read the images of NSD and of NSD-synthetic by id."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from PIL import Image

from brain_activity_prediction.datasets.nsd.stimuli import N_IMAGES, Stimuli
from brain_activity_prediction.datasets.nsd_synthetic.design import N_COLOURED, N_COMMON
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.wording import count
from brain_activity_prediction.storage.embeddings.batch_files import ImageId
from brain_activity_prediction.storage.files import reading
from brain_activity_prediction.storage.hdf5_file import dataset, open_hdf5, read_part

SAMPLES = 16  # images in a digest; a picture takes 3 MB
CORRECTED, STORED = "corrected", "stored"
LIGHT = (CORRECTED, STORED)
# NSD-synthetic's pixels are proportional to the light of the screen. Pixels of ordinary pictures are roughly
# proportional to its square root. The authors of NSD-synthetic convert them as below, rounding down, for networks.
SQUARE_ROOTS = (np.sqrt(np.arange(256) / 255) * 255).astype(np.uint8)


class SyntheticImages:
    """Images of NSD as stored, and of NSD-synthetic cropped to their central square; both by id.

    core      NSD's images
    common    file of the synthetic images that all subjects saw
    coloured  {subject: file} of the synthetic images that only this subject saw
    light     CORRECTED to convert NSD-synthetic's pixels to those of ordinary pictures, 255 sqrt(x / 255), or STORED
    """

    def __init__(self, core: Stimuli, common: Path, coloured: Mapping[int, Path], light: str = CORRECTED):
        self._core, self._light, self._common = core, light, common
        with ExitStack() as opened:
            opened.enter_context(core)
            self._files = {"": opened.enter_context(_Bricks(common, N_COMMON))}
            for subject, path in coloured.items():
                self._files[f"_subj{subject:02d}"] = opened.enter_context(_Bricks(path, N_COLOURED))
            self._opened = opened.pop_all()

    def __enter__(self) -> SyntheticImages:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    @property
    def settings(self) -> dict[str, Any]:
        """Return NSD's settings, the conversion of pixels, and a digest of each file of NSD-synthetic."""
        own = {f"synthetic_images{name}": file.digest() for name, file in self._files.items()}
        return {**self._core.settings, "synthetic_light": self._light, **own}

    def check(self, image_ids: Sequence[ImageId] | np.ndarray) -> None:
        """Raise InputError if no file contains one of the images."""
        ids = np.asarray(image_ids, dtype=int)
        self._core.check(ids[ids <= N_IMAGES])
        missing = [image for image in ids[ids > N_IMAGES].tolist() if _place(image)[0] not in self._files]
        if missing:
            name = f"nsdsynthetic_colorstimuli{_place(missing[0])[0]}.hdf5"
            raise InputError(
                f"{self._common.parent} lacks {len(missing):,} of {count(ids.size, 'image')} (first: image "
                f"{missing[0]}): expected {name}"
            )

    def images(self, image_ids: Sequence[ImageId] | np.ndarray) -> list[Image.Image]:
        """Return RGB images in the order of the ids."""
        self.check(image_ids)
        return [self._image(int(image)) for image in image_ids]

    def _image(self, image: int) -> Image.Image:
        if image <= N_IMAGES:
            return self._core.images([image])[0]
        name, row = _place(image)
        pixels = self._files[name].central_square(row)
        return Image.fromarray(SQUARE_ROOTS[pixels] if self._light == CORRECTED else pixels)


def _place(image: int) -> tuple[str, int]:
    """Return the key in `_files` of the file with an image of NSD-synthetic, and the image's row there, from 0."""
    row = image - N_IMAGES - 1
    if row < N_COMMON:
        return "", row
    subject, row = divmod(row - N_COMMON, N_COLOURED)
    return f"_subj{subject + 1:02d}", row


class _Bricks:
    """An HDF5 file of uint8 images (n, height, width, 3), named imgBrick."""

    def __init__(self, path: Path, n: int):
        self.path = path
        with ExitStack() as opened:
            self._brick = _checked(path, opened.enter_context(open_hdf5(path)), n)
            self._opened = opened.pop_all()

    def __enter__(self) -> _Bricks:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def digest(self) -> str:
        digest = hashlib.sha256(str(self._brick.shape).encode())
        with reading(self.path):
            for row in np.unique(np.linspace(0, len(self._brick) - 1, SAMPLES, dtype=int)):
                digest.update(read_part(self._brick, int(row)).data)
        return digest.hexdigest()[:16]

    def central_square(self, row: int) -> np.ndarray:
        """Return the largest square in the middle of an image, (size, size, 3) uint8."""
        with reading(self.path):
            pixels = read_part(self._brick, row)
        height, width, _ = pixels.shape
        size = min(height, width)
        top, left = (height - size) // 2, (width - size) // 2
        return np.ascontiguousarray(pixels[top : top + size, left : left + size])


def _checked(path: Path, file: h5py.File, n: int) -> h5py.Dataset:
    if "imgBrick" not in file:
        raise InputError(f"{path} is not a stimulus file of NSD-synthetic: it holds no dataset 'imgBrick'")
    brick = dataset(file, "imgBrick")
    if brick.dtype != np.uint8 or brick.ndim != 4 or brick.shape[0] != n or brick.shape[3] != 3:
        raise InputError(
            f"{path} is not a stimulus file of NSD-synthetic: imgBrick is {brick.dtype} of shape {brick.shape} instead "
            f"of uint8 ({n}, height, width, 3)"
        )
    return brick
