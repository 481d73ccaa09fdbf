"""Which tokens are patches, by another route: before the first layer only patches differ between two images."""

import pytest
import torch
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_MAPPING_NAMES
from vision_networks import hf, image_sides, network, timm
from vision_table import OTHERS, PATCHES, VIDEOS

from brain_activity_prediction.models.patch_tokens import patch_tokens
from brain_activity_prediction.runtime.errors import InputError

pytestmark = pytest.mark.slow


@torch.inference_mode()
def first_states(model, sides):
    """The first hidden states (2, T, W) of two images without a pixel in common."""
    pixels = torch.rand(2, 3, *sides, generator=torch.Generator().manual_seed(0))
    return model(pixels, output_hidden_states=True).hidden_states[0]


def equal_tokens(states):
    return [token for token in range(states.shape[1]) if torch.allclose(*states[:, token])]


@pytest.mark.parametrize("name", PATCHES)
def test_patches_are_the_tokens_that_differ_between_images(name):
    model = network(name)
    states = first_states(model, image_sides(model.config))
    n_tokens = states.shape[1]
    before, after = PATCHES[name]
    assert equal_tokens(states) == [*range(before), *range(n_tokens - after, n_tokens)]
    assert patch_tokens(model, n_tokens) == slice(before, n_tokens - after)


def test_every_image_model_of_transformers_is_accounted_for():
    assert set(MODEL_FOR_IMAGE_MAPPING_NAMES.values()) <= PATCHES.keys() | VIDEOS.keys() | OTHERS.keys()


OF_TIMM = {
    "test_vit": 1,
    "beit_base_patch16_224": 1,
    "deit_tiny_distilled_patch16_224": 2,
    "vit_base_patch16_siglip_224": 0,
    "vit_small_patch14_reg4_dinov2": 5,
    "vit_small_patch16_dinov3": 5,
}


@pytest.mark.parametrize(("architecture", "learned"), OF_TIMM.items())
def test_patches_of_timm_networks_follow_their_prefix_tokens(architecture, learned):
    with torch.device("meta"):
        network = timm.create_model(architecture, num_classes=0)
        tokens = network.forward_features(torch.zeros(1, *network.pretrained_cfg["input_size"]))
    assert tokens.shape[1] - network.patch_embed.num_patches == learned
    assert patch_tokens(network, tokens.shape[1]) == slice(learned, tokens.shape[1])


NOT_KNOWN = {
    "GroupViTVisionModel": r"group_token",
    "DepthProModel": r"cls_token",
    "PvtModel": r"patch_embeddings.3.cls_token",
    "MllamaVisionModel": r"class_embedding",
}


@pytest.mark.parametrize("name", NOT_KNOWN)
def test_a_network_whose_patches_are_not_known_is_refused_by_one_line(name):
    model_class = getattr(hf, name)
    with torch.device("meta"):
        model = model_class(model_class.config_class())
    with pytest.raises(InputError, match=rf"{name} has learned tokens \(.*{NOT_KNOWN[name]}\)") as refused:
        patch_tokens(model, 197)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("architecture", ["cait_xxs24_224", "xcit_nano_12_p16_224", "convit_tiny"])
def test_a_timm_network_with_a_late_class_token_is_refused(architecture):
    with torch.device("meta"):
        network = timm.create_model(architecture, num_classes=0)
    with pytest.raises(InputError, match=r"learned tokens \(cls_token\)"):
        patch_tokens(network, 197)


def test_states_without_a_patch_are_refused():
    with pytest.raises(
        InputError, match="YolosModel has 101 tokens that are not patches, but its states have only 101"
    ):
        patch_tokens(network("YolosModel"), 101)
