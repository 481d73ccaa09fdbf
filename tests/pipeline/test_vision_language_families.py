"""Every type of `AutoModelForImageTextToText` is read as transformers reads it, or refused with a reason."""

import numpy as np
import pytest
import tiny_vision_language
import torch
import vision_language_reference as reference
from PIL import Image

from brain_activity_prediction.models.checkpoints.checkpoint import Checkpoint
from brain_activity_prediction.models.vision_language import model_script
from brain_activity_prediction.models.vision_language.families import REFUSED, family
from brain_activity_prediction.runtime.errors import InputError

SIZES = ((425, 425), (425, 425), (300, 500))  # width and height: two of NSD's size, and one of another shape
PROMPTS = ("What is in this picture?", "Describe the image.")
POOLINGS = ("mean", "last", "image")
NEW_TOKENS = 4
TOLERANCE = 1e-5  # of a layer's largest state
READ = [
    pytest.param(model_type, marks=[pytest.mark.slow] if own.get("slow") else [])
    for model_type, own in sorted(tiny_vision_language.OWN.items())
]


@pytest.mark.parametrize("model_type", sorted(REFUSED))
def test_a_type_that_is_not_read_is_refused_with_the_reason(model_type):
    with pytest.raises(InputError, match="which is not read because"):
        family({"model_type": model_type}, "org/model")


# PaliGemma's processor makes arrays of tensors.
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")
@pytest.mark.parametrize("model_type", READ)
def test_a_type_is_read_as_transformers_reads_it(model_type, tmp_path):
    folder = tmp_path / model_type
    tiny_vision_language.write(model_type, folder)
    checkpoint = Checkpoint("org/model", None, folder)
    script = model_script.script(checkpoint, None, None, False)
    network, reader = script.load(checkpoint, "cpu", torch.float32)
    assert network.cached == tiny_vision_language.OWN[model_type].get("cached", True)
    images = [
        Image.fromarray(np.random.default_rng(row).integers(0, 255, (height, width, 3), dtype=np.uint8))
        for row, (width, height) in enumerate(SIZES)
    ]
    with torch.inference_mode():
        pixels = script.preprocess(reader, images).to("cpu", torch.float32)
        streams, context = script.encode_images(network, reader, pixels, POOLINGS)
        for prompt in PROMPTS:  # both from one context
            more, answers = script.encode_prompt(network, reader, context, prompt, POOLINGS, NEW_TOKENS)
            for row, image in enumerate(images):
                inputs = reference.inputs_of(reader.processor, reader.rendered(prompt), image)
                found = {name: states[row] for name, states in {**streams, **more}.items()}
                assert_language_states(network, reader, inputs, found)
                ids, states = reference.answer(network.model, inputs, network.end_ids, NEW_TOKENS)
                assert answers[row] == reader.tokenizer.decode(ids, skip_special_tokens=True)
                assert_equal(found["response"], states, states.abs().amax(dim=1, keepdim=True))
        if network.tower_points:
            for row, image in enumerate(images):
                states = reference.tower(
                    network.model, reference.inputs_of(reader.processor, reader.rendered(""), image)
                )
                assert_equal(streams["vision"][row][: len(states)], states, states.abs().amax(dim=1, keepdim=True))


def assert_language_states(network, reader, inputs, found):
    ids = inputs["input_ids"][0]
    places = {"language": slice(None), "language_last": [-1]}
    is_image = torch.isin(ids, torch.tensor(sorted(reader.image_ids)))
    places["language_image"] = inputs.get("image_embeds_position_mask", is_image[None])[0].bool()  # Kosmos's mask
    for name in places.keys() & found.keys():
        states, scale = reference.language(network.model, inputs, places[name])
        assert_equal(found[name], states, scale)


def assert_equal(found, expected, scale):
    assert found.shape == expected.shape
    assert float(((found - expected).abs() / scale).max()) < TOLERANCE
