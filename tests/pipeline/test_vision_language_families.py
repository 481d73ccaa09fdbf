"""Every type of `AutoModelForImageTextToText` is read as transformers reads it, or refused with a reason."""

import pytest
import tiny_vision_language
import torch
import vision_language_reference as reference
from vision_language_batch import read

from brain_activity_prediction.models.vision_language.families import REFUSED, family
from brain_activity_prediction.runtime.errors import InputError

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
    own = tiny_vision_language.OWN[model_type]
    batch = read(folder, POOLINGS, NEW_TOKENS, template=own.get("template"))
    network, reader = batch.network, batch.reader
    assert network.cached == own.get("cached", True)
    with torch.inference_mode():
        for _, found, answer, inputs in batch.each():
            assert_language_states(network, reader, inputs, found)
            ids, states = reference.answer(network.model, inputs, network.end_ids, NEW_TOKENS)
            assert answer == reader.tokenizer.decode(ids, skip_special_tokens=True)
            assert_equal(found["response"], states, states.abs().amax(dim=1, keepdim=True))
        for row in range(len(batch.images) if network.tower is not None else 0):
            states = reference.tower(network.model, batch.inputs(row))
            assert_equal(batch.streams["vision"][row][: len(states)], states, states.abs().amax(dim=1, keepdim=True))
            if (features := reference.projected(network.model, batch.inputs(row))) is not None:
                assert_equal(batch.streams["projector"][row], features, features.abs().max())


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
