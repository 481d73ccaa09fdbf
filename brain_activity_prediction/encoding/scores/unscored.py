"""Which of the models, prompts and subjects that were asked for have no scores together."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def unscored(
    scored: Collection[tuple[str, int | None, int]],
    models: Sequence[str] | None,
    prompts: Sequence[int] | None,
    subjects: Sequence[int] | None,
) -> list[str]:
    """The combinations without scores, in words; nothing of a kind (None or empty) stands for what is there of it.

    `scored` are (model id, prompt, subject). A model with scores under no prompt at all goes with every prompt.
    """
    lacking = []
    for model in models or sorted({model for model, _, _ in scored}):
        of_model = {prompt for name, prompt, _ in scored if name == model}
        own = sorted((prompts if of_model - {None} else None) or [])
        for subject in subjects or sorted({subject for _, _, subject in scored}):
            if not own and not any((model, prompt, subject) in scored for prompt in of_model):
                lacking.append(f"{model}, subject {subject}")
            without = [prompt for prompt in own if (model, prompt, subject) not in scored]
            lacking += [f"{model}, prompt {prompt}, subject {subject}" for prompt in without]
    return lacking
