"""Load a vision-language model, and prove on a blank image how it may be read.

Two facts are found for each model: the points at which its layers pass the hidden states that transformers counts, and
whether prompts can continue from the cache of the image.

Letters: B images, L layers, T tokens, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from brain_activity_prediction.models.layer_lists import flat, layer_list
from brain_activity_prediction.models.pooling import Point, PooledStates, layer_points
from brain_activity_prediction.models.vision_language import network as parts
from brain_activity_prediction.models.vision_language.families import Family
from brain_activity_prediction.models.vision_language.groups import Group
from brain_activity_prediction.models.vision_language.image_states import as_tokens
from brain_activity_prediction.models.vision_language.inputs import PROBE_SIZE, PROBES, Reader
from brain_activity_prediction.models.vision_language.reading import (
    Network,
    read_prefix,
    read_question,
    read_whole,
)
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.messages import log

if TYPE_CHECKING:
    from torch import Tensor

ROUNDING = 8  # a difference of this many eps of the number format, relative to a layer's largest state, is rounding
PROBE_COLOURS = ("teal", "gold")
CHECKED = ("mean", "image", "last")  # poolings
CACHE_ROUNDING = 64  # the same for states read from a cache, whose sums are taken in another order


def prepared(model, family: Family, reader: Reader, end_ids: frozenset[int]) -> Network:
    """Return a loaded model with its points; raise InputError if its layers cannot be found."""
    import torch

    groups = probe(model, reader, PROBE_COLOURS)
    group = groups[0]
    with torch.inference_mode():
        network = Network(
            model,
            family,
            text_points(model, family, reader, group),
            *(tower_and_points(model, probe_inputs(model, family, reader, group)) if family.tower else (None, None)),
            end_ids,
        )
        if len(groups) == 1 and not rows_agree(network, reader, group):
            log.info(f"{type(model).__name__} does not keep the images of a batch apart: it is given one at a time")
            reader.axes = None
            groups = probe(model, reader, PROBE_COLOURS)
            group = groups[0]
        network.class_token = network.tower_points is not None and has_class_token(network, reader, groups)
        if reader.shared:
            network.cached = cache_agrees(network, reader, group)
    return network


def probe(model, reader: Reader, colours: Sequence[str]) -> list[Group]:
    """Return the inputs of blank images of these colours, in one group or in several."""
    from PIL import Image

    weights = next(model.parameters())
    images = [Image.new("RGB", PROBE_SIZE, colour) for colour in colours]
    return reader.groups(images).to(str(weights.device), weights.dtype).groups


def rows_agree(network: Network, reader: Reader, group: Group) -> bool:
    """Return whether the last image of a group has the same states as alone."""
    alone = probe(network.model, reader, PROBE_COLOURS[-1:])[0]
    for points in network.text_points.values():
        (together,), _ = seen([points], lambda: network.forward(reader.whole(reader.text(PROBES[0]), group)))
        (single,), _ = seen([points], lambda: network.forward(reader.whole(reader.text(PROBES[0]), alone)))
        pairs = zip(together, single, strict=True)
        if not all(close(one[-1:], other, CACHE_ROUNDING) for one, other in pairs):
            return False
    return True


def probe_inputs(model, family: Family, reader: Reader, group: Group) -> dict[str, Any]:
    """Return the inputs of a forward pass over blank images and a prompt."""
    inputs = reader.whole(reader.text(PROBES[0]), group)
    if family.encoder_decoder:
        inputs[parts.ANSWER_IDS] = parts.start_ids(model, len(group.rows))
    return inputs


def text_points(model, family: Family, reader: Reader, group: Group) -> dict[str, list[Point]]:
    """Find the points of each text model whose states are those that transformers returns as `hidden_states`."""
    found, inputs = {}, probe_inputs(model, family, reader, group)
    for stream, part in zip(family.text_streams, parts.text_models(model, family.encoder_decoder), strict=True):
        try:
            choices = parts.point_choices(part)
        except LookupError as error:
            raise InputError(f"{type(model).__name__} cannot be read: {error}") from error
        states, own = seen(choices, lambda: model(**inputs, output_hidden_states=True))
        expected = hidden_states(own, stream)
        right = [
            choice
            for choice, read in zip(choices, states, strict=True)
            if expected is None or agree(read, expected, ROUNDING)
        ]
        if not right:
            raise InputError(
                f"{type(model).__name__} cannot be read: the states of its layers are not those that it returns as "
                f"hidden states ({len(expected)} layers)"
            )
        found[stream] = right[0]
    return found


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


def hidden_states(output, stream: str) -> Sequence[Tensor] | None:
    """Return the hidden states that a model itself returns for a text stream; None if it returns none."""
    name = {"encoder": "encoder_hidden_states", "decoder": "decoder_hidden_states"}.get(stream, "hidden_states")
    for holder in (output, getattr(output, "language_model_outputs", None)):
        if (states := getattr(holder, name, None)) is not None:
            return states
    return None


def agree(read: Sequence[Tensor | None], expected: Sequence[Tensor], rounding: float) -> bool:
    """Return whether states equal the expected ones up to rounding."""
    return len(read) == len(expected) and all(
        one is not None and one.shape == other.shape and close(one, other, rounding)
        for one, other in zip(read, expected, strict=True)
    )


def close(one: Tensor, other: Tensor, rounding: float) -> bool:
    """Return whether two tensors differ by no more than rounding, relative to the largest value."""
    import torch

    limit = rounding * torch.finfo(one.dtype).eps * float(other.abs().max())
    return float((one.float() - other.float()).abs().max()) <= limit


def tower_and_points(model, inputs: Mapping[str, Any]) -> tuple[Any, list[Point]]:
    """Return the vision tower and its points: the first layer's input, then each layer's output.

    The last state is taken after a norm if this is what the tower itself returns.
    """
    tower = parts.tower(model)
    if tower is None:
        raise InputError(f"{type(model).__name__} cannot be read: it has no vision tower under a known name")
    try:
        _, found = layer_list(tower)
    except LookupError as error:
        raise InputError(f"{type(model).__name__} cannot be read: {error}") from error
    plain = list(flat(found))
    choices = [layer_points(plain), *(layer_points(plain, norm) for norm in parts.norms_outside(tower, plain))]
    expected: list[Any] = []
    with ExitStack() as hooks:
        hooks.callback(tower.register_forward_pre_hook(with_states, with_kwargs=True).remove)
        hooks.callback(tower.register_forward_hook(lambda *passed: expected.append(passed[-1])).remove)
        try:
            states, _ = seen(choices, lambda: model(**inputs))
        except TypeError:  # a tower that does not return its states
            return tower, choices[0]
    own = getattr(expected[0], "hidden_states", None) if expected else None
    right = (points for points, read in zip(choices, states, strict=True) if own and agree(read, own, ROUNDING))
    return tower, next(right, choices[0])


def with_states(module, inputs: tuple, named: dict) -> tuple[tuple, dict]:
    """Ask a module for its hidden states, as a hook before its forward pass."""
    return inputs, named | {"output_hidden_states": True}


def has_class_token(network: Network, reader: Reader, groups: Sequence[Group]) -> bool:
    """Return whether the first token of each row of the tower is, at the first layer, the same for all images."""
    import torch

    first = []
    for group in groups:
        inputs = reader.whole(reader.text(PROBES[0]), group)
        states, _ = seen([network.tower_points[:1]], lambda inputs=inputs: network.forward(inputs))
        tokens = as_tokens(states[0][0])
        if len(tokens) < len(group.rows):
            return False
        first.append(tokens[:, 0])
    tokens = torch.cat(first)
    return bool(torch.allclose(tokens, tokens[:1]))


def cache_agrees(network: Network, reader: Reader, group: Group) -> bool:
    """Return whether two prompts read from the cache of one prefix have the states of the same prompts read whole.

    Raise InputError if the image's states in the prefix are not those of the whole prompts: they depend on the prompt.
    """
    texts = [reader.text(prompt) for prompt in PROBES]
    prefix = read_prefix(network, reader, texts[0], group, CHECKED)
    whole = [read_whole(network, reader, prefix, text, CHECKED, 0)[0] for text in texts]
    if "image" in prefix.states.sums and not all(equal(network, prefix.states, long, "image") for long in whole):
        raise InputError(
            f"{type(network.model).__name__} cannot be read: the states of the image change with the prompt after it, "
            "and models/vision_language/families.py does not list it so"
        )
    try:
        continued = [read_question(network, reader, prefix, text, CHECKED, 0)[0] for text in texts]
    except Exception as error:  # every class fails in its own way where it cannot continue from a cache
        log.info(f"{type(network.model).__name__} cannot continue from a cache: {error}")
        return False
    return all(
        equal(network, short, long, pooling)
        for short, long in zip(continued, whole, strict=True)
        for pooling in CHECKED
    )


def equal(network: Network, states: PooledStates, others: PooledStates, pooling: str) -> bool:
    """Return whether the pooled states of all layers are equal up to rounding in another order of sums."""
    rounding = CACHE_ROUNDING * eps_ratio(network)
    pairs = zip(means(states, pooling), means(others, pooling), strict=True)
    return all(close(one, other, rounding) for one, other in pairs)


def means(states, pooling: str) -> list[Tensor]:
    """Return each layer's states (B, W) of a pooling."""
    name = "language" if pooling == "mean" else f"language_{pooling}"
    return list(states.streams("language", [pooling])[name].unbind(dim=1))


def eps_ratio(network: Network) -> float:
    """Return how much coarser the model's number format is than that of the pooled states, float32."""
    import torch

    return torch.finfo(next(network.model.parameters()).dtype).eps / torch.finfo(torch.float32).eps
