"""The vision networks of transformers as published, but with one narrow layer and random weights.

`PATCHES` lists the learned tokens of each class, `OTHERS` what the other classes of image models give.
"""

import torch

from brain_activity_prediction.models.torchvision_import import import_torchvision

import_torchvision()  # before what needs it
import timm  # noqa: E402, F401
import transformers as hf  # noqa: E402

# Sizes of the networks; patch size, image size and learned tokens are the defaults of each class.
NARROW = {"hidden_size": 32, "intermediate_size": 32, "num_attention_heads": 2, "num_hidden_layers": 1}

# Class: learned tokens before and after the patches of the image.
PATCHES = {
    "Aimv2VisionModel": (0, 0),
    "AltCLIPVisionModel": (1, 0),
    "BeitModel": (1, 0),
    "Blip2VisionModel": (1, 0),
    "BlipVisionModel": (1, 0),
    "CLIPSegVisionModel": (1, 0),
    "CLIPVisionModel": (1, 0),
    "ChineseCLIPVisionModel": (1, 0),
    "DINOv3ViTModel": (5, 0),
    "DPTModel": (1, 0),
    "Data2VecVisionModel": (1, 0),
    "DeiTModel": (2, 0),
    "Dinov2Model": (1, 0),
    "Dinov2WithRegistersModel": (5, 0),
    "DonutSwinModel": (0, 0),
    "FlavaImageModel": (1, 0),
    "FocalNetModel": (0, 0),
    "GitVisionModel": (1, 0),
    "HieraModel": (0, 0),
    "IJepaModel": (0, 0),
    "InstructBlipVisionModel": (1, 0),
    "InternVLVisionModel": (1, 0),
    "JanusVisionModel": (0, 0),
    "LevitModel": (0, 0),
    "Llama4VisionModel": (0, 1),
    "MLCDVisionModel": (1, 0),
    "MetaClip2VisionModel": (1, 0),
    "MgpstrModel": (1, 0),
    "OwlViTVisionModel": (1, 0),
    "Owlv2VisionModel": (1, 0),
    "PixioModel": (8, 0),
    "RadioModel": (10, 0),
    "Sapiens2Model": (9, 0),
    "SiglipVisionModel": (0, 0),
    "Swin2SRModel": (0, 0),
    "SwinModel": (0, 0),
    "Swinv2Model": (0, 0),
    "Tipsv2VisionModel": (2, 0),
    "ViTMAEModel": (1, 0),
    "ViTMSNModel": (1, 0),
    "ViTModel": (1, 0),
    "VitPoseBackbone": (0, 0),
    "YolosModel": (1, 100),
}


def after_norm(model, output):
    return output.last_hidden_state


def norm_of_class_token(model, output):
    return getattr(model, "vision_model", model).post_layernorm(output.last_hidden_state)


# Class: function from its output to the last layer's states after the final norm.
NORMED = {
    name: norm_of_class_token for name in PATCHES if "CLIP" in name.upper() or "OwlViT" in name or "Owlv2" in name
}
NORMED |= {"MLCDVisionModel": norm_of_class_token}
WITHOUT_NORM = ("BeitModel", "Data2VecVisionModel", "DonutSwinModel", "HieraModel", "InternVLVisionModel", "LevitModel")
WITHOUT_NORM += ("Llama4VisionModel", "MgpstrModel", "RadioModel", "Swin2SRModel", "VitPoseBackbone")
NORMED |= {name: after_norm for name in PATCHES if name not in NORMED and name not in WITHOUT_NORM}
WITHOUT_POOLER = ("Data2VecVisionModel", "GitVisionModel", "IJepaModel", "InternVLVisionModel", "Llama4VisionModel")
WITHOUT_POOLER += ("MgpstrModel", "RadioModel", "Swin2SRModel", "ViTMAEModel", "ViTMSNModel", "VitPoseBackbone")
POOLED = [name for name in PATCHES if name not in WITHOUT_POOLER]
MAPS = "convolutional maps"
PROMPTED = "needs more than an image"
VIDEO = "videos"
DETECTOR = "gives no hidden states of its encoder"
NO_PATCHES = "patches cannot be told from other tokens"
OTHERS = {
    "BitModel": MAPS,
    "Cohere2VisionModel": PROMPTED,
    "ConditionalDetrModel": DETECTOR,
    "ConvNextModel": MAPS,
    "ConvNextV2Model": MAPS,
    "DINOv3ConvNextModel": MAPS,
    "DabDetrModel": DETECTOR,
    "DeformableDetrModel": DETECTOR,
    "DepthProModel": NO_PATCHES,
    "DetrModel": DETECTOR,
    "DinatModel": MAPS,
    "EfficientNetModel": MAPS,
    "GLPNModel": MAPS,
    "ImageGPTModel": PROMPTED,
    "MllamaVisionModel": NO_PATCHES,
    "MobileNetV1Model": MAPS,
    "MobileNetV2Model": MAPS,
    "MobileViTModel": MAPS,
    "MobileViTV2Model": MAPS,
    "PoolFormerModel": MAPS,
    "PvtModel": NO_PATCHES,
    "RegNetModel": MAPS,
    "ResNetModel": MAPS,
    "SegformerModel": MAPS,
    "SwiftFormerModel": MAPS,
    "TableTransformerModel": DETECTOR,
    "TimesformerModel": VIDEO,
    "TimmBackbone": MAPS,
    "TimmWrapperModel": MAPS,
    "VideoMAEModel": VIDEO,
    "VideoPrismVisionModel": VIDEO,
    "VitDetModel": MAPS,
    "VivitModel": VIDEO,
}
SETTINGS = {
    **{name: {"depths": [1] * 4} for name in PATCHES if "Swin" in name or name in ("FocalNetModel", "HieraModel")},
    "DINOv3ViTModel": {"num_register_tokens": 4},  # as published, unlike the class's default
    "Llama4VisionModel": {"intermediate_size": 128, "projector_input_dim": 32, "projector_output_dim": 32},
    "Sapiens2Model": {"num_key_value_heads_per_layer": [2]},
    "Swin2SRModel": {"depths": [1], "num_heads": [2], "embed_dim": 16},
}


def network(name):
    """One narrow layer of a class, at its default geometry, with every parameter drawn at random."""
    model_class = getattr(hf, name)
    default = model_class.config_class()
    narrow = {key: value for key, value in NARROW.items() if isinstance(getattr(default, key, None), int)}
    config = model_class.config_class(**narrow | SETTINGS.get(name, {}))
    return random_weights(model_class(config).eval())


def random_weights(model):
    """Draw every parameter of a model at random, none of them zero."""
    torch.manual_seed(0)
    with torch.no_grad():
        for key, values in model.named_parameters():
            values.normal_(1.0 if "norm" in key else 0.0, 0.1)
    return model


def image_sides(config):
    """Height and width of the images that a network was made for."""
    sides = getattr(config, "image_size", None) or 224
    return tuple(sides) if isinstance(sides, list | tuple) else (sides, sides)
