"""Read captions and object labels for NSD's images from COCO's annotation files."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from brain_activity_prediction.datasets.nsd.stimulus_table import Crop, Stimulus
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.wording import no_such_path
from brain_activity_prediction.storage.files import reading
from brain_activity_prediction.storage.json_arrays import array_elements

LEAST_SHARE = 0.25  # smallest share of an object's box inside the crop for which its label counts
ROUNDING = 1e-9


class Box(NamedTuple):
    """A rectangle in pixels of a picture; x and y are its left and upper edge."""

    x: float
    y: float
    width: float
    height: float


class Objects(NamedTuple):
    """Object labels of images.

    categories  names of the categories, by COCO's ids, ascending
    image_ids  (n,) NSD ids from 1, ascending
    labels  (n, categories) bool
    """

    categories: list[str]
    image_ids: np.ndarray
    labels: np.ndarray


def annotation_files(folder: Path, kind: str, stimuli: Mapping[int, Stimulus]) -> list[Path]:
    """Return the annotation files (captions or instances) of the splits that the stimuli are from."""
    if not folder.is_dir():
        raise InputError(f"--annotations {no_such_path(folder)}")
    inner = folder / "annotations"
    folder = inner if inner.is_dir() else folder
    paths = [folder / f"{kind}_{split}.json" for split in sorted({one.split for one in stimuli.values()})]
    for path in paths:
        if not path.is_file():
            raise InputError(f"--annotations {folder} holds no {path.name}: fetch COCO's annotations of 2017 there")
    return paths


def read_captions(paths: Iterable[Path], stimuli: Mapping[int, Stimulus]) -> dict[int, list[str]]:
    """Read `{NSD id: captions}` in the order of the files; raise InputError if an image has no caption."""
    of_picture: dict[int, list[str]] = {one.coco_id: [] for one in stimuli.values()}
    for path in paths:
        with _annotations(path) as elements:
            for key, element in elements:
                if key == "annotations" and _number(element, "image_id") in of_picture:
                    text = " ".join(_typed(element, "caption", str).split())
                    of_picture[element["image_id"]] += [text] if text else []
    _check_complete([image for image, one in stimuli.items() if not of_picture[one.coco_id]], stimuli, "caption")
    return {image: of_picture[one.coco_id] for image, one in sorted(stimuli.items())}


def read_objects(paths: Iterable[Path], stimuli: Mapping[int, Stimulus]) -> Objects:
    """Read the object labels of each image: a label counts if at least a quarter of an object's box is in the image.

    Raises InputError if the files lack a picture or name the categories differently.
    """
    wanted = {one.coco_id for one in stimuli.values()}
    sizes: dict[int, tuple[float, float]] = {}
    boxes: dict[int, list[tuple[int, Box]]] = {coco_id: [] for coco_id in wanted}
    names: dict[int, str] = {}
    for path in paths:
        with _annotations(path) as elements:
            for key, element in elements:
                if key == "categories":
                    number, name = _number(element, "id"), _typed(element, "name", str)
                    if names.setdefault(number, name) != name:
                        raise ValueError(f"category {number} is {name!r} here, and {names[number]!r} before")
                elif key == "images" and (number := _number(element, "id")) in wanted:
                    sizes[number] = (_size(element, "width"), _size(element, "height"))
                elif key == "annotations" and (number := _number(element, "image_id")) in wanted:
                    boxes[number].append((_number(element, "category_id"), _box(element)))
    _check_complete([image for image, one in stimuli.items() if one.coco_id not in sizes], stimuli, "picture")
    columns = {number: column for column, number in enumerate(sorted(names))}
    image_ids = np.array(sorted(stimuli))
    labels = np.zeros((len(image_ids), len(columns)), dtype=bool)
    for row, image_id in enumerate(image_ids.tolist()):
        stimulus = stimuli[image_id]
        for category, box in boxes[stimulus.coco_id]:
            if category not in columns:
                raise InputError(f"an object of picture {stimulus.coco_id} has the unknown category {category}")
            if share_in_crop(box, stimulus.crop, *sizes[stimulus.coco_id]) >= LEAST_SHARE - ROUNDING:
                labels[row, columns[category]] = True
    return Objects([names[number] for number in sorted(names)], image_ids, labels)


def share_in_crop(box: Box, crop: Crop, width: float, height: float) -> float:
    """Return the share of a box's area, from 0 to 1, that lies in the crop of a picture of this size in pixels."""
    across = _overlap(box.x, box.width, crop.left * width, (1 - crop.right) * width)
    down = _overlap(box.y, box.height, crop.top * height, (1 - crop.bottom) * height)
    return across * down


def _overlap(start: float, length: float, low: float, high: float) -> float:
    """Return the share, 0 to 1, of an interval that lies between two limits; 0 or 1 for an interval of length 0."""
    if length == 0:
        return float(low <= start <= high)
    return max(0.0, min(start + length, high) - max(start, low)) / length


@contextmanager
def _annotations(path: Path) -> Iterator[Iterator[tuple[str, Any]]]:
    with reading(path, "fetch COCO's annotations again"):
        yield array_elements(path)


def _check_complete(lacking: Sequence[int], stimuli: Mapping[int, Stimulus], what: str) -> None:
    if lacking:
        first = stimuli[lacking[0]]
        raise InputError(
            f"no {what} for {len(lacking):,} of {len(stimuli):,} images in COCO's annotations (first: image "
            f"{lacking[0]}, picture {first.coco_id} of {first.split}): fetch the annotations of 2017 again"
        )


def _typed(element: Any, name: str, kind: type) -> Any:
    if type(element) is not dict or type(element.get(name)) is not kind:
        raise ValueError(f"an element has no {name}")
    return element[name]


def _number(element: Any, name: str) -> int:
    return _typed(element, name, int)


def _size(element: Any, name: str) -> int:
    if (size := _number(element, name)) <= 0:
        raise ValueError(f"a picture has the {name} {size}")
    return size


def _box(element: Any) -> Box:
    box = _typed(element, "bbox", list)
    if len(box) != 4 or not all(type(side) in (int, float) and math.isfinite(side) for side in box):
        raise ValueError(f"a box is {box}")
    if min(box[2:]) < 0:
        raise ValueError(f"a box is {box}")
    return Box(*map(float, box))
