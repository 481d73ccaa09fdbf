"""Render chat templates, and find in them how a model's thinking begins and ends.

Templates of published models differ in the variable that turns thinking on, and in the marks around a thought. The
marks are found in the text that the template writes for an earlier thought.
"""

import datetime as calendar
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

# Variables of published templates, with their values for a model that answers at once and for one that thinks first.
SWITCHES: dict[str, tuple[Any, Any]] = {
    "enable_thinking": (False, True),
    "thinking": (False, True),
    "reasoning": (False, True),
    "thinking_mode": ("disabled", "enabled"),
    "reasoning_effort": ("none", "high"),
}
# Some templates write today's date, so that a run that continues on another day would mix different prompts.
DATE = calendar.datetime(2025, 1, 1)
# Placeholders: texts that no template contains.
STAND_IN, THOUGHT, ANSWERED = "Zq7 stands for the prompt", "Zq7 stands for a thought", "Zq7 stands for an answer"
FIRST_MARK = re.compile(r"\s*(<[^<>]*>|\[[^][]*\]|\S+)")  # first mark in the text that closes a thought
PARTS = "{'type':"  # how Jinja writes the parts of a message that a template takes as plain text


@dataclass(frozen=True)
class Marks:
    """The texts around a thought of a model.

    opening  mark that begins the thought
    closing  text from the end of the thought to the answer
    before  whole text from the end of the prompt to the thought; None if unknown
    """

    opening: str
    closing: str
    before: str | None = None

    def are_open(self, text: str) -> bool:
        """Return whether a prompt ends inside a thought."""
        if self.before is None:
            return text.rfind(self.opening) > text.rfind(self.closing.strip())
        before, after = self.before.strip(), text.rpartition(STAND_IN)[2].strip()
        return after.startswith(before) and FIRST_MARK.match(self.closing)[0].strip() not in after.removeprefix(before)

    def are_in(self, answer: str) -> bool:
        """Return whether an answer contains a thought."""
        return self.closing.strip() in answer or (bool(self.opening) and answer.lstrip().startswith(self.opening))


THINK = Marks("<think>", "\n</think>\n\n")
# Marks of models whose templates omit earlier thoughts.
KNOWN = (THINK, Marks("<|channel>thought", "\n<channel|>"), Marks("[THINK]", "[/THINK]"))


def own_template(processor) -> str | None:
    """Return the (default) chat template of a checkpoint's processor or tokenizer; None if it has none."""
    own = getattr(processor, "chat_template", None)
    own = own or getattr(getattr(processor, "tokenizer", None), "chat_template", None)
    return own.get("default") if isinstance(own, dict) else own


def said(role: str, text: str, *before: dict, **more: str) -> dict:
    """Return a chat message: other parts such as an image, then a text."""
    return {"role": role, "content": [*before, {"type": "text", "text": text}], **more}


def asked() -> dict:
    """Return the user's message: an image, then the placeholder of the prompt."""
    return said("user", STAND_IN, {"type": "image"})


def rendered(processor, template: str, messages: list[dict], thinking: bool, answer_next: bool = True) -> str:
    """Return the text that a chat template makes from messages.

    answer_next  whether the text ends where the model's answer begins
    """
    with fixed_date():
        return processor.apply_chat_template(
            messages,
            chat_template=template,
            add_generation_prompt=answer_next,
            tokenize=False,
            **switched(template, thinking),
        )


def switched(template: str, thinking: bool) -> Mapping[str, Any]:
    """Return the variable of a template that turns thinking on or off, with its value; empty if there is none."""
    from transformers.utils.chat_template_utils import _get_template_variables

    variables = _get_template_variables(template)
    for name, values in SWITCHES.items():
        known = all(isinstance(value, bool) or any(f"{q}{value}{q}" in template for q in "'\"") for value in values)
        if name in variables and known:
            return {name: values[thinking]}
    return {}


def marks_of(processor, template: str) -> Marks | None:
    """Return the marks that a chat template writes around an earlier thought; None if they cannot be found."""
    thought = {"type": "thinking", "thinking": THOUGHT}
    for past in (
        said("assistant", ANSWERED, reasoning_content=THOUGHT),
        {"role": "assistant", "content": ANSWERED, "reasoning_content": THOUGHT},
        said("assistant", ANSWERED, thought),
    ):
        try:
            text = rendered(processor, template, [asked(), past], True, answer_next=False)
            prompt = rendered(processor, template, [asked()], True)
        except Exception:  # templates raise Jinja's errors and their own
            continue
        before, _, after = text.rpartition(STAND_IN)[2].partition(THOUGHT)
        closing, answered, _ = after.partition(ANSWERED)
        if answered and closing.strip() and PARTS not in text:
            opening = before.strip().removeprefix(prompt.rpartition(STAND_IN)[2].strip()).strip()
            return Marks(opening, closing, before)
    return next((marks for marks in KNOWN if marks.opening in template or marks.closing.strip() in template), None)


@contextmanager
def fixed_date() -> Iterator[None]:
    """Give chat templates the date DATE instead of today's while the `with` block runs."""
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
