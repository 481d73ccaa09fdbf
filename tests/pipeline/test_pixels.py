"""The forms in which image processors were published: their pixels equal those computed with PIL and NumPy alone."""

import json

import numpy as np
import pytest
from PIL import Image
from PIL.Image import Resampling

from brain_activity_prediction.models.checkpoints.checkpoint import Checkpoint
from brain_activity_prediction.models.library_imports import import_torchvision
from brain_activity_prediction.models.vision import inputs

import_torchvision()

MEAN, SD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
NORM = {"do_resize": True, "do_normalize": True, "image_mean": MEAN, "image_std": SD}
BILINEAR, BICUBIC = Resampling.BILINEAR, Resampling.BICUBIC


def square(side, resample):
    """Stretch a picture to a square."""
    return lambda image: image.resize((side, side), resample)


def cropped(shortest, resample, side):
    """Scale a picture by its shortest side, and keep the square in its middle."""

    def prepare(image):
        scale = shortest / min(image.size)
        longest = int(max(image.size) * shortest / min(image.size))
        width, height = (shortest if edge * scale == shortest else longest for edge in image.size)
        left, top = (width - side) // 2, (height - side) // 2
        return image.resize((width, height), resample).crop((left, top, left + side, top + side))

    return prepare


def timm(**settings):
    cfg = {"input_size": [3, 64, 64], "mean": MEAN, "std": SD, "interpolation": "bicubic"} | settings
    return {"architecture": "vit_tiny_patch16_224", "num_classes": 9, "num_features": 192, "pretrained_cfg": cfg}


FORMS = {  # name: (config.json, preprocessor_config.json, how the picture is prepared)
    "ViT of 2021": (
        {"model_type": "vit"},
        NORM | {"feature_extractor_type": "ViTFeatureExtractor", "resample": 2, "size": 64},
        square(64, BILINEAR),
    ),
    "ViT": (
        {"model_type": "vit"},
        NORM | {"image_processor_type": "ViTImageProcessor", "resample": 3, "size": {"height": 64, "width": 64}},
        square(64, BICUBIC),
    ),
    "CLIP of 2021": (
        {"model_type": "clip"},
        NORM
        | {"feature_extractor_type": "CLIPFeatureExtractor", "resample": 3, "size": 80}
        | {"do_center_crop": True, "crop_size": 64},
        cropped(80, BICUBIC, 64),
    ),
    "DINOv2": (
        {"model_type": "dinov2"},
        NORM
        | {"image_processor_type": "BitImageProcessor", "resample": 3, "size": {"shortest_edge": 80}}
        | {"do_center_crop": True, "crop_size": {"height": 64, "width": 64}},
        cropped(80, BICUBIC, 64),
    ),
    "ConvNeXt of 2022": (
        {"model_type": "convnext"},
        NORM | {"feature_extractor_type": "ConvNextFeatureExtractor", "resample": 3, "size": 70, "crop_pct": 0.875},
        cropped(80, BICUBIC, 70),
    ),
    "ConvNeXt for 384 pixels": (
        {"model_type": "convnext"},
        NORM | {"image_processor_type": "ConvNextImageProcessor", "resample": 3, "size": {"shortest_edge": 384}},
        square(384, BICUBIC),
    ),
    "timm": (timm(crop_pct=0.8), {}, cropped(80, BICUBIC, 64)),
    "timm, squashed": (timm(crop_pct=1.0, crop_mode="squash"), {}, square(64, BICUBIC)),
}


@pytest.mark.parametrize("name", FORMS)
def test_the_pixels_of_a_published_form_are_those_of_pil_and_numpy(name, tmp_path):
    config, settings, prepare = FORMS[name]
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    processor = inputs.processor_of(Checkpoint("org/model", None, tmp_path), None)
    for size in ((85, 85), (96, 80), (90, 150), (50, 40)):
        pixels = np.random.default_rng(0).integers(0, 256, (*reversed(size), 3), dtype=np.uint8)
        prepared = np.asarray(prepare(Image.fromarray(pixels))) / 255
        [found] = inputs.preprocess(processor, [Image.fromarray(pixels)]).numpy()
        np.testing.assert_allclose(found, ((prepared - MEAN) / SD).transpose(2, 0, 1), atol=1e-5)
