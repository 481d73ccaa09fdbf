"""Find the parts of a vision-language model: its tower, its projector, and the layers of its text model.

transformers names the parts (`get_encoder`, `get_decoder`, `get_image_features`). Their layers are the shallowest list
of modules in them. `loading` compares the states read at these layers with those that the model itself returns.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from brain_activity_prediction.models.layer_lists import layer_list
from brain_activity_prediction.models.pooling import Point, layer_points

if TYPE_CHECKING:
    from torch import Tensor, nn

ANSWER_IDS = "decoder_input_ids"  # the input of an encoder-decoder that starts an answer
PROJECTORS = re.compile(
    r"(^|\.)(multi_modal_projector|multimodal_projector|mm_projector|connector|projector|aligner|"
    r"image_to_text_projection|visual_projection|language_projection|embed_vision|perceiver_resampler)$"
)
NORM = re.compile(r"norm|ln")


def norms_after(parent: nn.Module, layers: nn.ModuleList) -> Iterator[nn.Module]:
    """Yield the norms that a module holds next to its layers; those registered after the layers come first."""
    children = list(parent.named_children())
    place = next(index for index, (_, child) in enumerate(children) if child is layers)
    for name, child in children[place + 1 :] + children[:place]:
        if NORM.search(name):
            yield child


def norms_outside(part: nn.Module, layers: Sequence[nn.Module]) -> Iterator[nn.Module]:
    """Yield the norms of a part of a model that are in none of its layers."""
    within = {id(module) for layer in layers for module in layer.modules()}
    for name, module in part.named_modules():
        if NORM.search(name.rpartition(".")[2]) and id(module) not in within:
            yield module


def point_choices(part: nn.Module) -> list[list[Point]]:
    """Return the sets of points at which the layers of a text model may be read; the model's own states tell which."""
    parent, found = layer_list(part)
    plain = list(found)
    return [*(layer_points(plain, norm) for norm in norms_after(parent, found)), layer_points(plain)]


def tower(model) -> nn.Module | None:
    """Return the vision network of a model; None if there is none."""
    found = model.get_encoder(modality="image")
    if found is model or found is getattr(model, "base_model", None):
        return None
    return found


def text_models(model, encoder_decoder: bool) -> list[nn.Module]:
    """Return the text model or, for an encoder-decoder, its encoder and its decoder."""
    decoder = model.get_decoder()
    if not encoder_decoder:
        return [decoder]
    text = getattr(model, "language_model", None) or getattr(model.base_model, "language_model", None) or model
    return [text.get_encoder(), text.get_decoder()]


def features_owner(model):
    """Return the innermost module with a function `get_image_features`, which its forward pass calls, or None."""
    return next((module for module in reversed(list(model.modules())) if hasattr(module, "get_image_features")), None)


def projector(model) -> nn.Module | None:
    """Return the module that maps the tower's states to the text model's width, by its name."""
    return next((module for name, module in model.named_modules() if PROJECTORS.search(name)), None)


def start_ids(model, n_rows: int) -> Tensor:
    """Return the tokens that start an answer, (B, T): the decoder's first, and the one that is forced after it."""
    import torch

    config = model.config.get_text_config(decoder=True)
    settings = [model.generation_config, model.config, config]
    start = _first(settings, ("decoder_start_token_id", "bos_token_id"))
    forced = _first(settings[:1], ("forced_bos_token_id",))
    ids = [start] if forced is None else [start, forced]
    return torch.tensor([ids] * n_rows, device=next(model.parameters()).device)


def _first(settings: Sequence[Any], names: Sequence[str]) -> int | None:
    found = (getattr(holder, name, None) for name in names for holder in settings)
    return next((value for value in found if isinstance(value, int)), None)
