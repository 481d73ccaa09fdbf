"""Settings that version 1.0.0 used but did not record; a run continues its stores if today's settings are equal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING

from brain_activity_prediction.extraction.prompt_settings import ENDS, IDS, LONGEST, described
from brain_activity_prediction.models.checkpoints.checkpoint import Checkpoint

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LLAMA_END = 2


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
    """A checkpoint read as in version 1.0.0: the tokenizer by transformers, the ends of answers from one file."""

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
