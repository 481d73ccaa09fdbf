"""Let a language model think before it answers: greedy decoding in which the answer begins after the thinking's end.

All rows of a batch read one token a step. Rows may end their thinking, and their answers, at different steps.

Letters: B images, L layers, T tokens, W width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from brain_activity_prediction.models.pooling import PooledStates, pooled
from brain_activity_prediction.runtime.messages import log

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import Cache

    from brain_activity_prediction.models.decoding import Decoder


@dataclass(frozen=True)
class Thinking:
    """The end of a model's thinking.

    closed  whether thinking with these token ids has just been closed
    closing  the token ids that close it by force
    longest  the longest thinking in tokens
    """

    closed: Callable[[list[int]], bool]
    closing: list[int]
    longest: int

    @property
    def room(self) -> int:
        """The number of positions that thinking may take."""
        return self.longest + len(self.closing)


def thinking_until(tokenizer, closing: str, longest: int) -> Thinking:
    """Return thinking that ends with a text such as `\\n</think>\\n\\n`; spaces around the mark may differ."""
    mark = closing.strip()
    ids, whole = (tokenizer(text, add_special_tokens=False).input_ids for text in (mark, closing))

    def read(thought: list[int]) -> bool:
        # The mark's last token may contain more, such as a line end. A token may be less than a character.
        return mark in tokenizer.decode(thought[-len(mark.encode()) :])

    return Thinking((lambda thought: thought[-1] == ids[0]) if len(ids) == 1 else read, whole, longest)


def first_answering(thinking: Thinking | None) -> slice:
    """Return the prompt's positions that predict a token of the answer: the last or, before thinking, none."""
    return slice(-1, None) if thinking is None else slice(0, 0)


@dataclass
class Row:
    """One row of a batch: its thinking, then its answer."""

    thinking: Thinking
    end_ids: frozenset[int]
    longest_answer: int
    thought: list[int] = field(default_factory=list)
    answer: list[int] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)  # tokens that close the thinking by force
    answers: bool = False
    done: bool = False

    def take(self, predicted: int) -> int:
        """Return the next token that the model reads, given the one that it predicts."""
        if self.done:
            return predicted
        if self.answers:
            self.answer.append(predicted)
            self.done = predicted in self.end_ids or len(self.answer) == self.longest_answer
            return predicted
        if not self.waiting:
            self.answers = self.thinking.closed([*self.thought, predicted])
            if self.answers or (len(self.thought) < self.thinking.longest and predicted not in self.end_ids):
                self.thought.append(predicted)
                return predicted
            say_closed(self.thinking.longest)
            self.waiting = list(self.thinking.closing)
        token = self.waiting.pop(0)
        self.answers = not self.waiting
        return token

    @property
    def predicts_answer(self) -> bool:
        """True if the token taken last predicts a token of the answer."""
        return self.answers and not self.done


def answer_after_thinking(
    decoder: Decoder, cache: Cache, states: PooledStates, last: Tensor, max_new_tokens: int
) -> tuple[PooledStates, list[list[int]]]:
    """Decode greedily as `decoding.answer` does, from the hidden states (B, W) that predict the thinking's first token.

    The answer has no token of the thinking. `response` covers the positions that predict the answer: from the last
    token of the thinking's end. Thinking is closed by force after its longest length, or before an answer's end.
    """
    import torch

    thinking = decoder.thinking
    assert thinking is not None
    rows = [Row(thinking, decoder.end_ids, max_new_tokens) for _ in last]
    predicted = decoder.head(last).argmax(dim=-1)
    while True:
        tokens = [row.take(token) for row, token in zip(rows, predicted.tolist(), strict=True)]
        if all(row.done for row in rows):
            return states, [until(row.answer, decoder.end_ids) for row in rows]
        counted = torch.tensor([[row.predicts_answer] for row in rows], device=predicted.device)
        with pooled(decoder.points, {"response": counted}) as step:
            hidden = decoder.run(decoder.embed(torch.tensor(tokens, device=predicted.device)[:, None]), cache)
        states = states + step
        predicted = decoder.head(hidden[:, -1]).argmax(dim=-1)


def until(ids: list[int], end_ids: frozenset[int]) -> list[int]:
    """Return the ids before the first that ends an answer."""
    return next((ids[:position] for position, token in enumerate(ids) if token in end_ids), ids)


@cache
def say_closed(longest: int) -> None:
    """Report once that thinking was closed by force."""
    log.warning(
        f"the model had not closed its thinking after {longest} tokens, or at the end of its answer, and it was closed "
        "by force; later answers are treated alike, without a message (--max-thinking-tokens)"
    )


@cache
def say_thought(mark: str) -> None:
    """Report once that answers begin with a thought."""
    log.warning(
        f"the model thinks before it answers, up to {mark}: its stored answers and `response` contain its thoughts, "
        "unless it is given --thinking on"
    )
