"""The generic vision-language script through its command line."""

import json
import re
import shutil

import numpy as np
import pytest
import tiny_vision_language
from scripts import load_script, run_here

from brain_activity_prediction.demo.dataset import write_dataset
from brain_activity_prediction.demo.simulation import Recipe
from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore
from brain_activity_prediction.storage.folders import embeddings_folder

SCRIPT = "vision_language_model.py"
PICTURES = Recipe(subjects=(), n_shared=3, n_unique=2, n_sessions=1, image_size=60)


@pytest.fixture(scope="module")
def llava(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint") / "llava"
    tiny_vision_language.write("llava", folder)
    return folder


@pytest.fixture
def nsd(tmp_path):
    write_dataset(tmp_path / "nsd", lambda pictures: {}, PICTURES)
    return tmp_path / "nsd"


def extract(nsd, checkpoint, *flags, script=SCRIPT, model_id="org/model"):
    flags = ("-d", nsd, "-m", model_id, "-g", "cpu", "--checkpoint", checkpoint, *flags)
    return run_here(script, *flags)


def stored(nsd, prompt, model_id="org/model"):
    store = EmbeddingStore(embeddings_folder(nsd, model_id, prompt))
    return {
        stream: np.stack([store.read_layer(stream, layer, store.image_ids([stream])) for layer in range(layers)])
        for stream, (layers, _) in store.streams().items()
    }


def test_a_model_id_is_all_that_a_user_gives(nsd, llava):
    done = extract(nsd, llava, "-p", 1, 2, "--response", "--max-new-tokens", 4, "--pooling", "mean", "last", "patch")
    assert done.returncode == 0, done.stderr
    assert set(stored(nsd, None)) == {"vision", "vision_patch", "projector"}
    assert set(stored(nsd, 2)) == {"language", "language_last", "response"}


def test_the_script_of_a_model_and_the_generic_one_give_the_same_numbers(nsd, llava, tmp_path):
    script = "llava_1.5_13b.py"
    poolings = ("-p", 1, 3, "--response", "--max-new-tokens", 4, "--pooling", "mean", "last", "image", "prompt")
    (tmp_path / "template.txt").write_text(load_script(script).TEMPLATE)
    template = ("--template", tmp_path / "template.txt")
    special = extract(nsd, llava, *poolings, script=script, model_id="org/special")
    generic = extract(nsd, llava, *poolings, *template, model_id="org/generic")
    assert special.returncode == generic.returncode == 0, special.stderr + generic.stderr
    for prompt in (None, 1, 3):
        expected = stored(nsd, prompt, "org/special")
        found = stored(nsd, prompt, "org/generic")
        assert expected.keys() <= found.keys()
        for stream, states in expected.items():
            np.testing.assert_allclose(found[stream], states, atol=1e-5 * np.abs(states).max())


def test_the_generic_script_continues_the_folder_of_a_model_s_own_script(nsd, llava, tmp_path):
    script = "llava_1.5_13b.py"
    (tmp_path / "template.txt").write_text(load_script(script).TEMPLATE)
    assert extract(nsd, llava, script=script).returncode == 0
    before = stored(nsd, 1)
    continued = extract(nsd, llava, "--template", tmp_path / "template.txt")
    assert continued.returncode == 0, continued.stderr
    np.testing.assert_array_equal(stored(nsd, 1)["language"], before["language"])


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (
            lambda folder: (folder / "config.json").write_text('{"model_type": "bert"}'),
            "does not know as a vision-lang",
        ),
        (lambda folder: (folder / "config.json").write_text('{"model_type": "pi0"}'), "movements of a robot"),
        (lambda folder: [path.unlink() for path in folder.glob("*processor*")], "processor"),
        (lambda folder: (folder / "chat_template.jinja").unlink(), "no chat template"),
        (lambda folder: (folder / "chat_template.jinja").write_text("{% if %}"), "chat template"),
        (lambda folder: (folder / "chat_template.jinja").write_text("{% set a = 1 %}no"), "does not write the prompt"),
        (lambda folder: (folder / "tokenizer.json").write_text("{}"), "tokenizer"),
        (lambda folder: shutil.rmtree(folder), "does not exist"),
        (lambda folder: change(folder, text_config={"max_position_embeddings": 20}), "has 20 positions"),
        (lambda folder: change(folder, quantization_config={"quant_method": "awq", "bits": 4}), "quantised"),
    ],
)
def test_a_wrong_checkpoint_is_one_line_before_anything_is_written(nsd, llava, tmp_path, spoil, expected):
    folder = tmp_path / "checkpoint"
    shutil.copytree(llava, folder)
    spoil(folder)
    assert_refused(extract(nsd, folder), nsd, expected)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--template", "none.txt"], "does not exist"),
        (["--pooling", "nose"], "invalid choice"),
    ],
)
def test_a_wrong_flag_is_one_line_before_anything_is_written(nsd, llava, flags, expected):
    assert_refused(extract(nsd, llava, *flags), nsd, expected)


def test_a_template_without_the_image_is_refused(nsd, llava, tmp_path):
    (tmp_path / "template.txt").write_text("USER: {prompt} ASSISTANT:")
    assert_refused(extract(nsd, llava, "--template", tmp_path / "template.txt"), nsd, "image")


def test_a_system_message_that_the_chat_template_leaves_out_is_refused(nsd, llava, tmp_path):
    template = "{% for message in messages if message.role == 'user' %}<image>{{ message.content[1].text }}{% endfor %}"
    (tmp_path / "template.jinja").write_text(template)
    flags = ("--template", tmp_path / "template.jinja")
    assert_refused(extract(nsd, llava, *flags, "--system", "Be brief."), nsd, "system message")
    assert extract(nsd, llava, *flags).returncode == 0


def test_a_template_without_the_prompt_is_refused(nsd, llava, tmp_path):
    (tmp_path / "template.txt").write_text("USER: <image> ASSISTANT:")
    assert_refused(extract(nsd, llava, "--template", tmp_path / "template.txt"), nsd, "{prompt}")


def change(folder, **values):
    config = json.loads((folder / "config.json").read_text())
    for name, value in values.items():
        config[name] = config.get(name, {}) | value
    (folder / "config.json").write_text(json.dumps(config))


def assert_refused(done, nsd, expected):
    assert done.returncode == 2
    last = done.stderr.strip().splitlines()[-1]
    assert re.search(re.escape(expected), last), done.stderr
    assert "Traceback" not in done.stderr
    assert not (nsd / "image_embeddings").exists()
