"""Prepare the inputs of vision networks: pixels of pictures or still videos, or packed patches with their grids.

Letters: B images, F frames, N patches, P pixels along a patch.
"""

import inspect
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from brain_activity_prediction.runtime.errors import InputError

PIXELS, VALID, SHAPES = "pixel_values", "pixel_attention_mask", "spatial_shapes"
GRID, SIZES = "image_grid_thw", "image_sizes"  # frames, rows and columns of patches; height and width in pixels
READ = (PIXELS, VALID, SHAPES, GRID, SIZES)
NAMES_OF = {PIXELS: ("pixel_values_videos", "hidden_states"), GRID: ("grid_thw",)}  # other names of these inputs
# For model types that read videos, the setting with the number of frames that a still picture is repeated to.
FRAMES_OF = {"videomae": "num_frames", "vivit": "num_frames", "timesformer": "num_frames", "vjepa2": "tubelet_size"}
VIDEO_SETTINGS = ("num_frames", "frames_per_clip")  # settings of networks that read videos

Inputs = "Tensor | Mapping[str, Tensor]"


def preprocess(processor, images: list) -> Inputs:
    """Return pixels (B, 3, H, W) or, if the network needs other inputs too, a mapping with the inputs named in `READ`.

    Raises InputError if the processor cuts an image into tiles, or if it does not resize images to one size.
    """
    from transformers import BatchFeature

    try:
        made = processor(images, return_tensors="pt")
    except ValueError as error:
        if len({image.size for image in images}) == 1:
            raise
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{type(processor).__name__} could not join pictures of several sizes ({reason}): give -b 1, or store them "
            "in one size"
        ) from error
    if PIXELS not in made and "pixel_values_videos" in made:
        made = {PIXELS: made["pixel_values_videos"]}
    if GRID not in made and len(made[PIXELS]) != len(images):
        raise InputError(tiles_of(processor))
    if not {SHAPES, GRID, SIZES}.intersection(made):
        return made[PIXELS]
    return BatchFeature({name: made[name] for name in READ if name in made})


def tiles_of(processor) -> str:
    """Return the message for a processor that cuts images into tiles."""
    return (
        f"{type(processor).__name__} cuts images into tiles, which vision_model.py cannot put together: extract the "
        "states with vision_language_model.py"
    )


class StillVideos:
    """A video processor that accepts pictures, and treats each as a video of one frame, (B, 1, 3, H, W)."""

    def __init__(self, processor):
        self.processor = processor

    def __call__(self, images: list, **settings) -> Mapping[str, Tensor]:
        made = self.processor([[image] for image in images], **settings)
        pixels = made["pixel_values_videos" if PIXELS not in made else PIXELS]
        return {PIXELS: pixels if pixels.ndim == 5 else pixels[:, None]}


def processor_of(checkpoint, frames: int | None):
    """Load the image processor of a checkpoint or, for a network that reads videos, its video processor."""
    from transformers import AutoImageProcessor, AutoVideoProcessor

    settings = checkpoint.settings("preprocessor_config.json")
    if not frames:
        return checkpoint.processor(AutoImageProcessor)
    if {"image_processor_type", "feature_extractor_type"}.intersection(settings):
        return StillVideos(checkpoint.processor(AutoImageProcessor))
    return StillVideos(checkpoint.processor(AutoVideoProcessor))


def frames_of(network: nn.Module) -> int | None:
    """Return the number of frames to which a picture is repeated for a network of videos; None for other networks."""
    setting = FRAMES_OF.get(network.config.model_type)
    return getattr(network.config, setting) if setting else None


def check_inputs(network: nn.Module) -> None:
    """Raise InputError for a network that needs more than an image's pixels, or reads an unknown form of videos."""
    kind, taken = type(network).__name__, _parameters(network)
    if frames_of(network) is None and any(hasattr(network.config, name) for name in VIDEO_SETTINGS):
        raise InputError(f"{kind} reads videos in an unknown form: choose another network")
    known = {*READ, *(name for names in NAMES_OF.values() for name in names)}
    required = [p.name for p in taken.values() if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    if others := [name for name in required if name not in known]:
        raise InputError(f"{kind} needs {' and '.join(others)} besides an image's pixels: choose another network")


def keywords(network: nn.Module, inputs: Inputs) -> dict:
    """Turn the result of `preprocess` into the keyword arguments of a network."""
    inputs = inputs if isinstance(inputs, Mapping) else {PIXELS: inputs}
    taken, named = _parameters(network), {}
    for name, values in inputs.items():
        name = next((other for other in (name, *NAMES_OF.get(name, ())) if other in taken), None)
        if name:
            named[name] = values
    if frames := frames_of(network):
        name = next(iter(named))
        named[name] = named[name].expand(-1, frames, -1, -1, -1)
    if network.config.model_type == "vit_mae":  # this noise decides which patches are hidden, and their order
        side = network.config.patch_size
        n_patches = (named[PIXELS].shape[2] // side) * (named[PIXELS].shape[3] // side)
        named["noise"] = torch.arange(n_patches, device=named[PIXELS].device).expand(len(named[PIXELS]), -1).float()
    if "skip_predictor" in taken:  # V-JEPA 2
        named["skip_predictor"] = True
    return named


def n_images(inputs: Inputs) -> int:
    """Return the number of images B of a batch."""
    if isinstance(inputs, Mapping):
        return len(next(inputs[name] for name in (GRID, SIZES, SHAPES, PIXELS) if name in inputs))
    return len(inputs)


def patch_counts(network: nn.Module, inputs: Inputs) -> list[int] | None:
    """Return the number of patches of each image, for networks that pack all images of a batch into one row."""
    if not isinstance(inputs, Mapping):
        inputs = {PIXELS: inputs}
    if GRID in inputs:
        return inputs[GRID].prod(dim=1).tolist()
    if SIZES in inputs and network.config.model_type == "pixtral":
        return (inputs[SIZES] // network.config.patch_size).prod(dim=1).tolist()
    if network.config.model_type == "pixtral":
        height, width = (side // network.config.patch_size for side in inputs[PIXELS].shape[2:])
        return [height * width] * len(inputs[PIXELS])
    return None


def _parameters(network: nn.Module) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(network.forward).parameters
