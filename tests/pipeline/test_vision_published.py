"""Published folders of vision networks, shrunk: each image's patches, and the states that the class itself gives."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from published_models import PUBLISHED, needs_published
from scripts import load_script
from vision_networks import hf, random_weights

from brain_activity_prediction.models.checkpoints.checkpoint import Checkpoint

pytestmark = [pytest.mark.slow, needs_published]

SMALL = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
TEXT = {**SMALL, "num_key_value_heads": 2, "head_dim": 8, "vocab_size": 99}
QWEN = {"hidden_size": 16, "depth": 2, "num_heads": 2, "intermediate_size": 24, "out_hidden_size": 16}
FOLDERS = {  # folder: (class, patches of a picture of 425 x 425 pixels, its other tokens)
    "facebook__dinov2-with-registers-base": ("Dinov2WithRegistersModel", 256, 5),
    "google__siglip2-base-patch16-naflex": ("Siglip2Model", 256, 0),
    "openai__clip-vit-large-patch14": ("CLIPModel", 256, 1),
    "llava-hf__llava-1.5-7b-hf": ("LlavaForConditionalGeneration", 576, 1),
    "Qwen__Qwen2.5-VL-7B-Instruct": ("Qwen2_5_VLForConditionalGeneration", 900, 0),
    "Qwen__Qwen3-VL-4B-Thinking": ("Qwen3VLForConditionalGeneration", 676, 0),
}


def shrunk(folder, name):
    """A published folder with small sizes in its configuration, and random weights."""
    shutil.copytree(PUBLISHED / name, folder)
    path = folder / "config.json"
    config = json.loads(path.read_text()) if path.exists() else {"vision_config": {"patch_size": 14}}
    model_class = getattr(hf, FOLDERS[name][0])
    vision = QWEN | {"fullatt_block_indexes": [1], "deepstack_visual_indexes": [0]} if "Qwen" in name else SMALL
    if "vision_config" in config:
        config["vision_config"] |= vision
        config["text_config"] = config.get("text_config", {}) | TEXT
        config |= {key: value for key, value in TEXT.items() if key in config}
    else:
        config |= vision
    for key in ("dtype", "torch_dtype", "out_features", "out_indices", "stage_names"):
        config.pop(key, None)
    model = random_weights(model_class(model_class.config_class(**config)).eval())
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize("name", FOLDERS)
def test_a_published_folder_gives_the_patches_of_its_own_processor(name, tmp_path):
    _, n_patches, n_others = FOLDERS[name]
    model = shrunk(tmp_path / "folder", name)
    checkpoint = Checkpoint("org/model", None, tmp_path / "folder")
    script, of_cells = (load_script("vision_model.py").script("org/model", grid, ["mean", "patch"]) for grid in (1, 2))
    network, processor = script.load(checkpoint, "cpu", torch.float32)
    pixels = np.random.default_rng(0).integers(0, 256, (425, 425, 3), dtype=np.uint8)
    inputs = script.preprocess(processor, [Image.fromarray(pixels)])
    with torch.inference_mode():
        streams, _ = script.encode_images(network, processor, inputs, ["mean", "patch"])
        cells = of_cells.encode_images(of_cells.load(checkpoint, "cpu", torch.float32)[0], processor, inputs, ["mean"])
        tower = next(part for part in model.modules() if type(part) is type(network.network))
        own = hf.AutoImageProcessor.from_pretrained(tmp_path / "folder", backend="pil")(
            Image.fromarray(pixels), return_tensors="pt"
        )
        named = {"grid_thw": own.pop("image_grid_thw")} if "Qwen" in name else {}
        states = tower(own.pop("pixel_values"), **named, **own, output_hidden_states=True).hidden_states
    for layer, hidden in enumerate(states):
        tokens = hidden.reshape(-1, hidden.shape[-1])
        assert len(tokens) == n_patches + n_others
        for stream, kept in (("vision", tokens), ("vision_patch", tokens[n_others:])):
            np.testing.assert_allclose(streams[stream][0, layer], kept.mean(dim=0), rtol=1e-4, atol=1e-5)
    quarters = cells[0]["vision_grid2"].unflatten(2, (-1, 4))  # as large as each other
    np.testing.assert_allclose(quarters.mean(dim=3), streams["vision_patch"], rtol=1e-4, atol=1e-5)
