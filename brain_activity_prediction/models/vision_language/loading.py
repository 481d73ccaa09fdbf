"""Find with blank images how the hidden states of a loaded vision-language model can be read.

Two facts are found for each model: the points of the network at which its hidden states are those that transformers
returns, and whether prompts can continue from the cache of the image.

Letters: B images, L layers, T tokens, W width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from brain_activity_prediction.models.checkpoints.loaded_parameters import number_format
from brain_activity_prediction.models.patch_tokens import may_have_class_token
from brain_activity_prediction.models.pooling import Point, PooledStates
from brain_activity_prediction.models.vision_language import network as parts
from brain_activity_prediction.models.vision_language.families import WINDOW_AFTER_FIRST_PASS, Family
from brain_activity_prediction.models.vision_language.groups import Group, Text
from brain_activity_prediction.models.vision_language.image_states import as_tokens, tower_states
from brain_activity_prediction.models.vision_language.inputs import IDS, PROBE_SIZE, PROBES, Reader
from brain_activity_prediction.models.vision_language.reading import (
    Network,
    read_prefix,
    read_question,
    read_whole,
)
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.messages import log

ROUNDING = 8  # largest difference that is rounding, in eps of the number format, relative to a layer's largest state
PROBE_COLOURS = ("teal", "gold")
CHECKED = ("mean", "image", "last")  # poolings
# Such a difference for pooled states that are read from a cache: their sums are computed in another order.
CACHE_ROUNDING = {torch.float32: 64, torch.bfloat16: 8, torch.float16: 8}
AGAIN_ROUNDING = 1  # such a difference for a prompt that is read twice from one cache, with another prompt in between
BATCH_ROUNDING = 2  # such a difference for single states of an image at two positions of a batch


def prepared(model, family: Family, reader: Reader, end_ids: frozenset[int]) -> Network:
    """Return a loaded model with its points; raise InputError if its layers cannot be found."""
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
            log.info(f"{type(model).__name__} mixes the images of a batch, so images are computed one at a time")
            reader.axes = None
            groups = probe(model, reader, PROBE_COLOURS)
            group = groups[0]
        network.class_token = network.tower_points is not None and has_class_token(network, reader, groups)
        if reader.shared and family.model_type not in WINDOW_AFTER_FIRST_PASS:
            network.cached = cache_agrees(network, reader, group)
    return network


def probe(model, reader: Reader, colours: Sequence[str]) -> list[Group]:
    """Return the inputs of blank images of these colours, in one or several groups."""
    from PIL import Image

    device = str(next(model.parameters()).device)
    images = [Image.new("RGB", PROBE_SIZE, colour) for colour in colours]
    return reader.groups(images).to(device, number_format(model)).groups


def rows_agree(network: Network, reader: Reader, group: Group) -> bool:
    """Return whether an image's states are the same at each position of a batch, in the text model and in the tower.

    The group's images are read again in reverse order. The shapes do not change, so that rounding is similar.
    """
    swapped = probe(network.model, reader, PROBE_COLOURS[::-1])[0]
    pairs = zip(all_states(network, reader, group), all_states(network, reader, swapped), strict=True)
    return all(parts.close(one, other.flip(0), BATCH_ROUNDING) for one, other in pairs)


def all_states(network: Network, reader: Reader, group: Group) -> list[Tensor]:
    """Return the states (B, T, W) of each text layer, and for each layer of the tower the mean over tokens (B, W)."""
    inputs, n_images = reader.whole(reader.text(PROBES[0]), group), len(group.rows)
    with tower_states(network.tower_points or [], {"mean": lambda states: slice(None)}, n_images) as tower:
        by_text, _ = parts.seen(list(network.text_points.values()), lambda: network.forward(inputs))
    in_tower = tower.streams("vision")["vision"].unbind(dim=1) if network.tower_points else []
    dtype = number_format(network.model)
    return [*(layer for states in by_text for layer in states), *(layer.to(dtype) for layer in in_tower)]


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
        states, own = parts.seen(choices, lambda: model(**inputs, output_hidden_states=True))
        expected = parts.hidden_states(own, stream)
        right = [
            choice
            for choice, read in zip(choices, states, strict=True)
            if expected is None or parts.agree(read, expected, ROUNDING)
        ]
        if not right:
            raise InputError(
                f"{type(model).__name__} cannot be read: the states of its layers are not those that it returns as "
                f"hidden states ({len(expected)} layers)"
            )
        found[stream] = right[0]
        reader.image_before = positions_before(model, family, states[choices.index(right[0])][0], inputs)
    return found


def positions_before(model, family: Family, states: Tensor, inputs: Mapping[str, Any]) -> int:
    """Return the number of positions that the image takes before the text without having tokens.

    Raises InputError if the positions of the text's tokens are not known, or if a token has several states.

    states  states (B, T, W) that enter the first layer
    """
    if states.ndim != 3:
        raise InputError(f"{type(model).__name__} cannot be read: its layers pass on several states of each token")
    if family.encoder_decoder:
        return 0
    before = states.shape[1] - inputs[IDS].shape[1]
    if before and not family.image_before_text:
        raise InputError(
            f"{type(model).__name__} cannot be read: its layers have {states.shape[1]} positions for a text of "
            f"{inputs[IDS].shape[1]} tokens, so that the tokens' positions are not known"
        )
    return before


def tower_and_points(model, inputs: Mapping[str, Any]) -> tuple[Any, list[Point]]:
    """Return the vision tower and its points: the first layer's input, then each layer's output.

    If the tower consists of several networks, the one whose states the tower returns is used. The last state is read
    after a norm if the tower returns it so.
    """
    tower = parts.tower(model)
    if tower is None:
        raise InputError(f"{type(model).__name__} cannot be read: it has no vision tower under a known name")
    try:
        choices = parts.tower_choices(tower)
    except LookupError as error:
        raise InputError(f"{type(model).__name__} cannot be read: {error}") from error
    expected: list[Any] = []
    with ExitStack() as hooks:
        hooks.callback(tower.register_forward_pre_hook(parts.with_states, with_kwargs=True).remove)
        hooks.callback(tower.register_forward_hook(lambda *passed: expected.append(passed[-1])).remove)
        try:
            states, _ = parts.seen([points for _, points in choices], lambda: model(**inputs))
        except TypeError:  # a tower that does not return its states
            return choices[0]
    own = getattr(expected[-1], "hidden_states", None) if expected else None  # like `states`, of the last pass
    right = (choice for choice, read in zip(choices, states, strict=True) if own and parts.agree(read, own, ROUNDING))
    return next(right, choices[0])


def has_class_token(network: Network, reader: Reader, groups: Sequence[Group]) -> bool:
    """Return whether the first token of each row of the tower, at the first layer's input, is equal for all images."""
    if not may_have_class_token(network.tower):
        return False
    first = []
    for group in groups:
        inputs = reader.whole(reader.text(PROBES[0]), group)
        states, _ = parts.seen([network.tower_points[:1]], lambda inputs=inputs: network.forward(inputs))
        tokens = as_tokens(states[0][0])
        if len(tokens) < len(group.rows):
            return False
        first.append(tokens[:, 0])
    tokens = torch.cat(first)
    return bool(torch.allclose(tokens, tokens[:1]))


def cache_agrees(network: Network, reader: Reader, group: Group) -> bool:
    """Return whether two prompts that continue from one cache have the same states as when they are read whole.

    Raises InputError if the states of the image depend on the prompt.
    """
    texts = [reader.text(prompt) for prompt in PROBES]
    prefix = read_prefix(network, reader, texts[0], group, CHECKED)
    whole = [read_whole(network, reader, prefix, text, CHECKED, 0)[0] for text in texts]
    if "image" in prefix.states.sums and not all(equal(network, prefix.states, long, "image") for long in whole):
        # Rounding may make a model choose other experts, unless its inputs have equal shapes.
        other, _ = read_whole(network, reader, prefix, reversed_prompt(texts[1]), CHECKED, 0)
        if not equal(network, other, whole[1], "image", AGAIN_ROUNDING):
            raise InputError(
                f"{type(network.model).__name__} cannot be read: the states of its images depend on the prompt after "
                "them. Add its model type to IMAGE_ATTENDS_TO_PROMPT in models/vision_language/families.py"
            )
    try:
        *continued, again = (read_question(network, reader, prefix, text, CHECKED, 0)[0] for text in (*texts, texts[0]))
    except Exception as error:  # each class fails in its own way if it cannot continue from a cache
        log.info(f"{type(network.model).__name__} cannot continue from a cache: {error}")
        return False
    return all(
        equal(network, continued[0], again, pooling, AGAIN_ROUNDING)
        and all(equal(network, *pair, pooling) for pair in zip(continued, whole, strict=True))
        for pooling in CHECKED
    )


def reversed_prompt(text: Text) -> Text:
    """Return a text with the prompt's own tokens in reverse: all shapes stay, and with them the rounding."""
    ids = text.after[IDS].clone()
    own = text.prompt_tokens(ids.shape[1])
    ids[:, own] = ids[:, own].flip(1)
    return replace(text, after={**text.after, IDS: ids})


def equal(
    network: Network, states: PooledStates, others: PooledStates, pooling: str, limit: float | None = None
) -> bool:
    """Return whether the pooled states of all layers are equal up to rounding.

    Differences are relative to a layer's largest value in all poolings: a mean may be much smaller than the states.

    limit  largest difference, in eps of the model's number format; by default CACHE_ROUNDING
    """
    dtype = number_format(network.model)
    if limit is None:
        limit = CACHE_ROUNDING[dtype]
    limit *= torch.finfo(dtype).eps / torch.finfo(torch.float32).eps  # pooled states are in float32
    known = [means(others, name) for name in CHECKED if name in others.sums]
    largest = [max(float(one.abs().max()) for one in layer) for layer in zip(*known, strict=True)]
    pairs = zip(means(states, pooling), means(others, pooling), largest, strict=True)
    return all(parts.close(one, other, limit, scale) for one, other, scale in pairs)


def means(states, pooling: str) -> list[Tensor]:
    """Return each layer's states (B, W) of a pooling."""
    name = "language" if pooling == "mean" else f"language_{pooling}"
    return list(states.streams("language", [pooling])[name].unbind(dim=1))
