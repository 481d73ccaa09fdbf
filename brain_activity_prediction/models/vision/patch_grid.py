"""Pool the hidden states of a vision network over its tokens, or over the cells of a grid on the image.

Patches cover the image in rows from top to bottom, and in columns from left to right.

Letters: B images, C channels, F frames, G x G cells, N patches, T tokens, W width.
"""

from collections.abc import Callable, Mapping
from math import sqrt

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from brain_activity_prediction.models.patch_tokens import patch_tokens
from brain_activity_prediction.models.vision.inputs import (
    GRID,
    PIXELS,
    SHAPES,
    SIZES,
    Inputs,
    frames_of,
    patch_counts,
)
from brain_activity_prediction.models.vision.states import States
from brain_activity_prediction.runtime.errors import InputError

# Model types whose patches are ordered in squares of `spatial_merge_size` patches, and those that also order these
# squares by windows.
IN_SQUARES = ("qwen2_vl_vision", "qwen2_5_vl_vision", "qwen3_vl_vision", "qwen3_vl_moe_vision", "qwen3_5_vision")
IN_WINDOWS = ("qwen2_5_vl_vision",)
FRAMES_LAST = ("timesformer",)  # model types whose tokens are ordered by patch and then by frame
SPOTS = ((0.1, 0.9), (0.9, 0.1), (0.4, 0.7))  # positions on the image, as fractions of its height and width


def patch_maps(network: nn.Module, inputs: Inputs, states: States) -> list[Tensor]:
    """Return the patches of a batch as maps (B, W, rows, columns); one map for each image if their shapes may differ.

    Raises InputError if the rows and columns of the patches are not known.
    """
    hidden = states.values
    patches = patch_tokens(network, hidden.shape[1])
    if shapes := _shapes(network, inputs):
        return [
            _in_reading_order(network, hidden[image, : rows * columns], rows, columns)
            for image, (rows, columns) in enumerate(shapes)
        ]
    pixels = inputs[PIXELS] if isinstance(inputs, Mapping) else inputs
    hidden = _without_frames(network, hidden[:, patches])
    rows, columns = rows_and_columns(network, hidden.shape[1], *pixels.shape[-2:])
    return [hidden.transpose(1, 2).unflatten(2, (rows, columns))]


def rows_and_columns(network: nn.Module, n_patches: int, height: int, width: int) -> tuple[int, int]:
    """Return the rows and columns of the patches of an image of height x width pixels.

    They are computed from the patch size. If this does not give the number of patches, as after a convolutional stem
    and in later stages, they are computed from the image's shape.
    """
    size = getattr(network.config, "patch_size", None) or 1
    down, right = (size, size) if isinstance(size, int) else tuple(size)[:2]
    if (height // down) * (width // right) == n_patches:
        return height // down, width // right
    rows = round(sqrt(n_patches * height / width))
    if not rows or n_patches % rows:
        raise InputError(
            f"{type(network).__name__} has {n_patches} patches for an image of {height} x {width} pixels, which "
            "cannot be divided into rows and columns: leave out --grid"
        )
    return rows, n_patches // rows


def _shapes(network: nn.Module, inputs: Inputs) -> list[tuple[int, int]] | None:
    """Return the rows and columns of each image's patches; None if the inputs do not tell them."""
    if not isinstance(inputs, Mapping):
        return None
    if SHAPES in inputs:
        return [tuple(shape) for shape in inputs[SHAPES].tolist()]
    if GRID in inputs:
        if network.config.model_type not in IN_SQUARES:
            raise InputError(f"the order of the patches of {type(network).__name__} is not known: leave out --grid")
        return [tuple(shape) for shape in inputs[GRID][:, 1:].tolist()]
    if SIZES in inputs and patch_counts(network, inputs):
        return [tuple(shape) for shape in (inputs[SIZES] // network.config.patch_size).tolist()]
    return None


def _without_frames(network: nn.Module, patches: Tensor) -> Tensor:
    """Average the patches of a still video (B, F * N, W) over its frames: (B, N, W)."""
    if not (frames := frames_of(network)):
        return patches
    tubelet = getattr(network.config, "tubelet_size", 1)
    steps = frames // (tubelet if isinstance(tubelet, int) else tubelet[0])
    if network.config.model_type in FRAMES_LAST:
        return patches.float().unflatten(1, (-1, steps)).mean(dim=2)
    return patches.float().unflatten(1, (steps, -1)).mean(dim=1)


def _in_reading_order(network: nn.Module, patches: Tensor, rows: int, columns: int) -> Tensor:
    """Return the patches (N, W) of an image, in the network's order, as a map (1, W, rows, columns)."""
    kind = network.config.model_type
    if kind in IN_WINDOWS:
        from transformers.vision_utils import get_vision_window_index

        config, size = network.config, network.config.spatial_merge_size
        grid = torch.tensor([[1, rows, columns]])
        windows, _ = get_vision_window_index(grid, size, config.window_size, config.patch_size)
        squares = patches.unflatten(0, (-1, size**2))
        patches = squares[windows.argsort().to(patches.device)].flatten(0, 1)
    if kind in IN_SQUARES:
        size = network.config.spatial_merge_size
        squares = patches.reshape(rows // size, columns // size, size, size, -1)
        patches = squares.transpose(1, 2).reshape(rows * columns, -1)
    return patches.T.reshape(1, -1, rows, columns)


def check_places(network: nn.Module, pixels: Tensor, first_states: Callable[[Tensor], States]) -> None:
    """Check with spots of light that the patches are where `patch_maps` puts them; raise InputError if not.

    A spot of the size of a patch changes this patch most. If patches overlap, it may change a neighbouring patch most.

    pixels  a black image, (1, 3, H, W) or (1, 1, 3, H, W)
    first_states  function from pixels to the states of the first layer
    """
    height, width = pixels.shape[-2:]
    images = pixels.repeat(len(SPOTS) + 1, *[1] * (pixels.ndim - 1))
    rows, columns = patch_maps(network, pixels, first_states(pixels))[0].shape[2:]
    spots = [(int(down * rows), int(right * columns)) for down, right in SPOTS]
    for image, (row, column) in enumerate(spots, start=1):
        top, bottom = row * height // rows, (row + 1) * height // rows
        left, right = column * width // columns, (column + 1) * width // columns
        images[image, ..., top:bottom, left:right] += 1
    maps = patch_maps(network, images, first_states(images))[0].float()
    for (row, column), change in zip(spots, (maps[1:] - maps[:1]).square().sum(dim=1), strict=True):
        seen_row, seen_column = divmod(int(change.argmax()), columns)
        distance = max(abs(seen_row - row), abs(seen_column - column))
        if distance > (0 if int((change > 0).sum()) == 1 else 1):
            raise InputError(f"the order of the patches of {type(network).__name__} is not known: leave out --grid")


def pooled(network: nn.Module, states: States, pooling: str) -> Tensor:
    """Average the hidden states of a layer over the tokens of a pooling, or over all positions of maps: (B, W) float32.

    pooling  `mean` for all tokens, `patch` for patches, `cls` for the class token
    """
    hidden, valid = states.values, states.valid
    if hidden.ndim == 4:
        return hidden.mean(dim=(2, 3), dtype=torch.float32)
    if pooling == "cls":
        return hidden[:, 0].float()
    if pooling == "patch":
        patches = patch_tokens(network, hidden.shape[1])
        hidden, valid = hidden[:, patches], valid if valid is None else valid[:, patches]
    if valid is None:
        return hidden.mean(dim=1, dtype=torch.float32)
    hidden = hidden.float().masked_fill(valid[:, :, None] == 0, 0)
    return hidden.sum(dim=1) / valid.float().sum(dim=1, keepdim=True)


def averaged_cells(network: nn.Module, inputs: Inputs, states: States, grid: int) -> Tensor:
    """Average maps, or patches arranged as maps, in G x G cells: (B, C * G * G) float32, channel by channel."""
    maps = [states.values] if states.values.ndim == 4 else patch_maps(network, inputs, states)
    return torch.cat([adaptive_avg_pool2d(part.float(), grid).flatten(1) for part in maps])
