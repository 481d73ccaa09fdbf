"""Vision networks of transformers with published settings, but with one narrow layer and random weights."""

import torch

from brain_activity_prediction.models.library_imports import import_torchvision

import_torchvision()  # before the libraries that need it
import timm  # noqa: E402, F401
import transformers as hf  # noqa: E402
from vision_table import NORM_OF_CLASS_TOKEN, PATCHES  # noqa: E402

# Sizes of the networks; patch size, image size and learned tokens are the defaults of each class.
NARROW = {"hidden_size": 32, "intermediate_size": 32, "num_attention_heads": 2, "num_hidden_layers": 1}


def after_norm(model, output):
    """Return the last layer's states after the final norm, as the class applies it."""
    if type(model).__name__ in NORM_OF_CLASS_TOKEN:
        return getattr(model, "vision_model", model).post_layernorm(output.last_hidden_state)
    return output.last_hidden_state


STAGES = {"depths": [1] * 4, "num_heads": [2] * 4, "embed_dim": 16}
SETTINGS = {
    **{name: STAGES for name in PATCHES if "Swin" in name or name == "HieraModel"},
    "FocalNetModel": {"depths": [1] * 4, "embed_dim": 16},
    "DINOv3ViTModel": {"num_register_tokens": 4},  # as published, unlike the class's default
    "Llama4VisionModel": {"intermediate_size": 128, "projector_input_dim": 32, "projector_output_dim": 32},
    "Sapiens2Model": {"num_key_value_heads_per_layer": [2]},
    "Swin2SRModel": {"depths": [1], "num_heads": [2], "embed_dim": 16},
}


def network(name):
    """Return one narrow layer of a class with default sizes of images and patches, and random parameters."""
    model_class = getattr(hf, name)
    default = model_class.config_class()
    narrow = {key: value for key, value in NARROW.items() if isinstance(getattr(default, key, None), int)}
    config = model_class.config_class(**narrow | SETTINGS.get(name, {}))
    return random_weights(model_class(config).eval())


def random_weights(model):
    """Set every parameter of a model to a random value, none of them zero."""
    torch.manual_seed(0)
    with torch.no_grad():
        for key, values in model.named_parameters():
            values.normal_(1.0 if "norm" in key else 0.0, 0.1)
    return model


def image_sides(config):
    """Return the height and width of the images that a network expects."""
    sides = getattr(config, "image_size", None) or 224
    return tuple(sides) if isinstance(sides, list | tuple) else (sides, sides)
