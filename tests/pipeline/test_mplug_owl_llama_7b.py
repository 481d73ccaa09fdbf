"""The mPLUG-Owl script: nine prompts for the price of one, and the same numbers as the model run plainly."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_mplug_owl import write_checkpoint

from brain_activity_prediction import extract_image_embeddings
from brain_activity_prediction.extract_image_embeddings.prompts import PROMPTS
from brain_activity_prediction.models.checkpoints.checkpoint import Checkpoint
from brain_activity_prediction.runtime.errors import InputError

pytestmark = pytest.mark.slow

POOLINGS = ("mean", "last", "image", "prompt", "cls")
PLACES = 6  # five queries and the end mark
CLOSE = {"rtol": 1e-5, "atol": 3e-5}  # what float32 leaves of a deep network


@pytest.fixture(scope="module")
def script():
    path = Path(extract_image_embeddings.__file__).with_name("mplug_owl_llama_7b.py")
    spec = importlib.util.spec_from_file_location("mplug_owl_llama_7b", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def loaded(script, tmp_path_factory):
    """The tiny model and its processor, loaded by the script itself."""
    folder = write_checkpoint(tmp_path_factory.mktemp("tiny") / "checkpoint")
    return script.load(Checkpoint(script.MODEL_ID, script.REVISION, folder), "cpu", torch.float32)


@pytest.fixture(scope="module")
def pixels(script, loaded):
    noise = np.random.default_rng(0).integers(0, 256, (4, 30, 40, 3), dtype=np.uint8)
    return script.preprocess(loaded[1], [Image.fromarray(image) for image in noise])


def run(script, loaded, pixels, prompts, max_new_tokens=0):
    """The image streams, and streams and answers by prompt, of one pass."""
    with torch.inference_mode():
        once, context = script.encode_images(*loaded, pixels, POOLINGS)
        by_prompt = {
            prompt: script.encode_prompt(*loaded, context, text, POOLINGS, max_new_tokens)
            for prompt, text in prompts.items()
        }
    return once, by_prompt


def plain(script, loaded, pixels, prompt):
    """The whole prompt at once through the model, every hidden state kept: inputs, ids and the states (B, L, T, W)."""
    model, processor = loaded
    ids = torch.tensor([processor.ids(script.TEMPLATE.format(prompt=prompt))] * len(pixels))
    with torch.inference_mode():
        embeds = model.embed(ids, model.encode_images(pixels))
        output = model.language_model(inputs_embeds=embeds, output_hidden_states=True)
    return embeds, ids[0], torch.stack(output.hidden_states, dim=1)


def test_the_template_is_the_one_the_model_was_trained_with(script):
    assert script.TEMPLATE.format(prompt="What is this?") == (
        "The following is a conversation between a curious human and AI assistant. The assistant gives helpful, "
        "detailed, and polite answers to the user's questions.\nHuman: <image>\nHuman: What is this?\nAI: "
    )


@pytest.mark.parametrize("name", ["config.json", "tokenizer.model"])
def test_a_checkpoint_without_its_tokenizer_or_configuration_is_refused(script, tmp_path, name):
    folder = write_checkpoint(tmp_path)
    Checkpoint(script.MODEL_ID, script.REVISION, folder).check(script.CHECKPOINT_FILES)
    (folder / name).unlink()
    with pytest.raises(InputError, match=f"holds no {name}"):
        Checkpoint(script.MODEL_ID, script.REVISION, folder).check(script.CHECKPOINT_FILES)


def test_streams_have_a_row_an_image_and_a_vector_a_layer(script, loaded, pixels):
    once, by_prompt = run(script, loaded, pixels, {1: PROMPTS[1]}, max_new_tokens=3)
    assert {name: tuple(states.shape) for name, states in once.items()} == {
        "vision": (4, 4, 24),
        "vision_cls": (4, 4, 24),
        "abstractor": (4, 2, 24),
        "language_image": (4, 4, 32),
    }
    assert {name: tuple(states.shape) for name, states in by_prompt[1][0].items()} == dict.fromkeys(
        ("language", "language_last", "language_prompt", "response"), (4, 4, 32)
    )
    assert once["abstractor"].std(dim=0).min() > 0  # no layer of it is the same for every image


def test_nine_prompts_in_one_pass_equal_nine_single_runs(script, loaded, pixels):
    _, together = run(script, loaded, pixels, PROMPTS, max_new_tokens=5)
    for prompt, text in PROMPTS.items():
        _, alone = run(script, loaded, pixels, {prompt: text}, max_new_tokens=5)
        assert together[prompt][1] == alone[prompt][1]
        torch.testing.assert_close(together[prompt][0], alone[prompt][0], **CLOSE)


def test_a_batch_of_one_equals_a_batch_of_four_in_any_order(script, loaded, pixels):
    once, by_prompt = run(script, loaded, pixels, {3: PROMPTS[3]}, max_new_tokens=5)
    for image in (2, 0, 3, 1):
        once_alone, alone = run(script, loaded, pixels[image : image + 1], {3: PROMPTS[3]}, max_new_tokens=5)
        assert alone[3][1] == by_prompt[3][1][image : image + 1]
        for together, apart in ((once, once_alone), (by_prompt[3][0], alone[3][0])):
            torch.testing.assert_close({name: states[[image]] for name, states in together.items()}, apart, **CLOSE)


@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS)
def test_language_streams_are_means_over_output_hidden_states(script, loaded, pixels, prompt):
    once, by_prompt = run(script, loaded, pixels, {1: prompt})
    _, ids, states = plain(script, loaded, pixels, prompt)
    image = (ids == -1).nonzero().flatten()
    _, question, own = loaded[1].split_template(script.TEMPLATE, prompt)
    before = len(ids) - len(question)
    assert len(image) == PLACES
    assert image[-1] + 1 == before
    expected = {
        "language": states.mean(dim=2),
        "language_last": states[:, :, -1],
        "language_prompt": states[:, :, before:][:, :, own].mean(dim=2),
    }
    torch.testing.assert_close(by_prompt[1][0], expected, **CLOSE)
    torch.testing.assert_close(once["language_image"], states[:, :, image].mean(dim=2), **CLOSE)


def test_vision_and_abstractor_streams_are_means_over_each_layers_tokens(script, loaded, pixels):
    model, _ = loaded
    once, _ = run(script, loaded, pixels, {})
    with torch.inference_mode():
        vision = [model.vision_model.embeddings(pixels)]
        for layer in model.vision_model.encoder.layers:
            vision.append(layer(vision[-1]))
        image, queries = model.vision_model.post_layernorm(vision[-1]), [model.query_tokens.expand(4, -1, -1)]
        for layer in model.abstractor.encoder.layers:
            queries.append(layer(queries[-1], image))
    vision, queries = torch.stack(vision, dim=1), torch.stack(queries[1:], dim=1)
    torch.testing.assert_close(once["vision"], vision.mean(dim=2), **CLOSE)
    torch.testing.assert_close(once["vision_cls"], vision[:, :, 0], **CLOSE)
    torch.testing.assert_close(once["abstractor"], queries.mean(dim=2), **CLOSE)


@pytest.mark.parametrize("n_new", [1, 8])
def test_answers_equal_generate_and_response_is_the_mean_over_their_tokens(script, loaded, pixels, n_new):
    model, processor = loaded
    embeds, _, _ = plain(script, loaded, pixels, PROMPTS[2])
    free = model.language_model.generate(inputs_embeds=embeds, max_new_tokens=n_new, do_sample=False, pad_token_id=0)
    end = free[0, n_new // 2].item()  # so that the first row's answer ends before the limit
    settings = model.language_model.generation_config
    kept, settings.eos_token_id = settings.eos_token_id, end
    try:
        _, by_prompt = run(script, loaded, pixels, {2: PROMPTS[2]}, max_new_tokens=n_new)
        output = model.language_model.generate(
            inputs_embeds=embeds,
            max_new_tokens=n_new,
            do_sample=False,
            pad_token_id=0,
            output_hidden_states=True,
            return_dict_in_generate=True,
        )
    finally:
        settings.eos_token_id = kept
    streams, answers = by_prompt[2]
    steps = torch.stack([torch.stack(step)[:, :, -1] for step in output.hidden_states])  # (steps, L, B, W)
    for row, tokens in enumerate(output.sequences.tolist()):
        length = tokens.index(end) if end in tokens else len(tokens)
        assert answers[row] == processor.tokenizer.decode(tokens[:length], skip_special_tokens=True)
        predicting = min(length + 1, len(tokens))
        torch.testing.assert_close(streams["response"][row], steps[:predicting, :, row].mean(dim=0), **CLOSE)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_changes_nothing_with_the_order_of_prompts_or_images(script, pixels, tmp_path, dtype):
    """The same shapes are rounded alike, so that states left over from another prompt or image would show."""
    half = script.load(Checkpoint(script.MODEL_ID, script.REVISION, write_checkpoint(tmp_path)), "cpu", dtype)
    prompts, order, pixels = dict([*PROMPTS.items()][:4]), [3, 0, 2, 1], pixels.to(dtype)
    once, by_prompt = run(script, half, pixels, prompts, 4)
    _, last_first = run(script, half, pixels, dict(reversed(prompts.items())), 4)
    same = {"rtol": 0, "atol": 0}
    for prompt, (streams, answers) in by_prompt.items():
        torch.testing.assert_close(streams, last_first[prompt][0], **same)
        assert answers == last_first[prompt][1]
    moved, _ = run(script, half, pixels[order], {})
    torch.testing.assert_close(moved, {name: states[order] for name, states in once.items()}, **same)
    states = plain(script, half, pixels, PROMPTS[1])[2].float()
    difference = (by_prompt[1][0]["language_last"] - states[:, :, -1]).abs().amax(dim=(0, 2))
    assert (difference < 2 * torch.finfo(dtype).eps * states.abs().amax(dim=(0, 2, 3))).all()
