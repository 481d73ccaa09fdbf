"""Tables of the vision-language models that the tests read, from the tests' own table."""

from collections.abc import Iterable

from encoder_decoders import ROWS
from image_tokens import COUNTS
from script_pages import table
from sites_of_families import NO_HEADS, NO_PARTS
from tiny_vision_language import OWN

from brain_activity_prediction.models.vision_language.families import REFUSED

DECODERS = "(encoder-decoder)"
ONCE = "once for all prompts"


def tables() -> dict[str, str]:
    """Return the tables by name."""
    return {
        "vision_language_families": families(),
        "vision_language_refused": refused(),
        "vision_language_sites": sites(),
    }


def families() -> str:
    """Return the model types that are read, how the image is read, and what is special."""
    rows = []
    for name, row in rows_by_name():
        shared = row.get("cached", True) and DECODERS not in name
        rows.append(
            (
                name,
                ONCE if shared else "for each prompt",
                str(COUNTS.get(name.replace("`", ""), "")),
                row.get("quirk", ""),
            )
        )
    head = ("model type", "the image is read", "image tokens of 425 x 425 pixels", "note")
    return table(head, rows)


def rows_by_name() -> list[tuple[str, dict]]:
    types = {name: row.get("model_type", name) for name, row in OWN.items()}
    named = {f"`{types[name]}`{name.removeprefix(types[name])}": row for name, row in OWN.items()}
    return sorted((named | {f"`{name}` {DECODERS}": row for name, row in ROWS.items()}).items())


def refused() -> str:
    """Return the model types that are not read, with the reason."""
    return table(("model type", "reason"), [(f"`{name}`", reason) for name, reason in sorted(REFUSED.items())])


def sites() -> str:
    """Return the model types of which `--sites` or `--heads` is refused."""
    flags = {"--sites attention mlp": NO_PARTS, "--heads": NO_HEADS}
    return table(("refused", "model types"), [(f"`{flag}`", named(types)) for flag, types in flags.items()])


def named(types: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(types))
