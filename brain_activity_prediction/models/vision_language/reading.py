"""Read images and prompts with a vision-language model through its public forward pass.

If the image's states do not depend on the prompt, the text up to the image's last token is read once, and each prompt
continues from its cache. Otherwise each prompt is read whole. `loading.cache_agrees` decides between the two.

Letters: B images, L layers, T tokens, W width.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from brain_activity_prediction.models import decoding
from brain_activity_prediction.models.pooling import ONLY_BLOCK, Point, PooledStates, SiteLayers, choose, pooled
from brain_activity_prediction.models.thinking import first_answering
from brain_activity_prediction.models.vision_language import families
from brain_activity_prediction.models.vision_language.families import Family
from brain_activity_prediction.models.vision_language.groups import Group, Text
from brain_activity_prediction.models.vision_language.image_states import Features
from brain_activity_prediction.models.vision_language.inputs import IDS, Reader
from brain_activity_prediction.models.vision_language.network import ANSWER_IDS, start_ids

DELTAS = "rope_deltas"  # attribute in which a model with multi-dimensional positions keeps their offset between passes


@dataclass
class Network:
    """A loaded model with the points at which its hidden states are read.

    text_points  points of the L + 1 states of each text stream (`language`, or `encoder` and `decoder`)
    tower, tower_points  vision tower and its points; None without a tower
    cached  whether prompts continue from the cache of the prefix
    class_token  whether the tower puts a class token before the patches
    sites  for each stream, which of its points belong to each site; streams not listed have only the block
    """

    model: Any
    family: Family
    text_points: dict[str, list[Point]]
    tower: Any
    tower_points: list[Point] | None
    end_ids: frozenset[int]
    cached: bool = False
    class_token: bool = False
    sites: dict[str, Mapping[str, SiteLayers]] = field(default_factory=dict)

    def sites_of(self, stream: str) -> Mapping[str, SiteLayers]:
        """Return which points of a stream belong to each site."""
        return self.sites.get(stream, ONLY_BLOCK)

    def forward(self, inputs: Mapping[str, Any], cache: Any = None, **more):
        """Run the public forward pass; if the model can, it computes only the last token's logits."""
        from transformers import DynamicCache

        if cache is not None and self.needs_image:
            return self.text(inputs[IDS], cache)
        if cache is None and self.family.model_type in families.MAKES_NO_CACHE:
            cache = DynamicCache(config=self.model.config.get_text_config())
        if cache is not None:
            more["past_key_values"] = cache
        if self.family.encoder_decoder:
            more[ANSWER_IDS] = start_ids(self.model, len(inputs[IDS]))
        if "logits_to_keep" in self._taken:
            more["logits_to_keep"] = 1
        return self.model(**inputs, use_cache=True, **more)

    @property
    def needs_image(self) -> bool:
        """True if the forward pass refuses more tokens without an image, so that the text model is called instead."""
        return "pixel_values" in self._required or self.family.model_type in families.NEEDS_IMAGE

    def text(self, ids: Tensor, cache: Any):
        """Run only the text model over more tokens."""
        text = getattr(self.model, "language_model", None) or self.model.text_model
        return text(input_ids=ids, past_key_values=cache, use_cache=True)

    def further(self, inputs: Mapping[str, Any], cache: Any):
        """Run over tokens of an answer, as `generate` does."""
        alone = self.family.model_type in families.ANSWERS_WITHOUT_IMAGE
        return self.text(inputs[IDS], cache) if alone else self.forward(inputs, cache)

    def image_inputs(self, output) -> dict[str, Any]:
        """Return the image's features as an input of more tokens, for models that need them in every pass."""
        if self.family.model_type not in families.ATTENDS_ANEW:
            return {}
        resampled = self.model.config.use_resampler
        return {"perceiver_embeddings" if resampled else "image_encoder_embeddings": output.image_hidden_states}

    @cached_property
    def _taken(self) -> frozenset[str]:
        return frozenset(inspect.signature(self.model.forward).parameters)

    @cached_property
    def _required(self) -> frozenset[str]:
        parameters = inspect.signature(self.model.forward).parameters
        return frozenset(name for name in self._taken if parameters[name].default is inspect.Parameter.empty)


@dataclass
class Prefix:
    """A group of images with the results that are computed once for all prompts.

    features  image features that enter the language model
    states  pooled states of the text up to the image's last token; None if they depend on the prompt
    cache, saved, remembered  needed to continue with a prompt: the cache, a copy of its contents, the model's positions
    image  inputs with the image's features, for models that need them for every token
    """

    group: Group
    features: Features
    states: PooledStates | None = None
    cache: Any = None
    saved: Sequence[Mapping[str, Any]] = ()
    remembered: Sequence[tuple[Any, Any]] = ()
    image: Mapping[str, Any] = field(default_factory=dict)


def image_mask(reader: Reader, text: Text, group: Group, length: int) -> Tensor:
    """Return a mask (B, length) of the image's tokens among the first `length` tokens of a text."""
    places, before = reader.places(group.block), text.before[IDS].shape[1]
    mask = places.new_zeros(len(group.rows), length)
    mask[:, : reader.image_before] = True
    before += reader.image_before
    mask[:, before : before + len(places)] = places
    return mask


def read_prefix(network: Network, reader: Reader, text: Text, group: Group, poolings: Sequence[str]) -> Prefix:
    """Read the text up to the image's last token."""
    inputs = reader.prefix(text, group)
    tokens: dict[str, Any] = choose(poolings, mean=slice(None))
    if "image" in poolings:
        tokens["image"] = image_mask(reader, text, group, inputs[IDS].shape[1])
    features = Features(network.model, reusable=True)
    with features.recorded(), pooled(network.text_points["language"], tokens) as states:
        output = network.forward(inputs)
    cache = cache_of(output)
    image = network.image_inputs(output)
    return Prefix(group, features, states, cache, saved(cache), remembered(network.model), image)


def read_question(
    network: Network, reader: Reader, prefix: Prefix, text: Text, poolings: Sequence[str], max_new_tokens: int
) -> tuple[PooledStates, list[list[int]]]:
    """Read a prompt's tokens after the image, from the cache of the prefix, and its greedy answer."""
    restore(prefix.cache, prefix.saved)
    for module, value in prefix.remembered:
        setattr(module, DELTAS, value)
    inputs = reader.question(text, prefix.group) | prefix.image
    length = inputs[IDS].shape[1]
    tokens = choose(poolings, mean=slice(None), last=slice(-1, None), prompt=text.prompt_tokens(length))
    states, answers = _read(network, reader, inputs, prefix.cache, tokens, max_new_tokens)
    return prefix.states + states, answers


def read_whole(
    network: Network, reader: Reader, prefix: Prefix, text: Text, poolings: Sequence[str], max_new_tokens: int
) -> tuple[PooledStates, list[list[int]]]:
    """Read a whole prompt with its images, and its greedy answer."""
    inputs = reader.whole(text, prefix.group)
    length = reader.image_before + inputs[IDS].shape[1]
    tokens: dict[str, Any] = choose(poolings, mean=slice(None), last=slice(-1, None), prompt=text.prompt_tokens(length))
    if "image" in poolings:
        tokens["image"] = image_mask(reader, text, prefix.group, length)
    with prefix.features.reused():
        return _read(network, reader, inputs, None, tokens, max_new_tokens)


def _read(
    network: Network,
    reader: Reader,
    inputs: Mapping[str, Any],
    cache: Any,
    tokens: Mapping[str, Any],
    max_new_tokens: int,
) -> tuple[PooledStates, list[list[int]]]:
    points = network.text_points["language"]
    if max_new_tokens:
        tokens = {**tokens, "response": first_answering(reader.thinking)}
    with pooled(points, tokens) as states:
        output = network.forward(inputs, cache)
    if not max_new_tokens:
        return states, []
    # For the answer's tokens, inputs with a value for each token repeat the value of the prompt's last token.
    kept = {name: inputs[name][:, -1:] for name in reader.aligned - {IDS, "attention_mask"}}
    kept |= network.image_inputs(output)
    decoder = decoding.Decoder(
        run=lambda ids, cache: network.further({IDS: ids, **kept, **counted(reader, ids, cache)}, cache).logits,
        embed=lambda ids: ids,
        head=lambda logits: without(logits, reader.never_answered),
        points=points,
        end_ids=network.end_ids,
        thinking=reader.thinking,
    )
    return decoding.answer(decoder, cache_of(output), states, output.logits[:, -1], max_new_tokens)


def counted(reader: Reader, ids: Tensor, cache: Any) -> dict[str, Tensor]:
    """Return the positions of more tokens if they are numbered without the image's; empty if the model does it."""
    start = cache.get_seq_length() - reader.image_before
    positions = torch.arange(start, start + ids.shape[1], device=ids.device).expand_as(ids)
    return {"position_ids": positions} if reader.image_before else {}


def without(logits: Tensor, tokens: Sequence[int]) -> Tensor:
    """Return logits (B, vocabulary) in which these tokens have -inf, so that they are never chosen."""
    return logits.index_fill(-1, torch.tensor(tokens, device=logits.device), -torch.inf) if tokens else logits


def cache_of(output):
    """Return the cache of a forward pass."""
    cache = getattr(output, "past_key_values", None)
    return output.language_model_outputs.past_key_values if cache is None else cache


def saved(cache) -> list[dict[str, Any]]:
    """Return a copy of the contents of a cache's layers after a prefix, which is restored before each question."""
    return [_contents(layer, vars(layer)) for layer in cache.layers]


def restore(cache, contents: Sequence[Mapping[str, Any]]) -> None:
    """Put the saved contents back into a cache."""
    for layer, kept in zip(cache.layers, contents, strict=True):
        vars(layer).clear()
        vars(layer).update(_contents(layer, kept))


def _contents(layer, values: Mapping[str, Any]) -> dict[str, Any]:
    """Copy the contents of a cache's layer.

    Keys and values are replaced when they grow, so that references are enough. Recurrent and convolutional states are
    changed in place, so that they are copied.
    """
    from transformers.cache_utils import DynamicLayer

    replaced = ("keys", "values") if isinstance(layer, DynamicLayer) else ()
    return {name: value if name in replaced else copy.deepcopy(value) for name, value in values.items()}


def remembered(model) -> list[tuple[Any, Any]]:
    """Return the modules that keep positions between passes, each with its kept value."""
    return [(module, getattr(module, DELTAS)) for module in model.modules() if hasattr(module, DELTAS)]
