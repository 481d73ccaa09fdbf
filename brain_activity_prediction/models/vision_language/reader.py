"""Make the reader of a checkpoint: its processor with the tokenizer of its own files and a template for prompts."""

from collections.abc import Mapping
from typing import Any

import torch

from brain_activity_prediction.models.checkpoints.checkpoint import Checkpoint
from brain_activity_prediction.models.guarded import guarded
from brain_activity_prediction.models.idefics_processor import TurnsProcessor
from brain_activity_prediction.models.thinking import thinking_until
from brain_activity_prediction.models.vision_language.families import (
    BY_TURNS,
    CARD_TEMPLATES,
    CLOSING_IDS,
    NEVER_ANSWERED,
    TYPED,
    Family,
)
from brain_activity_prediction.models.vision_language.inputs import IDS, IMAGE_TOKEN_IDS, PROBES, TYPES, Reader
from brain_activity_prediction.models.vision_language.prompts import fill
from brain_activity_prediction.runtime.errors import InputError

QFORMER = "qformer_tokenizer"  # the tokenizer of a Q-Former that reads the prompt, and its subfolder


def reader_of(checkpoint: Checkpoint, kind: Family, template: str | None, system: str | None, thinking: int) -> Reader:
    """Return the processor of a checkpoint with its template, `...{prompt}...`.

    template  the user's template, plain or in Jinja; None for the model's own chat template
    system  system message; None for none
    thinking  largest number of tokens of the thinking before an answer; 0 without thinking
    """
    from transformers import AutoProcessor

    checkpoint.tokenizer()  # raises the error for a damaged tokenizer
    processor = checkpoint.processor(AutoProcessor)
    if not hasattr(processor, "tokenizer"):
        raise InputError(
            f"{checkpoint.source} has no processor for images and text, only {type(processor).__name__}: copy its "
            "preprocessor_config.json and processor_config.json there"
        )
    complete(processor, checkpoint.settings("config.json"))
    if kind.model_type in BY_TURNS:
        processor = TurnsProcessor(processor)
    if template is None and not getattr(processor, "chat_template", None) and kind.model_type in CARD_TEMPLATES:
        template = CARD_TEMPLATES[kind.model_type]
    filled, marks = fill(processor, checkpoint.source, template, system, bool(thinking))
    use_tokenizer_of_files(processor, checkpoint, filled)
    reader = Reader(processor, filled, image_ids(checkpoint.settings("config.json"), processor))
    reader.closing_ids = closing_ids(checkpoint.settings("config.json"), kind.model_type)
    if kind.model_type in TYPED:
        reader.settings = {f"return_{TYPES}": True}
    barred = NEVER_ANSWERED.get(kind.model_type, ())
    reader.never_answered = reader.tokenizer.convert_tokens_to_ids(list(barred))
    reader.marks = marks
    if thinking and marks:
        reader.thinking = thinking_until(reader.tokenizer, marks.closing, thinking)
    with guarded(f"the processor of {checkpoint.source} could not read a picture and a prompt"):
        reader.shared = kind.shared and shares_start(reader)
    return reader


def complete(processor, config: Mapping[str, Any]) -> None:
    """Set the patch size of a LLaVA-like processor from the configuration, if its file lacks it (as in early 2024)."""
    tower = config.get("vision_config") or {}
    if getattr(processor, "patch_size", 0) is None and "patch_size" in tower:
        processor.patch_size = tower["patch_size"]
        processor.vision_feature_select_strategy = config.get("vision_feature_select_strategy", "default")
        processor.num_additional_image_tokens = int(tower.get("model_type") == "clip_vision_model")  # the class token


def use_tokenizer_of_files(processor, checkpoint: Checkpoint, template: str) -> None:
    """Make a processor tokenise as the checkpoint's own files do, because transformers rebuilds some tokenizers."""
    own = checkpoint.tokenizer()
    texts = [template.format(prompt=prompt) for prompt in PROBES]
    if processor.tokenizer(texts).input_ids == own(texts).input_ids:
        return
    if not (processor.tokenizer.is_fast and own.is_fast):
        raise InputError(
            f"{type(processor).__name__} gives other token ids than the files of {checkpoint.source}: fetch the "
            "checkpoint's tokenizer.json again, or install the versions in constraints.txt"
        )
    processor.tokenizer._tokenizer = own.backend_tokenizer


def prompt_ids(reader: Reader, checkpoint: Checkpoint, prompt: str) -> list[int]:
    """Return the token ids of a prompt; if a Q-Former reads it too, its ids come first.

    Raises InputError if the checkpoint's own files give other ids.
    """
    ids, own = reader.raw_ids(prompt), reader.raw_ids(prompt, checkpoint.tokenizer())
    if second := getattr(reader.processor, QFORMER, None):
        text = reader.rendered(prompt)
        ids = [*second(text).input_ids, *ids]
        own = [*checkpoint.tokenizer(QFORMER)(text).input_ids, *own]
    if ids != own:
        raise InputError(
            f"{type(reader.processor).__name__} gives {prompt[:40]!r} other token ids than the files of "
            f"{checkpoint.source}: fetch the checkpoint's tokenizer.json again, or install the versions in "
            "constraints.txt"
        )
    return ids


def image_ids(config: Mapping[str, Any], processor) -> list[int]:
    """Return the token ids that represent the image, from the configuration or else from the processor."""
    for name in IMAGE_TOKEN_IDS:
        for holder in (config, config.get("text_config") or {}):
            if isinstance(holder.get(name), int):
                return [holder[name]]
    found = getattr(processor, "image_token_id", None)
    return [found] if isinstance(found, int) else []


def closing_ids(config: Mapping[str, Any], model_type: str) -> frozenset[int]:
    """Return the ids of the tokens right after the image that a model reads with it."""
    named = [config.get(name) for name in CLOSING_IDS.get(model_type, ())]
    listed = [ids if isinstance(ids, list) else [ids] for ids in named]
    return frozenset(token for ids in listed for token in ids if isinstance(token, int))


def shares_start(reader: Reader) -> bool:
    """Return whether the tokens before the image are the same for all prompts."""
    first, second = (reader.text(prompt) for prompt in PROBES)
    start, other = first.before[IDS], second.before[IDS]
    return first.counted_back and start.shape == other.shape and torch.equal(start, other)
