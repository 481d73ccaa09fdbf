import json
import shutil
import sys

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from scripts import load_script

from brain_activity_prediction.demo import models
from brain_activity_prediction.models.checkpoints.checkpoint import Checkpoint
from brain_activity_prediction.models.library_imports import import_torchvision
from brain_activity_prediction.runtime.errors import InputError

pytestmark = pytest.mark.slow

SCRIPT = "llava_1.5_13b.py"
MODEL_ID = "llava-hf/llava-1.5-13b-hf"
POOLINGS = ("mean", "last", "image", "prompt", "cls")


@pytest.fixture(scope="module")
def llava(tmp_path_factory):
    import_torchvision()
    folder = tmp_path_factory.mktemp("llava")
    models.write_llava(folder, num_hidden_layers=3)
    return folder


@pytest.fixture
def own_llava(llava, tmp_path):
    return shutil.copytree(llava, tmp_path / "checkpoint")


def states(checkpoint, change=lambda model: model):
    """All streams of three plain images under one prompt, with an answer."""
    script = load_script(SCRIPT)
    model, processor = script.load(checkpoint, "cpu", torch.float32)
    model = change(model)
    images = [Image.new("RGB", (40, 40), colour) for colour in ("red", "gold", "navy")]
    with torch.inference_mode():
        streams, context = script.encode_images(model, processor, script.preprocess(processor, images), POOLINGS)
        of_prompt, answers = script.encode_prompt(model, processor, context, "What is it?", POOLINGS, 5)
    return streams | of_prompt, answers


def assert_same(one, other):
    assert one[1] == other[1]
    assert one[0].keys() == other[0].keys()
    for name in one[0]:
        torch.testing.assert_close(one[0][name], other[0][name])


def test_a_folder_without_weights_is_refused_before_anything_is_imported(own_llava):
    (own_llava / "model.safetensors").unlink()
    with pytest.raises(InputError, match="holds no weights"):
        Checkpoint(MODEL_ID, folder=own_llava).check()


def test_parameters_that_are_missing_are_never_drawn_at_random(own_llava):
    tensors = load_file(own_llava / "model.safetensors")
    lost = next(name for name in sorted(tensors) if "down_proj" in name)
    del tensors[lost]
    save_file(tensors, own_llava / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match="lacks 1 of the parameters of LlavaForConditionalGeneration"):
        states(Checkpoint(MODEL_ID, folder=own_llava))


@pytest.mark.parametrize("text", ["{", "<html>", '{"model_type": "llava", "text_config": {"hidden_size": "wide"}}'])
def test_a_configuration_that_makes_no_sense_is_one_line(own_llava, text):
    (own_llava / "config.json").write_text(text)
    with pytest.raises(InputError, match="could not be loaded") as refused:
        states(Checkpoint(MODEL_ID, folder=own_llava))
    assert "\n" not in str(refused.value)


def test_the_identity_follows_weights_configuration_and_tokenizer_not_the_folder(llava, own_llava):
    before = Checkpoint(MODEL_ID, folder=llava).identity()
    assert Checkpoint(MODEL_ID, folder=own_llava).identity() == before
    seen = {before}
    config = json.loads((own_llava / "config.json").read_text())
    (own_llava / "config.json").write_text(json.dumps(config | {"vision_feature_layer": -1}))
    seen.add(Checkpoint(MODEL_ID, folder=own_llava).identity())
    (own_llava / "tokenizer.model").write_bytes(b"pieces")
    seen.add(Checkpoint(MODEL_ID, folder=own_llava).identity())
    weights = bytearray((own_llava / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (own_llava / "model.safetensors").write_bytes(weights)
    seen.add(Checkpoint(MODEL_ID, folder=own_llava).identity())
    assert len(seen) == 4


def test_a_model_placed_by_accelerate_gives_the_same_states(llava):
    assert_same(
        states(Checkpoint(MODEL_ID, folder=llava)), states(Checkpoint(MODEL_ID, folder=llava, device_map="auto"))
    )


def test_layers_whose_weights_come_from_elsewhere_when_needed_give_the_same_states(llava, tmp_path):
    """Weights offloaded to disk stand on the meta device between calls, as those beyond a GPU's memory would."""
    from accelerate import disk_offload

    def offload(model):
        disk_offload(model, tmp_path, execution_device=torch.device("cpu"))
        assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
        return model

    checkpoint = Checkpoint(MODEL_ID, folder=llava)
    assert_same(states(checkpoint), states(checkpoint, offload))


def test_quantising_without_bitsandbytes_says_how_to_get_it(llava, monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install bitsandbytes"):
        Checkpoint(MODEL_ID, folder=llava, quantize="4bit").check()


@pytest.mark.parametrize(("bits", "wanted"), [("8bit", (True, False)), ("4bit", (False, True))])
def test_bitsandbytes_is_told_the_bits_and_the_device_and_nothing_is_moved_again(llava, bits, wanted, monkeypatch):
    """The library itself needs a GPU; this is what it would be asked for."""
    given = {}

    class Model:
        @classmethod
        def from_pretrained(cls, source, **settings):
            given.update(settings)
            return cls(), {"missing_keys": []}

        @classmethod
        def from_config(cls, config):
            return torch.nn.Linear(1, 1)

        def eval(self):
            return self

    Checkpoint(MODEL_ID, folder=llava, quantize=bits).model(Model, "cuda:1", torch.float16)
    config = given["quantization_config"]
    assert (config.load_in_8bit, config.load_in_4bit) == wanted
    assert config.bnb_4bit_compute_dtype == torch.float16
    assert given["device_map"] == {"": "cuda:1"}
