"""Read a dataset's images from picture files, by name."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from brain_activity_prediction.datasets.files.picture_names import near_picture
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.runtime.wording import count
from brain_activity_prediction.storage.embeddings.batch_files import ImageId
from brain_activity_prediction.storage.files import reading

MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"}  # 8 bits per channel after Pillow
GREY_16 = {"I;16", "I;16B", "I;16L"}
MOST_PIXELS = 2**26
ORIENTATION = 0x0112  # tag of EXIF and TIFF; 1 for upright
_folders_told: set[Path] = set()  # folders whose orientation tags were already reported


class NamedImages(ABC):
    """Images by name, each identified by a digest of its pixels; an image is decoded when it is requested."""

    def __init__(self) -> None:
        self._digests: dict[ImageId, str] = {}  # digests of the images decoded so far

    @property
    def settings(self) -> dict[str, Any]:
        """Return no settings: each image has its own digest instead, so that images can be added later."""
        return {}

    @abstractmethod
    def has(self, name: ImageId) -> bool:
        """Return whether an image exists."""

    @abstractmethod
    def check(self, image_ids: Sequence[ImageId] | np.ndarray) -> None:
        """Raise InputError if an image is missing."""

    @abstractmethod
    def _decoded(self, name: ImageId) -> Image.Image:
        """Decode an image as RGB."""

    def images(self, image_ids: Sequence[ImageId] | np.ndarray) -> list[Image.Image]:
        """Return RGB images in the order of the names."""
        self.check(image_ids)
        images = [self._decoded(name) for name in image_ids]
        self._digests |= {name: digest_of(image) for name, image in zip(image_ids, images, strict=True)}
        return images

    def sizes(self, image_ids: Sequence[ImageId] | np.ndarray) -> dict[ImageId, tuple[int, int]]:
        """Return width and height in pixels of the images whose sizes are known without decoding them."""
        return {}

    def digests(self, image_ids: Sequence[ImageId] | np.ndarray) -> list[str]:
        """Return a digest of each image's pixels; images without a known digest are decoded."""
        for name in image_ids:
            if name not in self._digests:
                self.images([name])
        return [self._digests[name] for name in image_ids]


def digest_of(image: Image.Image) -> str:
    """Return a digest of an image's size and pixels."""
    return hashlib.blake2b(repr(image.size).encode() + image.tobytes(), digest_size=12).hexdigest()


class ImageFiles(NamedImages):
    """Picture files by image name; files are opened one at a time, when an image is requested.

    paths  the file of each image
    """

    def __init__(self, paths: Mapping[Any, Path], folder: Path):
        super().__init__()
        self._paths, self._folder = paths, folder

    def __enter__(self) -> ImageFiles:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def has(self, name: ImageId) -> bool:
        return name in self._paths and self._paths[name].is_file()

    def check(self, image_ids: Sequence[ImageId] | np.ndarray) -> None:
        """Raise InputError if an image has no file."""
        missing = [name for name in image_ids if not self.has(name)]
        if missing:
            path = self._paths.get(missing[0], self._folder / str(missing[0]))
            raise InputError(
                f"{self._folder} lacks {len(missing):,} of {count(len(image_ids), 'image')} "
                f"(first: {missing[0]}){near_picture(self._folder, path)}"
            )

    def sizes(self, image_ids: Sequence[ImageId] | np.ndarray) -> dict[ImageId, tuple[int, int]]:
        """Return width and height in pixels, by the headers of the files."""
        return {name: _size(self._paths[name]) for name in image_ids}

    def refused(self) -> list[str]:
        """Return a reason for each picture that cannot be read; only those that may be transparent are decoded."""
        reasons = []
        for path in self._paths.values():
            try:
                if path.is_file():
                    with reading(path), path.open("rb") as file:
                        if _may_be_transparent(_opened(file, str(path))):
                            read_image(path)
            except InputError as error:
                reasons.append(str(error))
        return reasons

    def equal_files(self) -> list[tuple[ImageId, ImageId]]:
        """Return pairs of image names whose files have the same bytes."""
        sizes = {name: path.stat().st_size for name, path in self._paths.items() if path.is_file()}
        n_of_size, first = Counter(sizes.values()), dict[bytes, ImageId]()
        equal = []
        for name in [name for name, size in sizes.items() if n_of_size[size] > 1]:
            other = first.setdefault(hashlib.blake2b(self._paths[name].read_bytes()).digest(), name)
            equal += [(other, name)] if other != name else []
        return equal

    def _decoded(self, name: ImageId) -> Image.Image:
        return read_image(self._paths[name])


def read_image(path: Path) -> Image.Image:
    """Read a picture file as RGB; raise InputError for a picture that `decode_image` refuses."""
    with reading(path), path.open("rb") as file:
        return decode_image(file, str(path))


def _size(path: Path) -> tuple[int, int]:
    with reading(path), path.open("rb") as file:
        return _opened(file, str(path)).size


def decode_image(file: IO[bytes], name: str, background: tuple[int, int, int] | None = None) -> Image.Image:
    """Decode a picture as RGB with 8 bits per channel, without applying its colour profile.

    Of 16-bit colours, Pillow keeps the upper 8 bits. 16-bit grey is rounded to 8 bits.

    name        name of the picture in messages
    background  colour of the screen behind transparent pixels; None if it is unknown

    Raises InputError for a picture of more than MOST_PIXELS, an animation, an unsupported kind of pixels, a TIFF with
    an orientation tag (Pillow would rotate it), and transparent pixels without `background`. Raises Pillow's errors for
    a damaged picture.
    """
    with _opened(file, name) as image:
        see_through = _may_be_transparent(image)
        if image.mode in GREY_16 and not see_through:
            grey = np.asarray(image).astype(np.uint32)
            return Image.fromarray(((grey * 255 + 32767) // 65535).astype(np.uint8)).convert("RGB")
        if not see_through or np.asarray(pixels := image.convert("RGBA"))[..., 3].min() == 255:
            return image.convert("RGB")
        if background is None:
            raise InputError(f"{name} has transparent pixels: store it with the background that was shown")
        return Image.alpha_composite(Image.new("RGBA", image.size, background), pixels).convert("RGB")


def _opened(file: IO[bytes], name: str) -> Image.Image:
    """Open a picture by its header alone; raise InputError for the kinds that `decode_image` refuses."""
    try:
        image = Image.open(file)
    except UnidentifiedImageError:
        raise InputError(f"{name} is not a picture in a known format: store it as PNG or JPEG") from None
    if image.width * image.height > MOST_PIXELS:
        raise InputError(f"{name} has {image.width} x {image.height} pixels: store it in the size that was shown")
    if (n_frames := getattr(image, "n_frames", 1)) > 1 and image.format != "MPO":  # MPO: a photo and a small copy
        raise InputError(f"{name} has {n_frames} frames: store only the frame that was shown")
    if image.mode not in (MODES if _may_be_transparent(image) else MODES | GREY_16):
        raise InputError(f"{name} has unsupported pixels (Pillow mode {image.mode}): store it with 8 bits per channel")
    _check_orientation(image, name)
    return image


def _may_be_transparent(image: Image.Image) -> bool:
    return "A" in image.getbands() or "transparency" in image.info


def _check_orientation(image: Image.Image, name: str) -> None:
    """Warn that a camera's orientation tag is not applied; raise InputError for a TIFF, because Pillow applies it."""
    tagged = "exif" in image.info or image.format == "TIFF"
    if not tagged or image.getexif().get(ORIENTATION, 1) in (0, 1):
        return
    if image.format == "TIFF":
        raise InputError(f"{name} has an orientation tag: store it upright, without the tag")
    if (folder := Path(name).parent) not in _folders_told:
        _folders_told.add(folder)
        log.warning(
            f"pictures in {folder} have a camera's orientation tag (first: {Path(name).name}). They are read as "
            "stored, as PsychoPy and MATLAB's imread do; picture viewers rotate them by the tag"
        )
