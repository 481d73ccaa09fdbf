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

    @property
    def around(self) -> tuple[tuple[int, ...], ...]:
        """The token ids before and after the image's."""
        return tuple(tuple(part[IDS][0].tolist()) for part in (self.before, self.after))

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
    size  width and height in pixels of a blank image with the same text around it
    """

    rows: list[int]
    block: Mapping[str, Tensor]
    image: Mapping[str, Any]
    size: tuple[int, int] = PROBE_SIZE

    def to(self, device: str, dtype: torch.dtype) -> Group:
        return Group(self.rows, moved(self.block, device, dtype), moved(self.image, device, dtype), self.size)


@dataclass(frozen=True)
class Groups:
    """All groups of a batch."""

    groups: list[Group]

    def to(self, device: str, dtype: torch.dtype) -> Groups:
        return Groups([group.to(device, dtype) for group in self.groups])


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
