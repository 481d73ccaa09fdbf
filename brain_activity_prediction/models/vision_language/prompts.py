"""Write prompts as a vision-language model was trained to read them: with its chat template or a user's template."""

from pathlib import Path

from jinja2 import TemplateError

from brain_activity_prediction.models.chat_template import (
    PARTS,
    STAND_IN,
    THINK,
    Marks,
    asked,
    marks_of,
    own_template,
    rendered,
    said,
)
from brain_activity_prediction.models.guarded import guarded
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.wording import no_such_path
from brain_activity_prediction.storage.files import read_bytes

LARGEST_BYTES = 2**20
PLACE = "{prompt}"
NO_THINKING = f"leave out --thinking on, or give a --template FILE that ends with {THINK.opening}"


def read_template(path: Path) -> str:
    """Read a user's template: a text with {prompt}, or a chat template in Jinja; raise InputError for anything else."""
    if not path.exists():
        raise InputError(f"--template {no_such_path(path)}")
    try:
        text = read_bytes(path, LARGEST_BYTES).decode()
    except (OSError, ValueError) as error:
        raise InputError(f"--template {path} cannot be read as text ({' '.join(str(error).split())})") from None
    text = text.removesuffix("\n")  # the end of the file's last line
    if is_jinja(text):
        return text
    if text.count(PLACE) != 1:
        raise InputError(f"--template {path} must contain {PLACE} once, or be a chat template in Jinja")
    return PLACE.join(map(escaped, text.split(PLACE)))


def is_jinja(template: str) -> bool:
    """Return whether a template is a chat template in Jinja."""
    return "{%" in template


def escaped(text: str) -> str:
    """Return a text with its braces doubled, for `str.format`."""
    return text.replace("{", "{{").replace("}", "}}")


def fill(processor, source, template: str | None, system: str | None, thinking: bool) -> tuple[str, Marks | None]:
    """Return the template `...{prompt}...` for all prompts, and the marks around the model's thoughts, if known.

    processor  processor of the checkpoint
    source  name of the checkpoint in messages
    template  the user's template, plain or in Jinja; None for the checkpoint's own
    system  text of a system message; None for no such message
    thinking  whether the model thinks before it answers

    Raises InputError if there is no chat template, if it omits the prompt or the system message, or if thinking is
    requested but the template has no thinking mode.
    """
    if template is None or is_jinja(template):
        with guarded(f"the chat template of {source} could not be filled"):
            return chat_prompt(processor, source, template, system, thinking)
    if system is not None:
        raise InputError("--system needs a chat template, but this model's template is plain text: leave out --system")
    opened = THINK.are_open(template)
    if thinking and not opened:
        raise InputError(f"the template of {source} is plain text that does not end in {THINK.opening}: {NO_THINKING}")
    return template + (THINK.closing if opened and not thinking else ""), THINK


def chat_prompt(
    processor, source, template: str | None, system: str | None, thinking: bool
) -> tuple[str, Marks | None]:
    """Return the results of `fill` for a chat template."""
    own = template or own_template(processor)
    if not own:
        raise InputError(f"{source} has no chat template: write one with --template FILE, as on its model card")
    text = text_of(processor, source, own, system, thinking)
    if text.count(STAND_IN) != 1:
        raise InputError(f"the chat template of {source} does not write the prompt once: give one with --template FILE")
    if system is not None and system not in text:
        raise InputError(f"the chat template of {source} has no system message: leave out --system")
    marks = marks_of(processor, own)
    if thinking and marks is None:
        switches = text != text_of(processor, source, own, system, False)
        lacks = "does not tell how its thinking ends" if switches else "has no thinking mode"
        raise InputError(f"the chat template of {source} {lacks}: {NO_THINKING}")
    if marks and not thinking and marks.are_open(text):
        text += marks.closing
    return escaped(text).replace(STAND_IN, PLACE), marks


def text_of(processor, source, template: str, system: str | None, thinking: bool) -> str:
    """Return the text that a chat template makes from an image and the placeholder of the prompt.

    Some templates accept a system message as parts, others as plain text; both are tried.
    """
    systems = [[]] if system is None else [[said("system", system)], [{"role": "system", "content": system}]]
    refusal = None
    for before in systems:
        try:
            text = rendered(processor, template, [*before, asked()], thinking)
        except TypeError:  # the template expects plain text instead of parts
            continue
        except TemplateError as error:
            refusal = error
            continue
        if PARTS not in text:
            return text
    if refusal and system is None:
        raise refusal
    if refusal:
        raise InputError(f"the chat template of {source} has no system message ({refusal}): leave out --system")
    raise InputError(f"the chat template of {source} has no place for an image: give another one with --template FILE")
