"""What an extraction run has to do: which images lack which streams, in batches."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path

import numpy as np

from brain_activity_prediction.cli import shared_flags as shared
from brain_activity_prediction.extract_image_embeddings.prompts import chosen_prompts
from brain_activity_prediction.models import pooling
from brain_activity_prediction.runtime.claims import Claims, remove_left_claims, shared_out
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.runtime.wording import are, count, were
from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore
from brain_activity_prediction.storage.files import remove_left_behind
from brain_activity_prediction.storage.folders import claims_folder, embeddings_folder, stored_id


@dataclass(frozen=True)
class Batch:
    """Images to compute together, and the prompts (None: the image's own streams) that they lack."""

    image_ids: list[int]
    prompts: tuple[int | None, ...]


@dataclass(frozen=True)
class Work:
    """What is asked for, and what of it is left."""

    model_id: str  # that the states go under
    prompts: dict[int, str]
    streams: dict[int | None, list[str]]  # what is stored under each prompt, and under none
    stores: dict[int | None, EmbeddingStore]
    image_ids: np.ndarray  # (n,) ascending
    batch_size: int
    folder: Path  # that all states lie in
    claims_folder: Path

    def lacking(self) -> dict[tuple[int | None, ...], np.ndarray]:
        """Looks at the stores: the images that are left, by the prompts that they lack."""
        done = [np.isin(self.image_ids, store.image_ids(self.streams[p])) for p, store in self.stores.items()]
        lacks, kind_of, first = ~np.array(done), np.zeros(len(self.image_ids), int), []
        for lack in lacks:  # prompt by prompt, since comparing whole columns takes far longer
            _, first, kind_of = np.unique(2 * kind_of + lack, return_index=True, return_inverse=True)
        by_prompts = {
            tuple(compress(self.stores, lacks[:, one])): self.image_ids[kind_of == number]
            for number, one in enumerate(first)
            if lacks[:, one].any()
        }
        return dict(sorted(by_prompts.items(), key=lambda kind: kind[1][0]))

    def n_left(self) -> int:
        return sum(map(len, self.lacking().values()))

    def known_bytes(self, left: Mapping[tuple, Sequence[int]], bytes_a_number: int) -> int:
        """What the images left take on the disk; 0 for streams of which nothing is stored that tells their shapes."""
        known = {prompt: store.streams() for prompt, store in self.stores.items()}
        numbers = {
            prompt: sum(math.prod(known[prompt].get(stream, (0,))) for stream in streams)
            for prompt, streams in self.streams.items()
        }
        return bytes_a_number * sum(
            len(image_ids) * sum(numbers[prompt] for prompt in prompts) for prompts, image_ids in left.items()
        )

    def batches(self) -> list[Batch]:
        """All that is left, as one process alone goes through it; images that lack the same share their batches."""
        size = self.batch_size
        return [
            Batch(ids[start : start + size].tolist(), prompts)
            for prompts, ids in self.lacking().items()
            for start in range(0, len(ids), size)
        ]

    def claimed(self, claims: Claims) -> Iterator[Batch]:
        """Batches of what is left and no other process is at work on; empty ones while all is in others' hands."""
        for image_ids, prompts in shared_out(claims, self.lacking, self.batch_size, "{:05d}".format):
            yield Batch(list(map(int, image_ids)), prompts)

    def finished(self, claims: Claims, batch: Batch) -> None:
        claims.finished([f"{image_id:05d}" for image_id in batch.image_ids])

    def check_complete(self) -> None:
        """Raises InputError where states that were stored before or by this run are not there any more."""
        if n_left := self.n_left():
            raise InputError(
                f"{n_left} of {len(self.image_ids)} images lack states in {self.folder}, which were removed while this "
                "ran: start the same command again"
            )

    def tidy(self) -> None:
        """Removes what runs left that were killed: after their last batch, or since this one began."""
        remove_left_claims(self.claims_folder)
        for store in self.stores.values():
            remove_left_behind(store.folder)

    def summary(self) -> str:
        numbers = ", ".join(map(str, self.prompts))
        several = "s" if len(self.prompts) > 1 else ""
        under = f"prompt{several} {numbers}" if any(self.streams.keys() - {None}) else "no prompt"
        n, left = len(self.image_ids), self.n_left()
        done = f"{count(n - left, 'image')} {were(n - left)} done before"
        return f"{count(n, 'image')}, {under}: {done}, {left:,} {are(left)} left"


def plan(script, arguments: argparse.Namespace, image_ids: Sequence[int]) -> Work:
    """Compares what is asked for with what the stores hold; a shard is every Nth of the images by id."""
    first, step = arguments.shard
    prompts = chosen_prompts(arguments)
    streams = wanted_streams(script, prompts, arguments.pooling, arguments.response)
    model_id = stored_id(script.MODEL_ID, arguments.random_weights)
    stores = {prompt: EmbeddingStore(embeddings_folder(arguments.base_dir, model_id, prompt)) for prompt in streams}
    if arguments.repair:
        for store in stores.values():
            repair(store)
    return Work(
        model_id,
        prompts,
        streams,
        stores,
        np.unique(image_ids)[first::step],
        arguments.batch_size,
        arguments.base_dir / "image_embeddings",
        claims_folder(arguments.base_dir, model_id),
    )


def images_left(n: int) -> str:
    """`the 40 images that are left`."""
    return f"the {count(n, 'image')} that {are(n)} left"


def repair(store: EmbeddingStore) -> None:
    """Deletes what is damaged, so that it is computed anew, and says on stderr what it was."""
    damaged = store.repair()
    named = f": {', '.join(damaged[:3])}{', ...' if damaged[3:] else ''}" if damaged else ""
    log.info(f"{store.folder}: {count(len(damaged), 'damaged file')}{named}")


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


def check_dtype(store: EmbeddingStore, arguments: argparse.Namespace) -> None:
    """Raises InputError where stored states have another dtype than the device gives, and no --dtype was given."""
    known, own = (store.settings() or {}).get("dtype"), shared.dtype_name(arguments)
    if arguments.dtype == "auto" and known not in (None, own):
        asked, other = ("-g cpu", "a GPU") if arguments.gpu_id == "cpu" else ("a GPU", "-g cpu")
        raise InputError(
            f"{store.folder} holds states made with dtype = {known}, this run has {own} because {asked} was asked for: "
            f"add --dtype {known}, or ask for {other}"
        )


def settings_of(script, arguments, weights: Mapping, stimuli: Mapping, prompt: str | None) -> dict:
    """What changes the numbers, recorded beside them; batch size, device and thread count never do.

    `weights` are those of `Checkpoint.recorded_weights`, `stimuli` those of what the model is given.
    """
    settings = {
        "model_id": stored_id(script.MODEL_ID, arguments.random_weights),
        **weights,
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
