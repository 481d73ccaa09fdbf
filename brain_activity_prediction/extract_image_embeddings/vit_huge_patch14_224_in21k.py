"""ViT-Huge, patches of 14 pixels, trained on ImageNet-21k: the vision-only model of the study.

Stream: `vision`, the 33 hidden states, of which the last is taken before the final norm. They depend on no prompt.
Source: Dosovitskiy et al. 2021, arXiv 2010.11929.
"""

import sys

from brain_activity_prediction.cli import extraction_command
from brain_activity_prediction.models.pooling import choose, layer_points, pooled

MODEL_ID = "google/vit-huge-patch14-224-in21k"
REVISION = "main"  # not pinned: the full id of its last commit (bbff058) is in no public record that was found
MODEL_TYPE = "vit"
IMAGE_STREAMS = {"vision": ("mean", "cls")}


def load(checkpoint, device, dtype):
    from transformers import AutoImageProcessor, ViTModel

    return checkpoint.model(ViTModel, device, dtype), checkpoint.processor(AutoImageProcessor)


def preprocess(processor, images):
    return processor(images, return_tensors="pt").pixel_values


def encode_images(model, processor, pixels, poolings):
    with pooled(layer_points(model.layers), choose(poolings, mean=slice(None), cls=slice(0, 1))) as vision:
        model(pixels)
    return vision.streams("vision"), None


if __name__ == "__main__":
    extraction_command.main(sys.modules[__name__])
