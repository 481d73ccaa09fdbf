"""Compute the streams of a loaded vision network, and check beforehand that it can give them.

Letters: B images, G x G cells, L layers, W width.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from brain_activity_prediction.models.guarded import guarded
from brain_activity_prediction.models.layer_lists import flat, layer_list
from brain_activity_prediction.models.patch_tokens import may_have_class_token
from brain_activity_prediction.models.pooling import BLOCK, NORMED, Point, SiteLayers, stream_name
from brain_activity_prediction.models.sites.points import check_passed_once, other_points
from brain_activity_prediction.models.vision.inputs import PIXELS, Inputs, frames_of, preprocess, tiles_of
from brain_activity_prediction.models.vision.map_layout import channels_axis
from brain_activity_prediction.models.vision.outputs import final_norm, normed, vector
from brain_activity_prediction.models.vision.patch_grid import averaged_cells, check_places, pooled
from brain_activity_prediction.models.vision.states import States, by_image, timm_blocks, visit
from brain_activity_prediction.runtime.errors import InputError

SIDE = 425  # pixels of the blank test images, the size of NSD's images


@dataclass
class VisionNetwork:
    """A vision network of transformers, with facts about it that are not among its attributes.

    projection  layer that follows the network in CLIP-like models
    axis  axis of the channels in its maps; None if its states are tokens
    norm  final norm, if the network applies it to the class token alone
    sites  sites to read in each layer, see `sites.points`
    inside  for each site other than the block, its points and the number of heads at each point
    """

    network: nn.Module
    projection: nn.Module | None = None
    axis: int | None = None
    norm: nn.Module | None = None
    sites: Sequence[str] = (BLOCK,)
    inside: Mapping[str, tuple[list[Point], int]] = field(default_factory=dict)

    def streams(self, inputs: Inputs, poolings: Sequence[str], grid: int, outputs: Sequence[str]) -> dict[str, Tensor]:
        """Compute a batch of images; return its streams `{name: (B, L, W) float32}`.

        poolings  some of `mean`, `cls` and `patch`; with a grid, only `mean` has an effect
        grid  G, to average maps and patches in G x G cells; 1 for poolings instead
        outputs  names from `OUTPUTS` to return as well
        """
        network, last = self.network, None
        layers: dict[str, list[Tensor]] = {}
        heads: dict[str, int] = {}

        def add(stream: str, hidden: Tensor, n_heads: int = 1) -> None:
            states = by_image(network, inputs, hidden, self.axis)
            if stream != f"vision_{NORMED}" and grid > 1:
                summaries = {f"{stream}_grid{grid}": averaged_cells(network, inputs, states, grid)}
                summaries = summaries if "mean" in poolings else {}
            else:
                summaries = {stream_name(stream, pooling): pooled(network, states, pooling) for pooling in poolings}
            for name, summary in summaries.items():
                layers.setdefault(name, []).append(summary)
                heads[name] = n_heads

        def see(hidden: Tensor) -> None:
            nonlocal last
            last = hidden if NORMED in outputs else None
            if BLOCK in self.sites:
                add("vision", hidden)

        with ExitStack() as hooks:
            for site, (points, n_heads) in self.inside.items():
                see_site = partial(add, stream_name("vision", None, site), n_heads=n_heads)
                for point in points:
                    hooks.callback(point.watch(see_site).remove)
            output = visit(network, inputs, see)
        for name in outputs:
            if name == NORMED:
                add(f"vision_{name}", normed(network, last, output, self.norm))
            else:
                layers[f"vision_{name}"] = [vector(network, inputs, output, name, self.projection)]
        streams = {}
        for name, summaries in layers.items():
            width = max(layer.shape[1] for layer in summaries)
            filled = [pad(layer, (0, width - layer.shape[1])) for layer in summaries]
            streams[name] = SiteLayers(heads=heads.get(name, 1)).stacked(filled)
        return streams

    def check(self, processor, poolings: Sequence[str], grid: int, outputs: Sequence[str]) -> None:
        """Compute a black and a white image, and find the channels' axis and the final norm.

        The first token counts as a class token if both images have the same one at the first layer's input. Raises
        InputError if the network cannot compute images, or does not have the poolings, outputs or grid.
        """
        from PIL import Image

        if hasattr(self.network.config, "mask_ratio"):  # otherwise a masked autoencoder hides most of each image
            self.network.config.mask_ratio = 0.0
        images = [Image.new("RGB", (SIDE, SIDE), colour) for colour in ("black", "white")]
        network, kind, weights = self.network, type(self.network).__name__, next(self.network.parameters())
        with guarded(f"{kind} could not compute an image"), torch.inference_mode():
            inputs = preprocess(processor, images).to(weights.device, weights.dtype)
            pixels = inputs if isinstance(inputs, torch.Tensor) else inputs[PIXELS]
            if pixels.ndim == 5 and not frames_of(network):
                raise InputError(tiles_of(processor))
            if not timm_blocks(network):
                self.axis = channels_axis(network, inputs, partial(visit, network))
            hidden: list[Tensor] = []
            output = visit(network, inputs, hidden.append)
            first = by_image(network, inputs, hidden[0], self.axis).values
            is_same = first.ndim == 3 and torch.allclose(*first[:, 0])
            if "cls" in poolings and not (is_same and may_have_class_token(network)):
                raise InputError(f"{kind} has no class token: leave out --pooling cls")
            if NORMED in outputs:
                self.norm = final_norm(network, hidden[-1], output)
            if grid > 1 and first.ndim == 3 and isinstance(inputs, torch.Tensor):
                check_places(network, inputs[:1], self.first_states)
            if set(self.sites) != {BLOCK}:
                self.inside = self.points_inside(inputs)
            self.streams(inputs, poolings, grid, outputs)

    def points_inside(self, inputs: Inputs) -> dict[str, tuple[list[Point], int]]:
        """Return the points of the sites other than the block; raise InputError if they are not found."""
        try:
            own = timm_blocks(self.network) or list(flat(layer_list(self.network)[1]))
        except LookupError as error:
            raise InputError(f"{error}: leave out --sites and --heads") from error
        run = partial(visit, self.network, inputs, lambda hidden: None)
        found = other_points(own, self.sites, run)
        check_passed_once([point for points, _ in found.values() for point in points], run)
        return found

    def first_states(self, inputs: Inputs) -> States:
        """Return the states of the first layer."""
        hidden: list[Tensor] = []
        visit(self.network, inputs, hidden.append)
        return by_image(self.network, inputs, hidden[0], self.axis)


def channels_last(network: nn.Module) -> None:
    """Store convolution weights with the channels last, which makes convolutions on a CPU 1.5 times as fast."""
    for weights in network.parameters():  # one by one, because Module.to(memory_format=...) refuses a Conv3d
        if weights.ndim == 4:
            weights.data = weights.data.contiguous(memory_format=torch.channels_last)
