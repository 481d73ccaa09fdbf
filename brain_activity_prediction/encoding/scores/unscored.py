"""Find the combinations of selected models, prompts and subjects that have no scores."""

from collections.abc import Collection, Sequence


def unscored(
    scored: Collection[tuple[str, int | None, int]],
    models: Sequence[str] | None,
    prompts: Sequence[int] | None,
    subjects: Sequence[int] | None,
) -> list[str]:
    """List the selected combinations that have no scores. None or an empty selection means all that have scores.

    A model without prompts counts as scored under every prompt.

    scored  (model id, prompt, subject) of each existing table of scores
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
