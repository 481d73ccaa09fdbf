"""InstructBLIP and IDEFICS through the generic script, with the template of their own scripts."""

import numpy as np
import pytest
import tiny_models
import torch
from PIL import Image
from scripts import load_script, run_here

from brain_activity_prediction.demo.dataset import write_dataset
from brain_activity_prediction.demo.simulation import Recipe
from brain_activity_prediction.models.checkpoints.checkpoint import Checkpoint
from brain_activity_prediction.models.vision_language import model_script
from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore
from brain_activity_prediction.storage.folders import embeddings_folder

pytestmark = pytest.mark.slow
PICTURES = Recipe(subjects=(), n_shared=2, n_unique=1, n_sessions=1, image_size=60)
GENERIC = "vision_language_model.py"
WRITE = {
    "instruct_blip_13b.py": tiny_models.write_instruct_blip,
    "idefics_9b_instruct.py": tiny_models.write_idefics,
}


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """For each script a folder with its model, pictures, and its template as a file."""
    folder = tmp_path_factory.mktemp("special")
    for script, write in WRITE.items():
        write(folder / script / "model")
        write_dataset(folder / script / "nsd", lambda pictures: {}, PICTURES)
        (folder / script / "template.txt").write_text(load_script(script).TEMPLATE)
    return folder


def extract(place, script, model_id, *flags, new_tokens=6):
    where = ("-d", place / "nsd", "-m", model_id, "-g", "cpu", "--checkpoint", place / "model", "-p", 1, 3)
    poolings = ("--pooling", "mean", "last", "image", "prompt")
    return run_here(script, *where, *poolings, "--response", "--max-new-tokens", new_tokens, *flags)


def stored(place, prompt, model_id):
    store = EmbeddingStore(embeddings_folder(place / "nsd", model_id, prompt))
    states = {
        stream: np.stack([store.read_layer(stream, layer, store.image_ids([stream])) for layer in range(layers)])
        for stream, (layers, _) in store.streams().items()
    }
    return states, store.read_answers()


@pytest.mark.parametrize("script", WRITE)
def test_the_generic_script_gives_the_numbers_and_answers_of_a_model_s_own_script(script, places):
    place = places / script
    template = ("--template", place / "template.txt")
    for name, model_id, flags in ((script, "org/special", ()), (GENERIC, "org/generic", template)):
        done = extract(place, name, model_id, *flags)
        assert done.returncode == 0, done.stderr
    for prompt in (None, 1, 3):
        (expected, answers), (found, others) = (stored(place, prompt, f"org/{one}") for one in ("special", "generic"))
        assert answers == others
        assert expected.keys() - found.keys() <= {"qformer", "qformer_image", "qformer_prompt", "perceiver"}
        for stream in expected.keys() & found.keys():
            scale = np.abs(expected[stream]).max()
            np.testing.assert_allclose(found[stream], expected[stream], atol=1e-5 * scale, rtol=0)


@pytest.mark.parametrize("script", WRITE)
def test_the_generic_script_continues_the_folder_of_a_model_s_own_script(script, places):
    place = places / script
    assert extract(place, script, "org/continued").returncode == 0
    before, _ = stored(place, 1, "org/continued")
    done = extract(place, GENERIC, "org/continued", "--template", place / "template.txt")
    assert done.returncode == 0, done.stderr
    after, _ = stored(place, 1, "org/continued")
    np.testing.assert_array_equal(after["language"], before["language"])


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("<s>User: {prompt}\nAssistant:", "0 places for the image"),
        ("<image><image>{prompt}", "2 places for the image"),
        ("<s>User:<image>{prompt}", "changes the text"),
        ("<s>User: <image> {prompt}", "leaves out spaces next to these"),
    ],
)
def test_a_template_that_idefics_processor_would_change_is_refused(template, expected, places, tmp_path):
    (tmp_path / "template.txt").write_text(template)
    done = extract(places / "idefics_9b_instruct.py", GENERIC, "org/refused", "--template", tmp_path / "template.txt")
    assert done.returncode == 2
    assert expected in done.stderr
    assert not embeddings_folder(places / "idefics_9b_instruct.py" / "nsd", "org/refused", 1).exists()


def test_idefics_never_answers_with_the_tokens_of_an_image(places):
    place = places / "idefics_9b_instruct.py"
    checkpoint = Checkpoint("org/model", None, place / "model")
    script = model_script.script(checkpoint, (place / "template.txt").read_text(), None, 0)
    network, reader = script.load(checkpoint, "cpu", torch.float32)
    image = [checkpoint.tokenizer().convert_tokens_to_ids(name) for name in ("<image>", "<fake_token_around_image>")]

    def answer():
        pixels = script.preprocess(reader, [Image.new("RGB", (60, 60), "teal")]).to("cpu", torch.float32)
        with torch.inference_mode():
            _, context = script.encode_images(network, reader, pixels, ["mean"])
            return script.encode_prompt(network, reader, context, "What is this?", ["mean"], 4)[1]

    wanted = answer()
    likely = torch.zeros(network.model.lm_head.weight.shape[0] + 3).index_fill(0, torch.tensor(image), 1e6)
    with network.model.lm_head.register_forward_hook(lambda module, inputs, logits: logits + likely):
        assert answer() == wanted
