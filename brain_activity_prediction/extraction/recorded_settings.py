"""The settings that change the hidden states, recorded in each store's `settings.json` and compared before a run.

Version 1.0.0 did not record all of them. A run continues a store of version 1.0.0 if its settings are those that
version 1.0.0 used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from brain_activity_prediction.extraction.plan import Work
from brain_activity_prediction.extraction.prompt_selection import check_prompts
from brain_activity_prediction.extraction.settings import ExtractionSettings
from brain_activity_prediction.models.checkpoints.checkpoint import Checkpoint
from brain_activity_prediction.models.guarded import guarded
from brain_activity_prediction.models.library_imports import import_model_classes, import_torchvision
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LLAMA_END = 2  # ends an answer in version 1.0.0 if no file of the checkpoint names an end
IDS, ENDS, LONGEST = "prompt_token_ids", "answer_ends", "max_new_tokens"


@dataclass(frozen=True)
class RecordedSettings:
    """The settings that a run records in its stores: flags, weights, stimuli, and tokenised prompts.

    stimuli  settings of the stimuli
    prompts  settings of each prompt, from `prompt_settings`
    """

    script: Any
    settings: ExtractionSettings
    stimuli: Mapping
    prompts: Mapping[int | None, Mapping]

    @classmethod
    def read(cls, script, work: Work, stimuli: Mapping) -> RecordedSettings:
        """Read all settings that change the hidden states; raise the same errors as `prompt_settings`."""
        settings = work.settings
        prompts = {number: settings.prompts.get(number) for number in work.stores}
        tokenised = prompt_settings(script, settings.checkpoint, prompts, settings.max_new_tokens)
        return cls(script, settings, stimuli, tokenised)

    def for_store(self, prompt: int | None, store: EmbeddingStore) -> dict:
        """Return the settings of one store; if it recorded the weights under an older name, that name is kept."""
        weights = self.settings.checkpoint.recorded_weights(store.settings() or {})
        return self.settings.recorded(prompt) | weights | dict(self.stimuli) | dict(self.prompts[prompt])

    def check(self, stores: Mapping[int | None, EmbeddingStore]) -> None:
        """Raise InputError if a store holds states made with other settings."""
        for prompt, store in stores.items():
            check_dtype(store, self.settings)
            text = self.settings.prompts.get(prompt)
            implied = settings_of_1_0_0(self.script, self.settings.checkpoint, text, store.settings())
            store.check(self.for_store(prompt, store), implied)

    def claim(self, stores: Mapping[int | None, EmbeddingStore]) -> None:
        """Record the settings in each store, after loading, which may have downloaded files that are part of them."""
        for prompt, store in stores.items():
            store.claim(self.for_store(prompt, store))


def check_dtype(store: EmbeddingStore, settings: ExtractionSettings) -> None:
    """Raise InputError if stored states have another dtype than this device's default, and no --dtype was given."""
    known, own = (store.settings() or {}).get("dtype"), settings.dtype
    if not settings.dtype_given and known not in (None, own):
        chosen, other = ("on -g cpu", "on a GPU") if settings.device == "cpu" else ("on a GPU", "on -g cpu")
        raise InputError(
            f"{store.folder} holds states made with dtype = {known}, but the default {chosen} is {own}: "
            f"add --dtype {known}, or run {other}"
        )


def settings_of_1_0_0(script, checkpoint: Checkpoint, prompt: str | None, recorded: Mapping | None) -> dict:
    """Return the settings that version 1.0.0 used but did not record; empty if `recorded` has them all."""
    if not recorded:
        return {}
    if not hasattr(script, "prompt_ids"):
        return {name: value for name, value in getattr(script, "IMPLIED", {}).items() if name not in recorded}
    former = FormerCheckpoint(**{field.name: getattr(checkpoint, field.name) for field in fields(checkpoint)})
    implied = {}
    if IDS not in recorded:
        implied[IDS] = described(script.prompt_ids(former, prompt or ""))
    if LONGEST in recorded and ENDS not in recorded:
        ends = getattr(script, "former_end_ids", script.end_ids)
        implied[ENDS] = sorted(ends(former))
    return implied


class FormerCheckpoint(Checkpoint):
    """A checkpoint read as in version 1.0.0: transformers loads the tokenizer; one file gives the ends of answers."""

    def read_tokenizer(self, part: str) -> PreTrainedTokenizerBase:
        from transformers import AutoTokenizer, LlamaTokenizer

        kind = AutoTokenizer if self.part_file(part, "tokenizer.json") or part else LlamaTokenizer
        return self.load(kind, subfolder=part)

    def end_ids(self, *more: str) -> frozenset[int]:
        config = self.settings("config.json")
        for settings in (config.get("text_config") or {}, self.settings("generation_config.json"), config):
            if (ids := settings.get("eos_token_id")) is not None:
                break
        else:
            ids = LLAMA_END
        ends = ids if isinstance(ids, list) else [ids]
        return frozenset([*ends, *map(self.tokenizer().convert_tokens_to_ids, more)])


def prompt_settings(
    script, checkpoint: Checkpoint, prompts: Mapping[int | None, str | None], max_new_tokens: int
) -> dict[int | None, dict]:
    """Return the settings of each prompt; under None, for streams that do not depend on a prompt, only the template's.

    prompts  {number: text}
    max_new_tokens  longest answer in tokens; 0 for no answers

    Raises InputError for a prompt that contains a special token, has no tokens, or exceeds a model's context, and for a
    tokenizer whose ids differ from those in its own file.
    """
    own = script.own_settings(checkpoint) if hasattr(script, "own_settings") else {}
    settings: dict[int | None, dict] = {number: dict(own) for number in prompts}
    if not hasattr(script, "prompt_ids"):
        return settings
    import_torchvision()  # before transformers, which needs it for some configurations and tokenizers
    import_model_classes()  # some configurations import model classes, which import torch's compiler
    for number, prompt in prompts.items():
        settings[number][IDS] = described(script.prompt_ids(checkpoint, prompt or ""))
        if prompt is not None and hasattr(script, "contexts"):
            with guarded(f"the configuration of {checkpoint.source} does not tell the length of prompt {number}"):
                contexts = script.contexts(checkpoint, prompt)
            for context in contexts:
                context.check(f"prompt {number}", max_new_tokens if context.answers else 0)
        if max_new_tokens and prompt is not None:
            settings[number] |= {ENDS: sorted(script.end_ids(checkpoint))} | getattr(script, "ANSWER_SETTINGS", {})
    check_prompts({number: text for number, text in prompts.items() if text}, checkpoint.loaded_tokenizers())
    texts = [prompt or "" for prompt in prompts.values()]
    whole = [script.TEMPLATE.format(prompt=text) for text in texts]
    checkpoint.check_tokenizers([*texts, *whole, *(part for text in whole for part in text.split("<image>"))])
    return settings


def described(ids: Sequence[int]) -> str:
    """Return the number of tokens and a digest of their ids."""
    return f"{len(ids)} tokens, {hashlib.sha256(repr(list(ids)).encode()).hexdigest()[:12]}"
