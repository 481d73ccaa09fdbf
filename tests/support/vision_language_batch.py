"""Three pictures of two shapes, read in one batch by the generic vision-language script, under two prompts."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import vision_language_reference as reference
from PIL import Image

from brain_activity_prediction.models.checkpoints.checkpoint import Checkpoint
from brain_activity_prediction.models.vision_language import model_script

SIZES = ((425, 425), (425, 425), (300, 500))  # width and height: two pictures of NSD's size, and one of another shape
PROMPTS = ("What is in this picture?", "Describe the image.")


@dataclass
class Batch:
    """The results: streams of the images, and `{prompt: (streams, answers)}`."""

    script: Any
    network: Any
    reader: Any
    images: list
    streams: dict
    results: dict

    def each(self, answered=True):
        """Yield the prompt, streams, answer and transformers' inputs for each image and prompt."""
        for prompt, (more, answers) in self.results.items():
            for row in range(len(self.images)):
                streams = {name: states[row] for name, states in {**self.streams, **more}.items()}
                yield prompt, streams, answers[row] if answered else None, self.inputs(row, prompt)

    def inputs(self, row, prompt=PROMPTS[0]):
        """Return transformers' inputs for one image and a prompt."""
        return reference.inputs_of(self.reader.processor, self.reader.rendered(prompt), self.images[row])


def read(folder, poolings, new_tokens, sites=("block",), template=None, sizes=SIZES, dtype=torch.float32):
    """Read pictures with the model in a folder, both prompts from one context; `template` as `--template`."""
    checkpoint = Checkpoint("org/model", None, folder)
    script = model_script.script(checkpoint, template, None, False, sites)
    network, reader = script.load(checkpoint, "cpu", dtype)
    images = [
        Image.fromarray(np.random.default_rng(row).integers(0, 255, (height, width, 3), dtype=np.uint8))
        for row, (width, height) in enumerate(sizes)
    ]
    with torch.inference_mode():
        pixels = script.preprocess(reader, images).to("cpu", dtype)
        streams, context = script.encode_images(network, reader, pixels, poolings)
        results = {
            prompt: script.encode_prompt(network, reader, context, prompt, poolings, new_tokens) for prompt in PROMPTS
        }
    return Batch(script, network, reader, images, streams, results)
