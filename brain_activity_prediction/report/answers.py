"""Collect the models' text answers to a few images, with the images."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image

from brain_activity_prediction.report.source import Source
from brain_activity_prediction.storage.embeddings.batch_files import ImageId
from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore
from brain_activity_prediction.storage.folders import embeddings_folder

N_IMAGES = 6
CANDIDATES = 50  # number of test images that are searched for answers
PIXELS = 256  # side of an image on the page


@dataclass(frozen=True)
class Answered:
    """An image and the models' answers to it, each `(model, prompt, answer)`.

    `picture` is the image as a data URI; None if the dataset is not available.
    """

    image_id: ImageId
    picture: str | None
    answers: list[tuple[str, int, str]]


def sample_answers(source: Source, stores: Sequence[tuple[str, int | None]]) -> list[Answered]:
    """Return the answers to N_IMAGES test images, chosen among those with the most answers.

    stores  (model, prompt) of each extraction
    """
    dataset = source.dataset
    candidates = None if dataset is None else np.sort(dataset.test_images(dataset.subjects()[0]))[:CANDIDATES]
    found: dict[ImageId, list[tuple[str, int, str]]] = {}
    for model, prompt in stores:
        if prompt is not None:
            store = EmbeddingStore(embeddings_folder(source.output, model, prompt))
            for image_id, answer in store.read_answers(candidates).items():
                found.setdefault(image_id, []).append((model, prompt, answer))
    shown = sorted(sorted(found, key=lambda image_id: (-len(found[image_id]), image_id))[:N_IMAGES])
    pictures = dict.fromkeys(shown)
    if dataset is not None and shown:
        with dataset.open_images() as stimuli:
            pictures = dict(zip(shown, map(data_uri, stimuli.images(shown)), strict=True))
    return [Answered(image_id, pictures[image_id], found[image_id]) for image_id in shown]


def data_uri(image: Image.Image) -> str:
    """Encode an image as a data URI for HTML: a JPEG with sides of at most PIXELS."""
    image.thumbnail((PIXELS, PIXELS))
    file = BytesIO()
    image.save(file, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
