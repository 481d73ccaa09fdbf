"""Compute the hidden states of each layer of a vision network, with one row for each image.

Letters: B images, C channels, H x W positions, T tokens, W width.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from brain_activity_prediction.models.layer_lists import flat, layer_list
from brain_activity_prediction.models.pooling import layer_points
from brain_activity_prediction.models.vision.inputs import SHAPES, VALID, Inputs, keywords, n_images, patch_counts
from brain_activity_prediction.models.vision.map_layout import channels_first
from brain_activity_prediction.runtime.errors import InputError

IN_ANOTHER_ORDER = ("hiera",)  # model types whose tokens are not in reading order, so that their maps are used


@dataclass(frozen=True)
class States:
    """The hidden states of a layer.

    values  tokens (B, T, W) or maps (B, C, H, W)
    valid  (B, T), 1 for tokens of the image and 0 for padding; None without padding
    """

    values: Tensor
    valid: Tensor | None = None


def visit(network: nn.Module, inputs: Inputs, see: Callable[[Tensor], None]) -> Any:
    """Compute a batch of images, call `see` with the states of each layer, and return the network's output."""
    blocks = timm_blocks(network)
    if blocks:
        with ExitStack() as hooks:
            for point in layer_points(blocks):
                hooks.callback(point.watch(see).remove)
            return network(**keywords(network, inputs))
    with last_states(network, inputs) as last:
        output = network(**keywords(network, inputs), output_hidden_states=True)
    maps = network.config.model_type in IN_ANOTHER_ORDER
    layers = getattr(output, "reshaped_hidden_states" if maps else "hidden_states", None)
    if not layers:
        raise InputError(f"{type(network).__name__} gives no hidden states of its layers: choose another network")
    if last and layers[-1].shape != layers[0].shape:
        layers = (*layers[:-1], last[-1])
    for hidden in layers:
        see(hidden)
    return output


@contextmanager
def last_states(network: nn.Module, inputs: Inputs) -> Iterator[list[Tensor]]:
    """Record the last layer's states of a network that packs all images in one row, while the `with` block runs.

    They are needed because GLM's networks return merged patches instead. The list stays empty for other networks.
    """
    states: list[Tensor] = []
    with ExitStack() as hooks:
        if patch_counts(network, inputs):
            layers = list(flat(layer_list(network)[1]))
            hooks.callback(layer_points(layers)[-1].watch(states.append).remove)
        yield states


def by_image(network: nn.Module, inputs: Inputs, hidden: Tensor, axis: int | None) -> States:
    """Return the states of a layer with one row for each image.

    axis  axis of the channels if the states are maps

    Raises InputError if the states cannot be assigned to images.
    """
    n, counts = n_images(inputs), patch_counts(network, inputs)
    if counts and (hidden.ndim == 2 or (hidden.ndim == 3 and len(hidden) == 1)):
        row = hidden.reshape(-1, hidden.shape[-1])
        if len(row) == sum(counts):
            return _split(row, counts)
    if hidden.ndim not in (3, 4) or len(hidden) != n:
        raise InputError(
            f"{type(network).__name__} mixes images: its states of {n} images have shape {tuple(hidden.shape)}, "
            "without one row for each image: choose another network"
        )
    padded = isinstance(inputs, Mapping) and SHAPES in inputs
    return States(channels_first(hidden, axis), inputs[VALID] if padded else None)


def _split(row: Tensor, counts: list[int]) -> States:
    """Split the tokens of all images (N, W) into those of each image, padded to the longest."""
    if len(set(counts)) == 1:
        return States(row.reshape(len(counts), counts[0], -1))
    ones = [row.new_ones(count) for count in counts]
    return States(pad_sequence(row.split(counts), batch_first=True), pad_sequence(ones, batch_first=True))


def timm_blocks(network: nn.Module) -> list[nn.Module]:
    """Return the blocks of a timm network whose intermediate features would be whole stages or lack the class token.

    These are networks with a `conv_stem`, such as EfficientNet and MobileNet, whose blocks return maps (B, C, H, W),
    and networks with prefix tokens, such as ViT, whose blocks return tokens (B, T, W). For other networks the result is
    empty, because their blocks may return maps with the channels last.
    """
    network = getattr(network, "timm_model", None)
    known = hasattr(network, "conv_stem") or hasattr(network, "num_prefix_tokens")
    if not known or not hasattr(network, "blocks"):  # MViT has stages
        return []
    return list(_flattened(network.blocks))


def _flattened(blocks) -> Iterator[nn.Module]:
    for block in blocks:
        yield from _flattened(block) if isinstance(block, nn.Sequential) else [block]
