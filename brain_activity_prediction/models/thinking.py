"""Let a language model think before it answers: greedy decoding in which the answer begins after the thinking.

In each step, every row of a batch reads one token. Rows may end their thinking and their answers at different steps.

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
    """The two ends of a model's thinking: its own closing mark, and a limit.

    closed  function from the thinking's token ids to whether the last one completes the closing mark
    closing  token ids that are given to the model to end a thinking that is too long
    longest  largest number of tokens of the thinking
    """

    closed: Callable[[list[int]], bool]
    closing: list[int]
    longest: int

    @property
    def room(self) -> int:
        """The largest number of positions that thinking takes, its end included."""
        return self.longest + len(self.closing)


def thinking_until(tokenizer, closing: str, longest: int) -> Thinking:
    """Return a `Thinking` that ends with a text such as `\\n</think>\\n\\n`; white space around the mark may differ."""
    mark = closing.strip()
    ids, whole = (tokenizer(text, add_special_tokens=False).input_ids for text in (mark, closing))

    def read(thought: list[int]) -> bool:
        # The mark's last token may contain more text, such as a line end, and a token may be a part of a character.
        return mark in tokenizer.decode(thought[-len(mark.encode()) :])

    return Thinking((lambda thought: thought[-1] == ids[0]) if len(ids) == 1 else read, whole, longest)


def first_answering(thinking: Thinking | None) -> slice:
    """Return the prompt's positions that predict a token of the answer: the last one, or none if thinking follows."""
    return slice(-1, None) if thinking is None else slice(0, 0)


@dataclass
class Row:
    """One row of a batch: its thinking, then its answer."""

    thinking: Thinking
    end_ids: frozenset[int]
    longest_answer: int
    thought: list[int] = field(default_factory=list)
    answer: list[int] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)  # tokens still to be read that end a thinking that is too long
    answers: bool = False
    done: bool = False

    def take(self, predicted: int) -> int:
        """Return the next token that the model reads, given the token that it predicts."""
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
        """True if the token that `take` returned last predicts a token of the answer."""
        return self.answers and not self.done


def answer_after_thinking(
    decoder: Decoder, cache: Cache, states: PooledStates, last: Tensor, max_new_tokens: int
) -> tuple[PooledStates, list[list[int]]]:
    """Decode greedily as `decoding.answer` does, from the hidden states (B, W) that predict the thinking's first token.

    The answer contains no token of the thinking. `response` averages over the positions that predict the answer, the
    first of which is the last token of the closing mark. If the thinking reaches its largest length, or if the model
    ends its answer while it still thinks, the closing mark is added and decoding continues with the answer.
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
    """Warn once that a thinking was cut off."""
    log.warning(
        f"the model did not end its thinking within {longest} tokens, so it was cut off and the answer was decoded "
        "after it. This message is shown once; --max-thinking-tokens sets the limit"
    )


@cache
def say_thought(mark: str) -> None:
    """Warn once that answers contain the model's thinking."""
    log.warning(
        f"the model thinks before it answers, up to {mark}, so stored answers and `response` contain its thinking: to "
        "separate them, use --thinking on"
    )
