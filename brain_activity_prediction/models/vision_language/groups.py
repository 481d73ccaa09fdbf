"""The parts of a model's inputs: a prompt's tokens around those of the image, and the images of a batch.

Images are grouped by the shapes of their inputs, so that a model reads each group without padding.

Letters: B images, T tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from brain_activity_prediction.runtime.errors import InputError

IDS = "input_ids"
PROBE_SIZE = (425, 425)  # pixels; the size of NSD's pictures


@dataclass(frozen=True)
class Text:
    """A prompt's tokens around the image's: the inputs that have a value for each token, and those of the prompt alone.

    before, after  {input: (1, T, ...)} of the tokens before and after those of the image
    own  inputs that depend on the prompt, but have no value for each token, such as a Q-Former's
    prompt  the prompt's own tokens, counted from the end of the text if `counted_back`, else from its start
    """

    before: Mapping[str, Tensor]
    after: Mapping[str, Tensor]
    own: Mapping[str, Tensor]
    prompt: slice
    counted_back: bool

    def prompt_tokens(self, length: int) -> slice:
        """Return the positions of the prompt's own tokens in a text of `length` tokens."""
        start, stop = self.prompt.start, self.prompt.stop
        return slice(length - start, length - stop) if self.counted_back else slice(start, stop)


@dataclass(frozen=True)
class Group:
    """Images of a batch whose inputs have the same shapes: they take the same number of tokens, without padding.

    rows  (B,) their places in the batch
    block  {input: (1, T, ...)} of the tokens from the first to the last of the image
    image  {input: (B, ...) or packed} of the images
    """

    rows: list[int]
    block: Mapping[str, Tensor]
    image: Mapping[str, Any]

    def to(self, device: str, dtype: torch.dtype) -> Group:
        return Group(self.rows, moved(self.block, device, dtype), moved(self.image, device, dtype))


@dataclass(frozen=True)
class Groups:
    """All groups of a batch."""

    groups: list[Group]

    def to(self, device: str, dtype: torch.dtype) -> Groups:
        return Groups([group.to(device, dtype) for group in self.groups])


def check_text(ids: Tensor, bounds: tuple[int, int], text: Text, size: tuple[int, int]) -> None:
    """Raise InputError if the text around a picture is not that around the blank one: a text may state the size.

    ids  (1, T) of a prompt with the picture, whose own tokens are within the bounds
    text  the same prompt around the blank picture
    size  the picture's width and height in pixels
    """
    start, stop = bounds
    around = [ids[0, :start].tolist(), ids[0, stop:].tolist()]
    if around != [part[IDS][0].tolist() for part in (text.before, text.after)]:
        raise InputError(
            f"the processor writes other text around a picture of {size[0]} x {size[1]} pixels than around one of "
            f"{PROBE_SIZE[0]} x {PROBE_SIZE[1]}: this model is not read"
        )


def kind(inputs: Mapping[str, Any]) -> tuple:
    """Return what images of a group have in common: shapes, token ids, grids and sizes."""
    parts: list[tuple] = []
    for name, value in sorted(inputs.items()):
        if not isinstance(value, torch.Tensor):
            parts.append((name, repr(value)))
        else:
            parts.append((name, tuple(value.shape), None if value.is_floating_point() else value.numpy().tobytes()))
    return tuple(parts)


def joined(values: Sequence[Any], axis: int) -> Any:
    """Join the inputs of images along an axis; lists have one."""
    if isinstance(values[0], torch.Tensor):
        return torch.cat(list(values), dim=axis)
    return [one for value in values for one in value]


def moved(inputs: Mapping[str, Any], device: str, dtype: torch.dtype) -> dict[str, Any]:
    """Move tensors to a device; floating-point tensors are converted to a dtype."""

    def move(value):
        if not isinstance(value, torch.Tensor):
            return value
        return value.to(device, dtype) if value.is_floating_point() else value.to(device)

    return {name: move(value) for name, value in inputs.items()}
