"""A feature space: the states of one layer of a stream, named on the command line, as ridge takes them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from brain_activity_prediction.cli.flag_values import WHOLE_NUMBER
from brain_activity_prediction.cli.model_names import resolved_model_id
from brain_activity_prediction.encoding.streams import Stream
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.wording import count, did_you_mean
from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore
from brain_activity_prediction.storage.folders import embeddings_folder, model_folder

BEST = "best"
NO_PROMPT = "none"
LETTERS = "ABCD"


@dataclass(frozen=True)
class Space(Stream):
    """A layer of a stream: a number from 0, or BEST, which `region_layers` resolves."""

    layer: int | str

    def __str__(self) -> str:
        return f"{self.of_stream} layer {self.layer}"

    @property
    def of_stream(self) -> str:
        """The name without the layer."""
        return super().__str__()

    def store(self, base_dir: Path) -> EmbeddingStore:
        """Where the stream's states lie."""
        return EmbeddingStore(embeddings_folder(base_dir, self.model_id, self.prompt))


def add_spaces(flags: argparse.ArgumentParser) -> None:
    flags.add_argument(
        "--space",
        nargs=4,
        action="append",
        required=True,
        metavar=("MODEL", "PROMPT", "STREAM", "LAYER"),
        help="two to four of these: a model id; a prompt's number, or none; a stream; a layer from 0, or best, the one "
        "that align_model.py scored best on training images, in each region",
    )


def parse_spaces(given: Sequence[Sequence[str]], base_dir: Path) -> list[Space]:
    """The spaces of --space; an InputError for what is no space, is given twice, or has no hidden states."""
    spaces = [_parsed(resolved_model_id(base_dir, model), *words) for model, *words in given]
    if not 2 <= len(spaces) <= len(LETTERS):
        raise InputError(f"{count(len(spaces), 'feature space')}: give --space two to {len(LETTERS)} times")
    for number, space in enumerate(spaces):
        if space in spaces[:number]:
            raise InputError(f"--space {space} is given twice: all of its variance would be shared")
        streams = space.store(base_dir).streams()
        if space.stream not in streams:
            there = f"only {', '.join(streams)}{did_you_mean(space.stream, streams)}" if streams else "nothing"
            raise InputError(
                f"no {space.stream} states in {space.store(base_dir).folder}, {there}: run the extraction of "
                f"{space.model_id}, or choose another stream or prompt"
            )
        n_layers, _ = streams[space.stream]
        if space.layer != BEST and space.layer >= n_layers:
            raise InputError(
                f"{space.model_id} has {n_layers} {space.stream} layers, from 0: there is no {space.layer}"
            )
    return spaces


def _parsed(model_id: str, prompt: str, stream: str, layer: str) -> Space:
    model_folder(model_id)
    if prompt != NO_PROMPT and not WHOLE_NUMBER.fullmatch(prompt):
        raise InputError(f"--space {model_id} {prompt}: the second word is a prompt's number, or {NO_PROMPT}")
    if layer != BEST and not WHOLE_NUMBER.fullmatch(layer):
        raise InputError(f"--space {model_id} ... {layer}: the last word is a layer's number, or {BEST}")
    number = None if prompt == NO_PROMPT else int(prompt)
    return Space(model_id, number, stream, layer if layer == BEST else int(layer))
