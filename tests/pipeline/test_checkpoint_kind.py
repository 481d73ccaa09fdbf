"""The right checkpoint or none: another kind of model, surplus parameters and adapters are refused by name."""

import shutil

import pytest
import torch
from PIL import Image
from published_models import BLIP, PUBLISHED, WRITE, needs_published, read, write_json
from safetensors.torch import load_file, save_file
from scripts import load_script, run_here

from brain_activity_prediction.demo.models import write_llava, write_vit
from brain_activity_prediction.models.checkpoints.checkpoint import Checkpoint
from brain_activity_prediction.models.library_imports import import_torchvision
from brain_activity_prediction.runtime.errors import InputError

pytestmark = pytest.mark.slow
LLAVA = next(iter(WRITE))
VIT = "vit_huge_patch14_224_in21k.py"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    import_torchvision()
    folder = tmp_path_factory.mktemp("saved")
    write_llava(folder / "llava", num_hidden_layers=2)
    write_vit(folder / "vit", num_hidden_layers=2)
    return folder


@pytest.fixture
def llava(saved, tmp_path):
    return shutil.copytree(saved / "llava", tmp_path / "llava")


@pytest.fixture
def vit(saved, tmp_path):
    return shutil.copytree(saved / "vit", tmp_path / "vit")


def change(path, **values):
    write_json(path, read(path) | values)


def refused(script, folder, base_dir, *more):
    done = run_here(script, "-d", base_dir, "-g", "cpu", "--checkpoint", folder, *more)
    assert done.returncode == 2, done.stderr
    assert not (base_dir / "image_embeddings").exists()
    return done.stderr.splitlines()[-1]


def load(script, folder):
    script = load_script(script)
    return script.load(Checkpoint(script.MODEL_ID, None, folder), "cpu", torch.float32)


@pytest.mark.parametrize("other", ["vipllava", "llava_next"])
def test_a_relative_of_llava_is_refused_by_its_kind(other, llava, own_nsd):
    change(llava / "config.json", model_type=other)
    said = refused(LLAVA, llava, own_nsd)
    assert f"{llava} is a {other} model, but this script reads llava" in said


def test_an_adapter_is_refused_before_anything_else(llava, own_nsd):
    write_json(llava / "adapter_config.json", {"base_model_name_or_path": "llava-hf/llava-1.5-13b-hf"})
    (llava / "config.json").unlink()
    assert "holds an adapter (adapter_config.json): merge it into its base model" in refused(LLAVA, llava, own_nsd)


def test_parameters_that_the_class_does_not_have_are_refused_by_name(llava, own_nsd):
    tensors = load_file(llava / "model.safetensors")
    name = "language_model.model.layers.2.mlp.up_proj.weight"
    own = next(key for key in tensors if key.endswith("layers.1.mlp.up_proj.weight") and "language_model" in key)
    save_file(tensors | {name: tensors[own].clone()}, llava / "model.safetensors", metadata={"format": "pt"})
    assert "holds 1 parameters that LlavaForConditionalGeneration does not have" in refused(LLAVA, llava, own_nsd)


def test_more_layers_than_the_configuration_says_are_refused(vit, own_nsd):
    tensors = load_file(vit / "model.safetensors")
    surplus = {
        key.replace("layer.1.", "layer.2."): tensor.clone() for key, tensor in tensors.items() if "layer.1." in key
    }
    assert surplus
    save_file(tensors | surplus, vit / "model.safetensors", metadata={"format": "pt"})
    assert f"holds {len(surplus)} parameters that ViTModel does not have" in refused(VIT, vit, own_nsd)


def test_constants_that_older_versions_saved_are_left_out(vit):
    expected, tensors = load(VIT, vit)[0].state_dict(), load_file(vit / "model.safetensors")
    former = {"encoder.layer.0.attention.masked_bias": torch.tensor(-1e4)}
    save_file(tensors | former, vit / "model.safetensors", metadata={"format": "pt"})
    for name, tensor in load(VIT, vit)[0].state_dict().items():
        assert torch.equal(expected[name], tensor)


def test_the_head_of_a_classifier_is_left_out_of_a_backbone(vit):
    from transformers import ViTConfig, ViTForImageClassification

    expected = load(VIT, vit)[0].state_dict()
    classifier = ViTForImageClassification(ViTConfig.from_pretrained(vit)).eval()
    backbone = {name: tensor for name, tensor in expected.items() if not name.startswith("pooler")}
    classifier.vit.load_state_dict(backbone)
    classifier.save_pretrained(vit)
    model, _ = load(VIT, vit)
    for name, tensor in backbone.items():
        assert torch.equal(model.state_dict()[name], tensor)


def test_llava_without_its_image_token_is_refused_before_a_model_is_loaded(llava, own_nsd):
    text = (llava / "tokenizer.json").read_text().replace("<image>", "<picture>")
    (llava / "tokenizer.json").write_text(text)
    for path in llava.glob("*token*config.json"):
        path.unlink()
    assert "has no special token <image>" in refused(LLAVA, llava, own_nsd)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("special_tokens_map.json", [1]),
        ("added_tokens.json", {"<new>": [1]}),
        ("tokenizer_config.json", {"added_tokens_decoder": [1]}),
        ("tokenizer_config.json", {"added_tokens_decoder": {"a": 1}}),
    ],
)
def test_malformed_settings_of_a_tokenizer_are_one_line(name, content, llava, own_nsd):
    write_json(llava / name, content)
    said = refused(LLAVA, llava, own_nsd)
    assert f"the tokenizer of {llava} " in said or f"{llava / name} is not a JSON object" in said
    assert "Traceback" not in said


@needs_published
def test_instruct_blip_7bs_settings_for_videos_give_the_same_pixels(tmp_path):
    from transformers import BlipImageProcessorPil

    folders = [shutil.copytree(BLIP, tmp_path / name) for name in ("13b", "7b")]
    video = {"image_processor_type": "InstructBlipVideoImageProcessor", "processor_class": "InstructBlipVideoProcessor"}
    change(folders[1] / "preprocessor_config.json", **video)
    first, second = (Checkpoint("org/model", None, folder).processor(BlipImageProcessorPil) for folder in folders)
    assert first.to_dict().keys() == second.to_dict().keys()
    assert first.size == second.size
    assert first.image_mean == second.image_mean


@needs_published
def test_a_processor_with_a_part_for_videos_loads_with_its_images_through_pillow():
    from transformers import AutoProcessor

    processor = Checkpoint("org/model", None, PUBLISHED / "Qwen__Qwen2.5-VL-7B-Instruct").processor(AutoProcessor)
    assert type(processor.image_processor).__name__ == "Qwen2VLImageProcessorPil"
    inputs = processor.image_processor([Image.new("RGB", (425, 425))], return_tensors="pt")
    assert inputs["image_grid_thw"].tolist() == [[1, 30, 30]]  # 225 tokens of 2 x 2 patches


def test_a_model_without_any_special_kind_is_told_apart_by_its_parameters(llava):
    change(llava / "config.json", architectures=["LlavaLlamaForCausalLM"])
    tensors = {f"model.{name}": tensor for name, tensor in load_file(llava / "model.safetensors").items()}
    save_file({f"other.{name}": tensor for name, tensor in tensors.items()}, llava / "model.safetensors")
    with pytest.raises(InputError, match="of the parameters of LlavaForConditionalGeneration"):
        load(LLAVA, llava)
