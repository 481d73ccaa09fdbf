"""Print the tokens that a text model reads for a prompt and its image, with the poolings that each token is part of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

WIDTH = 100  # columns of a terminal
IMAGE = "<image>"  # printed for positions of an image that have no token
MARGIN = 40  # columns before the tokens, for positions and names of poolings
SPACE = "\N{LOWER ONE EIGHTH BLOCK}"  # SentencePiece's space, which decoding drops at the start of a text


@dataclass(frozen=True)
class PromptTokens:
    """The T tokens that a text model reads for a prompt and one image.

    stream  name of the stream with this model's states
    tokenizer  tokenizer of this model
    ids  (T,) token ids; None for a position of the image without a token
    image  (T,) whether a position belongs to the image
    prompt  positions of the prompt's own tokens
    poolings  possible poolings of the stream
    answers  whether the answer follows the last token
    """

    stream: str
    tokenizer: PreTrainedTokenizerBase
    ids: Sequence[int | None]
    image: Sequence[bool]
    prompt: slice
    poolings: Sequence[str] = ("mean", "last", "image", "prompt")
    answers: bool = True

    def lines(self) -> Iterator[str]:
        """Yield lines of text with all tokens; a new line begins where the poolings change."""
        yield f"{len(self.ids):,} tokens in {self.stream} (positions, poolings, tokens):"
        for _, group in groupby(range(len(self.ids)), self._kind):
            positions = list(group)
            first, last = positions[0], positions[-1]
            span = f"{first}" if first == last else f"{first}-{last}"
            head = f"{span:>11}  {' '.join(self.marks(first))}"
            for line in filled(self._texts(positions), WIDTH - MARGIN):
                yield f"{head:{MARGIN}}{line}".rstrip()
                head = ""

    def marks(self, position: int) -> list[str]:
        """Return the poolings that a position is part of; `response` if it predicts the answer's first token."""
        last = position == len(self.ids) - 1
        chosen = {
            "mean": True,
            "image": self.image[position],
            "prompt": self.prompt.start <= position < self.prompt.stop,
            "last": last,
        }
        marks = [name for name, inside in chosen.items() if inside and name in self.poolings]
        return [*marks, *(["response"] if last and self.answers else [])]

    def _kind(self, position: int) -> tuple:
        return self.marks(position), self.image[position] and self.ids[position]

    def _texts(self, positions: Sequence[int]) -> list[str]:
        if not self.image[positions[0]]:
            return [repr(token_text(self.tokenizer, self.ids[position])) for position in positions]
        token = self.ids[positions[0]]
        text = IMAGE if token is None else repr(token_text(self.tokenizer, token))[1:-1]
        return [f"{text} x {len(positions)}"]


def token_text(tokenizer: PreTrainedTokenizerBase, token: int | None) -> str:
    """Return the text of one token with its leading space; the token's name if it is only a part of a character."""
    name, text = tokenizer.convert_ids_to_tokens(token), tokenizer.decode([token])
    if "\N{REPLACEMENT CHARACTER}" in text:
        return name
    return name.replace(SPACE, " ") if name.startswith(SPACE) else text


def filled(words: Sequence[str], width: int) -> Iterator[str]:
    """Yield lines of at most `width` columns with the words; a word is divided only if it is longer than a line."""
    line = ""
    for word in words:
        if line and len(line) + 1 + len(word) > width:
            yield line
            line = ""
        line = f"{line} {word}" if line else word
        while len(line) > width:
            yield line[:width]
            line = line[width:]
    if line:
        yield line
