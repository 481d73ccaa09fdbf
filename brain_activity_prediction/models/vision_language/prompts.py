"""Write a prompt as a vision-language model was trained to read it: its chat template, or a template of the user's."""

import datetime as calendar
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from brain_activity_prediction.models.guarded import guarded
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.wording import no_such_path
from brain_activity_prediction.storage.files import read_bytes

LARGEST_BYTES = 2**20
PLACE = "{prompt}"
THINK, END_OF_THINKING = "<think>", "</think>"
# Some templates write today's date; a run that continues on another day would mix prompts.
DATE = calendar.datetime(2025, 1, 1)
# Texts that no template writes itself.
STAND_IN, THOUGHT, ANSWERED = "Zq7 stands for the prompt", "Zq7 stands for a thought", "Zq7 stands for an answer"
PARTS = "{'type':"  # how Jinja writes the parts of a message that a template takes as plain text
CLOSING = f"\n{END_OF_THINKING}\n\n"
NO_THINKING = f"leave out --thinking on, or give a --template FILE that ends with {THINK}"


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


def fill(processor, source, template: str | None, system: str | None, thinking: bool) -> tuple[str, str]:
    """Return the template `...{prompt}...` of all prompts, and the text that closes the model's thinking.

    Raise InputError if the template has no system message or no thinking mode, but should.
    """
    if template is None or is_jinja(template):
        with guarded(f"the chat template of {source} could not be filled"):
            filled = chat_prompt(processor, source, chat_template=template, system=system, thinking=thinking)
            own = template or own_template(processor) or ""
            closing = closing_text(processor, own)
        if thinking and closing == CLOSING and END_OF_THINKING not in own and not opens_thinking(filled):
            raise InputError(f"the chat template of {source} does not write what ends its thinking: {NO_THINKING}")
        return filled, closing
    if system is not None:
        raise InputError("--system needs a chat template, and this model is given a plain text: leave out --system")
    if thinking and not opens_thinking(template):
        raise InputError(f"{source} is given a plain text, which opens no {THINK}: {NO_THINKING}")
    return template + (CLOSING if opens_thinking(template) and not thinking else ""), CLOSING


def own_template(processor) -> str | None:
    """Return the chat template of a checkpoint's processor or tokenizer; None without one."""
    own = getattr(processor, "chat_template", None)
    return own or getattr(getattr(processor, "tokenizer", None), "chat_template", None)


def chat_prompt(processor, source, *, chat_template: str | None, system: str | None, thinking: bool) -> str:
    """Return the template `...{prompt}...` that the chat template makes of one user message with an image.

    processor  the checkpoint's processor
    source  the name of the checkpoint in messages
    chat_template  one in Jinja; None for the checkpoint's own
    system  text of a system message; None for no such message
    thinking  whether the model thinks before it answers

    Raise InputError if there is no chat template, if it leaves out the prompt or the system message, or if it has no
    thinking mode.
    """
    own = chat_template or own_template(processor)
    if not own:
        raise InputError(f"{source} has no chat template: write one with --template FILE, as on its model card")
    messages = [said("user", STAND_IN, {"type": "image"})]
    if system is not None:
        messages.insert(0, said("system", system))
    try:
        text = rendered(processor, own, messages, thinking)
    except TypeError:  # the template joins parts to its own text
        text = PARTS
    if system is not None and PARTS in text:
        messages[0]["content"] = system
        text = rendered(processor, own, messages, thinking)
    if PARTS in text:
        raise InputError(
            f"the chat template of {source} takes text alone, without an image: give one with --template FILE"
        )
    if text.count(STAND_IN) != 1:
        raise InputError(f"the chat template of {source} does not write the prompt once: give one with --template FILE")
    if system is not None and system not in text:
        raise InputError(f"the chat template of {source} has no system message: leave out --system")
    if thinking and not opens_thinking(text) and text == rendered(processor, own, messages, False):
        raise InputError(f"the chat template of {source} has no thinking mode: {NO_THINKING}")
    if not thinking and opens_thinking(text):
        text += closing_text(processor, own)
    return escaped(text).replace(STAND_IN, PLACE)


def said(role: str, text: str, *before: dict, **more: str) -> dict:
    """Return a message of a chat with one text, after other parts such as an image."""
    return {"role": role, "content": [*before, {"type": "text", "text": text}], **more}


def rendered(processor, template: str, messages: list[dict], thinking: bool, answer_next: bool = True) -> str:
    """Return the text that a chat template makes of messages.

    answer_next  whether the model's answer follows
    """
    modes = {"enable_thinking": thinking} if "enable_thinking" in template else {}
    with fixed_date():
        return processor.apply_chat_template(
            messages, chat_template=template, add_generation_prompt=answer_next, tokenize=False, **modes
        )


def opens_thinking(text: str) -> bool:
    """Return whether a prompt ends inside an open `<think>`."""
    return text.rfind(THINK) > text.rfind(END_OF_THINKING)


def closing_text(processor, template: str) -> str:
    """Return the text that closes thinking, as a chat template writes it between a past thought and its answer.

    Templates that leave out past thoughts, or cannot be given one, are taken to close a `<think>` as Qwen's do.
    """
    past = said("assistant", ANSWERED, reasoning_content=THOUGHT)
    messages = [said("user", STAND_IN, {"type": "image"}), past]
    try:
        text = rendered(processor, template, messages, True, answer_next=False)
    except Exception:  # templates raise errors of Jinja's and of their own
        text = ""
    closing = text.rpartition(THOUGHT)[2].partition(ANSWERED)[0] if THOUGHT in text and ANSWERED in text else ""
    return closing if closing.strip() else CLOSING


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
