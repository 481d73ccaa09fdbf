"""Select the layers of hidden states to align; errors list the available ones."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from brain_activity_prediction.cli.model_names import near_models
from brain_activity_prediction.extraction.prompt_selection import select_prompts
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.runtime.wording import count, did_you_mean
from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore
from brain_activity_prediction.storage.folders import embeddings_folder, prompt_folder


@dataclass(frozen=True)
class Layer:
    """One layer of one stream; `prompt` is None for streams that no prompt changes."""

    store: EmbeddingStore
    prompt: int | None
    stream: str
    number: int
    of: int  # how many layers the stream has

    @property
    def position(self) -> float:
        """Depth, from 0, what enters the first layer, to 1, the last layer."""
        return self.number / max(self.of - 1, 1)

    def name(self) -> str:
        """What tells it from the other layers of its model, in claims."""
        return f"{prompt_folder(self.prompt)}_{self.stream}_{self.number:02d}"


def open_layers(arguments: argparse.Namespace) -> list[Layer]:
    """The layers that --model-id, --prompt-number, --stream and --layer-number ask for, a stream's own together.

    Raises InputError where there are no states of one of these.
    """
    stores = _open_stores(arguments)
    _check_choices(stores, arguments)
    return [
        Layer(store, prompt, stream, number, n_layers)
        for prompt, store in stores.items()
        for stream, (n_layers, _) in store.streams().items()
        if arguments.stream is None or stream in arguments.stream
        for number in range(n_layers)
        if arguments.layer_number is None or number in arguments.layer_number
    ]


def by_stream(layers: Sequence[Layer]) -> dict[tuple[int | None, str], list[Layer]]:
    """`{(prompt, stream): its layers}`."""
    streams: dict[tuple[int | None, str], list[Layer]] = {}
    for layer in layers:
        streams.setdefault((layer.prompt, layer.stream), []).append(layer)
    return streams


def _open_stores(arguments: argparse.Namespace) -> dict[int | None, EmbeddingStore]:
    """The stores that hold states of the model: under no prompt, None, and under each prompt asked for."""
    prompts = select_prompts(arguments.prompt_number, arguments.prompts_file)
    stores = {
        prompt: EmbeddingStore(embeddings_folder(arguments.base_dir, arguments.model_id, prompt))
        for prompt in (None, *prompts)
    }
    found = {prompt: store for prompt, store in stores.items() if store.streams()}
    if not found:
        raise InputError(
            f"no hidden states of {arguments.model_id} in {arguments.base_dir / 'image_embeddings'}: "
            f"{_what_to_do_about(arguments.model_id, arguments.base_dir)}"
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
    if arguments.prompt_number and set(found) == {None} and not takes_prompts:
        log.warning(f"{arguments.model_id} has no prompt: -p is ignored")
    if takes_prompts:
        _check_every_prompt({prompt: stores[prompt] for prompt in prompts}, found, arguments)
    return found


def _check_every_prompt(
    of_prompts: dict[int, EmbeddingStore], found: dict[int | None, EmbeddingStore], arguments: argparse.Namespace
) -> None:
    """Raises InputError where a prompt lacks a stream of --stream that another prompt has."""
    depending = set().union(*(store.streams() for store in of_prompts.values()))
    if None in found:
        depending -= set(found[None].streams())
    for prompt, store in of_prompts.items():
        if lacking := depending.intersection(arguments.stream or ()) - set(store.streams()):
            raise InputError(
                f"no {min(lacking)} states of {arguments.model_id} under prompt {prompt}: run its extraction script "
                f"with -p {prompt} first, or leave it out of -p"
            )


def _check_choices(stores: dict[int | None, EmbeddingStore], arguments: argparse.Namespace) -> None:
    """Raises InputError where --stream or --layer-number names one that none of the stores has."""
    n_layers: dict[str, int] = {}
    for store in stores.values():
        n_layers |= {stream: layers for stream, (layers, _) in store.streams().items()}
    for stream in arguments.stream or ():
        if stream not in n_layers:
            meant = did_you_mean(stream, n_layers)
            raise InputError(
                f"{arguments.model_id} has no stream {stream}{meant}: there are {', '.join(sorted(n_layers))}"
            )
    chosen = {stream: n for stream, n in sorted(n_layers.items()) if stream in (arguments.stream or n_layers)}
    for number in arguments.layer_number or ():
        if not any(0 <= number < n for n in chosen.values()):
            there = ", ".join(f"{stream} has 0 to {n - 1}" for stream, n in chosen.items())
            raise InputError(f"{arguments.model_id} has no layer {number}: {there}")


def _what_to_do_about(model_id: str, base_dir: Path) -> str:
    """What a model without states is answered with: the id that was probably meant, or to extract it."""
    folders = {folder.name for folder in base_dir.glob("image_embeddings/*prompt*/*") if folder.is_dir()}
    ids = sorted(name.replace("_", "/", 1) for name in folders)  # few organisations have an underscore in their names
    meant = near_models(model_id, ids)
    return f"did you mean {' or '.join(meant)}?" if meant else "run its extraction script first"


def check_complete(store: EmbeddingStore, stream: str, needed: np.ndarray) -> None:
    """Raises InputError where one of the images has no states of a stream."""
    missing = np.setdiff1d(needed, store.image_ids([stream]))
    if missing.size:
        raise InputError(
            f"no {stream} states for {missing.size:,} of {count(needed.size, 'image')} in {store.folder} "
            f"(first: image {missing[0]}): run the extraction again, it continues where it was"
        )
