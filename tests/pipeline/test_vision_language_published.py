"""The generic script reads published folders of vision-language models as transformers itself does."""

from pathlib import Path

import pytest
import torch
import vision_language_batch
import vision_language_reference as reference
from published_models import LLAVA, needs_published
from published_vision_language import SHRUNK, write
from scripts import run

pytestmark = needs_published
POOLINGS = ("mean", "last", "image", "prompt")
NEW_TOKENS = 6
TOLERANCE = 1e-5  # of a layer's largest state


SMOLVLM = pytest.param("HuggingFaceTB__SmolVLM-256M-Instruct", marks=pytest.mark.exhaustive)  # 17 tiles a picture


@pytest.fixture(scope="module", params=[*(name for name in SHRUNK if name not in SMOLVLM.values), SMOLVLM])
def read(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("published") / request.param
    write(request.param, folder)
    return vision_language_batch.read(folder, POOLINGS, NEW_TOKENS)


def assert_equal(found, expected, scale):
    assert float(((found - expected).abs() / scale).max()) < TOLERANCE


def test_language_states_are_those_of_one_image_at_a_time_without_a_cache(read):
    network, reader = read.network, read.reader
    for prompt, streams, _, inputs in read.each():
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
    network, reader = read.network, read.reader
    for _, streams, answer, inputs in read.each():
        with torch.inference_mode():
            ids, states = reference.answer(network.model, inputs, network.end_ids, NEW_TOKENS)
        assert answer == reader.tokenizer.decode(ids, skip_special_tokens=True)
        assert_equal(streams["response"], states, states.abs().max(dim=1, keepdim=True).values)


def test_vision_states_are_those_of_the_tower(read):
    for row in range(len(read.images)):
        with torch.inference_mode():
            states = reference.tower(read.network.model, read.inputs(row))
        found = read.streams["vision"][row, : len(states)]
        assert_equal(found, states, states.abs().amax(dim=1, keepdim=True))


def test_the_projector_is_what_enters_the_language_model(read):
    for row in range(len(read.images)):
        with torch.inference_mode():
            features = reference.projected(read.network.model, read.inputs(row))
        assert_equal(read.streams["projector"][row], features, features.abs().max())


def test_all_prompts_share_one_pass_over_the_image(read):
    assert read.network.cached


def test_clip_s_class_token_and_patches_are_apart(tmp_path):
    write(LLAVA.name, tmp_path / "llava")
    batch = vision_language_batch.read(tmp_path / "llava", ("mean", "cls", "patch"), 0)
    tower, pixels = batch.network.model.model.vision_tower, batch.inputs(0)["pixel_values"]
    with torch.inference_mode():
        states = torch.stack(tower(pixels, output_hidden_states=True).hidden_states)[:, 0]  # (L, T, W)
    for name, tokens in (("vision_cls", slice(0, 1)), ("vision_patch", slice(1, None))):
        expected = states[:, tokens].mean(dim=1)
        assert_equal(batch.streams[name][0], expected, states.abs().amax(dim=(1, 2))[:, None])


@pytest.mark.very_slow
def test_the_example_of_the_documentation_is_what_a_test_run_prints(own_nsd, tmp_path):
    write("Qwen__Qwen2.5-VL-7B-Instruct", tmp_path / "qwen")
    flags = [
        "-m",
        "Qwen/Qwen2.5-VL-7B-Instruct",
        "--checkpoint",
        tmp_path / "qwen",
        "-s",
        1,
        "-p",
        1,
        "-b",
        8,
        "-g",
        "cpu",
    ]
    done = run("vision_language_model.py", "-d", own_nsd, *flags, "--response", "--max-new-tokens", 8, "--test-run")
    assert done.returncode == 0, done.stderr
    page = (Path(__file__).resolve().parents[2] / "docs/example_qwen.md").read_text()
    shown = [line.strip() for line in page.split("```text")[1].split("```")[0].splitlines() if line.strip()]
    printed = [line.strip() for line in (done.stdout + done.stderr).splitlines()]
    assert len(shown) > 10
    assert [line for line in shown if line not in printed] == []
