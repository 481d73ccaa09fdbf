"""Write a prompt as a vision-language model was trained to read it: its chat template, or a template of the user's."""

from __future__ import annotations

import datetime as calendar
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.wording import no_such_path
from brain_activity_prediction.storage.files import read_bytes

LARGEST_BYTES = 2**20
PLACE = "{prompt}"
THINK, END_OF_THINKING = "<think>", "</think>"
# Some templates write today's date; a run that continues on another day would mix prompts.
DATE = calendar.datetime(2025, 1, 1)
STAND_IN = "Zq7 stands for the prompt"  # a text that no template writes itself


def read_template(path: Path) -> str:
    """Read a template of the user's: a text with {prompt}, or a chat template in Jinja; raise InputError otherwise."""
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
    """Return a text for `str.format`."""
    return text.replace("{", "{{").replace("}", "}}")


def chat_prompt(processor, source, *, chat_template: str | None, system: str | None, thinking: bool) -> str:
    """Return the template `...{prompt}...` that the chat template makes of one user message with an image.

    processor  the checkpoint's processor
    source  the name of the checkpoint in messages
    chat_template  one in Jinja; None for the checkpoint's own
    system  text of a system message; None for no such message
    thinking  whether the model may think before it answers, if its template knows such a mode

    Raise InputError if there is no chat template, or if it leaves out the prompt or the system message.
    """
    own = chat_template or getattr(processor, "chat_template", None)
    own = own or getattr(getattr(processor, "tokenizer", None), "chat_template", None)
    if not own:
        raise InputError(f"{source} has no chat template: write one with --template FILE, as on its model card")
    content = [{"type": "image"}, {"type": "text", "text": STAND_IN}]
    messages = [{"role": "user", "content": content}]
    if system is not None:
        messages.insert(0, {"role": "system", "content": [{"type": "text", "text": system}]})
    with fixed_date():
        modes = {"enable_thinking": thinking} if "enable_thinking" in own else {}
        text = processor.apply_chat_template(
            messages, chat_template=own, add_generation_prompt=True, tokenize=False, **modes
        )
    if text.count(STAND_IN) != 1:
        raise InputError(f"the chat template of {source} does not write the prompt once: give one with --template FILE")
    if system is not None and system not in text:
        raise InputError(f"the chat template of {source} has no system message: leave out --system")
    if not thinking and opens_thinking(text):
        text += f"\n{END_OF_THINKING}\n\n"
    return escaped(text).replace(STAND_IN, PLACE)


def opens_thinking(text: str) -> bool:
    """Return whether a prompt ends inside an open `<think>`."""
    return text.rfind(THINK) > text.rfind(END_OF_THINKING)


@contextmanager
def fixed_date() -> Iterator[None]:
    """Let chat templates see the same date on every day while the `with` block runs."""
    from transformers.utils import chat_template_utils

    class Fixed(calendar.datetime):
        @classmethod
        def now(cls, tz=None):
            return DATE

    kept, chat_template_utils.datetime = chat_template_utils.datetime, Fixed
    try:
        yield
    finally:
        chat_template_utils.datetime = kept
