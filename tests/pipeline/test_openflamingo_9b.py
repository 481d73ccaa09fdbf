"""openflamingo_9b.py: its prompt, its streams and its answers, against the package's own forward and generate."""

import importlib.util

import pytest
import torch
from PIL import Image
from scripts import run_here

from brain_activity_prediction.demo.dataset import write_dataset
from brain_activity_prediction.demo.simulation import Recipe
from brain_activity_prediction.extract_image_embeddings import openflamingo_9b as script
from brain_activity_prediction.extract_image_embeddings.prompts import PROMPTS
from brain_activity_prediction.models.checkpoints.checkpoint import Checkpoint
from brain_activity_prediction.models.library_imports import import_torchvision
from brain_activity_prediction.models.openflamingo import network
from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore
from brain_activity_prediction.storage.folders import embeddings_folder

pytestmark = pytest.mark.slow

if importlib.util.find_spec("open_flamingo") is None:
    pytest.skip(f"open_flamingo is not installed: {network.INSTALL}", allow_module_level=True)
import_torchvision()

from tiny_openflamingo import GEOMETRY, random_tensors, write_checkpoint  # noqa: E402

POOLINGS = ("mean", "last", "image", "prompt", "cls")
NEVER = 10**6  # no token's id
CLOSE = {"rtol": 1e-5, "atol": 5e-5}  # states reach 20, and float32 carries seven digits


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("tiny") / "checkpoint", GEOMETRY, random_tensors(GEOMETRY))


@pytest.fixture(scope="module")
def loaded(folder):
    return script.load(Checkpoint(script.MODEL_ID, script.REVISION, folder), "cpu", torch.float32)


@pytest.fixture(scope="module")
def pixels(loaded):
    noise = torch.Generator().manual_seed(1)
    bricks = torch.randint(0, 256, (4, 40, 40, 3), generator=noise, dtype=torch.uint8)
    return script.preprocess(loaded[1], [Image.fromarray(brick.numpy()) for brick in bricks])


@torch.inference_mode()
def encode(loaded, pixels, numbers, max_new_tokens=0):
    """{prompt number or None: (streams, answers)} of one pass."""
    streams, context = script.encode_images(*loaded, pixels, POOLINGS)
    prompts = {n: script.encode_prompt(*loaded, context, PROMPTS[n], POOLINGS, max_new_tokens) for n in numbers}
    return {None: (streams, [])} | prompts


def question(loaded, number, rows):
    ids = loaded[1].tokenizer(script.TEMPLATE.format(prompt=PROMPTS[number])).input_ids
    return torch.tensor([ids] * rows)


def assert_same(streams, expected, rows=slice(None)):
    assert streams.keys() == expected.keys()
    for name, states in streams.items():
        torch.testing.assert_close(states, expected[name][rows], **CLOSE, msg=lambda text, name=name: f"{name}: {text}")


def test_the_prompt_is_the_authors_form_of_a_question_with_the_image_first(loaded):
    prompt = script.TEMPLATE.format(prompt="What colour is it?")
    assert prompt == "<image>Question:What colour is it? Answer:"
    tokenizer, model = loaded[1].tokenizer, loaded[0]
    ids = tokenizer(prompt).input_ids
    assert ids[0] == model.media_token_id == tokenizer.convert_tokens_to_ids("<image>")
    assert ids.count(model.media_token_id) == 1
    assert tokenizer.decode(ids) == prompt


def test_pictures_are_prepared_as_clip_was_trained(pixels):
    assert pixels.shape == (4, 3, 28, 28)
    mean, sd = torch.tensor([0.48145466, 0.4578275, 0.40821073]), torch.tensor([0.26862954, 0.26130258, 0.27577711])
    values = pixels * sd[:, None, None] + mean[:, None, None]
    assert values.min() >= 0
    assert values.max() <= 1


def test_the_streams_are_those_promised(loaded, pixels):
    results = encode(loaded, pixels, [1], max_new_tokens=2)
    shapes = {name: tuple(states.shape) for streams, _ in results.values() for name, states in streams.items()}
    assert shapes == {
        "vision": (4, 4, 16),
        "vision_cls": (4, 4, 16),
        "perceiver": (4, 6, 16),
        "language_image": (4, 5, 32),
        "language": (4, 5, 32),
        "language_last": (4, 5, 32),
        "language_prompt": (4, 5, 32),
        "response": (4, 5, 32),
    }


@torch.inference_mode()
def own_states(loaded, pixels, number):
    """All hidden states of a whole prompt, (B, L, T, W), by the package's own forward."""
    config = loaded[0].lang_encoder.config
    config.output_hidden_states = True
    states = loaded[0](pixels[:, None, None], question(loaded, number, len(pixels))).hidden_states
    config.output_hidden_states = False
    return torch.stack(states, dim=1)


@torch.inference_mode()
def test_hidden_states_are_the_networks_own(loaded, pixels):
    model, results = loaded[0], encode(loaded, pixels, [6])
    visual = model.vision_encoder
    vision = [visual._embeds(pixels)]
    for block in visual.transformer.resblocks:
        vision.append(block(vision[-1]))
    latents = model.perceiver(visual(pixels)[1][:, None, None])
    states = own_states(loaded, pixels, 6)

    image_streams, prompt_streams = results[None][0], results[6][0]
    vision = torch.stack(vision, dim=1)
    own = slice(len("<image>Question:") - len("<image>") + 1, -len(" Answer:"))  # a token is a byte here
    torch.testing.assert_close(image_streams["vision"], vision.mean(dim=2), **CLOSE)
    torch.testing.assert_close(image_streams["vision_cls"], vision[:, :, 0], **CLOSE)
    torch.testing.assert_close(image_streams["perceiver"][:, -1], latents.mean(dim=(1, 2)), **CLOSE)
    torch.testing.assert_close(image_streams["language_image"], states[:, :, 0], **CLOSE)
    torch.testing.assert_close(prompt_streams["language"], states.mean(dim=2), **CLOSE)
    torch.testing.assert_close(prompt_streams["language_last"], states[:, :, -1], **CLOSE)
    torch.testing.assert_close(prompt_streams["language_prompt"], states[:, :, own].mean(dim=2), **CLOSE)


@torch.inference_mode()
def test_each_perceiver_layer_adds_its_attention_and_feedforward_to_the_last(loaded, pixels):
    model = loaded[0]
    patches = model.vision_encoder(pixels)[1][:, None]
    latents = model.perceiver.latents.expand(len(pixels), 1, -1, -1)
    layers = []
    for attention, feedforward in model.perceiver.layers:
        latents = latents + attention(patches, latents)
        latents = latents + feedforward(latents)
        layers.append(latents.mean(dim=(1, 2)))
    layers[-1] = model.perceiver.norm(latents).mean(dim=(1, 2))
    torch.testing.assert_close(encode(loaded, pixels, [])[None][0]["perceiver"], torch.stack(layers, dim=1), **CLOSE)


def test_nine_prompts_in_one_pass_equal_nine_runs(loaded, pixels):
    together = encode(loaded, pixels, PROMPTS, max_new_tokens=3)
    for number in PROMPTS:
        alone = encode(loaded, pixels, [number], max_new_tokens=3)
        assert_same(alone[number][0], together[number][0])
        assert alone[number][1] == together[number][1]


def test_an_image_alone_gives_what_it_gives_in_a_batch_in_any_order(loaded, pixels):
    batch = encode(loaded, pixels, [2], max_new_tokens=3)
    backwards = encode(loaded, pixels.flip(0), [2], max_new_tokens=3)
    for prompt, (streams, answers) in batch.items():
        assert_same({name: states.flip(0) for name, states in backwards[prompt][0].items()}, streams)
        assert backwards[prompt][1] == answers[::-1]
    for row in range(4):
        for prompt, (streams, answers) in encode(loaded, pixels[row : row + 1], [2], max_new_tokens=3).items():
            assert_same(streams, batch[prompt][0], slice(row, row + 1))
            assert answers == batch[prompt][1][row : row + 1]


@torch.inference_mode()
def test_answers_and_states_equal_generate_with_each_row_ending_on_its_own(loaded, pixels, monkeypatch):
    (model, processor), ids = loaded, question(loaded, 4, 4)
    settings = {"max_new_tokens": 8, "do_sample": False, "return_dict_in_generate": True}
    free = model.generate(pixels[:, None, None], ids, eos_token_id=NEVER, **settings).sequences[:, ids.shape[1] :]
    end = free[0, 2].item()  # so that the first row ends early
    monkeypatch.setattr(model.lang_encoder.generation_config, "eos_token_id", end)
    output = model.generate(pixels[:, None, None], ids, eos_token_id=end, output_hidden_states=True, **settings)
    steps = torch.stack([torch.stack([layer[:, -1] for layer in step], dim=1) for step in output.hidden_states])

    streams, answers = encode(loaded, pixels, [4], max_new_tokens=8)[4]
    lengths = set()
    for row, new in enumerate(output.sequences[:, ids.shape[1] :].tolist()):
        length = new.index(end) + 1 if end in new else len(new)
        lengths.add(length)
        said = new[: length - 1] if end in new else new
        assert answers[row] == processor.tokenizer.decode(said, skip_special_tokens=True)
        torch.testing.assert_close(streams["response"][row], steps[:length, row].mean(dim=0), **CLOSE)
    assert len(lengths) > 1


def test_an_answer_ends_at_the_end_of_chunk_and_of_text(loaded):
    language = loaded[0].lang_encoder
    ends = loaded[1].tokenizer.convert_tokens_to_ids(["<|endofchunk|>", "<|endoftext|>"])
    assert script.decoding.end_ids(language) == set(ends)


def test_a_read_leaves_no_image_in_the_network_even_where_it_fails(loaded, pixels):
    language = loaded[0].lang_encoder
    encode(loaded, pixels, [1])
    assert not language.is_conditioned()

    def fail(*_):
        raise MemoryError

    hook = language.transformer.blocks[2].register_forward_pre_hook(fail)
    with pytest.raises(MemoryError):
        encode(loaded, pixels, [1])
    hook.remove()
    assert not language.is_conditioned()


@torch.inference_mode()
def test_an_image_token_in_one_rows_answer_changes_no_other_row(loaded, pixels):
    def hidden_after(answers):
        _, prefix = script.encode_images(*loaded, pixels[:2], POOLINGS)
        for token in torch.tensor(answers).T:
            hidden = prefix.decoder.run(token[:, None], prefix.cache)
        return hidden[1]

    image = loaded[0].media_token_id
    torch.testing.assert_close(hidden_after([[image, 9], [5, 6]]), hidden_after([[8, 9], [5, 6]]), **CLOSE)


@torch.inference_mode()
def test_generate_reads_each_token_once(loaded, pixels):
    model, read = loaded[0], []
    hook = model.lang_encoder.transformer.wte.register_forward_hook(lambda _, ids, __: read.append(ids[0].shape[1]))
    ids = question(loaded, 1, 4)
    model.generate(pixels[:, None, None], ids, max_new_tokens=3, eos_token_id=NEVER)
    hook.remove()
    assert read == [ids.shape[1], 1, 1]


def test_the_image_part_and_the_image_token_are_computed_once_for_nine_prompts(loaded, pixels):
    model, seen, read = loaded[0], [], []
    hooks = [
        model.vision_encoder.register_forward_hook(lambda *_: seen.append("vision")),
        model.perceiver.register_forward_hook(lambda *_: seen.append("perceiver")),
        model.lang_encoder.transformer.wte.register_forward_hook(lambda _, ids, __: read.append(ids[0].shape[1])),
    ]
    encode(loaded, pixels, PROMPTS)
    for hook in hooks:
        hook.remove()
    assert sorted(seen) == ["perceiver", "vision"]
    assert read == [1, *(question(loaded, number, 1).shape[1] - 1 for number in PROMPTS)]


def run_script(*flags):
    return run_here(script.__file__, "-g", "cpu", *flags)


def test_the_command_line_extracts_from_a_folder_of_the_three_parts(folder, tmp_path):
    pictures_only = Recipe(subjects=(), n_shared=2, n_unique=4, n_sessions=1, image_size=32)
    write_dataset(tmp_path, lambda pictures: {}, pictures_only)
    done = run_script("-d", tmp_path, "--checkpoint", folder, "-p", 2, 5, "-b", 4, "--response", "--max-new-tokens", 3)
    assert done.returncode == 0, done.stderr
    stores = {n: EmbeddingStore(embeddings_folder(tmp_path, script.MODEL_ID, n)) for n in (None, 2, 5)}
    assert stores[None].streams() == {"perceiver": (6, 16), "vision": (4, 16)}
    assert stores[2].streams() == stores[5].streams() == {"language": (5, 32), "response": (5, 32)}
    assert len(stores[5].image_ids(["language", "response"])) == 6

    (tmp_path / "empty").mkdir()
    refused = run_script("-d", tmp_path, "--checkpoint", tmp_path / "empty", "-p", 1)
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1].startswith("openflamingo_9b.py: --checkpoint")
    assert "Traceback" not in refused.stderr


def test_an_untrained_one_is_drawn_by_its_seed_and_starts_with_closed_gates(folder, loaded, pixels):
    checkpoints = [Checkpoint(script.MODEL_ID, None, folder, seed) for seed in (0, 0, 1)]
    first, again, other = (script.load(checkpoint, "cpu", torch.float32) for checkpoint in checkpoints)
    weights = dict(first[0].state_dict())
    torch.testing.assert_close(dict(again[0].state_dict()), weights, rtol=0, atol=0)
    drawn = {name for name, tensor in weights.items() if tensor.ndim > 1 and tensor.std() > 0}
    for model in (loaded[0], other[0]):
        assert all(not torch.equal(model.state_dict()[name], weights[name]) for name in drawn)
    assert {"perceiver.latents", "vision_encoder.conv1.weight", "lang_encoder.transformer.wte.weight"} <= drawn
    results = encode(first, pixels, [1])
    assert results[None][0]["perceiver"].std(dim=0).min() > 0
    assert results[1][0]["language"].std(dim=0).max() < 1e-6


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_changes_nothing_with_the_order_of_prompts_or_images(folder, pixels, dtype):
    """The same shapes are rounded alike, so that states left over from another prompt or image would show."""
    half, order = script.load(Checkpoint(script.MODEL_ID, script.REVISION, folder), "cpu", dtype), [3, 0, 2, 1]
    pixels, same = pixels.to(dtype), {"rtol": 0, "atol": 0}
    found, last_first = encode(half, pixels, [1, 2, 3, 4], 4), encode(half, pixels, [4, 3, 2, 1], 4)
    for prompt, (streams, answers) in found.items():
        torch.testing.assert_close(streams, last_first[prompt][0], **same)
        assert answers == last_first[prompt][1]
    moved = encode(half, pixels[order], [])[None][0]
    torch.testing.assert_close(moved, {name: states[order] for name, states in found[None][0].items()}, **same)
    states = own_states(half, pixels, 1).float()
    difference = (found[1][0]["language_last"] - states[:, :, -1]).abs().amax(dim=(0, 2))
    assert (difference < 2 * torch.finfo(dtype).eps * states.abs().amax(dim=(0, 2, 3))).all()
