"""Factors by which a layer scales the output of attention or MLP, which are not modules of their own.

Examples are the tanh gates of Mllama's cross-attention, the layer scales of BEiT and InternVL, and the multiplier of
Granite.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from brain_activity_prediction.models.pooling import Point, entering, tensor_of

# Argument of Mllama's layers, (B, 1, T, 1), that sets the MLP's output to 0 for tokens before the first image.
ROW_MASK = "full_text_row_masked_out_mask"


@dataclass(frozen=True)
class Gate:
    """A factor of a layer: the name of one of its parameters or numbers, and whether ROW_MASK is applied as well."""

    name: str | None = None
    tanh: bool = False
    masked: bool = False

    def factor(self, layer: nn.Module, named: Mapping[str, Any]) -> Tensor | float:
        """Return the factor, which broadcasts to (B, T, W); `named` are the arguments of the layer."""
        factor = 1.0 if self.name is None else getattr(layer, self.name)
        if self.tanh:
            factor = factor.tanh()
        return factor * named[ROW_MASK][:, 0] if self.masked else factor


NO_GATE = Gate()


def gates(layer: nn.Module, named: Mapping[str, Any], width: int) -> Iterator[Gate]:
    """Yield the gates that a layer may have, beginning with no gate."""
    masks = (False, True) if named.get(ROW_MASK) is not None else (False,)
    for masked in masks:
        yield Gate(masked=masked)
        for name, values in layer.named_parameters(recurse=False):
            if values.numel() in (1, width):
                # Whether a tanh belongs to the parameter is read from its name: in half precision, values near 0
                # equal their tanh, so that a comparison of outputs could not tell.
                yield Gate(name, tanh="gate" in name, masked=masked)
        for name, value in vars(layer).items():
            if type(value) is float and math.isfinite(value) and value not in (0.0, 1.0):
                yield Gate(name, masked=masked)


@dataclass(frozen=True)
class PartPoint(Point):
    """The output of a module, reshaped like the layer's input and multiplied by a gate of the layer."""

    layer: Any = None
    gate: Gate = NO_GATE

    def watch(self, see: Callable[[Tensor], None]):
        shape: list[int] = []
        arguments: dict[str, Any] = {}

        def enter(layer, inputs, named):
            shape[:] = entering(inputs, named).shape
            arguments.clear()
            arguments.update(named if self.gate.masked else {})

        def leave(module, inputs, output):
            see(tensor_of(output).reshape(shape) * self.gate.factor(self.layer, arguments))

        return Handles(
            [
                self.layer.register_forward_pre_hook(enter, with_kwargs=True),
                self.module.register_forward_hook(leave),
            ]
        )


@dataclass(frozen=True)
class Handles:
    """Handles of hooks that are removed together."""

    handles: list

    def remove(self) -> None:
        for handle in self.handles:
            handle.remove()
