"""Find the selected models, prompts and subjects that have no scores together."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def unscored(
    scored: Collection[tuple[str, int | None, int]],
    models: Sequence[str] | None,
    prompts: Sequence[int] | None,
    subjects: Sequence[int] | None,
) -> list[str]:
    """Name the combinations without scores; None or an empty selection stands for all that have scores.

    `scored` holds (model id, prompt, subject). A model whose scores belong to no prompt counts under every prompt.
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
