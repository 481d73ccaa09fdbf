"""Check a model folder before any library loads it.

A configuration cannot be trusted. It may name files outside the folder, code on the hub, or millions of layers.
transformers and timm would load these files, run this code, or allocate these layers.
"""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.storage.files import read_bytes, reading

LARGEST_JSON_BYTES = 2**27  # the largest published tokenizers take 33 MB
# Largest allowed value for keys that match a pattern. All default configurations of transformers have smaller values.
LARGEST = (
    (re.compile(r"(layers?|depths?|blocks?|stages?)$"), 4096),
    (re.compile(r"experts?$"), 2**16),
    (re.compile(r"(^|_)(size|height|width)$"), 2**24),
    (re.compile(r"^(num|n|d)_"), 2**24),
)
LARGEST_EDGE = 8192  # pixels of a resized image
EDGES = ("height", "width", "shortest_edge", "longest_edge", "image_size", "size", "crop_size")
NAMES_CODE = re.compile(r"(attn|attention|experts)_implementation$")  # keys whose value may be a repository on the hub
REMEDY = "copy it there again, whole and unaltered"


def check_folder(folder: Path, patterns: Sequence[str]) -> None:
    """Raise InputError if loading a folder could block, read outside of it, run code, or exhaust memory.

    patterns  globs of the files that are loaded
    """
    for path in sorted({path for pattern in patterns for path in folder.rglob(pattern)}):
        if not path.is_file() and not path.is_dir():
            raise InputError(f"{path} is not a regular file: {REMEDY}")
    for path in sorted(folder.rglob("*.index.json")):
        _check_index(path)
    for path in sorted(folder.rglob("*config.json")):
        content = _read(path)
        for key, value, in_areas in _values(content):
            if problem := _problem(key, value, in_areas):
                raise InputError(f"{path} {problem}: {REMEDY}")


def _check_index(path: Path) -> None:
    """Raise InputError if an index names weights outside of its folder."""
    names = _read(path).get("weight_map")
    for name in sorted(set(map(str, names.values()))) if isinstance(names, dict) else ():
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts:
            raise InputError(f"{path} names weights outside of its folder, {name!r}: {REMEDY}")


def _read(path: Path) -> dict:
    with reading(path, REMEDY):
        found = json.loads(read_bytes(path, LARGEST_JSON_BYTES))
        if not isinstance(found, dict):
            raise ValueError("it is not a JSON object")
        return found


def _values(found: object, key: str = "", in_areas: bool = False) -> Iterator[tuple[str, object, bool]]:
    """Yield (key, value, in_areas) at any depth of a configuration; for a list, each value and the sum of integers.

    in_areas  whether this part is an image processor that limits the number of pixels, not edges, as Qwen's does
    """
    if isinstance(found, dict):
        in_areas = in_areas or "merge_size" in found
        for name, value in found.items():
            yield from _values(value, key if NAMES_CODE.search(key) else name, in_areas)
    elif isinstance(found, list):
        numbers = [value for value in found if isinstance(value, int)]
        if numbers and not key.endswith("layers"):  # these are positions, as in "cross_attention_layers": [3, 8]
            yield key, sum(numbers), in_areas
        for value in found:
            yield from _values(value, key, in_areas)
    else:
        yield key, found, in_areas


def _problem(key: str, value: object, edges_are_areas: bool) -> str | None:
    """Return the problem with a value of a configuration, as text; None if there is none.

    edges_are_areas  whether the keys EDGES hold numbers of pixels, as in Qwen's processors
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        limits = [largest for pattern, largest in LARGEST if pattern.search(key)]
        if key in EDGES and not edges_are_areas:
            limits.append(LARGEST_EDGE)
        if limits and value > min(limits):
            return f"has {key} = {value}, more than any model has"
    if isinstance(value, str):
        if NAMES_CODE.search(key) and "/" in value:
            return f"names code on the hub, {key} = {value!r}, which is never run here"
        if key == "architecture" and ":" in value:
            return f"names another model on the hub, {key} = {value!r}"
        if key == "checkpoint_path":
            return f"names weights outside of its folder, {key} = {value!r}"
    return None
