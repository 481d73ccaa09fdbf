"""Find the output of each attention head: equal parts of the input of the attention's output projection.

Letters: B images, H heads, L layers, T tokens, V width of a head, W width of the layer.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from torch import nn

from brain_activity_prediction.models.pooling import ATTENTION, Point, entering
from brain_activity_prediction.models.sites.parts import NAMES
from brain_activity_prediction.runtime.errors import InputError

# Names of the number of heads and of a head's width in attention modules.
NUMBERS = ("num_heads", "num_attention_heads", "n_heads", "n_head", "heads", "attention_heads")
WIDTHS = ("v_head_dim", "head_dim", "head_size", "attention_head_size", "key_value_proj_dim")


@dataclass(frozen=True)
class Projection:
    """The output projection of a layer's attention, the width of its input, and the number of heads (None: unknown)."""

    module: nn.Module
    width: int
    heads: int | None


def head_points(layers: Sequence[nn.Module], run: Callable[[], Any]) -> tuple[list[Point], int]:
    """Return the points that give the outputs of all heads, (B, T, H * V), one for each layer, and the number H.

    run  function that computes a small input

    Raises InputError if a layer's output projection is not found, or if layers differ in number or width of heads.
    """
    found: dict[int, dict[str, Projection]] = {number: {} for number in range(len(layers))}
    with ExitStack() as hooks:
        for number, layer in enumerate(layers):
            for path, module in attention_linears(layer):

                def see(module, inputs, named, output, number=number, layer=layer, path=path):
                    width = entering(inputs, named).shape[-1]
                    found[number][path] = Projection(module, width, n_heads(layer, path, width))

                hooks.callback(module.register_forward_hook(see, with_kwargs=True).remove)
        run()
    projections = [output_projection(number, layer, found[number]) for number, layer in enumerate(layers)]
    first = projections[0]
    for number, own in enumerate(projections):
        if (own.heads, own.width) != (first.heads, first.width):
            raise InputError(
                f"layer {number} has {own.heads} attention heads with {own.width} values in total, but layer 0 has "
                f"{first.heads} with {first.width}: leave out --heads"
            )
    return [Point(own.module, "input") for own in projections], first.heads


def output_projection(number: int, layer: nn.Module, computed: Mapping[str, Projection]) -> Projection:
    """Return the last linear module that a layer's attention computes; `computed` has all of them in order, by path."""
    path = next(reversed(computed), "")
    same = [other for other in computed if other.rpartition(".")[2] == path.rpartition(".")[2]]
    if not path or not computed[path].heads or len(same) > 1:
        reason = f"{len(same)} attentions" if len(same) > 1 else "no attention heads under known names"
        raise InputError(f"layer {number} ({type(layer).__name__}) has {reason}: leave out --heads")
    return computed[path]


def attention_linears(layer: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the linear modules of a layer's attention with their paths."""
    from transformers.pytorch_utils import Conv1D

    for path, module in layer.named_modules():
        if isinstance(module, (nn.Linear, Conv1D)) and NAMES[ATTENTION].search(path):
            yield path, module


def n_heads(layer: nn.Module, path: str, width: int) -> int | None:
    """Return the number of heads of the attention around a projection; None if it does not fit the projection's input.

    It is read from the attributes of the modules that contain the projection, and of their submodules, innermost first.
    """
    while path:
        path = path.rpartition(".")[0]
        for holder in layer.get_submodule(path).modules():
            number, of_each = (_first_int(holder, names) for names in (NUMBERS, WIDTHS))
            if number or of_each:
                number = number or width // of_each
                return number if number * (of_each or width // number) == width else None
    return None


def _first_int(holder: nn.Module, names: Sequence[str]) -> int | None:
    values = (getattr(holder, name, None) for name in names)
    return next((value for value in values if type(value) is int), None)
