"""The model script of any vision-language model, as `extraction.model_script` describes it."""

from collections.abc import Mapping, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from brain_activity_prediction.models import decoding
from brain_activity_prediction.models.checkpoints.checkpoint import Checkpoint
from brain_activity_prediction.models.guarded import guarded
from brain_activity_prediction.models.image_padding import real_tokens, within
from brain_activity_prediction.models.library_imports import import_model_classes, import_torchvision
from brain_activity_prediction.models.patch_tokens import patch_tokens
from brain_activity_prediction.models.pooling import BLOCK, by_site
from brain_activity_prediction.models.prompt_tokens import PromptTokens
from brain_activity_prediction.models.thinking import say_thought
from brain_activity_prediction.models.vision_language.encoder_decoder import read_prompt
from brain_activity_prediction.models.vision_language.families import CHANNELS_FIRST, MORE_ENDS, Family, family
from brain_activity_prediction.models.vision_language.groups import Groups, Text
from brain_activity_prediction.models.vision_language.image_states import Features, tower_states
from brain_activity_prediction.models.vision_language.inputs import IDS, PROBES, Reader
from brain_activity_prediction.models.vision_language.loading import prepared
from brain_activity_prediction.models.vision_language.reader import prompt_ids, reader_of
from brain_activity_prediction.models.vision_language.reading import (
    Network,
    Prefix,
    image_mask,
    read_prefix,
    read_question,
    read_whole,
)
from brain_activity_prediction.models.vision_language.sites import add_sites
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.messages import log

TOWER_POOLINGS = ("mean", "cls", "patch")
TEXT_POOLINGS = ("mean", "last", "prompt")
PROJECTOR = "projector"  # a stream without layers


def script(
    checkpoint: Checkpoint, template: str | None, system: str | None, thinking: int, sites: Sequence[str] = (BLOCK,)
) -> SimpleNamespace:
    """Return the model script of a checkpoint, for which only its configuration and processor are read.

    template  the user's template, `...{prompt}...` or Jinja; None for the model's own chat template
    system  system message; None for none
    thinking  largest number of tokens of the thinking before an answer; 0 without thinking
    sites  sites to read in each layer, see `sites.points`
    """
    import_torchvision()
    import_model_classes()
    checkpoint.check()
    kind = family(checkpoint.settings("config.json"), checkpoint.source)
    reader = reader_of(checkpoint, kind, template, system, thinking)
    with guarded(f"the processor of {checkpoint.source} could not read a picture and a prompt"):
        image_places = kind.image_before_text or bool(reader.places(reader.encoded(PROBES[0])).any())
    image_streams: dict[str, Sequence[str]] = {"vision": TOWER_POOLINGS} if kind.tower else {}
    text_streams: dict[str, Sequence[str]] = {kind.text_streams[0]: TEXT_POOLINGS}
    if kind.encoder_decoder:
        text_streams["decoder"] = ("mean",)
    if kind.projector:
        (text_streams if kind.prompted_projector else image_streams)[PROJECTOR] = ("mean",)
    if image_places:
        first = kind.text_streams[0]
        if reader.shared:
            image_streams[first] = ("image",)
        else:
            text_streams[first] = (*TEXT_POOLINGS, "image")
    return SimpleNamespace(
        MODEL_ID=checkpoint.model_id,
        REVISION=checkpoint.revision,
        TEMPLATE=reader.template,
        GPU_DTYPE=gpu_dtype(checkpoint.settings("config.json")),
        ANSWER_SETTINGS={"max_thinking_tokens": thinking} if thinking else {},
        IMAGE_STREAMS=by_site(image_streams, sites, (PROJECTOR,)),
        PROMPT_STREAMS=by_site({**text_streams, "response": ("mean",)}, sites, (PROJECTOR,)),
        prompt_ids=partial(prompt_ids, reader),
        contexts=partial(contexts, reader),
        end_ids=partial(end_ids, kind=kind),
        load=partial(load, kind=kind, reader=reader, sites=sites),
        prompt_tokens=prompt_tokens,
        preprocess=lambda reader, images: reader.groups(images),
        encode_images=encode_images,
        encode_prompt=encode_prompt,
    )


def gpu_dtype(config: Mapping[str, Any]) -> str:
    """Return bfloat16 for weights published in bfloat16, whose states may exceed the range of float16."""
    parts = [config, config.get("text_config") or {}]
    published = [part.get(name) for part in parts for name in ("dtype", "torch_dtype")]
    return "bfloat16" if "bfloat16" in published else "float16"


def contexts(reader: Reader, checkpoint: Checkpoint, prompt: str) -> list[decoding.Context]:
    """Return the length of a prompt with an image of NSD's size, and the language model's number of positions."""
    from transformers import AutoConfig

    config = checkpoint.load(AutoConfig).get_text_config()
    room = reader.thinking.room if reader.thinking else 0
    return [decoding.Context(reader.encoded(prompt)[IDS].shape[1], decoding.positions(config), thinking=room)]


def end_ids(checkpoint: Checkpoint, *, kind: Family) -> frozenset[int]:
    """Return the token ids that end an answer."""
    known = checkpoint.tokenizer().get_added_vocab()
    return checkpoint.end_ids(*(token for token in MORE_ENDS.get(kind.model_type, ()) if token in known))


def load(checkpoint: Checkpoint, device, dtype, *, kind: Family, reader: Reader, sites: Sequence[str]):
    from transformers import AutoModelForImageTextToText

    model = checkpoint.model(AutoModelForImageTextToText, device, dtype)
    network = prepared(model, kind, reader, end_ids(checkpoint, kind=kind))
    add_sites(network, reader, sites)
    how = "once, and all prompts continue from its cache" if network.cached else "again with every prompt"
    log.info(f"{type(model).__name__}: each image is read {how}")
    return network, reader


def encode_images(network: Network, reader: Reader, groups: Groups, poolings: Sequence[str]):
    read = [read_images(network, reader, group, poolings) for group in groups.groups]
    prefixes = [prefix for prefix, _ in read]
    return scattered([streams for _, streams in read], prefixes), prefixes


def read_images(network: Network, reader: Reader, group, poolings: Sequence[str]) -> tuple[Prefix, dict[str, Tensor]]:
    """Compute the states that do not depend on the prompt, for a group of images."""
    text, family, n_images = reader.text(PROBES[0], group.size), network.family, len(group.rows)
    sites = network.sites_of(family.text_streams[0])
    selections, first = tower_selections(network, poolings, group.image), family.model_type in CHANNELS_FIRST
    with tower_states(network.tower_points or [], selections, n_images, first) as tower:
        if reader.shared:
            prefix = read_prefix(network, reader, text, group, poolings)
        else:
            prefix = Prefix(group, Features(network.model, reusable=not family.prompted_projector))
            reading(network)(network, reader, prefix, text, ["mean"], 0)
    streams = {} if prefix.states is None else prefix.states.streams("language", ["image"], sites)
    if network.tower_points:
        streams |= tower.streams("vision", network.sites_of("vision"))
    if family.projector and not family.prompted_projector and "mean" in poolings and BLOCK in sites:
        streams |= prefix.features.streams(n_images, selections["mean"])
    return prefix, streams


def tower_selections(network: Network, poolings: Sequence[str], inputs: Mapping[str, Tensor]):
    """Return, for each pooling of the tower, a function from states (N, T, W) to the selected tokens."""
    if "cls" in poolings and not network.class_token:
        raise InputError(f"{type(network.model).__name__} has no class token: leave out --pooling cls")
    real = real_tokens(network.tower, inputs)
    selections = {
        "mean": real,
        "cls": lambda states: slice(0, 1),
        "patch": lambda states: within(patch_tokens(network.tower, states.shape[1]), real(states)),
    }
    return {name: selections[name] for name in poolings if name in selections}


def reading(network: Network):
    """Return the function that reads a prompt with this model."""
    if network.family.encoder_decoder:
        return read_prompt
    return read_from_cache if network.cached else read_all


def read_from_cache(*arguments):
    states, answers = read_question(*arguments)
    return {"language": states}, answers


def read_all(*arguments):
    states, answers = read_whole(*arguments)
    return {"language": states}, answers


def encode_prompt(network: Network, reader: Reader, prefixes, prompt: str, poolings, max_new_tokens: int):
    results, answers = [], []
    for prefix in prefixes:
        text = reader.text(prompt, prefix.group.size)
        room(network, reader, text, prefix).check("a prompt", max_new_tokens)
        states, ids = reading(network)(network, reader, prefix, text, poolings, max_new_tokens)
        wanted = [*TEXT_POOLINGS, "response", *(["image"] if prefix.states is None else [])]
        streams = {}
        for stream, pooled_states in states.items():
            streams |= pooled_states.streams(stream, wanted, network.sites_of(stream))
        first = network.family.text_streams[0]
        if network.family.prompted_projector and "mean" in poolings and BLOCK in network.sites_of(first):
            streams |= prefix.features.streams(len(prefix.group.rows))
        results.append(streams)
        texts = decoding.texts(reader.tokenizer, ids)
        answers += [text.lstrip("\n") for text in texts] if reader.thinking else texts
        if reader.marks and not reader.thinking and any(map(reader.marks.are_in, map(reader.tokenizer.decode, ids))):
            say_thought(reader.marks.closing.strip())
    return scattered(results, prefixes), [answers[place] for place in places(prefixes)] if answers else []


def room(network: Network, reader: Reader, text: Text, prefix: Prefix) -> decoding.Context:
    """Return the length of a prompt with the pictures of a group, and the language model's number of positions."""
    n_tokens = sum(part[IDS].shape[1] for part in (text.before, prefix.group.block, text.after))
    positions = decoding.positions(network.model.config.get_text_config())
    thinking = reader.thinking.room if reader.thinking else 0
    return decoding.Context(n_tokens + reader.image_before, positions, thinking=thinking)


def prompt_tokens(network: Network, reader: Reader, prefixes: Sequence[Prefix], prompt: str) -> list[PromptTokens]:
    """Return the tokens of a prompt with the first image.

    An answer follows them directly unless the model thinks first, or the tokens are those of an encoder.
    """
    group = prefixes[0].group
    text = reader.text(prompt, group.size)
    ids = [None] * reader.image_before + reader.whole(text, group)[IDS][0].tolist()
    image = image_mask(reader, text, group, len(ids))[0].tolist()
    answers = reader.thinking is None and not network.family.encoder_decoder
    own = text.prompt_tokens(len(ids))
    return [PromptTokens(network.family.text_streams[0], reader.tokenizer, ids, image, own, answers=answers)]


def places(prefixes: Sequence[Prefix]) -> list[int]:
    """Return, for each image of the batch, its position in the groups joined one after another."""
    rows = [row for prefix in prefixes for row in prefix.group.rows]
    return sorted(range(len(rows)), key=rows.__getitem__)


def scattered(streams: Sequence[Mapping[str, Tensor]], prefixes: Sequence[Prefix]) -> dict[str, Tensor]:
    """Join the streams of groups, each (B, L, W), in the order of the batch's images."""
    return {name: torch.cat([group[name] for group in streams])[places(prefixes)] for name in streams[0]}
