"""Compute the outputs of a vision network after its last layer, which are streams of one layer.

Letters: B images, T tokens, W width.
"""

from typing import Any

import torch
from torch import Tensor, nn

from brain_activity_prediction.models.pooling import NORMED, PROJECTED
from brain_activity_prediction.models.vision.inputs import Inputs, n_images
from brain_activity_prediction.runtime.errors import InputError

PROJECTION = "visual_projection"  # the layer after the vision network of CLIP-like models
NORM = "post_layernorm"  # the final norm of CLIP-like models, which they apply to the class token alone


def normed(network: nn.Module, last: Tensor, output: Any, norm: nn.Module | None) -> Tensor:
    """Return the last layer's states after the final norm, in the shape of `last`.

    last  states of the last layer, as the network returns them
    output  the network's whole output for the same images
    norm  result of `final_norm`
    """
    return output.last_hidden_state if norm is None else norm(last)


def final_norm(network: nn.Module, last: Tensor, output: Any) -> nn.Module | None:
    """Return the final norm of a network that applies it only to the class token; None if it norms all tokens itself.

    A network has not normed its tokens if its `last_hidden_state` equals the states of its last layer. Raises
    InputError if there is no final norm.
    """
    after = getattr(output, "last_hidden_state", None)
    if after is None or after.shape != last.shape:
        raise _lacking(network, "final norm that keeps the tokens", NORMED)
    if not torch.equal(after, last):
        return None
    norm = next((part for name, part in network.named_modules() if name.rpartition(".")[2] == NORM), None)
    if norm is None:
        raise _lacking(network, "norm after its last layer", NORMED)
    return norm


def vector(network: nn.Module, inputs: Inputs, output: Any, name: str, projection: nn.Module | None) -> Tensor:
    """Return the pooled or projected output (B, W) in float32; raise InputError if the network does not have it."""
    pooled = getattr(output, "pooler_output", None)
    if pooled is None or len(pooled) != n_images(inputs) or pooled.flatten(1).shape[1] != pooled.shape[1]:
        raise _lacking(network, "pooler that gives one vector for each image", name)
    pooled = pooled.flatten(1)
    if name == PROJECTED:
        if projection is None:
            raise _lacking(network, f"layer {PROJECTION} in its checkpoint's model", name)
        pooled = projection(pooled)
    return pooled.float()


def _lacking(network: nn.Module, part: str, name: str) -> InputError:
    return InputError(f"{type(network).__name__} has no {part}: leave out --outputs {name}")
