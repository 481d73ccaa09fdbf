"""The models that transformers ships: streams and answers are its own, whatever the batch and the prompts."""

from types import SimpleNamespace

import pytest
import reference_states
import torch
from tiny_models import MODELS

from brain_activity_prediction.extract_image_embeddings.prompts import PROMPTS
from brain_activity_prediction.models import decoding
from brain_activity_prediction.models.checkpoints.checkpoint import Checkpoint
from brain_activity_prediction.models.pooling import POOLINGS

pytestmark = pytest.mark.slow

SPEAKING = [name for name in MODELS if name != "vit"]
LONGEST = 12


def encode(tiny, images, prompts, poolings=POOLINGS, max_new_tokens=0):
    """The image streams, and of each prompt (streams, answers), of one pass over the images."""
    parts = tiny.model, tiny.processor
    once, context = tiny.script.encode_images(*parts, tiny.script.preprocess(tiny.processor, images), poolings)
    if not hasattr(tiny.script, "encode_prompt"):
        return once, [({}, [])] * len(prompts)
    return once, [tiny.script.encode_prompt(*parts, context, text, poolings, max_new_tokens) for text in prompts]


def assert_close(streams, expected, scales, tolerance):
    """Largest deviation of each layer against the scale of its states."""
    assert streams.keys() == expected.keys()
    for name, states in streams.items():
        deviation = ((states - expected[name]).abs() / scales[name]).amax(dim=(0, 2))
        assert deviation.max() < tolerance, f"{name}: {deviation}"


def scales_of(streams):
    return {name: states.abs().amax(dim=(0, 2))[:, None] for name, states in streams.items()}


@pytest.mark.parametrize("prompt", [1, 8])
@pytest.mark.parametrize("name", MODELS)
def test_hidden_states_are_those_that_transformers_gives(tiny_model, photographs, name, prompt):
    tiny = tiny_model(name)
    once, [(streams, _)] = encode(tiny, photographs, [PROMPTS[prompt]])
    expected, scales = tiny.reference(photographs, PROMPTS[prompt]).pooled()
    assert_close(once | streams, expected, scales, 1e-6)


@pytest.mark.parametrize("name", SPEAKING)
def test_answers_are_those_of_generate_and_response_is_the_mean_of_their_states(
    tiny_model, photographs, name, monkeypatch
):
    tiny = tiny_model(name)
    reference = tiny.reference(photographs, PROMPTS[4])
    ends = end_within_the_answers(tiny, reference, monkeypatch)
    ids, expected = reference_states.generated(tiny.model, reference, LONGEST)
    assert len({len(row) for row in ids}) > 2, f"rows were to end at different steps: {ends}, {ids}"
    assert max(map(len, ids)) == LONGEST
    _, [(streams, answers)] = encode(tiny, photographs, [PROMPTS[4]], (), LONGEST)
    assert answers == tiny.processor.tokenizer.batch_decode(ids, skip_special_tokens=True)
    assert_close(streams, {"response": expected}, scales_of({"response": expected}), 1e-6)


def end_within_the_answers(tiny, reference, monkeypatch):
    """Makes a token the end of an answer that most of the rows say, at different steps, and some do not."""
    settings = reference_states.speaker(tiny.model).generation_config
    reference.settings.pop("eos_token_id", None)
    monkeypatch.setattr(settings, "eos_token_id", [-1])
    free, _ = reference_states.generated(tiny.model, reference, LONGEST)
    firsts = {token: {row.index(token) for row in free if token in row} for row in free for token in row}
    candidates = [token for token in firsts if any(token not in row for row in free)]
    ends = [max(candidates, key=lambda token: len(firsts[token]))]
    monkeypatch.setattr(settings, "eos_token_id", ends)
    return ends


def test_an_idefics_answer_ends_with_its_turn(tiny_model, photographs, monkeypatch):
    """Its settings name </s> alone; <end_of_utterance> is what it was trained to end with."""
    tiny = tiny_model("idefics")
    _, [(_, free)] = encode(tiny, photographs, [PROMPTS[4]], (), LONGEST)
    ids = [tiny.processor.tokenizer(answer, add_special_tokens=False).input_ids for answer in free]
    said = tiny.processor.tokenizer.convert_ids_to_tokens(ids[0][1])
    ends = tiny.script.end_ids(Checkpoint(tiny.script.MODEL_ID, None, tiny.folder))
    end_of_turn = tiny.processor.tokenizer.convert_tokens_to_ids("<end_of_utterance>")
    assert ends == decoding.end_ids(tiny.model) == {2, end_of_turn}
    monkeypatch.setattr(tiny.model.generation_config, "eos_token_id", [2, ids[0][1]])  # a token that it says
    _, [(_, answers)] = encode(tiny, photographs, [PROMPTS[4]], (), LONGEST)
    assert all(said not in tiny.processor.tokenizer.tokenize(answer) for answer in answers)
    assert free[0].startswith(answers[0])
    assert len(answers[0]) < len(free[0])


@pytest.mark.parametrize("name", MODELS)
def test_a_batch_of_one_equals_a_batch_of_eight_in_any_order(tiny_model, photographs, name):
    tiny = tiny_model(name)
    once, [(streams, answers)] = encode(tiny, photographs, [PROMPTS[2]], POOLINGS, 6)
    together = once | streams
    for order in ([3], [7], [5, 0, 6, 2, 1, 7, 4, 3]):
        once, [(streams, alone)] = encode(tiny, [photographs[image] for image in order], [PROMPTS[2]], POOLINGS, 6)
        assert alone == [answers[image] for image in order if answers]
        expected = {stream: states[order] for stream, states in together.items()}
        assert_close(once | streams, expected, scales_of(together), 5e-6)


@pytest.mark.parametrize("name", SPEAKING)
def test_nine_prompts_in_one_pass_equal_nine_single_runs(tiny_model, photographs, name):
    tiny = tiny_model(name)
    _, together = encode(tiny, photographs[:3], PROMPTS.values(), POOLINGS, 6)
    for text, (streams, answers) in zip(PROMPTS.values(), together, strict=True):
        _, [(alone, answers_alone)] = encode(tiny, photographs[:3], [text], POOLINGS, 6)
        assert answers == answers_alone
        assert_close(streams, alone, scales_of(alone), 1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", MODELS)
def test_half_precision_changes_nothing_with_the_order_of_prompts_or_images(tiny_model, photographs, name, dtype):
    """The same shapes are rounded alike, so that states left over from another prompt or image would show."""
    tiny = tiny_model(name)
    model, processor = tiny.script.load(Checkpoint(tiny.script.MODEL_ID, None, tiny.folder), "cpu", dtype)
    half = SimpleNamespace(script=tiny.script, model=model.requires_grad_(False), processor=processor)
    texts, order = [*PROMPTS.values()][:4], [2, 0, 1]
    once, asked = encode(half, photographs[:3], texts, POOLINGS, 4)
    _, last_first = encode(half, photographs[:3], texts[::-1], POOLINGS, 4)
    for (streams, answers), (others, other_answers) in zip(asked, last_first[::-1], strict=True):
        torch.testing.assert_close(streams, others, rtol=0, atol=0, equal_nan=True)
        assert answers == other_answers
    moved, _ = encode(half, [photographs[image] for image in order], texts[:1])
    torch.testing.assert_close(moved, {stream: states[order] for stream, states in once.items()}, rtol=0, atol=0)
    expected, scales = getattr(reference_states, name)(model, tiny.whole, photographs[:3], texts[0]).pooled()
    found = {stream: states for stream, states in (once | asked[0][0]).items() if stream != "response"}
    assert_close(found, expected, scales, 0.02)


@pytest.mark.parametrize("name", SPEAKING)
def test_nine_prompts_run_the_image_part_once(tiny_model, photographs, name):
    tiny = tiny_model(name)
    tower = {"llava": "model.vision_tower", "idefics": "model.vision_model"}.get(name, "vision_model")
    passes, read = [], []
    language = tiny.model.language_model.model if name == "instruct_blip" else tiny.model.model
    embed = language.language_model.layers[0] if name == "llava" else language.layers[0]
    hooks = [
        tiny.model.get_submodule(tower).register_forward_hook(lambda *_: passes.append(1)),
        embed.register_forward_pre_hook(lambda module, inputs: read.append(inputs[0].shape[1])),
    ]
    encode(tiny, photographs[:2], PROMPTS.values())
    for hook in hooks:
        hook.remove()
    whole = [tiny.reference(photographs[:1], text).states["language"].shape[2] for text in PROMPTS.values()]
    shared = 0 if name == "instruct_blip" else read[0]  # its Q-Former reads the question, so the image tokens change
    assert len(passes) == 1
    assert sum(read) == shared + sum(tokens - shared for tokens in whole)


@pytest.mark.parametrize("name", MODELS)
def test_all_poolings_of_one_pass_equal_one_at_a_time(tiny_model, photographs, name):
    tiny = tiny_model(name)
    once, [(streams, _)] = encode(tiny, photographs[:3], [PROMPTS[1]])
    apart = {}
    for pooling in POOLINGS:
        once_alone, [(alone, _)] = encode(tiny, photographs[:3], [PROMPTS[1]], (pooling,))
        apart |= once_alone | alone
    torch.testing.assert_close(once | streams, apart, rtol=0, atol=0)


@pytest.mark.parametrize("name", MODELS)
def test_the_tiny_models_hide_nothing_behind_a_zero(tiny_model, photographs, name):
    tiny = tiny_model(name)
    assert all((parameter != 0).all() for parameter in tiny.model.parameters())
    once, [(streams, answers)] = encode(tiny, photographs, [PROMPTS[1]], ("mean",), LONGEST)
    for states in (once | streams).values():
        assert states[:, -1].std(dim=0).min() > 1e-3  # each unit of the last layer tells the photographs apart
    assert name == "vit" or len(set(answers)) > 2
