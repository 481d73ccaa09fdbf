"""Feature spaces: each is the hidden states of one layer of a stream, selected by --space."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from brain_activity_prediction.encoding.layers import Stream
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.wording import count
from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore
from brain_activity_prediction.storage.folders import Output, embeddings_folder, model_folder

BEST = "best"
NO_PROMPT = "none"
LETTERS = "ABCD"
WHOLE_NUMBER = re.compile("[0-9]{1,9}")


@dataclass(frozen=True)
class Space(Stream):
    """A feature space: a layer of a stream. The layer is a number from 0, or BEST for each region's best layer."""

    layer: int | str

    def __str__(self) -> str:
        return f"{self.of_stream} layer {self.layer}"

    @property
    def of_stream(self) -> str:
        """Describe the stream of the space, without the layer."""
        return super().__str__()

    def store(self, output: Output) -> EmbeddingStore:
        """Open the store of the stream's hidden states."""
        return EmbeddingStore(embeddings_folder(output, self.model_id, self.prompt))


def parse_space(model_id: str, prompt: str, stream: str, layer: str) -> Space:
    """Return the space that the words of --space describe; raise InputError if they are invalid."""
    model_folder(model_id)  # raises InputError for an invalid id
    if prompt != NO_PROMPT and not WHOLE_NUMBER.fullmatch(prompt):
        raise InputError(f"--space {model_id} {prompt}: the second word must be the number of a prompt, or {NO_PROMPT}")
    if layer != BEST and not WHOLE_NUMBER.fullmatch(layer):
        raise InputError(f"--space {model_id} ... {layer}: the last word must be the number of a layer, or {BEST}")
    number = None if prompt == NO_PROMPT else int(prompt)
    return Space(model_id, number, stream, layer if layer == BEST else int(layer))


def check_spaces(spaces: Sequence[Space], output: Output) -> None:
    """Raise InputError if the number of spaces is wrong, or a space is given twice or has no hidden states."""
    if not 2 <= len(spaces) <= len(LETTERS):
        raise InputError(f"{count(len(spaces), 'feature space')}: give --space two to {len(LETTERS)} times")
    for number, space in enumerate(spaces):
        if space in spaces[:number]:
            raise InputError(f"--space {space} is given twice: all of its variance would be shared")
        space.store(output).width(space.stream, 0 if space.layer == BEST else space.layer)
