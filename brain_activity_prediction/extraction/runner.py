"""Run a loaded model with the functions of its model script, and check the hidden states that they return."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from brain_activity_prediction.extraction.prompt_selection import check_prompts
from brain_activity_prediction.extraction.settings import ExtractionSettings
from brain_activity_prediction.models.guarded import guarded
from brain_activity_prediction.models.library_imports import import_torchvision, without_compiler
from brain_activity_prediction.runtime.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from PIL.Image import Image
    from torch import Tensor

    from brain_activity_prediction.models.prompt_tokens import PromptTokens


TOKENIZERS = ("tokenizer", "qformer_tokenizer", "reader")  # attributes of processors that may hold a tokenizer


class Runner:
    """The model on its device, with the prompts and poolings of a run."""

    def __init__(self, script, settings: ExtractionSettings):
        """Load the model; raise InputError if that fails, or if its tokenizers cannot read a prompt."""
        import torch

        import_torchvision()
        torch.backends.cudnn.allow_tf32 = False  # the default would round float32 in convolutions
        self.script, self.prompts = script, settings.prompts
        self.device, self.dtype = settings.device, getattr(torch, settings.dtype)
        # bfloat16 and float32 states may exceed the range of float16.
        self.stored_as = torch.float16 if self.dtype == torch.float16 else torch.float32
        self.untrained = settings.checkpoint.seed is not None
        self.poolings = tuple(settings.poolings)
        self.max_new_tokens = settings.max_new_tokens
        with without_compiler(), guarded(f"{settings.checkpoint.source} could not be loaded"):
            self.model, self.processor = script.load(settings.checkpoint, self.device, self.dtype)
        parts = (getattr(self.processor, name, None) for name in TOKENIZERS)
        check_prompts(self.prompts, [tokenizer for tokenizer in parts if tokenizer is not None])

    def preprocess(self, images: list) -> Tensor:
        """Turn B images into the input of the model."""
        with guarded(f"{type(self.processor).__name__} could not prepare the images"):
            return self.script.preprocess(self.processor, images)

    def free_memory(self) -> None:
        """Release the GPU memory that torch caches."""
        import torch

        if self.device != "cpu":
            torch.cuda.empty_cache()

    def encode(
        self, pixels: Tensor, prompts: Iterable[int | None]
    ) -> Iterator[tuple[int | None, dict[str, Tensor], list[str]]]:
        """Yield (prompt, streams, answers): first for the images alone (prompt None), then for each prompt."""
        import torch

        name = type(self.model).__name__
        with torch.inference_mode():
            with guarded(f"{name} could not compute the images"):
                pixels = pixels.to(self.device, self.dtype)
                streams, context = self.script.encode_images(self.model, self.processor, pixels, self.poolings)
            yield None, streams, []
            for prompt in prompts:
                if prompt is not None:
                    with guarded(f"{name} could not compute prompt {prompt}"):
                        streams, answers = self.script.encode_prompt(
                            self.model,
                            self.processor,
                            context,
                            self.prompts[prompt],
                            self.poolings,
                            self.max_new_tokens,
                        )
                    yield prompt, streams, answers

    def prompt_tokens(self, image: Image, prompts: Iterable[int]) -> dict[int, list[PromptTokens]]:
        """Return the tokens that each text model reads for an image and each prompt; empty if unknown."""
        import torch

        describe = getattr(self.script, "prompt_tokens", None)
        if describe is None:
            return {}
        with torch.inference_mode(), guarded(f"{type(self.model).__name__} could not read one image"):
            pixels = self.preprocess([image]).to(self.device, self.dtype)
            _, context = self.script.encode_images(self.model, self.processor, pixels, self.poolings)
            return {prompt: describe(self.model, self.processor, context, self.prompts[prompt]) for prompt in prompts}

    def checked(
        self, streams: dict[str, Tensor], names: Sequence[str], image_ids: Sequence[int]
    ) -> dict[str, np.ndarray]:
        """Convert the streams (B, L, W) to the stored dtype; raise InputError for the same reasons as `stored`.

        Only untrained models may have layers whose values are all zero.
        """
        return stored(streams, names, image_ids, self.stored_as, zeros_allowed=self.untrained)


def stored(
    streams: dict[str, Tensor],
    names: Sequence[str],
    image_ids: Sequence[int],
    stored_as: torch.dtype,
    zeros_allowed: bool = False,
) -> dict[str, np.ndarray]:
    """Convert the streams (B, L, W) to the dtype in which they are stored.

    Raises InputError if a stream is missing or has the wrong shape. Also raises it, with image and layer, if a value is
    not finite after the conversion, or if all values of a layer are zero.
    """
    import torch

    narrow = stored_as == torch.float16
    remedies = {
        "not finite": "run it with --dtype bfloat16 or float32" if narrow else "fetch the weights again",
        "zero throughout": "run it without --device-map and --quantize",
    }
    if set(streams) != set(names):
        raise InputError(f"the model script returned the streams {sorted(streams)}, not {sorted(names)}")
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
