"""Run a causal language model: read the shared prefix once for each image, then each question after it.

The keys and values of the prefix stay in the cache. Those of a question and its answer are removed afterwards. Nine
questions therefore need only one pass over the prefix. All rows of a batch have the same text tokens, so that no
padding is needed.

Letters: B images, L layers, T tokens, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from brain_activity_prediction.models.pooling import Point, PooledStates, pooled
from brain_activity_prediction.models.prompt_tokens import PromptTokens
from brain_activity_prediction.models.thinking import Thinking, answer_after_thinking, first_answering, until
from brain_activity_prediction.runtime.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import Cache, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Context:
    """The number of tokens that a text model reads for a prompt and its image, and the model's number of positions."""

    tokens: int
    positions: int | None
    reader: str = "language model"
    answers: bool = True  # whether the answer takes positions of this model
    thinking: int = 0  # largest number of tokens of the thinking before an answer

    def check(self, prompt: str = "a prompt", max_new_tokens: int = 0) -> None:
        """Raise InputError if a prompt and its answer have more tokens than the model has positions.

        Without this check, models with rotary positions would compute meaningless hidden states without an error.
        """
        thinking = self.thinking if max_new_tokens else 0
        longest = self.tokens + thinking + max(max_new_tokens - 1, 0)  # the model does not read an answer's last token
        if self.positions and longest > self.positions:
            parts = {"thinking": thinking, "the answer": max_new_tokens}
            spent = "".join(f", {number} of them for {part}" for part, number in parts.items() if number)
            fewer = " or fewer --max-new-tokens" if max_new_tokens else ""
            fewer += " or --max-thinking-tokens" if thinking else ""
            raise InputError(
                f"{prompt} takes {self.tokens + thinking + max_new_tokens} tokens with its image{spent}, but the "
                f"{self.reader} has {self.positions} positions: give a shorter prompt{fewer}"
            )


@dataclass(frozen=True)
class Decoder:
    """The functions of a causal language model; if it attends to images, they use the images of one batch.

    run  function that reads T more tokens after a cache; returns their hidden states after the final norm, (B, T, W)
    embed  function from token ids (B, T) to the inputs of `run`
    head  function from hidden states (B, W) to logits (B, vocabulary)
    points  points of the network at which its hidden states are read, see `layer_points`
    end_ids  token ids that end an answer
    positions  length of the longest text that the model can read, in tokens; None without a limit
    thinking  how the thinking before an answer ends; None for a model that does not think
    """

    run: Callable[[Tensor, Cache], Tensor]
    embed: Callable[[Tensor], Tensor]
    head: Callable[[Tensor], Tensor]
    points: list[Point]
    end_ids: frozenset[int]
    positions: int | None = None
    thinking: Thinking | None = None

    def check_room(self, n_tokens: int, max_new_tokens: int) -> None:
        """Raise InputError if a prompt and its answer have more tokens than the model has positions."""
        Context(n_tokens, self.positions).check(max_new_tokens=max_new_tokens)


class Processor(NamedTuple):
    """An image processor and a tokenizer; `reader` is the tokenizer of a second text model, such as a Q-Former."""

    image_processor: Any
    tokenizer: PreTrainedTokenizerBase
    reader: PreTrainedTokenizerBase | None = None


@dataclass(frozen=True)
class Prefix:
    """The part of a prompt that is read once for each image: its cache, and hidden states pooled over its tokens."""

    decoder: Decoder
    cache: Cache
    states: PooledStates


def read_prefix(decoder: Decoder, inputs: Tensor, tokens: Mapping[str, slice]) -> Prefix:
    """Read the part of the prompt before the question; `tokens` has positions within the prefix (see `pooled`)."""
    from transformers import DynamicCache

    decoder.check_room(inputs.shape[1], 0)
    cache = DynamicCache()
    with pooled(decoder.points, tokens) as states:
        decoder.run(inputs, cache)
    return Prefix(decoder, cache, states)


def read_question(
    prefix: Prefix, ids: list[int], tokens: Mapping[str, slice], max_new_tokens: int = 0
) -> tuple[PooledStates, list[list[int]]]:
    """Read a question after its prefix; return hidden states pooled over both, and answers as `read_prompt` does.

    ids  token ids of the question
    tokens  for each pooling, positions within the question (see `pooled`)
    """
    import torch

    decoder, cache = prefix.decoder, prefix.cache
    before, keys = cache.get_seq_length(), cache.layers[0].keys  # (B, ...)
    question = torch.tensor([ids], device=keys.device).expand(len(keys), -1)
    states, answers = _read(decoder, cache, decoder.embed(question), tokens, max_new_tokens)
    cache.crop(before - cache.get_seq_length())
    return prefix.states + states, answers


def read_prompt(
    decoder: Decoder, inputs: Tensor, tokens: Mapping[str, slice], max_new_tokens: int = 0
) -> tuple[PooledStates, list[list[int]]]:
    """Return the hidden states pooled over a whole prompt, and each row's greedy answer as token ids, without its end.

    With `max_new_tokens`, the pooling `response` is added. It averages over all positions that predict a token of the
    answer: from the prompt's last position to the position that predicts the end of the answer.
    """
    from transformers import DynamicCache

    return _read(decoder, DynamicCache(), inputs, tokens, max_new_tokens)


def _read(
    decoder: Decoder, cache: Cache, inputs: Tensor, tokens: Mapping[str, slice], max_new_tokens: int
) -> tuple[PooledStates, list[list[int]]]:
    decoder.check_room(cache.get_seq_length() + inputs.shape[1], max_new_tokens)
    if max_new_tokens:
        tokens = {**tokens, "response": first_answering(decoder.thinking)}
    with pooled(decoder.points, tokens) as states:
        hidden = decoder.run(inputs, cache)
    return answer(decoder, cache, states, hidden[:, -1], max_new_tokens) if max_new_tokens else (states, [])


def answer(
    decoder: Decoder, cache: Cache, states: PooledStates, last: Tensor, max_new_tokens: int
) -> tuple[PooledStates, list[list[int]]]:
    """Decode greedily, beginning with the hidden states `last` (B, W) that predict the first token."""
    import torch

    if decoder.thinking is not None:
        return answer_after_thinking(decoder, cache, states, last, max_new_tokens)
    new = decoder.head(last).argmax(dim=-1)
    ends = torch.tensor(sorted(decoder.end_ids), device=new.device)
    answers, alive = [new], ~torch.isin(new, ends)
    while alive.any() and len(answers) < max_new_tokens:
        with pooled(decoder.points, {"response": alive[:, None]}) as step:
            hidden = decoder.run(decoder.embed(answers[-1][:, None]), cache)
        states = states + step
        answers.append(decoder.head(hidden[:, -1]).argmax(dim=-1))
        alive = alive & ~torch.isin(answers[-1], ends)
    return states, [until(row, decoder.end_ids) for row in torch.stack(answers, dim=1).tolist()]


def tokens_read(tokenizer, prefix: Prefix, before: list[int], after: list[int], own: slice) -> list[PromptTokens]:
    """Return the tokens of a prompt and its image, whose tokens are those of the prefix after `before`.

    before, after, own  results of `split_template`
    """
    n_image = prefix.cache.get_seq_length() - len(before)
    ids = [*before, *[None] * n_image, *after]
    image = [token is None for token in ids]
    return [PromptTokens("language", tokenizer, ids, image, shifted(own, len(before) + n_image))]


def split_template(
    tokenizer, template: str, prompt: str, image_token_id: int, add_special_tokens: bool = True
) -> tuple[list[int], list[int], slice]:
    """Return the token ids before and after the image token, and the slice of the latter that is the prompt's text.

    The whole text is tokenised at once, as in the model's training.
    """
    ids, own = tokenise(tokenizer, template, prompt, add_special_tokens)
    after = ids.index(image_token_id) + 1
    return ids[: after - 1], ids[after:], shifted(own, -after)


def tokenise(tokenizer, template: str, prompt: str, add_special_tokens: bool = True) -> tuple[list[int], slice]:
    """Return the token ids of a template filled with a prompt, and the slice of the prompt's own tokens.

    A token that spans prompt and template counts as the prompt's.
    """
    start = template.index("{prompt}")
    text = template.format(prompt=prompt)
    encoded = tokenizer(text, return_offsets_mapping=True, add_special_tokens=add_special_tokens)
    return encoded["input_ids"], tokens_within(encoded["offset_mapping"], start, start + len(prompt))


def tokens_within(spans: Sequence[tuple[int, int]], start: int, stop: int) -> slice:
    """Return the slice of the tokens that overlap text[start:stop], given each token's span of characters."""
    inside = [token for token, (first, end) in enumerate(spans) if max(first, start) < min(end, stop)]
    return slice(inside[0], inside[-1] + 1) if inside else slice(0, 0)


def shifted(tokens: slice, places: int) -> slice:
    """Return a slice of token positions increased by `places`, because `places` other tokens precede them."""
    return slice(tokens.start + places, tokens.stop + places)


def end_ids(model) -> frozenset[int]:
    """Return the token ids that end an answer, as `end_with` set them."""
    ids = model.generation_config.eos_token_id
    return frozenset([ids] if isinstance(ids, int) else ids or [])


def positions(config) -> int | None:
    """Return the number of positions of a language model from its configuration; None if there is no limit."""
    names = ("max_position_embeddings", "max_sequence_length", "max_seq_len")
    return next((value for name in names if (value := getattr(config, name, None))), None)


def end_with(model, ids: frozenset[int]) -> None:
    """Set the token ids that end the model's answers, here and in transformers' own `generate`."""
    model.generation_config.eos_token_id = sorted(ids)


def texts(tokenizer, answers: Sequence[Sequence[int]]) -> list[str]:
    """Return each row's answer as text; an empty list for no rows, which `batch_decode` does not accept."""
    return [tokenizer.decode(ids, skip_special_tokens=True) for ids in answers]
