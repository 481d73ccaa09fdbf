"""Pool the hidden states of every layer to one vector, while the model computes them.

When a layer has been computed, a forward hook sums the hidden states of the selected tokens in float32. The full tensor
(B, T, W) can be freed immediately.

Letters: B images, L layers, T tokens, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

POOLINGS = {  # for each pooling, the tokens that are averaged
    "mean": "all tokens",
    "last": "the last token that is read",
    "image": "the image's tokens in the language model",
    "prompt": "the prompt's own text",
    "cls": "the class token of a transformer",
    "patch": "the patches of a vision transformer, without class, register or detection tokens",
}
# What is read in each layer: the residual stream after it, what attention and MLP add to it, and each head's output.
BLOCK, ATTENTION, MLP, HEADS = "block", "attention", "mlp", "heads"
SITES = (BLOCK, ATTENTION, MLP)  # values of --sites
OUTPUTS = NORMED, POOLED, PROJECTED = "normed", "pooled", "projected"  # streams after a vision network's last layer


def stream_name(stream: str, pooling: str | None, site: str = BLOCK) -> str:
    """Return the name of a pooled stream: `language` for the mean, or `language_last` and so on for other poolings.

    Hidden states pooled over a model's answer are a separate stream, `response`. The pooling is None for streams that
    have one vector for each image and need no pooling. A site other than the block is named before the pooling, as in
    `language_attention_last`.
    """
    name = "response" if pooling == "response" else stream
    name = name if site == BLOCK else f"{name}_{site}"
    return name if pooling in ("mean", "response", None) else f"{name}_{pooling}"


def by_site(
    streams: Mapping[str, Sequence[str]], sites: Sequence[str], only_block: Sequence[str] = ()
) -> dict[str, Sequence[str]]:
    """Return the poolings of each stream at each site; streams in `only_block` have no sites within layers."""
    return {
        stream_name(stream, None, site): poolings
        for stream, poolings in streams.items()
        for site in sites
        if site == BLOCK or stream not in only_block
    }


def choose(poolings: Sequence[str], **tokens: slice) -> dict[str, slice]:
    """Return the token positions of the selected poolings, from those of all poolings."""
    return {name: positions for name, positions in tokens.items() if name in poolings}


@dataclass(frozen=True)
class Point:
    """A point in a network through which hidden states pass: the input or the output of a module."""

    module: nn.Module
    side: str = "output"

    def watch(self, see: Callable[[Tensor], None]):
        """Call `see` with each tensor (B, T, W) that passes this point; return the hook's handle."""
        if self.side == "output":
            return self.module.register_forward_hook(lambda module, inputs, output: see(tensor_of(output)))
        return self.module.register_forward_pre_hook(
            lambda module, inputs, named: see(entering(inputs, named)), with_kwargs=True
        )


def layer_points(layers: Sequence[nn.Module], final_norm: nn.Module | None = None) -> list[Point]:
    """Return the points of the L + 1 hidden states: the first layer's input, then each layer's output.

    With `final_norm`, the last state is taken after that norm, as in transformers for language models.
    """
    points = [Point(layers[0], "input"), *(Point(layer) for layer in layers)]
    return points if final_norm is None else [*points[:-1], Point(final_norm)]


@dataclass(frozen=True)
class SiteLayers:
    """The points of a site in the list of all points, and the number of heads of each; each head becomes a layer."""

    points: slice = field(default_factory=lambda: slice(None))
    heads: int = 1

    def stacked(self, layers: Sequence[Tensor]) -> Tensor:
        """Join the states (B, W) of layers to (B, L, W) or, with H heads, to (B, L * H, W / H)."""
        import torch

        device = layers[0].device  # layers of a model on several GPUs are on different devices
        joined = torch.stack([layer.to(device) for layer in layers], dim=1)
        return joined.unflatten(2, (self.heads, -1)).flatten(1, 2) if self.heads > 1 else joined


ONLY_BLOCK = MappingProxyType({BLOCK: SiteLayers()})  # the default: the block alone


@dataclass
class PooledStates:
    """Sums of hidden states over tokens: for each pooling, L tensors (B, W), and the number of tokens of each row."""

    sums: dict[str, list[Tensor]] = field(default_factory=dict)
    counts: dict[str, Tensor | int] = field(default_factory=dict)

    def __add__(self, other: PooledStates) -> PooledStates:
        """Add the sums and numbers of tokens of two text parts, such as a prefix and a question."""
        total = PooledStates(dict(self.sums), dict(self.counts))
        for name, sums in other.sums.items():
            known = name in total.sums
            total.sums[name] = [a + b for a, b in zip(total.sums[name], sums, strict=True)] if known else sums
            total.counts[name] = total.counts[name] + other.counts[name] if known else other.counts[name]
        return total

    def streams(
        self,
        stream: str,
        poolings: Sequence[str] | None = None,
        sites: Mapping[str, SiteLayers] = ONLY_BLOCK,
    ) -> dict[str, Tensor]:
        """Return the means over tokens, `{name: (B, L, W) float32}`, for these poolings; None for all."""
        return {
            stream_name(stream, name, site): self._mean(name, layers)
            for name in self.sums
            if poolings is None or name in poolings
            for site, layers in sites.items()
        }

    def _mean(self, name: str, layers: SiteLayers) -> Tensor:
        import torch

        stacked, count = layers.stacked(self.sums[name][layers.points]), self.counts[name]
        return stacked / (count.to(stacked.device)[:, None, None] if isinstance(count, torch.Tensor) else count)


@contextmanager
def pooled(points: Sequence[Point], tokens: Mapping[str, slice | Tensor]) -> Iterator[PooledStates]:
    """Sum the hidden states that pass each point while the `with` block runs, over the tokens of each pooling.

    Each point must be passed exactly once.

    tokens  for each pooling, a slice of token positions that is the same for all rows, or a mask (B, T) that is
            non-zero for selected tokens
    """
    states = PooledStates({name: [None] * len(points) for name in tokens})

    def see(index: int, hidden: Tensor) -> None:
        for name, chosen in tokens.items():
            assert states.sums[name][index] is None, f"point {index} was passed twice"
            states.sums[name][index] = token_sums(hidden, chosen)
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


def token_sums(hidden: Tensor, chosen: slice | Tensor) -> Tensor:
    """Sum hidden states (B, T, W) over the selected tokens in float32: (B, W)."""
    import torch

    if isinstance(chosen, slice):
        return hidden[:, chosen].sum(dim=1, dtype=torch.float32)
    return torch.einsum("bt,btw->bw", chosen.to(hidden.device, torch.float32), hidden.float())


def entering(inputs: tuple, named: Mapping[str, Any]) -> Tensor:
    """Return the hidden states among the arguments of a module."""
    return inputs[0] if inputs else named.get("hidden_states", next(iter(named.values())))


def tensor_of(output: Any) -> Any:
    """Return the hidden states in the output of a module, which are the first part of a tuple."""
    return output[0] if isinstance(output, tuple) else output
