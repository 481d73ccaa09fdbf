"""A loaded vision network: its streams of hidden states, and the checks that it can give them.

Letters: B images, G x G cells, L layers, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from brain_activity_prediction.models.guarded import guarded
from brain_activity_prediction.models.map_layout import channels_axis
from brain_activity_prediction.models.pooling import stream_name
from brain_activity_prediction.models.vision.inputs import PIXELS, Inputs, frames_of, preprocess
from brain_activity_prediction.models.vision.outputs import NORMED, final_norm, normed, vector
from brain_activity_prediction.models.vision.patch_grid import check_places
from brain_activity_prediction.models.vision.states import States, by_image, timm_blocks, visit
from brain_activity_prediction.models.vision.summaries import averaged_cells, pooled
from brain_activity_prediction.runtime.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn

SIDE = 425  # pixels of the blank images that a network is checked on, as many as NSD's have


@dataclass
class VisionNetwork:
    """A vision network of transformers, and what is not in it.

    projection  the layer that follows it in CLIP-like models
    axis  the channels' axis of its maps; None for tokens
    norm  the final norm, for networks that apply it to the class token alone
    """

    network: nn.Module
    projection: nn.Module | None = None
    axis: int | None = None
    norm: nn.Module | None = None

    def streams(self, inputs: Inputs, poolings: Sequence[str], grid: int, outputs: Sequence[str]) -> dict[str, Tensor]:
        """Compute a batch of images; return its streams `{name: (B, L, W) float32}`.

        poolings  of `mean`, `cls` and `patch`; ignored with a grid
        grid  G, for maps and patches averaged over G x G cells; 1 for poolings
        outputs  names of `OUTPUTS` to return, too
        """
        import torch
        from torch.nn.functional import pad

        network, last = self.network, None
        layers: dict[str, list[Tensor]] = {}

        def add(stream: str, hidden: Tensor) -> None:
            states = by_image(network, inputs, hidden, self.axis)
            if stream == "vision" and grid > 1:
                if "mean" in poolings:
                    layers.setdefault(f"vision_grid{grid}", []).append(averaged_cells(network, inputs, states, grid))
                return
            for pooling in poolings:
                layers.setdefault(stream_name(stream, pooling), []).append(pooled(network, states, pooling))

        def see(hidden: Tensor) -> None:
            nonlocal last
            last = hidden if NORMED in outputs else None
            add("vision", hidden)

        output = visit(network, inputs, see)
        for name in outputs:
            if name == NORMED:
                add(f"vision_{name}", normed(network, last, output, self.norm))
            else:
                layers[f"vision_{name}"] = [vector(network, inputs, output, name, self.projection)]
        streams = {}
        for name, summaries in layers.items():
            width = max(layer.shape[1] for layer in summaries)
            streams[name] = torch.stack([pad(layer, (0, width - layer.shape[1])) for layer in summaries], dim=1)
        return streams

    def check(self, processor, poolings: Sequence[str], grid: int, outputs: Sequence[str]) -> None:
        """Compute a black and a white image, and find the channels' axis and the final norm.

        Raise InputError if the network cannot compute images, or if it does not have the poolings, outputs or grid. A
        first token is a class token if it is the same at the first layer's input for both images.
        """
        import torch
        from PIL import Image

        if hasattr(self.network.config, "mask_ratio"):  # a masked autoencoder would hide most of each image
            self.network.config.mask_ratio = 0.0
        images = [Image.new("RGB", (SIDE, SIDE), colour) for colour in ("black", "white")]
        network, kind, weights = self.network, type(self.network).__name__, next(self.network.parameters())
        with guarded(f"{kind} could not compute an image"), torch.inference_mode():
            inputs = preprocess(processor, images).to(weights.device, weights.dtype)
            pixels = inputs if isinstance(inputs, torch.Tensor) else inputs[PIXELS]
            if pixels.ndim == 5 and not frames_of(network):
                raise InputError(
                    f"{type(processor).__name__} cuts images into tiles, which {kind} alone does not put together: "
                    "extract its states with vision_language_model.py"
                )
            if not timm_blocks(network):
                self.axis = channels_axis(network, inputs, partial(visit, network))
            hidden: list[Tensor] = []
            output = visit(network, inputs, hidden.append)
            first = by_image(network, inputs, hidden[0], self.axis).values
            if "cls" in poolings and (first.ndim == 4 or not torch.allclose(*first[:, 0])):
                raise InputError(f"{kind} has no class token: leave out --pooling cls")
            if NORMED in outputs:
                self.norm = final_norm(network, hidden[-1], output)
            if grid > 1 and first.ndim == 3 and isinstance(inputs, torch.Tensor):
                check_places(network, inputs[:1], self.first_states)
            self.streams(inputs, poolings, grid, outputs)

    def first_states(self, inputs: Inputs) -> States:
        """Return the states of the first layer."""
        hidden: list[Tensor] = []
        visit(self.network, inputs, hidden.append)
        return by_image(self.network, inputs, hidden[0], self.axis)


def channels_last(network: nn.Module) -> None:
    """Store convolution weights with the channels last, which makes convolutions on a CPU 1.5 times as fast."""
    import torch

    for weights in network.parameters():  # one by one: Module.to(memory_format=...) refuses networks with a Conv3d
        if weights.ndim == 4:
            weights.data = weights.data.contiguous(memory_format=torch.channels_last)
