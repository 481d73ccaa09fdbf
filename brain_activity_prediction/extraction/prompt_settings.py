"""The settings of a prompt that change the hidden states: its token ids, and the tokens that end an answer.

Version 1.0.0 recorded neither; `recorded_settings` computes what it used.
"""

import hashlib
from collections.abc import Mapping, Sequence

from brain_activity_prediction.extraction.prompt_selection import check_prompts
from brain_activity_prediction.models.checkpoints.checkpoint import Checkpoint
from brain_activity_prediction.models.guarded import guarded
from brain_activity_prediction.models.library_imports import import_model_classes, import_torchvision

IDS, ENDS, LONGEST = "prompt_token_ids", "answer_ends", "max_new_tokens"


def prompt_settings(
    script, checkpoint: Checkpoint, prompts: Mapping[int | None, str | None], max_new_tokens: int
) -> dict[int | None, dict]:
    """Return the settings of each prompt; those of None, for streams that no prompt changes, have only the template.

    Raise InputError for a prompt that contains a special token, has no tokens, or exceeds a model's context, and for a
    tokenizer that gives other ids than its own file.

    prompts  {number: text}
    max_new_tokens  the longest answer; 0 for no answers
    """
    own = script.own_settings(checkpoint) if hasattr(script, "own_settings") else {}
    settings: dict[int | None, dict] = {number: dict(own) for number in prompts}
    if not hasattr(script, "prompt_ids"):
        return settings
    import_torchvision()  # before transformers, which needs it for some configurations and tokenizers
    import_model_classes()  # some configurations import them, and with them torch's compiler
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
