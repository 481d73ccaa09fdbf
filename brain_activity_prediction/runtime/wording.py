"""Wording shared by messages: counts that agree with their noun, and suggestions for misspelt names."""

import difflib
import os
from collections.abc import Iterable
from pathlib import Path

LEAST_ALIKE = 0.65  # lowest difflib ratio of a suggestion; 1 for the same text
MOST_SUGGESTED = 3


def count(n: int, one: str, many: str | None = None) -> str:
    """Return `1 layer` or `1,200 layers`; `many` is the plural if it does not end in s."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def are(n: int) -> str:
    """Return the verb after a count: `1 layer is left`, `2 layers are left`."""
    return "is" if n == 1 else "are"


def were(n: int) -> str:
    """Return the past tense of `are`."""
    return "was" if n == 1 else "were"


def prompt_name(prompt: int | None) -> str:
    """Return the name of a prompt: `prompt 3`; `no prompt` for None (streams that do not depend on a prompt)."""
    return "no prompt" if prompt is None else f"prompt {prompt}"


def ranges(numbers: Iterable[int]) -> str:
    """Return numbers as ranges, `1-19 21-40`, in the form that flags accept."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return " ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def did_you_mean(word: str, known: Iterable) -> str:
    """Return ` (did you mean V1v or V1d?)`; empty if no known name is similar. Names with / count as model ids."""
    names = [str(name) for name in known]
    near = near_models if any("/" in name for name in names) else near_names
    return _suggested(near(str(word), names))


def near_names(word: str, known: Iterable) -> list[str]:
    """Return the known names that begin with the word, or else the most similar name.

    Upper and lower case count as equal, as do _ and -.
    """
    names, plain = {str(name): _plain(name) for name in known}, _plain(word)
    begun = [name for name, one in names.items() if len(plain) > 1 and one.startswith(plain)]
    best = difflib.get_close_matches(plain, names.values(), n=1, cutoff=LEAST_ALIKE)
    return begun[:MOST_SUGGESTED] or [name for name, one in names.items() if one in best][:1]


def near_models(given: str, ids: Iterable[str]) -> list[str]:
    """Return the model ids that are similar to an id, a folder name (org_model), a path, or a name without org."""
    ids = sorted(ids)
    if near := near_names(given, ids) or near_names(given.replace("_", "/", 1), ids):
        return near
    by_name = {model_id.rpartition("/")[2]: model_id for model_id in ids}
    return [by_name[name] for name in near_names(given.rstrip("/").rpartition("/")[2], by_name)]


def no_such_path(path: Path) -> str:
    """Return `DIR/nam does not exist (did you mean DIR/name?)`, or why an existing path is the wrong kind."""
    if path.exists():
        return f"{path} is a folder: give a file" if path.is_dir() else f"{path} is not a folder, or not a regular file"
    return f"{path} does not exist{near_path(path)}"


def near_path(path: Path) -> str:
    """Return ` (did you mean DIR/name?)` with existing names that are similar to the first missing part of a path."""
    missing = next((part for part in (*reversed(path.parents), path) if not part.exists()), path)
    try:
        near = near_names(missing.name, os.listdir(missing.parent))
    except OSError:
        near = []
    return _suggested(str(missing.with_name(name)) for name in near)


def _suggested(names: Iterable[str]) -> str:
    listed = " or ".join(names)
    return f" (did you mean {listed}?)" if listed else ""


def _plain(name: object) -> str:
    return str(name).lower().replace("_", "-")
