"""Any vision network that transformers can load by its id, such as a ViT, a ConvNeXt, or the tower of CLIP or Qwen-VL.

Stream: `vision`, the hidden states of each layer (`output_hidden_states`), averaged over tokens or over the positions
of convolutional maps. With --grid G, maps and patches are averaged within G x G cells of the image instead. The stream
is then named `vision_gridG` and ordered by channel, then by cell in reading order. Layers of unequal width are padded
with zeros to the widest.

With --outputs, outputs after the last layer are stored too, as streams of one layer: `vision_normed` after the final
norm, `vision_pooled` and `vision_projected`. For a timm network, the states are the input of the first block and the
outputs of all blocks; if timm knows no blocks, they are its intermediate features. Networks for videos see a picture as
a video of equal frames, whose tokens are averaged too.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from types import SimpleNamespace

from brain_activity_prediction.cli import extraction_command
from brain_activity_prediction.cli.flag_values import positive_int
from brain_activity_prediction.extraction.loop import extract
from brain_activity_prediction.extraction.settings import ExtractionSettings
from brain_activity_prediction.models.pooling import BLOCK, NORMED, OUTPUTS, by_site
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.runtime.running import run_script

CHANNELS = "map_channels"  # name of the recorded setting
POOLINGS = ("mean", "cls", "patch")


def flags() -> argparse.ArgumentParser:
    flags = extraction_command.flags(__doc__, required=True, help="model id, such as facebook/dinov2-large")
    flags.add_argument(
        "--grid", type=positive_int, default=1, metavar="G", help="average maps and patches over G x G cells"
    )
    flags.add_argument(
        "--outputs",
        nargs="+",
        choices=OUTPUTS,
        default=[],
        help="outputs after the last layer to store as well: after the final norm, pooled, projected (default: none)",
    )
    extraction_command.add_sites(flags)
    return flags


def main() -> None:
    extract(*read_flags())


def read_flags(words: Sequence[str] | None = None) -> tuple[SimpleNamespace, ExtractionSettings]:
    """Return the model script and the settings that the flags describe; `words` are None for the command line."""
    return extraction_command.read(
        flags(),
        lambda given: script(
            given.model_id, given.grid, given.pooling, given.outputs, extraction_command.selected_sites(given)
        ),
        words,
    )


def script(
    model_id: str, grid: int, poolings: list[str], outputs: list[str] = (), sites: Sequence[str] = (BLOCK,)
) -> SimpleNamespace:
    """Return the model script of a network, as `extraction.model_script` describes it."""
    streams = by_site({"vision": POOLINGS}, sites)
    if grid > 1:
        streams = {f"{stream}_grid{grid}": ("mean",) for stream in streams}
    streams |= {f"vision_{name}": POOLINGS if name == NORMED else (None,) for name in OUTPUTS if name in outputs}
    return SimpleNamespace(
        MODEL_ID=model_id,
        REVISION="main",
        IMAGE_STREAMS=streams,
        IMPLIED={CHANNELS: "first"},
        own_settings=own_settings,
        load=partial(load, grid=grid, poolings=poolings, outputs=outputs, sites=sites),
        preprocess=preprocess,
        encode_images=partial(encode_images, grid=grid, outputs=outputs),
    )


def own_settings(checkpoint) -> dict:
    """Return the axis of channels as a setting for SAM, because version 1.0.0 wrongly averaged over channels."""
    model_type = checkpoint.settings("config.json").get("model_type", "")
    return {CHANNELS: "last"} if model_type.startswith("sam") else {}


def load(checkpoint, device, dtype, *, grid, poolings, outputs, sites):
    from brain_activity_prediction.models.vision.inputs import check_inputs, frames_of, processor_of
    from brain_activity_prediction.models.vision.network import VisionNetwork, channels_last
    from brain_activity_prediction.models.vision.tower import load_tower

    network, projection = load_tower(checkpoint, device, dtype, outputs)
    check_inputs(network)
    if frames := frames_of(network):
        log.info(f"{type(network).__name__} reads videos: each picture is given to it as {frames} equal frames")
    processor = processor_of(checkpoint, frames)
    channels_last(network)
    model = VisionNetwork(network, projection, sites=sites)
    model.check(processor, poolings, grid, outputs)
    return model, processor


def preprocess(processor, images):
    from brain_activity_prediction.models.vision import inputs

    return inputs.preprocess(processor, images)


def encode_images(model, processor, pixels, poolings, *, grid, outputs):
    return model.streams(pixels, poolings, grid, outputs), None


if __name__ == "__main__":
    run_script(main)
