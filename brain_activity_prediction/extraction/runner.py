"""A loaded model with the functions of its script, and the check that what they give is what was promised."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from brain_activity_prediction.cli import shared_flags as shared
from brain_activity_prediction.extract_image_embeddings.prompts import check_prompts
from brain_activity_prediction.extraction.guarded import guarded
from brain_activity_prediction.models.checkpoints.checkpoint import Checkpoint
from brain_activity_prediction.models.torchvision_import import import_torchvision
from brain_activity_prediction.runtime.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor


TOKENIZERS = ("tokenizer", "qformer_tokenizer", "reader")  # the attributes of a processor that read prompts


class Runner:
    """The model on its device, and what the flags ask of it."""

    def __init__(self, script, arguments: argparse.Namespace, checkpoint: Checkpoint, prompts: dict[int, str]):
        import torch

        import_torchvision()
        torch.backends.cudnn.allow_tf32 = False  # convolutions alone have it on by default: float32 is to be float32
        self.script, self.prompts = script, prompts
        self.device, self.dtype = arguments.gpu_id, getattr(torch, shared.dtype_name(arguments))
        # float16 for what was computed in float16 alone: the states of the other two may lie beyond its range.
        self.stored_as = torch.float16 if self.dtype == torch.float16 else torch.float32
        self.untrained = checkpoint.seed is not None
        self.poolings = tuple(arguments.pooling)
        self.max_new_tokens = arguments.max_new_tokens if arguments.response else 0
        with guarded(f"{checkpoint.folder or checkpoint.model_id} could not be made ready"):
            self.model, self.processor = script.load(checkpoint, self.device, self.dtype)

        parts = (getattr(self.processor, name, None) for name in TOKENIZERS)
        check_prompts(prompts, [tokenizer for tokenizer in parts if tokenizer is not None])

    def preprocess(self, images: list) -> Tensor:
        with guarded(f"{type(self.processor).__name__} could not prepare the images"):
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

        name, of_model = type(self.model).__name__, (self.model, self.processor)
        with torch.inference_mode():
            with guarded(f"{name} could not compute the images"):
                pixels = pixels.to(self.device, self.dtype)
                streams, context = self.script.encode_images(*of_model, pixels, self.poolings)
            yield None, streams, []
            for prompt in prompts:
                if prompt is not None:
                    with guarded(f"{name} could not compute prompt {prompt}"):
                        asked = context, self.prompts[prompt], self.poolings, self.max_new_tokens
                        states = self.script.encode_prompt(*of_model, *asked)
                    yield prompt, *states

    def checked(
        self, streams: dict[str, Tensor], names: Sequence[str], image_ids: Sequence[int]
    ) -> dict[str, np.ndarray]:
        """The streams (B, L, W) as they are stored; raises InputError as `stored` does.

        An untrained model may start from zeros, a trained one has lost what it shows zeros for.
        """
        return stored(streams, names, image_ids, self.stored_as, zeros_allowed=self.untrained)


def stored(
    streams: dict[str, Tensor],
    names: Sequence[str],
    image_ids: Sequence[int],
    stored_as: torch.dtype,
    zeros_allowed: bool = False,
) -> dict[str, np.ndarray]:
    """The streams (B, L, W) in the dtype they are stored in.

    Raises InputError where one is missing or misshapen, and, naming image and layer, where a value is not finite or a
    layer is zero throughout once stored.
    """
    import torch

    narrow = stored_as == torch.float16
    remedies = {
        "not finite": "run it with --dtype bfloat16 or float32" if narrow else "fetch the weights again",
        "zero throughout": "run it without --device-map and --quantize",
    }
    if set(streams) != set(names):
        raise InputError(f"the model script gave the streams {sorted(streams)}, not {sorted(names)}")
    arrays = {}
    for name, states in streams.items():
        if states.ndim != 3 or len(states) != len(image_ids):
            raise InputError(
                f"{name} has the shape {tuple(states.shape)}, not ({len(image_ids)} images, layers, width)"
            )
        states = states.to(stored_as)
        wrong = {"not finite": ~states.isfinite().all(dim=2)}
        if not zeros_allowed:
            wrong["zero throughout"] = ~states.any(dim=2)
        for what, where in wrong.items():
            if where.any():
                image, layer = where.nonzero()[0].tolist()
                raise InputError(
                    f"{name} is {what} for image {image_ids[image]} at layer {layer}, the first of {int(where.sum())} "
                    f"such vectors among {where.numel()} of this batch: {remedies[what]}"
                )
        arrays[name] = states.cpu().numpy()
    return arrays
