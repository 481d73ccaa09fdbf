"""Find the picture file of each image name, which may lack the ending or be spelt as on another system."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.wording import near_path

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")


def find_files(folder: Path, names: Sequence[str]) -> dict[str, Path]:
    """Return `{image name: path of its file}`; a name without a file gets the expected path.

    A name may lack the file's ending. It may be spelt as on another system: with backslashes, or with accents as
    separate characters.

    Raises InputError for a name that leads out of the folder, for a name without ending that several files fit, and for
    two names of one file, because the file would count as two images, perhaps one for training and one for testing.
    """
    paths: dict[str, Path] = {}
    name_of: dict[Path, str] = {}
    listed: dict[Path, Mapping[str, list[Path]]] = {}
    for name in names:
        parts = name.replace("\\", "/").split("/")
        if not name or Path(name).is_absolute() or ".." in parts:
            raise InputError(f"{name!r} is not the name of a file in {folder}: give its path within this folder")
        path = next((one for spelt in _spellings(name) if (one := folder / spelt).is_file()), folder / name)
        if path.suffix.lower() not in ENDINGS:
            if path.parent not in listed:
                listed[path.parent] = _pictures(path.parent)
            fitting = listed[path.parent].get(path.name, [])
            if len(fitting) > 1:
                raise InputError(f"{folder} has {fitting[0].name} and {fitting[1].name}: give the name with its ending")
            path = fitting[0] if fitting else path
        if name_of.setdefault(path, name) != name:
            raise InputError(f"{name_of[path]!r} and {name!r} both name the file {path}: use one name for it")
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
    """Return ` (did you mean NAME?)` for a picture with a similar name in any subfolder, or what `near_path` finds."""
    pictures = [path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS]
    near = sorted(one.relative_to(folder).as_posix() for one in pictures if _plain(one.name) == _plain(expected.name))
    return f" (did you mean {near[0]}?)" if near else near_path(expected)


def _plain(name: str) -> str:
    """Return a picture's name in lower case, without its ending, leading zeros, and a last .0 (of a float)."""
    name = name.lower()
    return next((name.removesuffix(one) for one in ENDINGS if name.endswith(one)), name).lstrip("0").removesuffix(".0")


def _spellings(name: str) -> Iterator[str]:
    """Yield a name as it is, then as Windows and macOS spell it."""
    yield name
    for spelt in dict.fromkeys((name, name.replace("\\", "/"))):
        yield from (unicodedata.normalize(form, spelt) for form in ("NFC", "NFD"))
