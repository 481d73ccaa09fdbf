"""Read a dataset's images from picture files, by name."""

from __future__ import annotations

import hashlib
import unicodedata
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.runtime.wording import count, near_path
from brain_activity_prediction.storage.embeddings.batch_files import ImageId
from brain_activity_prediction.storage.files import reading

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"}  # 8 bits a channel, or 16 that Pillow cuts to 8
GREY_16 = {"I;16", "I;16B", "I;16L"}
MOST_PIXELS = 2**26
ORIENTATION = 0x0112  # tag of EXIF and TIFF; 1 for upright
_folders_told: set[Path] = set()  # folders whose orientation tags were already reported


class NamedImages(ABC):
    """Images by name, each recognised by a digest of its pixels; they are decoded when they are requested."""

    def __init__(self) -> None:
        self._digests: dict[ImageId, str] = {}  # of the images that were decoded

    @property
    def settings(self) -> dict[str, Any]:
        """Return no settings: every image has its own digest, so that images can be added."""
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

    def digests(self, image_ids: Sequence[ImageId] | np.ndarray) -> list[str]:
        """Return a digest of each image's pixels; images are decoded again unless they were before."""
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

    def refused(self) -> list[str]:
        """Return why pictures are not read, by their headers alone; pictures that may be transparent are decoded."""
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
        """Return the names of two images for each file that has the bytes of another."""
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
    """Read a picture file as RGB; raise InputError for what `decode_image` does not read."""
    with reading(path), path.open("rb") as file:
        return decode_image(file, str(path))


def decode_image(file: IO[bytes], name: str, background: tuple[int, int, int] | None = None) -> Image.Image:
    """Decode a picture as RGB with 8 bits a channel, as stored: colour profiles are not applied.

    Of 16 bits a channel, those of colours are cut to the upper 8 by Pillow; grey is rounded.

    name        for messages
    background  colour of the screen behind transparent pixels, if it is known

    Raises InputError for a huge picture, an animation, other kinds of pixels, a TIFF that Pillow would turn, and
    transparent pixels without a background; Pillow's errors for a damaged one.
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
        raise InputError(f"{name} is no picture of a known format: store it as PNG or JPEG") from None
    if image.width * image.height > MOST_PIXELS:
        raise InputError(f"{name} has {image.width} x {image.height} pixels: store it as it was shown")
    if (n_frames := getattr(image, "n_frames", 1)) > 1 and image.format != "MPO":  # cameras add a small copy
        raise InputError(f"{name} has {n_frames} frames: store the one that was shown")
    if image.mode not in (MODES if _may_be_transparent(image) else MODES | GREY_16):
        raise InputError(f"{name} has pixels of the kind {image.mode}: store it with 8 bits a channel")
    _check_orientation(image, name)
    return image


def _may_be_transparent(image: Image.Image) -> bool:
    return "A" in image.getbands() or "transparency" in image.info


def _check_orientation(image: Image.Image, name: str) -> None:
    """Say that a camera's orientation tag is not applied; raise InputError for a TIFF, where Pillow applies it."""
    tagged = "exif" in image.info or image.format == "TIFF"
    if not tagged or image.getexif().get(ORIENTATION, 1) in (0, 1):
        return
    if image.format == "TIFF":
        raise InputError(f"{name} has an orientation tag: store it upright, without the tag")
    if (folder := Path(name).parent) not in _folders_told:
        _folders_told.add(folder)
        log.warning(
            f"pictures in {folder} have a camera's orientation tag (first: {Path(name).name}): they are read as "
            "stored, as PsychoPy and MATLAB's imread show them, not turned as in a viewer"
        )


def find_files(folder: Path, names: Sequence[str]) -> dict[str, Path]:
    """Return the file of each image name, which may lack its ending; names without a file get the expected path.

    A name may be spelt as another system does: with backslashes, or with accents as characters of their own.

    Raises InputError for a name that leads out of the folder, if several files fit a name without ending, and if two
    names fit one file: it would be two images, one of them perhaps for training and the other for testing.
    """
    paths: dict[str, Path] = {}
    name_of: dict[Path, str] = {}
    listed: dict[Path, Mapping[str, list[Path]]] = {}
    for name in names:
        parts = name.replace("\\", "/").split("/")
        if not name or Path(name).is_absolute() or ".." in parts:
            raise InputError(f"{name!r} is no name of a file in {folder}: give its path within this folder")
        path = next((one for spelt in _spellings(name) if (one := folder / spelt).is_file()), folder / name)
        if path.suffix.lower() not in ENDINGS:
            if path.parent not in listed:
                listed[path.parent] = _pictures(path.parent)
            fitting = listed[path.parent].get(path.name, [])
            if len(fitting) > 1:
                raise InputError(f"{folder} has {fitting[0].name} and {fitting[1].name}: name one of them")
            path = fitting[0] if fitting else path
        if name_of.setdefault(path, name) != name:
            raise InputError(f"{name_of[path]!r} and {name!r} are names of one file, {path}: give it one name")
        paths[name] = path
    return paths


def _pictures(folder: Path) -> Mapping[str, list[Path]]:
    """Return the picture files of a folder by name without ending."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*")):
        if path.suffix.lower() in ENDINGS:
            found.setdefault(path.stem, []).append(path)
    return found


def near_picture(folder: Path, expected: Path) -> str:
    """Return ` (did you mean NAME?)` for a picture of a similar name in any subfolder, or else as `near_path` does."""
    pictures = [path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS]
    near = sorted(one.relative_to(folder).as_posix() for one in pictures if _plain(one.name) == _plain(expected.name))
    return f" (did you mean {near[0]}?)" if near else near_path(expected)


def _plain(name: str) -> str:
    """Return the name of a picture in lower case, without its ending, leading zeros, and the .0 of a number."""
    name = name.lower()
    return next((name.removesuffix(one) for one in ENDINGS if name.endswith(one)), name).lstrip("0").removesuffix(".0")


def _spellings(name: str) -> Iterator[str]:
    """Yield a name as it is, then as Windows and macOS spell it."""
    yield name
    for spelt in dict.fromkeys((name, name.replace("\\", "/"))):
        yield from (unicodedata.normalize(form, spelt) for form in ("NFC", "NFD"))
