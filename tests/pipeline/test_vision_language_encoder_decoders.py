"""Vision-language models whose encoder reads image and prompt, and whose decoder writes the answer."""

import pytest
import tiny_vision_language
import torch
import vision_language_batch
from encoder_decoders import ROWS
from vision_language_batch import PROMPTS

POOLINGS = ("mean", "last", "image")
NEW_TOKENS = 4


@pytest.fixture(scope="module", params=ROWS)
def read(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoder-decoder") / request.param
    tiny_vision_language.write(request.param, folder, ROWS[request.param])
    return vision_language_batch.read(folder, POOLINGS, NEW_TOKENS)


def test_encoder_and_decoder_states_are_those_of_one_image_at_a_time(read):
    network = read.network
    for _, streams, _, inputs in read.each():
        with torch.inference_mode():
            output = network.model(**inputs, decoder_input_ids=start(network.model), output_hidden_states=True)
        output = getattr(output, "language_model_outputs", output)
        encoder = torch.stack([layer[0] for layer in output.encoder_hidden_states])
        decoder = torch.stack([layer[0] for layer in output.decoder_hidden_states])
        assert_equal(streams["encoder"], encoder.mean(dim=1), encoder)
        assert_equal(streams["encoder_last"], encoder[:, -1], encoder)
        places = torch.isin(inputs["input_ids"][0], torch.tensor(sorted(read.reader.image_ids)))
        assert_equal(streams["encoder_image"], encoder[:, places].mean(dim=1), encoder)
        assert_equal(streams["decoder"], decoder.mean(dim=1), decoder)


def test_answers_are_those_of_generate(read):
    network, reader = read.network, read.reader
    for _, streams, answer, inputs in read.each():
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
    assert "encoder_image" not in read.streams
    assert "image" in read.script.PROMPT_STREAMS["encoder"]
    one, other = (read.results[prompt][0]["encoder_image"] for prompt in PROMPTS)
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
