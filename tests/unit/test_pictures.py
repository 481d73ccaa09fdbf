"""Picture files of all kinds: a model sees the pixels as they are stored, or the file is refused."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from brain_activity_prediction.datasets.files import image_files
from brain_activity_prediction.runtime.errors import InputError

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (6, 4, 3), np.uint8)
DEEP = RNG.integers(0, 65536, (6, 4, 3))  # 16 bits a channel


def pixels(path):
    return np.asarray(image_files.read_image(path)).astype(int)


def write_deep_png(path, values, colour_type):
    """Write a PNG of 16 bits a channel from its specification; Pillow writes none in colour."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, colour_type, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + parts)


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_grey_of_16_bits_is_scaled_to_8(ending, tmp_path):
    path = tmp_path / f"deep.{ending}"
    Image.fromarray(DEEP[..., 0].astype(np.uint16)).save(path)
    np.testing.assert_array_equal(pixels(path), np.rint(DEEP[..., :1] / 257).repeat(3, axis=2))


@pytest.mark.parametrize("colour_type", [2, 6])
def test_colours_of_16_bits_keep_the_upper_8(colour_type, tmp_path):
    opaque = np.full((6, 4, 1), 65535)
    write_deep_png(tmp_path / "deep.png", DEEP if colour_type == 2 else np.concatenate([DEEP, opaque], 2), colour_type)
    np.testing.assert_array_equal(pixels(tmp_path / "deep.png"), DEEP >> 8)


@pytest.mark.parametrize("ending", ["png", "jpg", "webp"])
def test_an_orientation_tag_is_not_applied_and_reported_once(ending, tmp_path, capsys):
    tag = Image.Exif()
    tag[image_files.ORIENTATION] = 6
    for name in ("one", "two"):
        Image.fromarray(PIXELS).save(tmp_path / f"{name}.{ending}", exif=tag)
        assert pixels(tmp_path / f"{name}.{ending}").shape == PIXELS.shape
    told = capsys.readouterr().err
    assert told.count("orientation tag (first: one") == 1
    assert "two" not in told


def test_kinds_of_8_bits_are_read_as_they_are(tmp_path):
    colours = Image.fromarray(PIXELS)
    for mode in ("L", "CMYK", "P"):
        colours.convert(mode).save(tmp_path / "one.tif")
        expected = np.asarray(colours.convert(mode).convert("RGB"))
        np.testing.assert_array_equal(pixels(tmp_path / "one.tif"), expected)
    for ending in ("png", "bmp", "gif", "webp"):
        colours.save(tmp_path / f"one.{ending}", **({"lossless": True} if ending == "webp" else {}))
        np.testing.assert_array_equal(pixels(tmp_path / f"one.{ending}"), PIXELS)


def animated(path):
    Image.fromarray(PIXELS).save(path, save_all=True, append_images=[Image.new("RGB", (4, 6))])


def turned(path):
    tag = Image.Exif()
    tag[image_files.ORIENTATION] = 6
    Image.fromarray(PIXELS).save(path, exif=tag)


REFUSED = {
    "moving.gif": (animated, "has 2 frames: store only the frame that was shown"),
    "moving.png": (animated, "has 2 frames"),
    "float.tif": (
        lambda path: Image.fromarray(DEEP[..., 0].astype(np.float32)).save(path),
        "unsupported pixels .Pillow mode F.: store",
    ),
    "turned.tif": (turned, "has an orientation tag: store it upright, without the tag"),
    "glass.png": (lambda path: Image.new("RGBA", (4, 4), (1, 2, 3, 9)).save(path), "has transparent pixels: store it"),
    "phone.heic": (
        lambda path: path.write_bytes(b"\0\0\0\x18ftypheic" + bytes(64)),
        "is not a picture in a known format",
    ),
    "half.png": (
        lambda path: (
            Image.fromarray(RNG.integers(0, 256, (90, 90, 3), np.uint8)).save(path),
            path.write_bytes(path.read_bytes()[:9000]),
        ),
        r"\(image file is truncated\): it is truncated",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_picture_of_which_the_shown_pixels_are_unknown_is_refused(name, tmp_path):
    write, said = REFUSED[name]
    write(tmp_path / name)
    with pytest.raises(InputError, match=said):
        image_files.read_image(tmp_path / name)
