"""Recognise pictures by their pixels: refuse changed pictures, and reuse the states of equal ones of other datasets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from brain_activity_prediction.datasets.files.image_files import NamedImages
from brain_activity_prediction.datasets.find import DATASETS, NSD
from brain_activity_prediction.extraction.plan import Work
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.runtime.wording import are, count
from brain_activity_prediction.storage.embeddings.batch_files import ImageId
from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore
from brain_activity_prediction.storage.folders import Output, embeddings_folder
from brain_activity_prediction.storage.settings_file import first_difference

COMPARED = 256  # largest number of pictures that are decoded and compared with the digests in a store
BATCH = 64  # images that are copied together


def check_pictures(work: Work, stimuli: NamedImages) -> None:
    """Raise InputError if a picture has changed since its states were stored; compare at most COMPARED."""
    for store in work.stores.values():
        stored = {image: one for image, one in store.digests().items() if image in work.image_ids}
        known = [image for image in sorted(stored) if stimuli.has(image)]
        chosen = [known[place] for place in np.unique(np.linspace(0, len(known) - 1, COMPARED, dtype=int)) if known]
        changed = [image for image, now in zip(chosen, stimuli.digests(chosen), strict=True) if now != stored[image]]
        if changed:
            raise InputError(
                f"pictures have changed since their states in {store.folder} were computed ({len(changed)} of "
                f"{len(chosen)} compared, first: {changed[0]}): restore them, use another --output, or delete it"
            )


def copy_states(work: Work, stimuli: NamedImages, settings: Mapping[int | None, Mapping]) -> None:
    """Copy missing states from other datasets' results in the same folder, if their pictures have the same pixels.

    settings  settings of each prompt's states in this run; states made with other settings are not copied
    """
    own = settings.keys()
    left = np.unique(np.concatenate([*work.lacking().values(), work.image_ids[:0]]))
    sources = {prompt: list(_sources(work, prompt, settings[prompt])) for prompt in own}
    if not left.size or not any(sources.values()):
        return
    digests = dict(zip(left.tolist(), stimuli.digests(left.tolist()), strict=True))
    for prompt, stores in sources.items():
        for source in stores:
            target, streams = work.stores[prompt], work.streams[prompt]
            wanted = np.setdiff1d(left, target.image_ids(streams)).tolist()
            there = set(source.image_ids(streams).tolist())
            by_digest = {digest: image for image, digest in source.digests().items() if image in there}
            same = {image: by_digest[digests[image]] for image in wanted if digests[image] in by_digest}
            if same:
                _copy(source, target, streams, same, digests)
                n = count(len(same), "image")
                log.info(f"{n} {are(len(same))} the same pictures as in {source.folder}: their states are copied")


def _sources(work: Work, prompt: int | None, settings: Mapping) -> Iterator[EmbeddingStore]:
    """Yield the stores of other datasets that have all streams of the prompt, made with the same settings."""
    place, model_id = work.settings.output, work.settings.model_id
    others = [Output(place.folder, None if name == NSD else name) for name in DATASETS]
    folders = dict.fromkeys(embeddings_folder(other, model_id, prompt) for other in others)
    for store in map(EmbeddingStore, folders.keys() - {work.stores[prompt].folder}):
        made_with = store.settings()
        alike = made_with is not None and first_difference(made_with, settings) is None
        if alike and store.streams().keys() >= set(work.streams[prompt]):
            yield store


def _copy(
    source: EmbeddingStore,
    target: EmbeddingStore,
    streams: list[str],
    same: Mapping[ImageId, ImageId],
    digests: Mapping[ImageId, str],
) -> None:
    """Copy states and answers in batches; `same` maps each image's id to its id in the source."""
    images, shapes = list(same), source.streams()
    for start in range(0, len(images), BATCH):
        part = images[start : start + BATCH]
        of_source = [same[image] for image in part]
        states = {
            stream: np.stack(
                [source.read_layer(stream, layer, of_source) for layer in range(shapes[stream][0])], axis=1
            )
            for stream in streams
        }
        answers = source.read_answers(of_source)
        texts = [answers[image] for image in of_source] if answers.keys() >= set(of_source) else None
        target.write(part, states, texts, [digests[image] for image in part])
