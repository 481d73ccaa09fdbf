"""Every type of `AutoModelForImageTextToText` is read as transformers reads it, or refused with a reason."""

from pathlib import Path

import image_tokens
import pytest
import tiny_vision_language
import torch
import vision_language_reference as reference
from encoder_decoders import ROWS
from PIL import Image
from transformers import AutoProcessor
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
from vision_language_batch import SIZES, read

from brain_activity_prediction.models.vision_language import families, loading, reading
from brain_activity_prediction.models.vision_language.families import REFUSED, family
from brain_activity_prediction.models.vision_language.inputs import Reader
from brain_activity_prediction.runtime.errors import InputError

SHARED = Path(__file__).resolve().parents[3] / "shared/published"
POOLINGS = ("mean", "last", "image")
NEW_TOKENS = 4
TOLERANCE = 1e-5  # of a layer's largest state
READ = [
    pytest.param(name, marks=[getattr(pytest.mark, own["marker"])] if "marker" in own else [])
    for name, own in sorted(tiny_vision_language.OWN.items())
]


def test_every_type_that_transformers_registers_has_one_verdict():
    read = {own.get("model_type", name) for name, own in tiny_vision_language.OWN.items()} | set(ROWS)
    assert sorted([*read, *REFUSED]) == sorted(MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES)


@pytest.mark.parametrize("model_type", sorted(REFUSED))
def test_a_type_that_is_not_read_is_refused_with_the_reason(model_type):
    with pytest.raises(InputError, match="which is not supported because"):
        family({"model_type": model_type}, "org/model")


def test_a_text_that_depends_on_more_of_a_picture_than_its_size_is_refused(monkeypatch):
    processor = tiny_vision_language.processor_of("emu3", tiny_vision_language.OWN["emu3"], None)
    write = processor.replace_image_token
    monkeypatch.setattr(
        processor,
        "replace_image_token",
        lambda inputs, *args, **kwargs: f"{float(inputs['pixel_values'].max()):.1f} {write(inputs, *args, **kwargs)}",
    )
    reader = Reader(processor, "<image>{prompt}", [processor.image_token_id])
    reader.groups([Image.new("RGB", size, "grey") for size in ((425, 425), (300, 500))])
    with pytest.raises(InputError, match="the text around a picture of 300 x 500 pixels depends on more than its size"):
        reader.groups([Image.new("RGB", (300, 500), "white")])


@pytest.mark.very_slow  # sixty processors
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")  # Ernie's
def test_the_documented_image_tokens_are_those_of_the_default_processors():
    counted = {name: image_tokens.count(name) for name in image_tokens.COUNTS if name not in image_tokens.PUBLISHED}
    assert counted.items() <= image_tokens.COUNTS.items()


@pytest.mark.skipif(not SHARED.exists(), reason="needs published files next to the repository")
def test_the_documented_image_tokens_are_those_of_published_files():
    for name, folder in image_tokens.PUBLISHED.items():
        processor = AutoProcessor.from_pretrained(SHARED / folder)
        token = tiny_vision_language.image_token_id(processor, tiny_vision_language.OWN[name])
        assert image_tokens.tokens(processor, token) == image_tokens.COUNTS[name]


# PaliGemma's processor makes arrays of tensors.
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")
@pytest.mark.parametrize("name", READ)
def test_a_type_is_read_as_transformers_reads_it(name, tmp_path):
    folder = tmp_path / name
    tiny_vision_language.write(name, folder)
    own = tiny_vision_language.OWN[name]
    batch = read(folder, POOLINGS, NEW_TOKENS, template=own.get("template"), sizes=own.get("sizes", SIZES))
    network, reader = batch.network, batch.reader
    assert network.cached == own.get("cached", True)
    with torch.inference_mode():
        for _, found, answer, inputs in batch.each():
            assert_language_states(network, reader, inputs, found)
            ids, states = reference.answer(network.model, inputs, network.end_ids, NEW_TOKENS)
            assert answer == reader.tokenizer.decode(ids, skip_special_tokens=True)
            tolerance = own.get("response_tolerance", TOLERANCE)
            assert_equal(found["response"], states, states.abs().amax(dim=1, keepdim=True), tolerance)
        for row in range(len(batch.images) if network.tower is not None else 0):
            states = reference.tower(network.model, batch.inputs(row))
            assert_equal(batch.streams["vision"][row][: len(states)], states, states.abs().amax(dim=1, keepdim=True))
            if (features := reference.projected(network.model, batch.inputs(row))) is not None:
                assert_equal(batch.streams["projector"][row], features, features.abs().max())


@pytest.mark.parametrize("name", ["inkling2", "lfm2_vl", "nemotron_h_omni", "qwen3_5"])
def test_every_prompt_has_the_states_of_a_whole_reading_in_half_precision(name, tmp_path, monkeypatch):
    """Its rounding may hide what an earlier prompt left in the states of recurrent and convolutional layers."""
    tiny_vision_language.write(name, tmp_path / name)
    half = {"sizes": SIZES[:1], "dtype": torch.bfloat16}
    continued = read(tmp_path / name, ("mean", "last"), 0, **half)
    monkeypatch.setattr(loading, "cache_agrees", lambda *_: False)
    whole = read(tmp_path / name, ("mean", "last"), 0, **half)
    assert (continued.network.cached, whole.network.cached) == (True, False)
    for prompt, (streams, _) in whole.results.items():
        for stream, states in streams.items():
            differences = (continued.results[prompt][0][stream] - states).abs().amax(dim=-1)
            assert (differences <= 2 * torch.finfo(torch.bfloat16).eps * states.abs().amax(dim=-1)).all()


def test_a_model_that_keeps_a_part_in_float32_is_held_to_the_rounding_of_the_others(tmp_path):
    """BLIP-2's queries, its first weights, stay in float32."""
    tiny_vision_language.write("blip-2 with OPT", tmp_path / "model")
    batch = read(tmp_path / "model", ("mean",), 0, sizes=SIZES[:1], dtype=torch.float16)
    assert next(batch.network.model.parameters()).dtype == torch.float32
    assert batch.network.cached


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")  # PaliGemma's
def test_a_model_of_which_the_image_attends_to_the_prompt_is_refused_unless_known(tmp_path, monkeypatch):
    tiny_vision_language.write("paligemma", tmp_path / "model")
    monkeypatch.setattr(families, "IMAGE_ATTENDS_TO_PROMPT", frozenset())
    with pytest.raises(InputError, match="the states of its images depend on the prompt"):
        read(tmp_path / "model", ("mean",), 0, sizes=SIZES[:1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_image_that_differs_by_rounding_alone_is_read_with_each_prompt(tmp_path, monkeypatch, dtype):
    """In models that choose experts, one rounding may choose another one, so that no limit holds."""
    tiny_vision_language.write("aria", tmp_path / "model")
    monkeypatch.setattr(loading, "CACHE_ROUNDING", {dtype: -1})
    assert not read(tmp_path / "model", ("mean",), 0, sizes=SIZES[:1], dtype=dtype).network.cached


def test_a_window_that_begins_after_the_first_pass_forgets_nothing_of_the_prompt(tmp_path):
    """Unlimited OCR forgets tokens of further passes alone: a question in one of these would be forgotten, too."""
    own = tiny_vision_language.OWN["unlimited_ocr"]
    text = own["config"]["text_config"] | {"sliding_window": 64}
    own = own | {"config": own["config"] | {"text_config": text}}
    tiny_vision_language.write("unlimited_ocr", tmp_path / "model", own)
    batch = read(tmp_path / "model", ("mean",), 56, sizes=SIZES[:1])
    with torch.inference_mode():
        for _, found, answer, inputs in batch.each():
            ids, states = reference.answer(batch.network.model, inputs, batch.network.end_ids, 56)
            assert answer == batch.reader.tokenizer.decode(ids, skip_special_tokens=True)
            assert_equal(found["response"], states, states.abs().amax(dim=1, keepdim=True))


@pytest.mark.parametrize("name", ["hunyuan_vl", "step3p7"])
def test_images_that_a_model_mixes_are_given_to_it_one_at_a_time_in_half_precision(name, tmp_path):
    tiny_vision_language.write(name, tmp_path / name)
    assert read(tmp_path / name, ("mean",), 0, dtype=torch.bfloat16).reader.axes is None


def test_a_cache_that_keeps_a_trace_of_an_earlier_prompt_is_not_continued(tmp_path, monkeypatch):
    tiny_vision_language.write("lfm2_vl", tmp_path / "model")
    monkeypatch.setattr(reading, "_contents", lambda layer, values: dict(values))
    batch = read(tmp_path / "model", ("mean",), 0, sizes=SIZES[:1], dtype=torch.bfloat16)
    assert not batch.network.cached


def assert_language_states(network, reader, inputs, found):
    ids = inputs["input_ids"][0]
    places = {"language": slice(None), "language_last": [-1]}
    is_image = torch.isin(ids, torch.tensor(sorted(reader.image_ids), dtype=ids.dtype))
    marked = inputs.get("image_embeds_position_mask", is_image[None])[0] == 1  # KOSMOS's mask
    places["language_image"] = slice(0, 17) if network.family.image_before_text else marked  # GIT's class and 4 x 4
    for name in places.keys() & found.keys():
        states, scale = reference.language(network.model, inputs, places[name])
        assert_equal(found[name], states, scale)


def assert_equal(found, expected, scale, tolerance=TOLERANCE):
    assert found.shape == expected.shape
    assert float(((found - expected).abs() / scale).max()) < tolerance
