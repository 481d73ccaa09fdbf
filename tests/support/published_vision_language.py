"""Vision-language models from the folders of `../shared/published`: their own vocabulary, processor and chat template.

Sizes in config.json are reduced, and weights are random.
"""

import shutil

from published_models import PUBLISHED, read, save_as_published

from brain_activity_prediction.models.library_imports import import_torchvision

import_torchvision()

SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4}
TEXT = {**SIZES, "num_key_value_heads": 2}
QWEN_TOWER = {"depth": 3, "hidden_size": 32, "intermediate_size": 48, "num_heads": 4, "out_hidden_size": 32}
SHRUNK = {  # folder: (sizes at the top of config.json, sizes of each part)
    "llava-hf__llava-1.5-7b-hf": ({}, {"text_config": TEXT, "vision_config": SIZES}),
    "HuggingFaceTB__SmolVLM-256M-Instruct": (
        {},
        {"text_config": {**TEXT, "head_dim": 8}, "vision_config": SIZES},
    ),
    "Qwen__Qwen2.5-VL-7B-Instruct": (
        {**TEXT, "rope_scaling": {"type": "mrope", "mrope_section": [1, 1, 2]}},
        {"vision_config": {**QWEN_TOWER, "fullatt_block_indexes": [1]}},
    ),
}


def write(name, folder):
    """Write the small files as published, a shrunk configuration, and random weights of the real class."""
    from transformers import AutoConfig, AutoModelForImageTextToText

    shutil.copytree(PUBLISHED / name, folder)
    config = read(folder / "config.json")
    top, parts = SHRUNK[name]
    config |= top
    for part, sizes in parts.items():
        config[part] |= sizes
    model = AutoModelForImageTextToText.from_config(AutoConfig.for_model(**config))
    save_as_published(model, folder, config)
