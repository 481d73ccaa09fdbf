"""A loaded model with the functions of its script, and the check that what they give is what was promised."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from brain_activity_prediction import arguments as shared
from brain_activity_prediction.errors import InputError
from brain_activity_prediction.extract_image_embeddings.checkpoint import Checkpoint
from brain_activity_prediction.extract_image_embeddings.torchvision_import import import_torchvision

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor


class Runner:
    """The model on its device, and what the flags ask of it."""

    def __init__(self, script, arguments: argparse.Namespace, checkpoint: Checkpoint, prompts: dict[int, str]):
        import torch

        import_torchvision()
        self.script, self.prompts = script, prompts
        self.device, self.dtype = arguments.gpu_id, getattr(torch, shared.dtype_name(arguments))
        self.stored_as = torch.float32 if self.dtype == torch.float32 else torch.float16
        self.poolings = tuple(arguments.pooling)
        self.max_new_tokens = arguments.max_new_tokens if arguments.response else 0
        self.model, self.processor = script.load(checkpoint, self.device, self.dtype)

    def preprocess(self, images: list) -> Tensor:
        return self.script.preprocess(self.processor, images)

    def free_memory(self) -> None:
        """Gives back what torch keeps of a GPU's memory for later."""
        import torch

        if self.device != "cpu":
            torch.cuda.empty_cache()

    def encode(
        self, pixels: Tensor, prompts: Iterable[int | None]
    ) -> Iterator[tuple[int | None, dict[str, Tensor], list[str]]]:
        """Prompt, streams and answers, first of the images themselves (prompt None), then of each prompt."""
        import torch

        with torch.inference_mode():
            pixels = pixels.to(self.device, self.dtype)
            streams, context = self.script.encode_images(self.model, self.processor, pixels, self.poolings)
            yield None, streams, []
            for prompt in prompts:
                if prompt is not None:
                    text, limit = self.prompts[prompt], self.max_new_tokens
                    yield (
                        prompt,
                        *self.script.encode_prompt(self.model, self.processor, context, text, self.poolings, limit),
                    )


def checked(
    streams: dict[str, Tensor], names: Sequence[str], image_ids: Sequence[int], stored_as: torch.dtype
) -> dict[str, np.ndarray]:
    """The streams (B, L, W) as they are stored.

    Raises InputError where one is missing or misshapen, or where a value is not finite once stored.
    """
    if set(streams) != set(names):
        raise InputError(f"the model script gave the streams {sorted(streams)}, not {sorted(names)}")
    arrays = {}
    for name, states in streams.items():
        if states.ndim != 3 or len(states) != len(image_ids):
            raise InputError(
                f"{name} has the shape {tuple(states.shape)}, not ({len(image_ids)} images, layers, width)"
            )
        states = states.to(stored_as)
        bad = (~states.isfinite()).any(dim=2).nonzero()
        if len(bad):
            image, layer = bad[0].tolist()
            raise InputError(
                f"{name} is not finite for image {image_ids[image]} at layer {layer} ({len(bad)} such layers in this "
                "batch): run it with --dtype float32"
            )
        arrays[name] = states.cpu().numpy()
    return arrays
