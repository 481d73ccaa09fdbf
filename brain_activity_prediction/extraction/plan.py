"""Plan an extraction run: find the images that lack hidden states of a stream, and group them in batches."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path

import numpy as np

from brain_activity_prediction.extraction.settings import ExtractionSettings
from brain_activity_prediction.models.pooling import stream_name
from brain_activity_prediction.runtime.claims import Claims
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.shared_work import shared_out
from brain_activity_prediction.runtime.wording import are, count, prompt_name, were
from brain_activity_prediction.storage.embeddings.batch_files import ImageId, claim_name
from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore
from brain_activity_prediction.storage.folders import claims_folder, embeddings_folder, part_of


@dataclass(frozen=True)
class Batch:
    """Images to compute together, and the prompts whose hidden states they lack."""

    image_ids: list[ImageId]
    prompts: tuple[int | None, ...]


@dataclass(frozen=True)
class Work:
    """The streams and images of a run, and methods that find what is left to compute. No method changes a file.

    streams  names of the streams of each prompt; under None, those that do not depend on a prompt
    stores  store of each prompt, in the same order
    image_ids  (n,) ascending
    """

    settings: ExtractionSettings
    streams: dict[int | None, list[str]]
    stores: dict[int | None, EmbeddingStore]
    image_ids: np.ndarray

    @property
    def folder(self) -> Path:
        """The folder of all hidden states, of this and other models."""
        return part_of(self.settings.output, "image_embeddings")

    @property
    def claims_folder(self) -> Path:
        return claims_folder(self.settings.output, self.settings.model_id)

    def lacking(self) -> dict[tuple[int | None, ...], np.ndarray]:
        """Return the ids of the images with missing hidden states, grouped by the prompts that they lack.

        The stores are read again at each call.
        """
        done = [np.isin(self.image_ids, store.image_ids(self.streams[p])) for p, store in self.stores.items()]
        lacks, kind_of, first = ~np.array(done), np.zeros(len(self.image_ids), int), []
        for lack in lacks:  # one prompt at a time, because comparing whole columns is much slower
            _, first, kind_of = np.unique(2 * kind_of + lack, return_index=True, return_inverse=True)
        by_prompts = {
            tuple(compress(self.stores, lacks[:, one])): self.image_ids[kind_of == number]
            for number, one in enumerate(first)
            if lacks[:, one].any()
        }
        return dict(sorted(by_prompts.items(), key=lambda kind: kind[1][0]))

    def n_left(self) -> int:
        """Return the number of images that lack the hidden states of any stream."""
        return sum(map(len, self.lacking().values()))

    def known_bytes(self, left: Mapping[tuple, Sequence[int]], bytes_per_number: int) -> int:
        """Return the bytes on disk that the missing hidden states will take; streams of unknown shape count as 0."""
        known = {prompt: store.streams() for prompt, store in self.stores.items()}
        numbers = {
            prompt: sum(math.prod(known[prompt].get(stream, (0,))) for stream in streams)
            for prompt, streams in self.streams.items()
        }
        return bytes_per_number * sum(
            len(image_ids) * sum(numbers[prompt] for prompt in prompts) for prompts, image_ids in left.items()
        )

    def batches(self) -> list[Batch]:
        """Return the batches that are left for a single process; the images of a batch lack the same prompts."""
        size = self.settings.batch_size
        return [
            Batch(ids[start : start + size].tolist(), prompts)
            for prompts, ids in self.lacking().items()
            for start in range(0, len(ids), size)
        ]

    def claimed(self, claims: Claims) -> Iterator[Batch]:
        """Yield batches of images that no other process works on, and empty batches while all others are claimed."""
        for image_ids, prompts in shared_out(claims, self.lacking, self.settings.batch_size, claim_name):
            yield Batch(np.asarray(image_ids).tolist(), prompts)

    def check_complete(self) -> None:
        """Raise InputError if states are missing at the end of a run, because their files were removed during it."""
        if n_left := self.n_left():
            raise InputError(
                f"{n_left} of {len(self.image_ids)} images lack states in {self.folder}, because files were removed "
                "during the run: repeat the command"
            )

    def summary(self) -> str:
        """Describe the work: `40 images, prompts 1, 2: 12 images were done before, 28 are left`."""
        prompts = self.settings.prompts
        under = prompt_name(None)
        if self.streams.keys() - {None}:
            under = f"prompt{'s' if len(prompts) > 1 else ''} {', '.join(map(str, prompts))}"
        n, left = len(self.image_ids), self.n_left()
        done = f"{count(n - left, 'image')} {were(n - left)} done before"
        return f"{count(n, 'image')}, {under}: {done}, {left:,} {are(left)} left"


def plan(script, settings: ExtractionSettings, image_ids: Sequence[ImageId] | np.ndarray) -> Work:
    """Return the work of a run on these images, or on its shard of them, which is every Nth image by id."""
    first, step = settings.shard
    streams = wanted_streams(script, settings)
    folders = {prompt: embeddings_folder(settings.output, settings.model_id, prompt) for prompt in streams}
    stores = {prompt: EmbeddingStore(folder) for prompt, folder in folders.items()}
    return Work(settings, streams, stores, np.unique(image_ids)[first::step])


def images_left(n: int) -> str:
    """Return `the 40 images that are left`."""
    return f"the {count(n, 'image')} that {are(n)} left"


def is_of_answer(stream: str) -> bool:
    """Return whether a stream covers the model's answer: `response`, `response_attention`, ..."""
    return stream.partition("_")[0] == "response"


def wanted_streams(script, settings: ExtractionSettings) -> dict[int | None, list[str]]:
    """Return the names of the streams to store for each prompt; under None, streams that do not depend on a prompt."""
    model_id, answers = settings.checkpoint.model_id, settings.max_new_tokens > 0

    def names(available: Mapping[str, Iterable[str]]) -> list[str]:
        return [
            stream_name(stream, pooling)
            for stream, possible in available.items()
            for pooling in possible
            if (answers if is_of_answer(stream) else pooling is None or pooling in settings.poolings)
        ]

    prompt_streams = getattr(script, "PROMPT_STREAMS", {})
    if answers and not any(map(is_of_answer, prompt_streams)):
        raise InputError(f"{model_id} gives no answers: leave out --response")
    possible = {
        pooling
        for available in (script.IMAGE_STREAMS, prompt_streams)
        for kept in available.values()
        for pooling in kept
        if pooling is not None
    }
    for pooling in settings.poolings:
        if pooling not in possible:
            raise InputError(f"{model_id} has no {pooling} pooling; it has {', '.join(sorted(possible))}")
    wanted = {None: names(script.IMAGE_STREAMS)} | dict.fromkeys(settings.prompts, names(prompt_streams))
    return {prompt: streams for prompt, streams in wanted.items() if streams}
