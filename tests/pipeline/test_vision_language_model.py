"""The generic vision-language script through its command line."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest
import tiny_vision_language
from scripts import PACKAGE, load_script, run, run_here

from brain_activity_prediction.cli.model_names import script_of_id
from brain_activity_prediction.demo.dataset import write_dataset
from brain_activity_prediction.demo.simulation import Recipe
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore
from brain_activity_prediction.storage.folders import embeddings_folder
from brain_activity_prediction.sweep.planning.plan import make_plan
from brain_activity_prediction.sweep.sweep import read_settings

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


@pytest.mark.very_slow
def test_bap_finds_the_script_of_any_model_id(nsd, llava):
    done = run(PACKAGE / "cli" / "main.py", "extract", "org/model", "-d", nsd, "-g", "cpu", "--checkpoint", llava)
    assert done.returncode == 0, done.stderr
    assert stored(nsd, 1)["language"].any()


def test_a_sweep_takes_ids_next_to_scripts_and_untrained_twins(nsd, llava, tmp_path):
    checkpoints = tmp_path / "checkpoints"
    shutil.copytree(llava, checkpoints / "org_model")
    models = ("--models", "org/model", "vit_huge_patch14_224_in21k", "--with-untrained", "--checkpoints", checkpoints)
    (checkpoints / "vit_huge_patch14_224_in21k").mkdir()
    settings = read_settings(["plan", "-d", str(nsd), "-s", "1", "-p", "1", "-g", "cpu", *map(str, models)])
    names = {unit.name: unit.command for unit in make_plan(settings).units if unit.stage == "extract"}
    assert list(names) == [
        f"extract_{name}_1_of_1"
        for name in (
            "org_model",
            "org_model-untrained",
            "vit_huge_patch14_224_in21k",
            "vit_huge_patch14_224_in21k-untrained",
        )
    ]
    command = names["extract_org_model-untrained_1_of_1"]
    assert command[1].endswith("vision_language_model.py")
    done = subprocess.run([*command, "-g", "cpu"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert stored(nsd, 1, "org/model-random-0")["language"].any()


def test_a_script_of_many_models_is_no_model_of_a_sweep(nsd):
    settings = read_settings(["plan", "-d", str(nsd), "-g", "cpu", "--models", "vision_language_model"])
    with pytest.raises(InputError, match="give --models a model's id"):
        make_plan(settings)


@pytest.mark.parametrize(
    ("config", "script"),
    [
        ({"model_type": "qwen2_5_vl"}, "vision_language_model"),
        ({"model_type": "dinov2", "patch_size": 14}, "vision_model"),
        ({"model_type": "clip", "vision_config": {}}, "vision_model"),
        ({"architecture": "resnet18", "num_classes": 1000, "pretrained_cfg": {"tag": "a1_in1k"}}, "vision_model"),
    ],
)
def test_the_kind_of_a_model_names_its_script(tmp_path, config, script):
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert script_of_id("org/any", tmp_path).stem == script


def test_a_model_of_text_alone_is_sent_to_its_own_script(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(InputError, match=r"run text_model\.py"):
        script_of_id("org/any", tmp_path)
