"""What an extraction run has to do: which images lack which streams, in batches."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from brain_activity_prediction import arguments as shared
from brain_activity_prediction.embedding_store import EmbeddingStore
from brain_activity_prediction.errors import InputError
from brain_activity_prediction.extract_image_embeddings import pooling
from brain_activity_prediction.extract_image_embeddings.checkpoint import Checkpoint
from brain_activity_prediction.extract_image_embeddings.prompts import chosen_prompts


@dataclass(frozen=True)
class Batch:
    """Images to compute together, and the prompts (None: the image's own streams) that they lack."""

    image_ids: list[int]
    prompts: tuple[int | None, ...]


@dataclass(frozen=True)
class Work:
    model_id: str  # that the states go under
    prompts: dict[int, str]
    streams: dict[int | None, list[str]]  # what is stored under each prompt, and under none
    stores: dict[int | None, EmbeddingStore]
    batches: list[Batch]
    n_images: int

    @property
    def n_left(self) -> int:
        return sum(len(batch.image_ids) for batch in self.batches)

    def summary(self) -> str:
        under = f"prompt {', '.join(map(str, self.prompts))}" if any(self.streams.keys() - {None}) else "no prompt"
        done = self.n_images - self.n_left
        return f"{self.n_images} images, {under}: {done} images were done before, {self.n_left} are left"


def plan(script, arguments: argparse.Namespace, image_ids: Sequence[int]) -> Work:
    """Compares what is asked for with what the stores hold; a shard is every Nth of the images by id."""
    first, step = arguments.shard
    image_ids = sorted(int(image_id) for image_id in image_ids)[first::step]
    prompts = chosen_prompts(arguments)
    streams = wanted_streams(script, prompts, arguments.pooling, arguments.response)
    model_id = shared.stored_id(script.MODEL_ID, arguments.random_weights)
    stores = {
        prompt: EmbeddingStore(shared.embeddings_folder(arguments.base_dir, model_id, prompt)) for prompt in streams
    }
    if arguments.repair:
        for store in stores.values():
            repair(store)
    done = {prompt: set(store.image_ids(streams[prompt]).tolist()) for prompt, store in stores.items()}
    alike: dict[tuple, list[int]] = {}  # images that lack the same prompts share their batches
    for image_id in image_ids:
        if lacking := tuple(prompt for prompt in streams if image_id not in done[prompt]):
            alike.setdefault(lacking, []).append(image_id)
    size = arguments.batch_size
    batches = [
        Batch(ids[start : start + size], lacking)
        for lacking, ids in alike.items()
        for start in range(0, len(ids), size)
    ]
    return Work(model_id, prompts, streams, stores, batches, len(image_ids))


def repair(store: EmbeddingStore) -> None:
    """Deletes what is damaged, so that it is computed anew, and says on stderr what it was."""
    damaged = store.repair()
    named = f": {', '.join(damaged[:3])}{', ...' if damaged[3:] else ''}" if damaged else ""
    print(f"{store.folder}: {len(damaged)} damaged files{named}", file=sys.stderr, flush=True)


def wanted_streams(
    script, prompts: Iterable[int], poolings: Sequence[str], response: bool
) -> dict[int | None, list[str]]:
    """Names of the streams to be stored under each prompt and, under None, of those that no prompt changes."""

    def names(available: dict[str, tuple[str, ...]]) -> list[str]:
        return [
            pooling.stream_name(stream, name)
            for stream, possible in available.items()
            for name in possible
            if (response if stream == "response" else name in poolings)
        ]

    of_prompts = getattr(script, "PROMPT_STREAMS", {})
    if response and "response" not in of_prompts:
        raise InputError(f"{script.MODEL_ID} gives no answers: leave out --response")
    possible = {
        name for available in (script.IMAGE_STREAMS, of_prompts) for names in available.values() for name in names
    }
    for name in poolings:
        if name not in possible:
            raise InputError(f"{script.MODEL_ID} has no {name} pooling; it has {', '.join(sorted(possible))}")
    wanted = {None: names(script.IMAGE_STREAMS)} | dict.fromkeys(prompts, names(of_prompts))
    return {prompt: streams for prompt, streams in wanted.items() if streams}


def settings_of(script, arguments, checkpoint: Checkpoint, stimuli: dict, prompt: str | None) -> dict:
    """What changes the numbers, recorded beside them; batch size, device and thread count never do."""
    settings = {
        "model_id": shared.stored_id(script.MODEL_ID, arguments.random_weights),
        "weights": checkpoint.identity(),
        "dtype": shared.dtype_name(arguments),
        "quantize": arguments.quantize,
        **stimuli,
        "template": getattr(script, "TEMPLATE", None),
    }
    if prompt is not None:
        settings["prompt"] = prompt
        if arguments.response:
            settings["max_new_tokens"] = arguments.max_new_tokens
    return settings
