"""Group the images of a batch by the shapes of their inputs, so that a model reads each group without padding.

Letters: B images, T tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor


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


def kind(inputs: Mapping[str, Any]) -> tuple:
    """Return what images of a group have in common: shapes, token ids, grids and sizes."""
    import torch

    parts: list[tuple] = []
    for name, value in sorted(inputs.items()):
        if not isinstance(value, torch.Tensor):
            parts.append((name, repr(value)))
        else:
            parts.append((name, tuple(value.shape), None if value.is_floating_point() else value.numpy().tobytes()))
    return tuple(parts)


def joined(values: Sequence[Any], axis: int) -> Any:
    """Join the inputs of images along an axis; lists have one."""
    import torch

    if isinstance(values[0], torch.Tensor):
        return torch.cat(list(values), dim=axis)
    return [one for value in values for one in value]


def moved(inputs: Mapping[str, Any], device: str, dtype: torch.dtype) -> dict[str, Any]:
    """Move tensors to a device; floating-point tensors are converted to a dtype."""
    import torch

    def move(value):
        if not isinstance(value, torch.Tensor):
            return value
        return value.to(device, dtype) if value.is_floating_point() else value.to(device)

    return {name: move(value) for name, value in inputs.items()}
