"""Find the channels' axis in a network's convolutional maps, (B, C, H, W) or (B, H, W, C).

A mean over the wrong axes would have a plausible shape but no meaning. Letters: B images, C channels, H x W positions.
"""

import re
from collections.abc import Callable, Iterator, Sequence

from torch import Tensor
from torch.nn.functional import pad

from brain_activity_prediction.runtime.errors import InputError

FIRST, LAST = 1, 3
WIDTH_KEYS = re.compile("hidden_size|embed_dim|embedding_size|channels|widths?$")  # keys of configurations
# Axis of the channels for model types whose configuration does not tell it.
KNOWN_AXES = dict.fromkeys(("sam_vision_model", "sam_hq_vision_model"), LAST)
KNOWN_AXES |= dict.fromkeys(("sam2_vision_model", "sam2_hiera_det_model", "sam3_vision_model"), LAST)
KNOWN_AXES |= {"sam3_vit_model": LAST, "dinat": LAST, "hiera": LAST, "timm_wrapper": FIRST}
LARGER = 32  # pixels added to the height of a test image; twice as many are added to its width

Visit = Callable[["Tensor", Callable[["Tensor"], None]], None]


def channels_axis(model, pixels: Tensor, visit: Visit) -> int | None:
    """Return the axis of the channels in a network's maps; None if its states are not maps.

    If the configuration names the size of exactly one axis as a width, this is the channels' axis. Otherwise the model
    type decides, if it is known. Otherwise an image of another shape is computed, which changes the size of every axis
    except that of the channels.

    visit  function that computes pixels (B, 3, H, W) and calls a function with each of the network's states

    Raises InputError if the axis remains unknown.
    """
    shapes = shapes_of(pixels, visit)
    if not any(len(shape) == 4 for shape in shapes):
        return None
    axis = _by_widths(shapes, set(widths(model.config)))
    axis = axis or KNOWN_AXES.get(model.config.model_type) or _by_another_shape(shapes, pixels, visit)
    if axis is None:
        maps = next(shape[1:] for shape in shapes if len(shape) == 4)
        raise InputError(
            f"{type(model).__name__} returns maps of shape {maps}, and neither its configuration nor an image of "
            "another size tells which axis holds the channels: choose another network"
        )
    return axis


def channels_first(hidden: Tensor, axis: int | None) -> Tensor:
    """Return maps with their channels on `axis` as (B, C, H, W); other states are returned unchanged."""
    return hidden.movedim(LAST, FIRST) if hidden.ndim == 4 and axis == LAST else hidden


def shapes_of(pixels: Tensor, visit: Visit) -> list[tuple[int, ...]]:
    """Return the shapes of all states of a network."""
    shapes = []
    visit(pixels, lambda hidden: shapes.append(tuple(hidden.shape)))
    return shapes


def widths(config) -> Iterator[int]:
    """Yield all widths and numbers of channels in a configuration, including nested ones."""
    for key, value in config.to_dict().items():
        yield from _numbers(value, WIDTH_KEYS.search(key) is not None)


def _numbers(value, named: bool) -> Iterator[int]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _numbers(inner, WIDTH_KEYS.search(str(key)) is not None)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _numbers(inner, named)
    elif named and isinstance(value, int):
        yield value


def _by_widths(shapes: Sequence[tuple[int, ...]], known: set[int]) -> int | None:
    """Return the axis that has a known width; None unless all maps with exactly one such axis agree on it."""
    axes = {
        FIRST if shape[FIRST] in known else LAST
        for shape in shapes
        if len(shape) == 4 and (shape[FIRST] in known) != (shape[LAST] in known)
    }
    return axes.pop() if len(axes) == 1 else None


def _by_another_shape(shapes: Sequence[tuple[int, ...]], pixels: Tensor, visit: Visit) -> int | None:
    """Return the axis whose size does not depend on the image's; None if the network refuses other image sizes."""
    try:
        others = shapes_of(pad(pixels[:1], (0, 2 * LARGER, 0, LARGER)), visit)
    except Exception:  # each library raises its own exceptions
        return None
    kept = {
        tuple(axis for axis in (FIRST, LAST) if shape[axis] == other[axis])
        for shape, other in zip(shapes, others, strict=True)
        if len(shape) == len(other) == 4 and shape[1:] != other[1:]
    }
    told = {axes[0] for axes in kept if len(axes) == 1}
    return told.pop() if len(told) == 1 else None
