"""The model script of any text model, as `extraction.model_script` describes it.

Letters: B images, C captions, L layers, T tokens, W width.
"""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Protocol

import torch
from torch import Tensor, nn

from brain_activity_prediction.models.checkpoints.checkpoint import Checkpoint
from brain_activity_prediction.models.guarded import guarded
from brain_activity_prediction.models.layer_lists import layer_list
from brain_activity_prediction.models.library_imports import import_torchvision
from brain_activity_prediction.models.pooling import (
    BLOCK,
    Point,
    PooledStates,
    SiteLayers,
    by_site,
    choose,
    pooled,
    token_sums,
)
from brain_activity_prediction.models.sites.points import check_passed_once, with_sites
from brain_activity_prediction.models.text.network import (
    LOWERED_IN_TRAINING,
    PADDED_IN_TRAINING,
    PROBES,
    TextReader,
    check_network,
    hidden_states,
    load_network,
    longest_text,
    text_family,
)
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.messages import log

CHECKPOINT_FILES = ("config.json", "tokenizer.json or vocab.* or *.model or tokenizer_config.json")
TOKENIZER_SETTINGS = ("tokenizer_config.json", "sentence_bert_config.json")


class Texts(Protocol):
    """Texts of images: captions, or the answers of another model."""

    by_image: Mapping[int, Sequence[str]]


@dataclass(frozen=True)
class TextNetwork:
    """A loaded text model, and the points of the sites other than the block (see `sites.points`)."""

    model: nn.Module
    points: list[Point]
    inside: Mapping[str, SiteLayers]


def script(checkpoint: Checkpoint, texts: Texts, sites: Sequence[str] = (BLOCK,)) -> SimpleNamespace:
    """Return the model script of a checkpoint, for which only its tokenizer is read.

    sites  sites to read in each layer, see `sites.points`
    """
    import_torchvision()
    checkpoint.check(CHECKPOINT_FILES)
    with guarded(f"the tokenizer of {checkpoint.source} could not read a text"):
        has_class_token = TextReader(checkpoint.tokenizer(), None, False).has_class_token
    poolings = ("mean", "last", "cls") if has_class_token else ("mean", "last")
    return SimpleNamespace(
        MODEL_ID=checkpoint.model_id,
        REVISION=checkpoint.revision,
        CHECKPOINT_FILES=CHECKPOINT_FILES,
        IMAGE_STREAMS=by_site({"text": poolings}, sites),
        open_stimuli=lambda layout: nullcontext(texts),
        load=partial(load, texts=texts, sites=sites),
        preprocess=preprocess,
        encode_images=partial(encode_images, sites=sites),
    )


def load(checkpoint: Checkpoint, device: str, dtype, *, texts: Texts, sites: Sequence[str] = (BLOCK,)):
    """Return the text model and its reader; raise InputError if a text has no tokens, and warn if texts are cut."""
    model = load_network(checkpoint, device, dtype)
    settings, family = [checkpoint.settings(name) for name in TOKENIZER_SETTINGS], text_family(model)
    lowered = family in LOWERED_IN_TRAINING or settings[1].get("do_lower_case") is True
    reader = TextReader(checkpoint.tokenizer(), longest_text(model, settings), family in PADDED_IN_TRAINING, lowered)
    check_texts(reader, texts)
    check_network(model, reader)
    return with_points(model, reader, [site for site in sites if site != BLOCK]), reader


def with_points(model: nn.Module, reader: TextReader, sites: Sequence[str]) -> TextNetwork:
    """Find the points of sites other than the block; raise InputError if a layer does not have them."""
    if not sites:
        return TextNetwork(model, [], {})
    ids, mask = (tensor.to(next(model.parameters()).device) for tensor in reader.batch(PROBES))
    try:
        own = layer_list(model)[1]
    except LookupError as error:
        raise InputError(f"{error}: leave out --sites and --heads") from error
    with torch.inference_mode():
        run = partial(hidden_states, model, ids, None if reader.padded else mask)
        points, inside = with_sites([], own, sites, run)
        check_passed_once(points, run)
    return TextNetwork(model, points, inside)


def check_texts(reader: TextReader, texts: Texts) -> None:
    """Raise InputError if a text has no tokens; warn if texts are longer than the model can read."""
    listed = [(image_id, text) for image_id, own in texts.by_image.items() for text in own]
    lengths = reader.lengths([text for _, text in listed])
    empty = [image_id for (image_id, _), length in zip(listed, lengths, strict=True) if not length]
    if empty:
        raise InputError(
            f"{len(empty)} of {len(listed)} texts have no tokens (first: image {empty[0]}): choose a text model whose "
            "tokenizer adds a start or end token, or change these texts"
        )
    cut = sum(length > reader.longest for length in lengths) if reader.longest else 0
    if cut:
        log.warning(f"{cut} of {len(listed)} captions are cut to {reader.longest} tokens, the model's longest text")


def preprocess(reader: TextReader, texts: Sequence[Sequence[str]]):
    """Return token ids and mask (C, T) of all captions, and the row (C,) of each caption's image in the batch."""
    from transformers import BatchFeature

    ids, mask = reader.batch([text for own in texts for text in own])
    image = torch.tensor([row for row, own in enumerate(texts) for _ in own])
    return BatchFeature({"input_ids": ids, "attention_mask": mask, "image": image})


def encode_images(network: TextNetwork, reader: TextReader, inputs, poolings, *, sites: Sequence[str] = (BLOCK,)):
    mask = inputs["attention_mask"]
    read = torch.ones_like(mask) if reader.padded else mask
    last = read * (read.flip(1).cumsum(1).flip(1) == 1)
    first = torch.zeros_like(mask)
    first[:, 0] = 1
    tokens = choose(poolings, mean=mask, last=last, cls=first)
    states = PooledStates({name: [] for name in tokens}, {name: chosen.sum(dim=1) for name, chosen in tokens.items()})
    with pooled(network.points, tokens) as inside:
        every = hidden_states(network.model, inputs["input_ids"], None if reader.padded else mask)
    for layer in every:
        for name, chosen in tokens.items():
            states.sums[name].append(token_sums(layer, chosen))
    streams = states.streams("text") if BLOCK in sites else {}
    streams |= inside.streams("text", None, network.inside)
    return {name: mean_by_image(one, inputs["image"]) for name, one in streams.items()}, None


def mean_by_image(states: Tensor, image: Tensor) -> Tensor:
    """Average the states of captions (C, L, W) over the captions of each image: (B, L, W)."""
    counts = image.bincount()
    sums = states.new_zeros(len(counts), *states.shape[1:]).index_add_(0, image, states)
    return sums / counts[:, None, None]
