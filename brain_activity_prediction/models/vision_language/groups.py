"""The parts of a model's inputs: the text of a prompt, and the images of a batch in groups.

Images are grouped by the shapes of their inputs, so that a model can read each group without padding.

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
    """The inputs of a model that come from the text around an image.

    before, after  {input: (1, T, ...)} for the tokens before and after those of the image
    own  inputs that depend on the prompt but do not have a value for each token, such as a Q-Former's
    prompt  positions of the prompt's own tokens, counted from the end of the text if `counted_back`, else from its
            start
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
    """Images of a batch whose inputs have the same shapes, so that they take the same number of tokens.

    rows  (B,) positions of these images in the batch
    block  {input: (1, T, ...)} for the tokens from the image's first to its last
    image  {input: (B, ...) or packed} for the images themselves
    size  width and height in pixels of a blank image that has the same text around it
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
    """Return the properties that images of one group share: shapes, token ids, grids and sizes."""
    parts: list[tuple] = []
    for name, value in sorted(inputs.items()):
        if not isinstance(value, torch.Tensor):
            parts.append((name, repr(value)))
        else:
            parts.append((name, tuple(value.shape), None if value.is_floating_point() else value.numpy().tobytes()))
    return tuple(parts)


def joined(values: Sequence[Any], axis: int) -> Any:
    """Join the inputs of several images: tensors along an axis, lists one after another."""
    if isinstance(values[0], torch.Tensor):
        return torch.cat(list(values), dim=axis)
    return [one for value in values for one in value]


def moved(inputs: Mapping[str, Any], device: str, dtype: torch.dtype) -> dict[str, Any]:
    """Move tensors to a device, and convert floating-point tensors to a dtype."""

    def move(value):
        if not isinstance(value, torch.Tensor):
            return value
        return value.to(device, dtype) if value.is_floating_point() else value.to(device)

    return {name: move(value) for name, value in inputs.items()}
