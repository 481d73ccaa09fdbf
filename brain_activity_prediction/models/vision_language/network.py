"""Find the parts of a vision-language model: its tower, its projector, and the layers of its text model.

transformers gives access to the parts (`get_encoder`, `get_decoder`, `get_image_features`). The layers of a part are
its shallowest list of modules. `loading` compares the states read there with those that the model itself returns.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from brain_activity_prediction.models.layer_lists import flat, layer_list
from brain_activity_prediction.models.pooling import Point, layer_points

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
    """Yield the norms of a part of a model that are outside of its layers."""
    within = {id(module) for layer in layers for module in layer.modules()}
    for name, module in part.named_modules():
        if NORM.search(name.rpartition(".")[2]) and id(module) not in within:
            yield module


def point_choices(part: nn.Module) -> list[list[Point]]:
    """Return the possible sets of points for a text model's layers; `loading` selects by the model's own states."""
    parent, found = layer_list(part)
    plain = list(found)
    return [*(layer_points(plain, norm) for norm in norms_after(parent, found)), layer_points(plain)]


def tower_choices(tower) -> list[tuple[Any, list[Point]]]:
    """Return the possible sets of points for a tower, with the tower or the network in it that they belong to."""
    choices = []
    for part in (tower, *tower.children()):
        try:
            layers = tower_layers(part)
        except LookupError:
            if part is tower:
                raise
            continue
        choices.append((part, layer_points(layers)))
        choices += [(part, layer_points(layers, norm)) for norm in norms_outside(part, layers)]
    return choices


def tower_layers(part: nn.Module) -> list[nn.Module]:
    """Return the layers of a vision network; for a timm network without a list of layers, its stages."""
    try:
        return list(flat(layer_list(part)[1]))
    except LookupError:
        stages = getattr(getattr(part, "timm_model", None), "stages", None)
        if stages is None:
            raise
        return list(stages)


def tower(model) -> nn.Module | None:
    """Return the vision network of a model; None if there is none."""
    found = model.get_encoder(modality="image")
    if found is model or found is getattr(model, "base_model", None):
        return getattr(model.base_model, "image_encoder", None)  # GIT's
    return found


def text_models(model, encoder_decoder: bool) -> list[nn.Module]:
    """Return the text model or, for an encoder-decoder, its encoder and its decoder."""
    decoder = model.get_decoder()
    if not encoder_decoder:
        return [decoder]
    text = getattr(model, "language_model", None) or getattr(model.base_model, "language_model", None) or model
    return [text.get_encoder(), text.get_decoder()]


def features_owner(model):
    """Return the innermost module with a method `get_image_features`, called by the forward pass; None without one."""
    return next((module for module in reversed(list(model.modules())) if hasattr(module, "get_image_features")), None)


def projector(model) -> nn.Module | None:
    """Return the module that maps the tower's states to the text model's width, found by its name; None without one."""
    return next((module for name, module in model.named_modules() if PROJECTORS.search(name)), None)


def start_ids(model, n_rows: int) -> Tensor:
    """Return the tokens that start an answer, (B, T): the decoder's start token and, if set, the forced next token."""
    config = model.config.get_text_config(decoder=True)
    settings = [model.generation_config, model.config, config]
    start = _first(settings, ("decoder_start_token_id", "bos_token_id"))
    forced = _first(settings[:1], ("forced_bos_token_id",))
    ids = [start] if forced is None else [start, forced]
    return torch.tensor([ids] * n_rows, device=next(model.parameters()).device)


def _first(settings: Sequence[Any], names: Sequence[str]) -> int | None:
    found = (getattr(holder, name, None) for name in names for holder in settings)
    return next((value for value in found if isinstance(value, int)), None)


def hidden_states(output, stream: str) -> Sequence[Tensor] | None:
    """Return the hidden states that a model itself returns for a text stream; None if it returns none."""
    name = {"encoder": "encoder_hidden_states", "decoder": "decoder_hidden_states"}.get(stream, "hidden_states")
    for holder in (output, getattr(output, "language_model_outputs", None)):
        if (states := getattr(holder, name, None)) is not None:
            return states
    return None


def with_states(module, inputs: tuple, named: dict) -> tuple[tuple, dict]:
    """Make a module return its hidden states; used as a hook before its forward pass."""
    return inputs, named | {"output_hidden_states": True}


def seen(choices: Sequence[Sequence[Point]], run: Callable[[], Any]) -> tuple[list[list[Tensor]], Any]:
    """Run a model; return the states at each point of each choice, and what the model returned."""
    states: list[list[Any]] = [[None] * len(points) for points in choices]
    with ExitStack() as hooks:
        for choice, points in enumerate(choices):
            for layer, point in enumerate(points):

                def keep(hidden, choice=choice, layer=layer):
                    states[choice][layer] = hidden

                hooks.callback(point.watch(keep).remove)
        return states, run()


def agree(read: Sequence[Tensor | None], expected: Sequence[Tensor], rounding: float) -> bool:
    """Return whether states equal the expected ones up to rounding."""
    return len(read) == len(expected) and all(
        one is not None and one.shape == other.shape and close(one, other, rounding)
        for one, other in zip(read, expected, strict=True)
    )


def close(one: Tensor, other: Tensor, rounding: float, scale: float | None = None) -> bool:
    """Return whether two tensors differ by at most `rounding` eps, relative to `scale` (default: largest value)."""
    eps = max(torch.finfo(values.dtype).eps for values in (one, other))
    limit = rounding * eps * (float(other.abs().max()) if scale is None else scale)
    return float((one.float() - other.float()).abs().max()) <= limit
