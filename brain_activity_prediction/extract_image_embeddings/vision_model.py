"""Any vision network that transformers can load by its id, convolutional ones included.

Stream: `vision`. The hidden states of a transformer (`output_hidden_states`) are pooled over tokens. The maps of a
convolutional network are averaged over space or, with --grid G, over G x G cells (`vision_gridG`, channel by channel,
cells in reading order); narrower layers are padded with zeros to the widest. The states of a timm network are the input
of its first block and the outputs of all blocks or, if its blocks are of another kind, timm's own intermediates. SigLIP
2 NaFlex reads each image in its own shape; its states are averaged over the image's patches, without padding.
"""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING

from brain_activity_prediction.cli import extraction_command
from brain_activity_prediction.cli.flag_values import positive_int
from brain_activity_prediction.cli.model_names import resolved_model_id
from brain_activity_prediction.extraction.loop import extract
from brain_activity_prediction.models.guarded import guarded
from brain_activity_prediction.models.map_layout import channels_axis, channels_first
from brain_activity_prediction.models.pooling import layer_points, stream_name
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.running import run_script

if TYPE_CHECKING:
    from torch import Tensor, nn

CHANNELS_AXIS = "channels_axis"  # attribute of a model, set by `check`
CHANNELS = "map_channels"  # name of the recorded setting
VALID, SHAPES = "pixel_attention_mask", "spatial_shapes"  # inputs of NaFlex in addition to pixels: (B, N) and (B, 2)
FRAMES = ("num_frames", "frames_per_clip")  # settings of networks that read videos


def flags() -> argparse.ArgumentParser:
    flags = extraction_command.flags(__doc__, required=True, help="model id, such as facebook/dinov2-large")
    flags.add_argument(
        "--grid", type=positive_int, default=1, metavar="G", help="average convolutional maps over G x G cells"
    )
    return flags


def main() -> None:
    arguments = flags().parse_args()
    arguments.model_id = resolved_model_id(arguments.base_dir, arguments.model_id)
    model_script = script(arguments.model_id, arguments.grid, arguments.pooling)
    extract(model_script, extraction_command.settings(model_script, arguments))


def script(model_id: str, grid: int, poolings: list[str]) -> SimpleNamespace:
    """Return the model script of a network, as `extraction.model_script` describes it."""
    stream, possible = ("vision", ("mean", "cls")) if grid == 1 else (f"vision_grid{grid}", ("mean",))
    return SimpleNamespace(
        MODEL_ID=model_id,
        REVISION="main",
        IMAGE_STREAMS={stream: possible},
        IMPLIED={CHANNELS: "first"},
        own_settings=own_settings,
        load=partial(load, grid=grid, poolings=poolings),
        preprocess=preprocess,
        encode_images=partial(encode_images, stream=stream, grid=grid),
    )


def own_settings(checkpoint) -> dict:
    """Return, for SAM, the channels' axis as a setting: version 1.0.0 averaged over channels as if they were places."""
    model_type = checkpoint.settings("config.json").get("model_type", "")
    return {CHANNELS: "last"} if model_type.startswith("sam") else {}


def load(checkpoint, device, dtype, *, grid, poolings):
    from transformers import AutoImageProcessor, AutoModel

    model = checkpoint.model(AutoModel, device, dtype)
    for tower in ("vision_model", "vision_encoder", "visual"):  # vision parts of CLIP, SAM and Qwen-VL
        model = getattr(model, tower, model)
    check_inputs(model)
    if hasattr(model.config, "mask_ratio"):  # a masked autoencoder would hide most of each image
        model.config.mask_ratio = 0.0
    processor = checkpoint.processor(AutoImageProcessor)
    channels_last(model)
    check(model, processor, grid, poolings)
    return model, processor


def channels_last(model: nn.Module) -> None:
    """Store convolution weights with the channels last, which makes convolutions on a CPU 1.5 times as fast."""
    import torch

    for weights in model.parameters():  # one by one: Module.to(memory_format=...) refuses networks with a Conv3d
        if weights.ndim == 4:
            weights.data = weights.data.contiguous(memory_format=torch.channels_last)


def preprocess(processor, images):
    """Return pixels (B, 3, H, W) or, for NaFlex, patches (B, N, 3 P P) with each image's number of rows and columns."""
    inputs = processor(images, return_tensors="pt")
    return inputs if SHAPES in inputs else inputs.pixel_values


def keywords(pixels: Tensor | Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Turn the result of `preprocess` into keyword arguments of a network."""
    return pixels if isinstance(pixels, Mapping) else {"pixel_values": pixels}


def encode_images(model, processor, pixels, poolings, *, stream, grid):
    import torch
    from torch.nn.functional import pad

    layers, valid = {pooling: [] for pooling in poolings}, keywords(pixels).get(VALID)

    def see(hidden: Tensor) -> None:
        for pooling, pooled in layers.items():
            pooled.append(summary(hidden, pooling, grid, valid))

    visit(model, pixels, see)
    streams = {}
    for pooling, pooled in layers.items():
        width = max(layer.shape[1] for layer in pooled)
        filled = [pad(layer, (0, width - layer.shape[1])) for layer in pooled]
        streams[stream_name(stream, pooling)] = torch.stack(filled, dim=1)
    return streams, None


def summary(hidden: Tensor, pooling: str, grid: int, valid: Tensor | None = None) -> Tensor:
    """Pool the hidden states of a layer to one float32 vector for each image.

    hidden   tokens (B, T, W) or maps (B, C, H, W)
    valid    (B, T), 1 for tokens of the image and 0 for padding; None without padding
    returns  (B, W) or (B, C * grid * grid)
    """
    import torch
    from torch.nn.functional import adaptive_avg_pool2d

    if hidden.ndim == 4:
        return adaptive_avg_pool2d(hidden.float(), grid).flatten(1)
    if pooling == "cls":
        return hidden[:, 0].float()
    if valid is None:
        return hidden.mean(dim=1, dtype=torch.float32)
    hidden = hidden.float().masked_fill(valid[:, :, None] == 0, 0)
    return hidden.sum(dim=1) / valid.sum(dim=1, keepdim=True)


def visit(model: nn.Module, pixels: Tensor | Mapping[str, Tensor], see: Callable[[Tensor], None]) -> None:
    """Compute an image batch, and call `see` with the hidden states of each layer, from the first to the last."""
    blocks = timm_blocks(model)
    if not blocks:
        for hidden in model(**keywords(pixels), output_hidden_states=True).hidden_states:
            see(channels_first(hidden, getattr(model, CHANNELS_AXIS, None)))
        return
    with ExitStack() as hooks:
        for point in layer_points(blocks):
            hooks.callback(point.watch(see).remove)
        model(pixels)


def timm_blocks(model: nn.Module) -> list[nn.Module]:
    """Return a timm network's blocks if timm's own intermediates would be whole stages or lack the class token.

    These are networks with a `conv_stem`, such as EfficientNet and MobileNet, whose blocks return maps (B, C, H, W),
    and networks with prefix tokens, such as ViT, whose blocks return tokens (B, T, W). For other networks the result is
    empty: their blocks may return maps with the channels last.
    """
    network = getattr(model, "timm_model", None)
    if not (hasattr(network, "conv_stem") or hasattr(network, "num_prefix_tokens")):
        return []
    return list(flattened(network.blocks))


def flattened(blocks):
    from torch import nn

    for block in blocks:
        yield from flattened(block) if isinstance(block, nn.Sequential) else [block]


def check_inputs(model: nn.Module) -> None:
    """Raise InputError for a network that reads videos or needs inputs other than an image's pixels."""
    kind, taken = type(model).__name__, inspect.signature(model.forward).parameters
    if any(hasattr(model.config, name) for name in FRAMES):
        raise InputError(f"{kind} reads videos, not images: choose another network")
    required = [p.name for p in taken.values() if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    if further := [name for name in required if name not in ("pixel_values", VALID, SHAPES)]:
        raise InputError(f"{kind} reads {' and '.join(further)}, not an image's pixels alone: choose another network")


def check(model: nn.Module, processor, grid: int, poolings: list[str]) -> None:
    """Find the channels' axis of a network's maps, and check that the network supports the grid and the poolings.

    Raise InputError if the axis is unknown, if the network has no maps for a grid or no class token for `cls`, or if it
    cannot compute an image. A first token is a class token if it is the same at the first layer's input for a black and
    a white image.
    """
    import torch
    from PIL import Image

    images = [Image.new("RGB", (425, 425), colour) for colour in ("black", "white")]
    states, kind, weights = [], type(model).__name__, next(model.parameters())
    with guarded(f"{kind} could not compute an image"), torch.inference_mode():
        pixels = preprocess(processor, images).to(weights.device, weights.dtype)
        if not timm_blocks(model):
            setattr(model, CHANNELS_AXIS, channels_axis(model, pixels, partial(visit, model)))
        visit(model, pixels, states.append)
    first = states[0]
    if any(len(state) != len(images) for state in states):
        raise InputError(
            f"{kind} does not keep images apart: its states of {len(images)} images are {tuple(first.shape)}, "
            "without one row an image: choose another network"
        )
    if grid > 1 and first.ndim == 3:
        raise InputError(f"{kind} has tokens, not convolutional maps: leave out --grid")
    if "cls" in poolings and (first.ndim == 4 or not torch.allclose(*first[:, 0])):
        raise InputError(f"{kind} has no class token: leave out --pooling cls")


if __name__ == "__main__":
    run_script(main)
