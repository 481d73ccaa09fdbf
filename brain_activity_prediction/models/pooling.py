"""From the hidden states of every layer to one vector a layer, while the model computes them.

A forward hook on each layer adds up the hidden states of the chosen tokens in float32 as the layer finishes, so the
full (B, T, W) tensors never outlive their layer. Letters: B images, L layers, T tokens, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

POOLINGS = {  # which tokens a stream's vector is the mean of
    "mean": "all tokens",
    "last": "the last token that is read",
    "image": "the image's tokens in the language model",
    "prompt": "the prompt's own text",
    "cls": "the class token of a vision transformer",
}


def stream_name(stream: str, pooling: str) -> str:
    """The name a pooled stream is stored under: `language` for the mean, `language_last` and so on for the others.

    The states over a model's answer are a stream of their own, `response`.
    """
    return {"mean": stream, "response": "response"}.get(pooling, f"{stream}_{pooling}")


def choose(poolings: Sequence[str], **tokens: slice) -> dict[str, slice]:
    """Of the token positions of each pooling, those of the poolings asked for."""
    return {name: positions for name, positions in tokens.items() if name in poolings}


@dataclass(frozen=True)
class Point:
    """A place in a network where hidden states pass: what goes into a module, or what comes out of it."""

    module: nn.Module
    side: str = "output"

    def watch(self, see: Callable[[Tensor], None]):
        """Calls `see` with each (B, T, W) tensor that passes; returns the hook's handle."""
        if self.side == "output":
            return self.module.register_forward_hook(lambda module, inputs, output: see(_tensor(output)))
        return self.module.register_forward_pre_hook(
            lambda module, inputs, named: see(inputs[0] if inputs else named["hidden_states"]),
            with_kwargs=True,
        )


def layer_points(layers: Sequence[nn.Module], final_norm: nn.Module | None = None) -> list[Point]:
    """What enters the first layer, then what leaves each layer: the L + 1 hidden states that transformers counts.

    With `final_norm` the last of them is taken after that norm, as transformers does for language models.
    """
    points = [Point(layers[0], "input"), *(Point(layer) for layer in layers)]
    return points if final_norm is None else [*points[:-1], Point(final_norm)]


@dataclass
class PooledStates:
    """Sums of hidden states over tokens, by pooling: `sums[name]` is L tensors (B, W), `counts[name]` tokens a row."""

    sums: dict[str, list[Tensor]] = field(default_factory=dict)
    counts: dict[str, Tensor | int] = field(default_factory=dict)

    def __add__(self, other: PooledStates) -> PooledStates:
        """The same sums over the tokens of both."""
        total = PooledStates(dict(self.sums), dict(self.counts))
        for name, sums in other.sums.items():
            known = name in total.sums
            total.sums[name] = [a + b for a, b in zip(total.sums[name], sums, strict=True)] if known else sums
            total.counts[name] = total.counts[name] + other.counts[name] if known else other.counts[name]
        return total

    def streams(self, stream: str, poolings: Sequence[str] | None = None) -> dict[str, Tensor]:
        """`{name: (B, L, W) float32}`: the mean over each pooling's tokens, of `poolings` or of all there are."""
        return {
            stream_name(stream, name): self._mean(name) for name in self.sums if poolings is None or name in poolings
        }

    def _mean(self, name: str) -> Tensor:
        import torch

        device = self.sums[name][0].device  # a model spread over several GPUs leaves its layers on each
        stacked = torch.stack([layer.to(device) for layer in self.sums[name]], dim=1)
        count = self.counts[name]
        return stacked / (count.to(device)[:, None, None] if isinstance(count, torch.Tensor) else count)


@contextmanager
def pooled(points: Sequence[Point], tokens: Mapping[str, slice | Tensor]) -> Iterator[PooledStates]:
    """While the block runs, sums what passes each point over the tokens of each pooling.

    `tokens[pooling]` is a slice of token positions, the same for all rows, or a mask (B, T), non-zero where a token
    counts. Each point must be passed once.
    """
    states = PooledStates({name: [None] * len(points) for name in tokens})

    def see(index: int, hidden: Tensor) -> None:
        for name, chosen in tokens.items():
            assert states.sums[name][index] is None, f"point {index} was passed twice"
            states.sums[name][index] = _sum(hidden, chosen)
            if isinstance(chosen, slice):
                states.counts[name] = len(range(*chosen.indices(hidden.shape[1])))
            else:
                states.counts[name] = chosen.sum(dim=1)

    handles = [point.watch(lambda hidden, index=index: see(index, hidden)) for index, point in enumerate(points)]
    try:
        yield states
    finally:
        for handle in handles:
            handle.remove()


def _sum(hidden: Tensor, chosen: slice | Tensor) -> Tensor:
    """(B, T, W) over its chosen tokens, accumulated in float32: (B, W)."""
    import torch

    if isinstance(chosen, slice):
        return hidden[:, chosen].sum(dim=1, dtype=torch.float32)
    return torch.einsum("bt,btw->bw", chosen.to(hidden.device, torch.float32), hidden.float())


def _tensor(output: torch.Tensor | tuple) -> Tensor:
    return output[0] if isinstance(output, tuple) else output
