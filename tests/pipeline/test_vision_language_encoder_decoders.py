"""Vision-language models whose encoder reads image and prompt, and whose decoder writes the answer."""

import numpy as np
import pytest
import tiny_vision_language
import torch
import vision_language_reference as reference
from encoder_decoders import ROWS
from PIL import Image

from brain_activity_prediction.models.checkpoints.checkpoint import Checkpoint
from brain_activity_prediction.models.vision_language import model_script

SIZES = ((425, 425), (425, 425), (300, 500))  # width and height: two of NSD's size, and one of another shape
PROMPTS = ("What is in this picture?", "Describe the image.")
POOLINGS = ("mean", "last", "image")
NEW_TOKENS = 4


@pytest.fixture(scope="module", params=ROWS)
def read(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoder-decoder") / request.param
    tiny_vision_language.write(request.param, folder, ROWS[request.param])
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
    return script, network, reader, images, streams, results


def each(read):
    """Each image under each prompt: its streams, its answer, and the inputs of transformers."""
    _, _, reader, images, streams, results = read
    for prompt, (more, answers) in results.items():
        for row, image in enumerate(images):
            inputs = reference.inputs_of(reader.processor, reader.rendered(prompt), image)
            yield {name: states[row] for name, states in {**streams, **more}.items()}, answers[row], inputs


def test_encoder_and_decoder_states_are_those_of_one_image_at_a_time(read):
    network = read[1]
    for streams, _, inputs in each(read):
        with torch.inference_mode():
            output = network.model(**inputs, decoder_input_ids=start(network.model), output_hidden_states=True)
        output = getattr(output, "language_model_outputs", output)
        encoder = torch.stack([layer[0] for layer in output.encoder_hidden_states])
        decoder = torch.stack([layer[0] for layer in output.decoder_hidden_states])
        assert_equal(streams["encoder"], encoder.mean(dim=1), encoder)
        assert_equal(streams["encoder_last"], encoder[:, -1], encoder)
        places = torch.isin(inputs["input_ids"][0], torch.tensor(sorted(read[2].image_ids)))
        assert_equal(streams["encoder_image"], encoder[:, places].mean(dim=1), encoder)
        assert_equal(streams["decoder"], decoder.mean(dim=1), decoder)


def test_answers_are_those_of_generate(read):
    _, network, reader = read[:3]
    for streams, answer, inputs in each(read):
        begin = start(network.model)
        settings = {"do_sample": False, "num_beams": 1, "max_new_tokens": NEW_TOKENS, "no_repeat_ngram_size": 0}
        settings |= {"eos_token_id": sorted(network.end_ids), "forced_bos_token_id": None, "forced_eos_token_id": None}
        with torch.inference_mode():
            output = network.model.generate(
                **inputs,
                **settings,
                decoder_input_ids=begin,
                output_hidden_states=True,
                return_dict_in_generate=True,
            )
        new = output.sequences[0, begin.shape[1] :].tolist()
        length = next((place for place, token in enumerate(new) if token in network.end_ids), len(new))
        assert answer == reader.tokenizer.decode(new[:length], skip_special_tokens=True)
        steps = [torch.stack([layer[0, -1] for layer in step]) for step in output.decoder_hidden_states]
        states = torch.stack(steps[: length + 1]).mean(dim=0)
        assert_equal(streams["response"], states, states[:, None])


def test_the_prompt_changes_the_image_s_states_in_the_encoder(read):
    script, _, _, _, streams, results = read
    assert "encoder_image" not in streams
    assert "image" in script.PROMPT_STREAMS["encoder"]
    one, other = (results[prompt][0]["encoder_image"] for prompt in PROMPTS)
    assert not torch.allclose(one[:, -1], other[:, -1])


def start(model):
    """The tokens that start an answer in `generate`."""
    text = model.config.get_text_config(decoder=True)
    first = getattr(text, "decoder_start_token_id", None)
    ids = [text.bos_token_id if first is None else first]
    forced = getattr(model.generation_config, "forced_bos_token_id", None)
    return torch.tensor([ids + ([forced] if forced is not None else [])])


def assert_equal(found, expected, whole):
    """`whole` are all states, (L, T, W): a difference is relative to the largest of its layer."""
    assert found.shape == expected.shape
    scale = whole.abs().amax(dim=(1, 2))[:, None]
    assert float(((found - expected).abs() / scale).max()) < 1e-5
