"""Wording that messages share: counts that agree with their noun, and suggestions for near misses."""

import difflib
import os
from collections.abc import Iterable
from pathlib import Path

LEAST_ALIKE = 0.65  # of difflib's ratio, 1 for the same text
MOST_SUGGESTED = 3


def count(n: int, one: str, many: str | None = None) -> str:
    """`1 layer`, `1,200 layers`; `many` where the plural does not end in s."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def are(n: int) -> str:
    """The verb after a count: `1 layer is left`, `2 layers are left`."""
    return "is" if n == 1 else "are"


def were(n: int) -> str:
    """The past of `are`."""
    return "was" if n == 1 else "were"


def ranges(numbers: Iterable[int]) -> str:
    """`1-19 21-40`, as flags of numbers read them."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return " ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def did_you_mean(word: str, known: Iterable) -> str:
    """` (did you mean V1v or V1d?)`, or nothing where no known name is near."""
    return _suggested(near_names(word, known))


def near_names(word: str, known: Iterable) -> list[str]:
    """Known names that begin with the word, else the one most like it; case and _ for - do not matter."""
    names, plain = {str(name): _plain(name) for name in known}, _plain(word)
    begun = [name for name, one in names.items() if len(plain) > 1 and one.startswith(plain)]
    best = difflib.get_close_matches(plain, names.values(), n=1, cutoff=LEAST_ALIKE)
    return begun[:MOST_SUGGESTED] or [name for name, one in names.items() if one in best][:1]


def no_such_path(path: Path) -> str:
    """`DIR/nam does not exist (did you mean DIR/name?)`."""
    return f"{path} does not exist{near_path(path)}"


def near_path(path: Path) -> str:
    """` (did you mean DIR/name?)`, from the names beside the first part of a path that is missing."""
    missing = next((part for part in (*reversed(path.parents), path) if not part.exists()), path)
    try:
        near = near_names(missing.name, os.listdir(missing.parent))
    except OSError:
        near = []
    return _suggested(str(missing.with_name(name)) for name in near)


def _suggested(names: Iterable[str]) -> str:
    listed = " or ".join(names)
    return f" (did you mean {listed}?)" if listed else ""


def _plain(name) -> str:
    return str(name).lower().replace("_", "-")
