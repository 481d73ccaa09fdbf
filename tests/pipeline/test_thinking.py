"""A model that thinks before it answers: the answer and its states begin after the end of the thinking."""

import numpy as np
import pytest
import tiny_vision_language
import torch
import vision_language_reference as reference
from PIL import Image
from scripts import run_here

from brain_activity_prediction.demo.dataset import write_dataset
from brain_activity_prediction.demo.simulation import Recipe
from brain_activity_prediction.models.chat_template import Marks
from brain_activity_prediction.models.checkpoints.checkpoint import Checkpoint
from brain_activity_prediction.models.thinking import Thinking, say_closed, say_thought, thinking_until
from brain_activity_prediction.models.vision_language import model_script
from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore
from brain_activity_prediction.storage.folders import embeddings_folder

PROMPT, NEW_TOKENS, LONGEST = "What is in this picture?", 5, 9
NO_TOKEN, NO_MARK = 10**6, "no such text"
FORCED = [70, 71, 72]  # token ids that close thinking by force
PICTURES = Recipe(subjects=(), n_shared=2, n_unique=1, n_sessions=1, image_size=60)
THINKS = "{% if add_generation_prompt %}assistant: <think>\n{% endif %}"
IMAGES = [Image.fromarray(np.random.default_rng(row).integers(0, 255, (60, 60, 3), dtype=np.uint8)) for row in range(5)]


def picture_texts(model, reader, ends):
    """What each picture's own `generate` writes without thinking, up to any length of thinking."""
    return [reference.answer(model, inputs, ends, LONGEST + 3)[0] for inputs in inputs_of(reader)]


def inputs_of(reader):
    return [reference.inputs_of(reader.processor, reader.rendered(PROMPT), image) for image in IMAGES]


def token_at_different_steps(texts):
    """A token that the pictures' texts write at different steps, and some of them not at all or too late."""
    tokens = {token for text in texts for token in text}
    steps = {token: [text.index(token) if token in text else LONGEST + 3 for text in texts] for token in tokens}
    return max(steps, key=lambda token: (min(steps[token]) < LONGEST, len(set(steps[token])), -token))


def expected(model, inputs, ends, close):
    """Thinking by one `generate`, then the answer by another: `(ids, states (L, W), length of the thinking)`."""
    thought, _ = reference.answer(model, inputs, {*ends, close}, LONGEST + 1)
    closed = reference.answer(model, extended(inputs, thought), {NO_TOKEN}, 1)[0] == [close]
    read = [*thought, close] if closed and len(thought) <= LONGEST else [*thought[:LONGEST], *FORCED]
    ids, states = reference.answer(model, extended(inputs, read), ends, NEW_TOKENS)
    return ids, states, len(read)


def extended(inputs, ids):
    """The inputs of a text that goes on with more tokens, none of which is the image's."""
    more = dict(inputs)
    for name, fill in (("input_ids", ids), ("attention_mask", [1] * len(ids)), ("mm_token_type_ids", [0] * len(ids))):
        if name in inputs:
            more[name] = torch.cat([inputs[name], inputs[name].new_tensor([fill])], dim=1)
    return more


def read(script, network, reader, images):
    pixels = script.preprocess(reader, images).to("cpu", torch.float32)
    with torch.inference_mode():
        _, context = script.encode_images(network, reader, pixels, ["mean"])
        streams, answers = script.encode_prompt(network, reader, context, PROMPT, ["mean"], NEW_TOKENS)
    return streams["response"], answers


@pytest.mark.parametrize("family", ["llava", "qwen2_5_vl", "paligemma"])
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")
def test_rows_that_end_their_thinking_at_different_steps_are_those_of_generate(family, tmp_path):
    tiny_vision_language.write(family, tmp_path)
    script = model_script.script(Checkpoint("org/model", None, tmp_path), None, None, 0)
    network, reader = script.load(Checkpoint("org/model", None, tmp_path), "cpu", torch.float32)
    with torch.inference_mode():
        texts = picture_texts(network.model, reader, network.end_ids)
        close = token_at_different_steps(texts)
        late = next(text for text in texts if close not in text[:4])
        network.end_ids |= {late[3]}  # this picture's model ends before it closes its thinking
        wanted = [expected(network.model, inputs, network.end_ids, close) for inputs in inputs_of(reader)]
    lengths = {length for _, _, length in wanted}
    assert len(lengths) > 2
    assert LONGEST + len(FORCED) in lengths  # closed by force
    reader.thinking = Thinking(lambda thought: thought[-1] == close, FORCED, LONGEST)
    states, answers = read(script, network, reader, IMAGES)
    for row, (ids, mean, _) in enumerate(wanted):
        assert answers[row] == reader.tokenizer.decode(ids, skip_special_tokens=True).lstrip("\n")
        torch.testing.assert_close(states[row], mean, atol=1e-5 * float(mean.abs().max()), rtol=0)
    for row, image in enumerate(IMAGES):
        alone, (answer,) = read(script, network, reader, [image])
        assert answer == answers[row]
        torch.testing.assert_close(alone[0], states[row], atol=1e-5 * float(states.abs().max()), rtol=0)


@pytest.fixture(scope="module")
def llava(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint") / "llava"
    tiny_vision_language.write("llava", folder)
    return folder


def extract(tmp_path, checkpoint, *flags):
    if not (tmp_path / "nsd").exists():
        write_dataset(tmp_path / "nsd", lambda pictures: {}, PICTURES)
    where = ("-d", tmp_path / "nsd", "-m", "org/model", "-g", "cpu", "--checkpoint", checkpoint, "-p", 1)
    return run_here("vision_language_model.py", *where, "--response", "--max-new-tokens", 3, *flags)


def thinking_template(tmp_path, llava):
    """LLaVA's template with a `<think>` that it opens."""
    template = (llava / "chat_template.jinja").read_text().partition("{% if add_generation_prompt %}")[0] + THINKS
    (tmp_path / "thinks.jinja").write_text(template)
    return ("--template", tmp_path / "thinks.jinja")


def test_the_longest_thinking_is_recorded_and_compared(tmp_path, llava):
    flags = (*thinking_template(tmp_path, llava), "--thinking", "on", "--max-thinking-tokens")
    say_closed.cache_clear()  # the message comes once in a process
    done = extract(tmp_path, llava, *flags, 4)
    assert done.returncode == 0, done.stderr
    assert "did not end its thinking within 4 tokens" in done.stderr
    settings = EmbeddingStore(embeddings_folder(tmp_path / "nsd", "org/model", 1)).settings()
    assert settings["max_thinking_tokens"] == 4
    assert settings["template"].endswith("<think>\n")
    other = extract(tmp_path, llava, *flags, 5)
    assert other.returncode == 2
    assert "max_thinking_tokens = 4, but this run has 5" in other.stderr


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (("--thinking", "on"), "has no thinking mode: leave out --thinking on"),
        (("--max-thinking-tokens", 9), "has an effect only with --thinking on"),
    ],
)
def test_thinking_that_cannot_be_is_refused_before_anything_is_written(tmp_path, llava, flags, expected):
    done = extract(tmp_path, llava, *flags)
    assert done.returncode == 2
    assert expected in done.stderr
    assert not (tmp_path / "nsd" / "image_embeddings").exists()


def test_a_context_too_small_for_the_thinking_is_refused(tmp_path, llava):
    flags = (*thinking_template(tmp_path, llava), "--thinking", "on", "--max-thinking-tokens", 10**6)
    done = extract(tmp_path, llava, *flags)
    assert done.returncode == 2
    assert "of them for thinking, 3 of them for the answer" in done.stderr
    assert "or fewer --max-new-tokens or --max-thinking-tokens" in done.stderr


def test_answers_with_a_thought_that_nobody_asked_for_are_reported(llava, capsys):
    checkpoint = Checkpoint("org/model", None, llava)
    script = model_script.script(checkpoint, None, None, 0)
    network, reader = script.load(checkpoint, "cpu", torch.float32)
    say_thought.cache_clear()
    reader.marks = Marks("", NO_MARK)
    (answer,) = read(script, network, reader, IMAGES[:1])[1]
    assert "thinks before it answers" not in capsys.readouterr().err
    reader.marks = Marks("", answer[-1])
    read(script, network, reader, IMAGES[:1])
    assert "contain its thinking: to separate them, use --thinking on" in capsys.readouterr().err


@pytest.mark.parametrize("closing", ["</think>", "\n</think>\n\n", "◁/think▷"])
def test_a_mark_of_several_tokens_ends_the_thinking(llava, closing):
    tokenizer = Checkpoint("org/model", None, llava).tokenizer()
    thinking = thinking_until(tokenizer, closing, 5)
    ids = tokenizer(f"So. {closing}", add_special_tokens=False).input_ids
    last = len(ids) - (len(closing) - len(closing.rstrip()))
    assert next(n for n in range(1, len(ids) + 1) if thinking.closed(ids[:n])) == last
    assert ids[-len(thinking.closing) :] == thinking.closing
