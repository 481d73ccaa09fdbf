"""The OpenFlamingo network: CLIP's vision tower, a perceiver resampler, and MPT with gated cross-attention.

The network is that of the authors' package open_flamingo 2.0.1, but built with the MPT of transformers, because the
package's own factory function would run code that is stored with MPT's weights on the hub. Source: Awadalla et al.
2023, arXiv 2308.01390. Letters: B images, T tokens, W width.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING

from brain_activity_prediction.models.pooling import Point
from brain_activity_prediction.runtime.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import Cache

PACKAGES = ("open_flamingo", "open_clip", "einops", "einops_exts", "torchvision")
INSTALL = 'pip install -c constraints.txt -e ".[flamingo]" && pip install --no-deps open_flamingo==2.0.1'


def require_packages() -> None:
    """Raise InputError with the install command if a package that OpenFlamingo needs is missing."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(f"OpenFlamingo needs {', '.join(missing)}: in the clone, run {INSTALL}")


def build(
    visual: nn.Module,
    language_model: nn.Module,
    image_id: int,
    endofchunk_id: int,
    interval: int,
    device: str = "meta",
) -> nn.Module:
    """Build a `Flamingo` from the two towers, with a gated cross-attention before every `interval`-th MPT block.

    device  device of perceiver and cross-attention: "cpu" to draw random weights, "meta" to load them with
            `load_trained`
    """
    import torch
    from open_flamingo.src.flamingo import Flamingo
    from open_flamingo.src.flamingo_lm import FlamingoLMMixin
    from open_flamingo.src.utils import extend_instance

    class FlamingoLanguageModel(FlamingoLMMixin):
        def forward(self, input_ids, attention_mask=None, **kwargs):
            # The package's own forward requires a mask of ones, which `generate` leaves out.
            return super().forward(input_ids, attention_mask, **kwargs)

    # The network was trained on patch tokens before ln_post, a norm that open_clip applies to them since 2.23.
    visual.output_tokens = visual.final_ln_after_pool = True
    extend_instance(language_model, FlamingoLanguageModel)
    language_model.set_decoder_layers_attr_name("transformer.blocks")
    with torch.device(device):
        return Flamingo(
            SimpleNamespace(visual=visual),
            language_model,
            endofchunk_id,
            image_id,
            vis_dim=visual.ln_post.normalized_shape[0],
            cross_attn_every_n_layers=interval,
        ).requires_grad_(False)


@dataclass(frozen=True)
class LatentPoint(Point):
    """A point in the perceiver through which the latents (B, 1 image, 64, W) pass."""

    def watch(self, see):
        return super().watch(lambda latents: see(latents[:, 0]))


def latent_points(perceiver: nn.Module) -> list[LatentPoint]:
    """Return the points that give the latents after each layer of the perceiver; the last point follows its norm.

    The input of the first layer is left out, because it is learned and the same for all images.
    """
    entering = [LatentPoint(attention.norm_latents, "input") for attention, _ in perceiver.layers]
    return [*entering[1:], LatentPoint(perceiver.norm)]


def reader(model: nn.Module, latents: Tensor) -> Callable[[Tensor, Cache], Tensor]:
    """Return a function with which MPT reads token ids (B, T) after those in a cache, and attends to these images.

    The function returns hidden states (B, T, W) after the final norm. Its first call must contain the image's token.

    latents  (B, 1, 64, W), the images as the perceiver encodes them
    """
    language = model.lang_encoder

    def read(ids: Tensor, cache: Cache) -> Tensor:
        images = ids == model.media_token_id
        # Later calls attend to the image of the first call, even if the answer contains an image token. In this case
        # `generate` would detach all rows from their image.
        follows = cache.get_seq_length() > 0
        for block in language.transformer.blocks:
            block.condition_vis_x(latents)
            block.condition_media_locations(images.new_ones(len(ids), 1) if follows else images)
            block.condition_use_cached_media(follows)
        try:
            return language.transformer(input_ids=ids, past_key_values=cache).last_hidden_state
        finally:
            model.uncache_media()

    return read
