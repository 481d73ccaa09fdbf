"""Pool the states of a vision tower and a projector to one vector for each image of a group.

The states of a tower can be those of whole pictures (B, T, W), of tiles (B x tiles, T, W), or one packed row (1, B x T,
W) or (B x T, W). All images of a group have the same number of tiles and patches, and follow one another. If the rows,
or the packed row, are divided into B equal parts, each part therefore belongs to one image.

Letters: B images, L layers, T tokens, W width.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from brain_activity_prediction.models.pooling import ONLY_BLOCK, Point, SiteLayers, stream_name
from brain_activity_prediction.models.vision_language.network import features_owner, projector

Selection = Callable[["Tensor"], "Tensor | slice"]  # from states (N, T, W) to selected tokens: a slice or mask (N, T)


@dataclass(frozen=True)
class Pass:
    """Sums over the selected tokens of each row in one pass of the tower, (R, W), and numbers of these tokens, (R,).

    A packed row (N = 1) is cut into equal parts, one for each image. This is right if the tower runs only once.
    """

    sums: Tensor
    counts: Tensor
    cut: bool

    @classmethod
    def of(cls, states: Tensor, chosen: Tensor | slice, n_images: int) -> Pass:
        """Sum states (N, T, W) over the selected tokens: a slice, or a mask (N, T)."""
        if isinstance(chosen, slice):
            states, mask = states[:, chosen], None
        else:
            mask = chosen.to(states.device, torch.float32)
        n_rows, n_tokens, width = states.shape
        cut = n_rows == 1 < n_images and n_tokens % n_images == 0
        if cut:
            states = states.reshape(n_images, -1, width)
        if mask is None:  # not a product with ones, which loses digits over thousands of tokens
            counts = torch.full(states.shape[:1], float(states.shape[1]), device=states.device)
            return cls(states.sum(dim=1, dtype=torch.float32), counts, cut)
        mask = mask.reshape(states.shape[:2])
        return cls(torch.einsum("nt,ntw->nw", mask, states.float()), mask.sum(dim=1), cut)

    def whole(self) -> Pass:
        """Return the sums of the uncut row."""
        return (
            Pass(self.sums.sum(dim=0, keepdim=True), self.counts.sum(dim=0, keepdim=True), False) if self.cut else self
        )


@dataclass
class ImageStates:
    """The sums over tokens in each pass of the tower, for each pooling and layer."""

    n_images: int
    passes: dict[str, list[list[Pass]]]

    def streams(self, stream: str, sites: Mapping[str, SiteLayers] = ONLY_BLOCK) -> dict[str, Tensor]:
        """Return the means over each image's tokens, `{name: (B, L, W) float32}`, padded with zeros to one width."""
        streams = {}
        for pooling, by_layer in self.passes.items():
            for site, layers in sites.items():
                means = [self._mean(passes) for passes in by_layer[layers.points]]
                width = max(mean.shape[1] for mean in means)
                filled = [pad(mean, (0, width - mean.shape[1])) for mean in means]
                streams[stream_name(stream, pooling, site)] = layers.stacked(filled)
        return streams

    def _mean(self, passes: list[Pass]) -> Tensor:
        if len(passes) > 1:
            passes = [one.whole() for one in passes]
        sums, counts = torch.cat([one.sums for one in passes]), torch.cat([one.counts for one in passes])
        by_image = sums.reshape(self.n_images, -1, sums.shape[-1]).sum(dim=1)
        return by_image / counts.reshape(self.n_images, -1).sum(dim=1)[:, None]


def as_tokens(states: Any, channels_first: bool = False) -> Tensor:
    """Return the states of a layer as (N, T, W): a packed row gets an axis, and maps are flattened.

    channels_first  whether maps are (N, W, rows, columns) instead of (N, rows, columns, W)
    """
    while isinstance(states, (tuple, list)):
        states = states[0]
    if states.ndim == 2:
        return states[None]
    if channels_first and states.ndim == 4:
        return states.flatten(2).transpose(1, 2)
    return states.flatten(1, -2)


@contextmanager
def tower_states(
    points: list[Point], selections: Mapping[str, Selection], n_images: int, channels_first: bool = False
) -> Iterator[ImageStates]:
    """Pool the states at each point of a tower while the `with` block runs; the tower may run once for each image."""
    kept = ImageStates(n_images, {name: [[] for _ in points] for name in selections})

    def see(layer: int, states: Any) -> None:
        tokens = as_tokens(states, channels_first)
        for name, select in selections.items():
            kept.passes[name][layer].append(Pass.of(tokens, select(tokens), n_images))

    with ExitStack() as hooks:
        for layer, point in enumerate(points):
            hooks.callback(point.watch(lambda states, layer=layer: see(layer, states)).remove)
        yield kept


def features_of(output: Any) -> Tensor:
    """Return the result of `get_image_features` or of a projector as (N, T, W)."""
    found = getattr(output, "pooler_output", output)
    if isinstance(found, (tuple, list)):
        found = torch.cat([one.reshape(-1, one.shape[-1]) for one in found])
    return as_tokens(found)


class Features:
    """The image features that enter the language model: recorded in the first pass, and reused in later passes."""

    def __init__(self, model, reusable: bool):
        """Record the results of `get_image_features` or, without this function, of the projector found by its name.

        reusable  whether later passes may use the recorded features; False if the projector reads the prompt
        """
        self.owner, self.module = features_owner(model), projector(model)
        self.reusable = reusable and self.owner is not None
        self.known: Any = None
        self.projected: Any = None

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Record the features that are computed while the `with` block runs."""
        with ExitStack() as hooks:
            if self.module is not None:
                hooks.callback(self.module.register_forward_hook(lambda *passed: self._project(passed[-1])).remove)
            if self.owner is not None:
                computed = self.owner.get_image_features
                keep = lambda *arguments, **named: self._keep(computed(*arguments, **named))  # noqa: E731
                hooks.enter_context(replaced(self.owner, keep))
            yield

    @contextmanager
    def reused(self) -> Iterator[None]:
        """Let the model use the recorded features while the `with` block runs; if not reusable, record them again."""
        if not self.reusable or self.known is None:
            with self.recorded():
                yield
            return
        with replaced(self.owner, lambda *arguments, **named: copy.copy(self.known)):
            yield

    def streams(self, n_images: int, select: Selection = lambda states: slice(None)) -> dict[str, Tensor]:
        """Return the mean of the selected features of each image, `{"projector": (B, 1, W)}`."""
        # Some models apply the projector to the result of `get_image_features`.
        unprojected = self.known is None or getattr(self.known, "pooler_output", self.known) is None
        features = features_of(self.projected if unprojected else self.known)
        return ImageStates(n_images, {"mean": [[Pass.of(features, select(features), n_images)]]}).streams("projector")

    def _keep(self, output: Any) -> Any:
        self.known = output
        return output

    def _project(self, output: Any) -> None:
        self.projected = output[0] if isinstance(output, tuple) else output


@contextmanager
def replaced(owner, function: Callable) -> Iterator[None]:
    """Replace the `get_image_features` of one model while the `with` block runs."""
    owner.get_image_features = function
    try:
        yield
    finally:
        del owner.get_image_features  # makes the method of its class visible again
