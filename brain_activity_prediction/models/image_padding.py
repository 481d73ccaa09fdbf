"""Separate the tokens of an image from padding, which a processor adds to give all images equal shapes.

Letters: N images or tiles, P patches, T tokens, W width.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

TILES = "aspect_ratio_mask"  # (N, 1, tiles), 1 for an image's own tiles
PATCHES = "pixel_attention_mask"  # (N, P), 1 for an image's own patches; in some families a mask of pixels
PLACES = "image_position_ids"  # (N, P, 2), column and row of each patch, -1 for padding
FLATTENED = "flattened_patches"  # (N, P, ...), each patch's row, column and pixels; rows count from 1, padding has 0
PIXELS = "pixel_mask"  # (N, rows, columns), 1 for an image's own pixels


def real_tokens(tower, inputs: Mapping[str, Tensor]) -> Callable[[Tensor], Tensor | slice]:
    """Return a function that selects the tokens of states (N, T, W) that are not padding, as a mask or a slice."""
    known = patches(tower, inputs)

    def select(states: Tensor) -> Tensor | slice:
        if TILES in inputs:
            return of_tiles(tower, inputs[TILES], states)
        return known if known is not None and known.shape == states.shape[:2] else slice(None)

    return select


def patches(tower, inputs: Mapping[str, Tensor]) -> Tensor | None:
    """Return an image's own patches as a mask (N, P); None if the inputs do not mark them."""
    if PATCHES in inputs:
        return inputs[PATCHES].bool()
    if FLATTENED in inputs:
        return inputs[FLATTENED][..., 0] != 0
    if PLACES in inputs:
        return (inputs[PLACES] != -1).any(dim=-1)
    if PIXELS in inputs:
        return max_pool2d(inputs[PIXELS].float(), tower.config.patch_size).flatten(1).bool()
    return None


def of_tiles(tower, tiles: Tensor, states: Tensor) -> Tensor:
    """Return a mask (N, T) of the tokens of an image's own tiles.

    Mllama pads all images to the same number of tiles, and each tile to a multiple of eight tokens.
    """
    n_rows, n_tokens, _ = states.shape
    real = tiles.reshape(n_rows, -1, 1).bool()
    place = torch.arange(n_tokens // real.shape[1], device=real.device)
    return (real & (place < tower.num_patches)).flatten(1)


def within(places: slice, chosen: Tensor | slice) -> Tensor | slice:
    """Return the chosen tokens that are also in the slice `places`."""
    if isinstance(chosen, slice):
        return places
    mask = chosen.new_zeros(chosen.shape)
    mask[:, places] = chosen[:, places]
    return mask
