"""Select the layers of hidden states to align; error messages list the available layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.runtime.wording import did_you_mean, near_models
from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore
from brain_activity_prediction.storage.folders import Output, embeddings_folder, part_of, prompt_folder

Stores = dict[int | None, EmbeddingStore]  # by prompt; None for streams that do not depend on a prompt


@dataclass(frozen=True)
class LayerSelection:
    """The user's selection of layers of one model."""

    model_id: str
    prompts: Mapping[int, str]  # {number: text}
    with_p: bool  # True if the user gave -p; False if the prompts are the default
    streams: Sequence[str] | None  # None for all
    numbers: Sequence[int] | None  # from 0, None for all


@dataclass(frozen=True)
class Layer:
    """One layer of one stream; `prompt` is None for streams that do not depend on a prompt."""

    store: EmbeddingStore
    prompt: int | None
    stream: str
    number: int
    n_layers: int  # of the stream

    @property
    def position(self) -> float:
        """Relative depth of the layer: 0 is the input of the first layer, 1 the output of the last."""
        return self.number / max(self.n_layers - 1, 1)

    def name(self) -> str:
        """Name by which a process claims the layer for itself; it is unique within the model."""
        return f"{prompt_folder(self.prompt)}_{self.stream}_{self.number:02d}"


def open_layers(output: Output, selection: LayerSelection) -> list[Layer]:
    """Return the selected layers, grouped by stream.

    Raises InputError if hidden states of a selected prompt, stream or layer are missing.
    """
    stores = _open_stores(output, selection)
    _check_choices(stores, selection)
    return [
        Layer(store, prompt, stream, number, n_layers)
        for prompt, store in stores.items()
        for stream, (n_layers, _) in store.streams().items()
        if selection.streams is None or stream in selection.streams
        for number in range(n_layers)
        if selection.numbers is None or number in selection.numbers
    ]


def by_stream(layers: Sequence[Layer]) -> dict[tuple[int | None, str], list[Layer]]:
    """Group layers by stream: `{(prompt, stream): layers}`."""
    streams: dict[tuple[int | None, str], list[Layer]] = {}
    for layer in layers:
        streams.setdefault((layer.prompt, layer.stream), []).append(layer)
    return streams


def check_complete(layers: Sequence[Layer], image_ids: np.ndarray) -> None:
    """Raise InputError if a stream of the layers lacks the hidden states of an image."""
    for (_, stream), of_stream in by_stream(layers).items():
        of_stream[0].store.check_images(stream, image_ids)


def _open_stores(output: Output, selection: LayerSelection) -> Stores:
    """Open the model's stores of hidden states: the one that depends on no prompt, and one for each selected prompt."""
    model_id, prompts = selection.model_id, selection.prompts
    stores = {prompt: EmbeddingStore(embeddings_folder(output, model_id, prompt)) for prompt in (None, *prompts)}
    found = {prompt: store for prompt, store in stores.items() if store.streams()}
    if not found:
        raise InputError(
            f"no hidden states of {model_id} in {part_of(output, 'image_embeddings')}: {_remedy(model_id, output)}"
        )
    for prompt, text in prompts.items():
        wording = (stores[prompt].settings() or {}).get("prompt", text)
        if wording != text:
            raise InputError(
                f"hidden states of prompt {prompt} were computed with the text {wording!r}, not with {text!r}: "
                "use the same --prompts-file as for the extraction"
            )
    missing = [prompt for prompt in prompts if prompt not in found]
    takes_prompts = any((store.settings() or {}).get("template") for store in found.values())
    if missing and takes_prompts and selection.streams is None:
        raise InputError(
            f"no hidden states of {model_id} under prompt {missing[0]}: run its extraction script with "
            f"-p {missing[0]} first, or use --stream to select streams that do not depend on a prompt"
        )
    if selection.with_p and set(found) == {None} and not takes_prompts:
        log.warning(f"{model_id} has no prompt: -p is ignored")
    if takes_prompts:
        _check_every_prompt(stores, selection)
    return found


def _check_every_prompt(stores: Stores, selection: LayerSelection) -> None:
    """Raise InputError if a prompt lacks a selected stream that another prompt has."""
    with_prompt = {prompt: set(stores[prompt].streams()) for prompt in selection.prompts}
    depending = set().union(*with_prompt.values()) - set(stores[None].streams())
    for prompt, streams in with_prompt.items():
        if lacking := depending.intersection(selection.streams or ()) - streams:
            raise InputError(
                f"no {min(lacking)} states of {selection.model_id} under prompt {prompt}: run its extraction script "
                f"with -p {prompt} first, or leave it out of -p"
            )


def _check_choices(stores: Stores, selection: LayerSelection) -> None:
    """Raise InputError if a selected stream or layer is in none of the stores."""
    n_layers: dict[str, int] = {}
    for store in stores.values():
        n_layers |= {stream: layers for stream, (layers, _) in store.streams().items()}
    for stream in selection.streams or ():
        if stream not in n_layers:
            near, available = did_you_mean(stream, n_layers), ", ".join(sorted(n_layers))
            raise InputError(f"{selection.model_id} has no stream {stream}{near}; available: {available}")
    chosen = {stream: n for stream, n in sorted(n_layers.items()) if stream in (selection.streams or n_layers)}
    for number in selection.numbers or ():
        if not any(0 <= number < n for n in chosen.values()):
            available = ", ".join(f"{stream} has 0 to {n - 1}" for stream, n in chosen.items())
            raise InputError(f"{selection.model_id} has no layer {number}: {available}")


def _remedy(model_id: str, output: Output) -> str:
    """Suggest similar ids of models with hidden states, or else the extraction."""
    folders = {folder.name for folder in part_of(output, "image_embeddings").glob("*prompt*/*") if folder.is_dir()}
    ids = sorted(name.replace("_", "/", 1) for name in folders)  # few organisations have an underscore in their names
    near = near_models(model_id, ids)
    if near:
        return f"did you mean {' or '.join(near)}?"
    return "run its extraction script first, or link the image_embeddings of another --output there"


@dataclass(frozen=True)
class Stream:
    """Stream of a model; `prompt` is None for streams that do not depend on a prompt."""

    model_id: str
    prompt: int | None
    stream: str

    def __str__(self) -> str:
        prompt = "" if self.prompt is None else f" prompt {self.prompt}"
        return f"{self.model_id}{prompt} {self.stream}"
