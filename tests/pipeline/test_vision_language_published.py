"""The generic script reads published folders of vision-language models as transformers itself does."""

import numpy as np
import pytest
import torch
import vision_language_reference as reference
from PIL import Image
from published_models import needs_published
from published_vision_language import SHRUNK, write

from brain_activity_prediction.models.checkpoints.checkpoint import Checkpoint
from brain_activity_prediction.models.vision_language import model_script

pytestmark = needs_published
SIZES = ((425, 425), (425, 425), (300, 500))  # two of NSD's size, and one of another shape
PROMPTS = ("What is in this picture?", "Describe the image.")
POOLINGS = ("mean", "last", "image", "prompt")
NEW_TOKENS = 6
TOLERANCE = 1e-5  # of a layer's largest state


@pytest.fixture(scope="module", params=SHRUNK)
def read(request, tmp_path_factory):
    """A model, its reader, the images, and the streams and answers under each prompt, all read in one batch."""
    folder = tmp_path_factory.mktemp("published") / request.param
    write(request.param, folder)
    checkpoint = Checkpoint("org/model", None, folder)
    script = model_script.script(checkpoint, None, None, False)
    network, reader = script.load(checkpoint, "cpu", torch.float32)
    images = [
        Image.fromarray(np.random.default_rng(row).integers(0, 255, (height, width, 3), dtype=np.uint8))
        for row, (width, height) in enumerate(SIZES)
    ]
    with torch.inference_mode():
        pixels = script.preprocess(reader, images).to("cpu", torch.float32)
        streams, context = script.encode_images(network, reader, pixels, POOLINGS)
        results = {
            prompt: script.encode_prompt(network, reader, context, prompt, POOLINGS, NEW_TOKENS) for prompt in PROMPTS
        }
    return network, reader, images, streams, results


def assert_equal(found, expected, scale):
    assert float(((found - expected).abs() / scale).max()) < TOLERANCE


def each(read):
    """Each image under each prompt: its streams, its answer, and the inputs of transformers."""
    _, reader, images, streams, results = read
    for prompt, (more, answers) in results.items():
        for row, image in enumerate(images):
            inputs = reference.inputs_of(reader.processor, reader.rendered(prompt), image)
            yield prompt, {name: states[row] for name, states in {**streams, **more}.items()}, answers[row], inputs


def test_language_states_are_those_of_one_image_at_a_time_without_a_cache(read):
    network, reader = read[:2]
    for prompt, streams, _, inputs in each(read):
        ids = inputs["input_ids"][0]
        places = {
            "language": slice(None),
            "language_last": [-1],
            "language_image": torch.isin(ids, torch.tensor(sorted(reader.image_ids))),
            "language_prompt": reference.tokens_of(prompt, ids.tolist(), reader.tokenizer),
        }
        with torch.inference_mode():
            expected = {name: reference.language(network.model, inputs, chosen) for name, chosen in places.items()}
        for name, (states, scale) in expected.items():
            assert_equal(streams[name], states, scale)


def test_answers_and_their_states_are_those_of_generate(read):
    network, reader = read[:2]
    for _, streams, answer, inputs in each(read):
        with torch.inference_mode():
            ids, states = reference.answer(network.model, inputs, network.end_ids, NEW_TOKENS)
        assert answer == reader.tokenizer.decode(ids, skip_special_tokens=True)
        assert_equal(streams["response"], states, states.abs().max(dim=1, keepdim=True).values)


def test_vision_states_are_those_of_the_tower(read):
    network, reader, images, streams, _ = read
    for row, image in enumerate(images):
        inputs = reference.inputs_of(reader.processor, reader.rendered(PROMPTS[0]), image)
        with torch.inference_mode():
            states = reference.tower(network.model, inputs)
        found = streams["vision"][row, : len(states)]
        assert_equal(found, states, states.abs().amax(dim=1, keepdim=True))


def test_all_prompts_share_one_pass_over_the_image(read):
    assert read[0].cached
