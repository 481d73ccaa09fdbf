"""Find the modules whose outputs are added to the residual stream as the parts of attention and MLP.

A layer of a pre-norm transformer returns its input plus a part of the attention plus a part of the MLP. Each part is
the output of one module in the layer: the attention or MLP itself, or a norm or layer scale after it. It may also be
multiplied by a gate. `find_parts` computes a small input and selects the two modules whose outputs add up to the
layer's output minus its input. If there are no such modules, the network is refused.

Letters: L layers, N sampled tokens, V sampled values of each token.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from brain_activity_prediction.models.pooling import ATTENTION, MLP, entering, tensor_of
from brain_activity_prediction.models.sites.gates import Gate, gates
from brain_activity_prediction.runtime.errors import InputError

# Paths of modules within a layer. The state-space and convolutional mixers of hybrid models count as attention.
NAMES = {
    ATTENTION: re.compile(r"attn|attention|mixer|mamba|short_?conv|\bconv\b", re.IGNORECASE),
    MLP: re.compile(r"mlp|feed_?forward|ffn|moe|experts|dense|intermediate|output|\bfc\d|\bw\d", re.IGNORECASE),
}
SAMPLE = (32, 512)  # number of tokens, and of values of each token, that are compared
ROUNDING = 2  # largest difference that counts as rounding, in eps of the number format times the sum of the terms


@dataclass(frozen=True)
class Part:
    """The path of a module in a layer whose output, times a gate, is added to the residual stream.

    flat  whether the module returns all tokens of the batch in one row
    """

    path: str
    gate: Gate
    flat: bool = False


@dataclass
class LayerPass:
    """A forward pass of a layer: sampled values (N, V) of its input and of its modules' outputs, in order.

    named  keyword arguments of the layer
    eps  machine epsilon of the layer's number format
    """

    shape: torch.Size
    entered: Tensor
    named: Mapping[str, Any]
    eps: float
    outputs: dict[str, Tensor] = field(default_factory=dict)
    repeated: set[str] = field(default_factory=set)
    flat: set[str] = field(default_factory=set)

    def see(self, path: str, output: Any) -> None:
        """Keep a module's output if it has as many values as the layer's input."""
        output = tensor_of(output)
        if isinstance(output, torch.Tensor) and same_tokens(output.shape, self.shape):
            if output.shape != self.shape:
                self.flat.add(path)
            if path in self.outputs:
                self.repeated.add(path)
            self.outputs[path] = sampled(output)

    def candidates(self) -> dict[str, list[str]]:
        """Return the paths of the modules that may give the part of the attention, and those for the MLP."""
        found: dict[str, list[str]] = {ATTENTION: [], MLP: []}
        current = None
        for path in self.outputs:
            # A module with another name, such as a layer scale, belongs to the part that was computed before it.
            current = next((site for site, name in NAMES.items() if name.search(path)), current)
            if current and path not in self.repeated:
                found[current].append(path)
        return found


def find_parts(layers: Sequence[nn.Module], run: Callable[[], Any]) -> list[dict[str, Part]]:
    """Return the parts of each layer by site, found while `run` computes a small input.

    Raises InputError if no parts of attention and MLP add up to a layer's output minus its input.
    """
    found: list[dict[str, Part]] = [{} for _ in layers]
    with ExitStack() as hooks:
        for number, layer in enumerate(layers):
            watch(layer, hooks, lambda one, left, number=number: found[number].update(check(number, one, left)))

        def check(number: int, one: LayerPass, left: Tensor) -> dict[str, Part]:
            parts = adding_up(layers[number], one, left)
            if parts is None:
                raise InputError(
                    f"attention and MLP cannot be separated in layer {number} ({type(layers[number]).__name__}): no "
                    "outputs of its modules add up to its output minus its input; leave out --sites and --heads"
                )
            return parts

        run()
    for number, parts in enumerate(found):
        if not parts:
            raise InputError(f"layer {number} ({type(layers[number]).__name__}) is not computed: leave out --sites")
    return found


def watch(layer: nn.Module, hooks: ExitStack, leave: Callable[[LayerPass, Tensor], None]) -> None:
    """Record each pass of a layer; at its end, call `leave` with the record and the layer's output."""
    current: list[LayerPass] = []

    def enter(module, inputs, named):
        states = entering(inputs, named)
        current[:] = [LayerPass(states.shape, sampled(states), named, torch.finfo(states.dtype).eps)]

    hooks.callback(layer.register_forward_pre_hook(enter, with_kwargs=True).remove)
    for path, module in layer.named_modules():
        if path:
            hooks.callback(module.register_forward_hook(observer(current, path)).remove)
    hooks.callback(
        layer.register_forward_hook(lambda module, inputs, output: leave(current.pop(), tensor_of(output))).remove
    )


def observer(current: Sequence[LayerPass], path: str) -> Callable[..., None]:
    """Return a forward hook that records a module's output in the current pass of its layer."""

    def see(module, inputs, output) -> None:
        for one in current:
            one.see(path, output)

    return see


def adding_up(layer: nn.Module, one: LayerPass, left: Tensor) -> dict[str, Part] | None:
    """Return the two parts whose sum is closest to the layer's output minus its input; None if not equal to it."""
    if left.shape != one.shape:
        return None
    known = list(gates(layer, one.named, one.shape[-1]))
    parts = {
        site: [Part(path, gate, path in one.flat) for path in paths for gate in known]
        for site, paths in one.candidates().items()
    }
    if not all(parts.values()):
        return None
    attention, mlp = (torch.stack([added(layer, one, part) for part in own]).flatten(1) for own in parts.values())
    total, entered = sampled(left).flatten(), one.entered.flatten()
    missing = total - entered - attention
    distance = torch.cdist(missing, mlp, compute_mode="donot_use_mm_for_euclid_dist")
    first, second = divmod(int(distance.argmin()), len(mlp))
    terms = total.abs() + entered.abs() + attention[first].abs() + mlp[second].abs()
    if bool(((missing[first] - mlp[second]).abs() > ROUNDING * one.eps * terms).any()):
        return None
    return {ATTENTION: parts[ATTENTION][first], MLP: parts[MLP][second]}


def added(layer: nn.Module, one: LayerPass, part: Part) -> Tensor:
    """Return the sampled values (N, V) that a part adds."""
    factor = torch.as_tensor(part.gate.factor(layer, one.named))
    return one.outputs[part.path] * (sampled(factor.expand(one.shape)) if factor.ndim else factor.double().cpu())


def same_tokens(shape: Sequence[int], other: Sequence[int]) -> bool:
    """Return whether states of two shapes have the same width and number of tokens."""
    return len(shape) > 1 and shape[-1] == other[-1] and math.prod(shape) == math.prod(other)


def sampled(states: Tensor) -> Tensor:
    """Return an evenly spaced sample (N, V) of states (..., W), in double precision on the CPU."""
    flat = states.reshape(-1, states.shape[-1])
    rows, columns = (
        torch.linspace(0, size - 1, min(size, most), device=flat.device).round().long()
        for size, most in zip(flat.shape, SAMPLE, strict=True)
    )
    return flat[rows][:, columns].double().cpu()
