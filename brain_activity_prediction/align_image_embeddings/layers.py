"""Which layers of which stores of hidden states an alignment is of, checked before anything is fitted."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np

from brain_activity_prediction.align_image_embeddings.choices import what_to_do_about
from brain_activity_prediction.embedding_store import EmbeddingStore
from brain_activity_prediction.errors import InputError
from brain_activity_prediction.extract_image_embeddings.prompts import chosen_prompts
from brain_activity_prediction.folders import embeddings_folder, prompt_folder

Stores = dict[int | None, EmbeddingStore]  # by prompt; None for the streams that no prompt changes


@dataclass(frozen=True)
class Layer:
    """One layer of one stream, to be fitted."""

    prompt: int | None
    stream: str
    number: int
    of: int  # how many layers the stream has

    @property
    def position(self) -> float:
        """Depth, from 0, what enters the first layer, to 1, the last layer."""
        return self.number / max(self.of - 1, 1)

    def name(self) -> str:
        return f"{prompt_folder(self.prompt)}_{self.stream}_{self.number:02d}"


def open_stores(arguments: argparse.Namespace) -> Stores:
    """The stores that hold states of the model: under no prompt, and under each prompt asked for."""
    prompts = chosen_prompts(arguments)
    stores = {
        prompt: EmbeddingStore(embeddings_folder(arguments.base_dir, arguments.model_id, prompt))
        for prompt in (None, *prompts)
    }
    found = {prompt: store for prompt, store in stores.items() if store.streams()}
    if not found:
        raise InputError(
            f"no hidden states of {arguments.model_id} in {arguments.base_dir / 'image_embeddings'}: "
            f"{what_to_do_about(arguments.model_id, arguments.base_dir)}"
        )
    for prompt, text in prompts.items():
        wording = (stores[prompt].settings() or {}).get("prompt", text)
        if wording != text:
            raise InputError(
                f"the states under prompt {prompt} were made with {wording!r}, not with {text!r}: "
                "give the same --prompts-file"
            )
    missing = [prompt for prompt in stores if prompt is not None and prompt not in found]
    takes_prompts = any((store.settings() or {}).get("template") for store in found.values())
    if missing and takes_prompts and arguments.stream is None:
        raise InputError(
            f"no hidden states of {arguments.model_id} under prompt {missing[0]}: run its extraction script with "
            f"-p {missing[0]} first, or choose streams that no prompt changes with --stream"
        )
    return found


def layers_of(store: EmbeddingStore, prompt: int | None, arguments: argparse.Namespace) -> list[Layer]:
    """The layers to fit of every stream in a store, by -l and --stream."""
    return [
        Layer(prompt, stream, number, n_layers)
        for stream, (n_layers, _) in store.streams().items()
        if arguments.stream is None or stream in arguments.stream
        for number in range(n_layers)
        if arguments.layer_number is None or number in arguments.layer_number
    ]


def check_complete(store: EmbeddingStore, stream: str, needed: np.ndarray) -> None:
    """Raises InputError where one of the images has no states of a stream."""
    missing = np.setdiff1d(needed, store.image_ids([stream]))
    if missing.size:
        raise InputError(
            f"{missing.size} of {needed.size} images have no {stream} states in {store.folder}, first {missing[0]}: "
            "run the extraction again, it continues where it was"
        )
