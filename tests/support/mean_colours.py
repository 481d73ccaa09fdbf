"""A model script with simple states, and the expected results of an extraction with it."""

from types import SimpleNamespace

import h5py
import numpy as np
import torch

from brain_activity_prediction.cli import extraction_command
from brain_activity_prediction.datasets.nsd.design import read_design
from brain_activity_prediction.datasets.nsd.nsd import find_nsd
from brain_activity_prediction.extract_image_embeddings.prompts import PROMPTS
from brain_activity_prediction.extraction import loop
from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore

MODEL = "test/mean-colours"


def colours(calls=None):
    """A model script whose states are mean colours, scaled by layer and by prompt number."""
    numbers = {text: number for number, text in PROMPTS.items()}

    def encode_images(model, processor, pixels, poolings):
        if calls is not None:
            calls.append(len(pixels))
        states = torch.stack([pixels * (layer + 1) for layer in range(3)], dim=1)
        return {"vision": states}, states

    def encode_prompt(model, processor, states, prompt, poolings, max_new_tokens):
        answers = [f"answer to {numbers[prompt]}"] * len(states) if max_new_tokens else []
        streams = {"language": states * 10 * numbers[prompt]} | ({"response": states} if max_new_tokens else {})
        return streams, answers

    return SimpleNamespace(
        __doc__="Mean colours.",
        MODEL_ID=MODEL,
        REVISION=None,
        TEMPLATE="{prompt}",
        IMAGE_STREAMS={"vision": ("mean",)},
        PROMPT_STREAMS={"language": ("mean",), "response": ("mean",)},
        load=lambda checkpoint, device, dtype: (None, None),
        preprocess=lambda processor, images: torch.tensor(
            np.stack([np.asarray(image).mean(axis=(0, 1)) for image in images])
        ),
        encode_images=encode_images,
        encode_prompt=encode_prompt,
    )


def extract(script, base_dir, *more):
    arguments = extraction_command.flags("").parse_args(["-d", str(base_dir), "-g", "cpu", *map(str, more)])
    loop.extract(script, extraction_command.settings(script, arguments))


def store(base_dir, prompt):
    return EmbeddingStore(base_dir / "image_embeddings" / prompt / MODEL.replace("/", "_"))


def expected(base_dir, subject=1):
    """Return the NSD ids of a subject, ascending, and their mean colours (n, 3)."""
    layout = find_nsd(base_dir)
    ids = np.sort(read_design(layout.design()).image_ids(subject))
    with h5py.File(layout.stimuli()) as file:
        return ids, np.stack([file["imgBrick"][i - 1].mean(axis=(0, 1)) for i in ids])


def assert_all_there(base_dir, prompts):
    """Check that the states of these prompts are stored for every image of subject 1."""
    ids, mean_colours = expected(base_dir)
    for number in prompts:
        found = store(base_dir, f"prompt_{number}").read_layer("language", 1, ids)
        np.testing.assert_allclose(found, mean_colours * 20 * number, rtol=1e-6)
