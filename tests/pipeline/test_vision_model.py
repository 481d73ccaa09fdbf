"""Every kind of network that vision_model.py takes, as a tiny random model of the real class saved as a checkpoint."""

import importlib
import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from scripts import ALIGN, load_script, run_here

from brain_activity_prediction.cli import extraction_command
from brain_activity_prediction.datasets.nsd.design import read_design
from brain_activity_prediction.datasets.nsd.nsd import find_nsd
from brain_activity_prediction.datasets.nsd.stimuli import Stimuli
from brain_activity_prediction.extraction import loop
from brain_activity_prediction.models.checkpoints.checkpoint import Checkpoint
from brain_activity_prediction.models.library_imports import import_torchvision
from brain_activity_prediction.models.vision import map_layout
from brain_activity_prediction.models.vision.network import channels_last
from brain_activity_prediction.models.vision.states import timm_blocks
from brain_activity_prediction.models.vision.tower import load_tower
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore
from brain_activity_prediction.storage.settings_file import record_settings

import_torchvision()  # before what needs it
import timm  # noqa: E402
import transformers as hf  # noqa: E402

pytestmark = pytest.mark.slow

MODEL = "test/network"
TOKENS = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}
MLP = {"intermediate_size": 32}
TEXT = hf.CLIPTextConfig(
    vocab_size=9, bos_token_id=1, eos_token_id=2, hidden_size=8, num_attention_heads=2, num_hidden_layers=1, **MLP
)


def clip():
    return hf.CLIPModel(hf.CLIPConfig(vision_config=hf.CLIPVisionConfig(**TOKENS, **MLP), text_config=TEXT))


def timm_network(architecture):
    settings = timm.get_pretrained_cfg(architecture).to_dict() | {"input_size": (3, 64, 64)}
    sized = {"img_size": 64} if "vit" in architecture else {}
    return hf.TimmWrapperModel(
        hf.TimmWrapperConfig(architecture=architecture, num_labels=0, pretrained_cfg=settings, model_args=sized)
    )


def registers_alone():
    return timm_network("test_vit2")


def swin():
    config = {"embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2], "patch_size": 2, "window_size": 4}
    return hf.SwinModel(hf.SwinConfig(image_size=32, **config))


TRANSFORMERS = {
    "ViT": lambda: hf.ViTModel(hf.ViTConfig(**TOKENS, **MLP)),
    "DINOv2": lambda: hf.Dinov2Model(hf.Dinov2Config(**TOKENS)),
    "CLIP's vision tower": lambda: hf.CLIPVisionModel(hf.CLIPVisionConfig(**TOKENS, **MLP)),
    "CLIP with both towers": clip,
}
CONVOLUTIONAL = {
    "ResNet": lambda: hf.ResNetModel(
        hf.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16, 32], depths=[1, 2, 1], layer_type="basic")
    ),
    "ConvNeXt": lambda: hf.ConvNextModel(
        hf.ConvNextConfig(num_stages=3, patch_size=2, hidden_sizes=[8, 16, 32], depths=[1, 2, 1])
    ),
}


@pytest.fixture
def checkpoint(tmp_path):
    """Saves a network with every parameter and statistic drawn at random, and its image processor."""

    def save(build):
        torch.manual_seed(0)
        model = build().eval()
        with torch.no_grad():
            for name, values in model.state_dict().items():  # not the buffers that are computed, such as positions
                if values.is_floating_point():
                    around = 1.0 if "norm" in name or "bn" in name or "var" in name else 0.0
                    values.copy_(around + torch.randn_like(values) * (0.1 if around else 0.3))
        model.save_pretrained(tmp_path / "checkpoint")
        if not hasattr(model, "timm_model"):
            hf.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path / "checkpoint")
        return tmp_path / "checkpoint", model

    return save


def extract(base_dir, folder, *more, grid=1, poolings=("mean",)):
    flags = ["-d", base_dir, "-g", "cpu", "--checkpoint", folder, "--pooling", *poolings, *more]
    arguments = extraction_command.flags("").parse_args([str(flag) for flag in flags])
    script = load_script("vision_model.py").script(MODEL, grid, list(poolings))
    loop.extract(script, extraction_command.settings(script, arguments))


def stored(base_dir, stream="vision"):
    """(images, layers, width), in ascending NSD id."""
    store = EmbeddingStore(base_dir / "image_embeddings" / "no_prompt" / MODEL.replace("/", "_"))
    ids = store.image_ids([stream])
    return np.stack([store.read_layer(stream, layer, ids) for layer in range(store.streams()[stream][0])], axis=1)


def pixels_of(base_dir, folder):
    """What the network's own processor makes of subject 1's images, in ascending NSD id."""
    layout = find_nsd(base_dir)
    with Stimuli(layout.stimuli()) as stimuli:
        images = stimuli.images(np.sort(read_design(layout.design()).image_ids(1)))
    return hf.AutoImageProcessor.from_pretrained(folder, backend="pil")(images, return_tensors="pt").pixel_values


@torch.inference_mode()
def own_states(model, pixels):
    tower = getattr(model, "vision_model", model)
    return [states.numpy() for states in tower(pixels, output_hidden_states=True).hidden_states]


def assert_close(found, wanted):
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_transformers_give_their_own_hidden_states(name, own_nsd, checkpoint):
    folder, model = checkpoint(TRANSFORMERS[name])
    extract(own_nsd, folder, poolings=("mean", "cls"))
    states = np.stack(own_states(model, pixels_of(own_nsd, folder)), axis=1)  # (40, 4, 17, 16)
    assert_close(stored(own_nsd), states.mean(axis=2))
    assert_close(stored(own_nsd, "vision_cls"), states[:, :, 0])


@pytest.mark.parametrize("name", CONVOLUTIONAL)
@pytest.mark.parametrize("grid", [1, 2])
def test_convolutional_maps_are_averaged_over_the_grid_channel_by_channel(name, grid, own_nsd, checkpoint):
    folder, model = checkpoint(CONVOLUTIONAL[name])
    extract(own_nsd, folder, grid=grid)
    maps = own_states(model, pixels_of(own_nsd, folder))
    found = stored(own_nsd, "vision" if grid == 1 else "vision_grid2")
    assert found.shape == (40, len(maps), 32 * grid * grid)
    for layer, values in enumerate(maps):
        images, channels, side, _ = values.shape
        cells = values.reshape(images, channels, grid, side // grid, grid, side // grid).mean(axis=(3, 5))
        width = channels * grid * grid
        assert_close(found[:, layer, :width], cells.reshape(images, width))
        assert not found[:, layer, width:].any()


def sam2(size=64):
    hiera = hf.Sam2HieraDetConfig(
        hidden_size=16,
        num_attention_heads=1,
        image_size=[size, size],
        blocks_per_stage=[1, 2, 2, 1],
        embed_dim_per_stage=[16, 32, 64, 128],
        num_attention_heads_per_stage=[1, 1, 1, 1],
        window_size_per_stage=[8, 4, 4, 2],
        global_attention_blocks=[4],
    )
    sides = [[size // step, size // step] for step in (4, 8, 16)]
    pyramid = {"backbone_channel_list": [128, 64, 32, 16], "backbone_feature_sizes": sides, "fpn_hidden_size": 16}
    return hf.Sam2VisionConfig(backbone_config=hiera, **pyramid)


OF_SAM = {"mlp_dim": 32, "output_channels": 8, "window_size": 2, "global_attn_indexes": [1], "num_pos_feats": 4}


def whole_sam():
    prompts = {"image_size": 32, "image_embedding_size": 4, "patch_size": 8, "hidden_size": 8}
    decoder = {"hidden_size": 8, "num_attention_heads": 2, "iou_head_hidden_dim": 8, "mlp_dim": 8}
    return hf.SamModel(
        hf.SamConfig(vision_config=TOKENS | OF_SAM, prompt_encoder_config=prompts, mask_decoder_config=decoder)
    )


def sam3(**sizes):
    return hf.Sam3ViTConfig(**TOKENS | sizes, **MLP, pretrain_image_size=32, window_size=2, global_attn_indexes=[1])


def sam3_with_its_pyramid():
    sides = [[16, 16], [8, 8], [4, 4]]
    return hf.Sam3VisionModel(
        hf.Sam3VisionConfig(backbone_config=sam3(), fpn_hidden_size=24, backbone_feature_sizes=sides)
    )


CHANNELS_LAST = {  # how transformers documents their hidden states: (batch, height, width, channels)
    "SAM": lambda: hf.SamVisionModel(hf.SamVisionConfig(**TOKENS, **OF_SAM)),
    "SAM with its decoder": whole_sam,
    "SAM-HQ": lambda: hf.SamHQVisionModel(hf.SamHQVisionConfig(**TOKENS, **OF_SAM)),
    "SAM whose maps are as wide as high": lambda: hf.SamVisionModel(
        hf.SamVisionConfig(**TOKENS | {"hidden_size": 8, "patch_size": 4}, **OF_SAM)
    ),
    "SAM 2": lambda: hf.Sam2VisionModel(sam2(size=32)),
    "SAM 3": sam3_with_its_pyramid,
    "the ViT of SAM 3": lambda: hf.Sam3ViTModel(sam3()),
    "SAM 3 whose maps are as wide as high": lambda: hf.Sam3ViTModel(sam3(hidden_size=8, patch_size=4)),
    "Hiera of SAM 2": lambda: hf.Sam2HieraDetModel(sam2(size=32).backbone_config),
}


@pytest.mark.parametrize("name", CHANNELS_LAST)
@pytest.mark.parametrize("grid", [1, 2])
def test_maps_with_the_channels_last_are_averaged_over_places(name, grid, checkpoint):
    folder, model = checkpoint(CHANNELS_LAST[name])
    streams, pixels = first_streams(folder, grid)
    tower = getattr(model, "vision_encoder", model)
    with torch.inference_mode():
        maps = tower(pixels, output_hidden_states=True).hidden_states
    (found,) = streams.values()
    for layer, values in enumerate(maps):
        images, side, _, channels = values.shape
        if side < grid:  # the last map of SAM 2 is one place
            continue
        cells = values.reshape(images, grid, side // grid, grid, side // grid, channels).mean(dim=(2, 4))
        wanted = cells.permute(0, 3, 1, 2).reshape(images, -1)
        assert_close(found[:, layer, : wanted.shape[1]].numpy(), wanted.numpy())
        assert not found[:, layer, wanted.shape[1] :].any()


CHANNELS_FIRST = {
    **CONVOLUTIONAL,
    "a square of channels and places": lambda: hf.ResNetModel(
        hf.ResNetConfig(embedding_size=8, hidden_sizes=[8, 8], depths=[1, 1], layer_type="basic")
    ),
    "RegNet": lambda: hf.RegNetModel(
        hf.RegNetConfig(embedding_size=8, hidden_sizes=[8, 16, 32], depths=[1, 2, 1], groups_width=4)
    ),
    "MobileNetV1, whose widths no setting names": lambda: hf.MobileNetV1Model(
        hf.MobileNetV1Config(depth_multiplier=0.25)
    ),
    "MobileNetV2": lambda: hf.MobileNetV2Model(hf.MobileNetV2Config(depth_multiplier=0.35)),
    "EfficientNet": lambda: hf.EfficientNetModel(
        hf.EfficientNetConfig(image_size=32, width_coefficient=0.25, depth_coefficient=0.2, hidden_dim=320)
    ),
    "CvT": lambda: hf.CvtModel(hf.CvtConfig(embed_dim=[8, 16, 24], num_heads=[1, 2, 3], depth=[1, 2, 3])),
    "PVT v2": lambda: hf.PvtV2Model(
        hf.PvtV2Config(image_size=32, depths=[1, 1, 1, 1], hidden_sizes=[8, 16, 24, 32], num_attention_heads=[1] * 4)
    ),
    "SegFormer": lambda: hf.SegformerModel(
        hf.SegformerConfig(depths=[1, 1, 1, 1], hidden_sizes=[8, 16, 24, 32], num_attention_heads=[1, 1, 1, 1])
    ),
    "a stage of timm": lambda: timm_network("test_convnext"),
}


@pytest.mark.parametrize("name", CHANNELS_FIRST)
def test_maps_with_the_channels_first_are_averaged_over_places(name, checkpoint):
    folder, model = checkpoint(CHANNELS_FIRST[name])
    streams, pixels = first_streams(folder)
    with torch.inference_mode():
        maps = model(pixels, output_hidden_states=True).hidden_states
    for layer, values in enumerate(maps):
        found = streams["vision"][:, layer, : values.shape[1]].numpy()
        np.testing.assert_allclose(found, values.mean(dim=(2, 3)).numpy(), rtol=1e-3, atol=1e-4 * values.abs().max())


@pytest.mark.parametrize(
    "build",
    [
        swin,
        lambda: hf.PvtModel(
            hf.PvtConfig(image_size=32, depths=[1] * 4, hidden_sizes=[8, 16, 24, 32], num_attention_heads=[1] * 4)
        ),
    ],
)
def test_stages_of_tokens_are_averaged_over_tokens(build, checkpoint):
    folder, model = checkpoint(build)
    streams, pixels = first_streams(folder)
    with torch.inference_mode():
        for layer, tokens in enumerate(model(pixels, output_hidden_states=True).hidden_states):
            assert_close(streams["vision"][:, layer, : tokens.shape[2]].numpy(), tokens.mean(dim=1).numpy())


def test_maps_whose_layout_nothing_tells_are_refused(checkpoint, monkeypatch):
    folder, _ = checkpoint(lambda: hf.VitDetModel(hf.VitDetConfig(pretrain_image_size=32, **TOKENS)))
    monkeypatch.setattr(map_layout, "WIDTH_KEYS", re.compile("no such setting"))
    monkeypatch.setattr(map_layout, "_by_another_shape", lambda *_: None)
    with pytest.raises(
        InputError, match=r"VitDetModel returns maps of shape \(16, 4, 4\), and neither .* choose another network"
    ):
        first_streams(folder)


def without_natten(monkeypatch):
    """Let DiNAT run without its library: each place attends to itself alone, which leaves all shapes as they are."""
    module = importlib.import_module("transformers.models.dinat.modeling_dinat")
    monkeypatch.setattr(module, "requires_backends", lambda *_: None)
    monkeypatch.setattr(
        module, "natten2dqkrpb", lambda query, key, bias, size, dilation: query.new_zeros(*query.shape[:-1], size**2)
    )
    # The network gives (B, W, H, heads, D), and takes (B, heads, H, W, D) back.
    monkeypatch.setattr(module, "natten2dav", lambda attention, value, size, dilation: value.permute(0, 3, 2, 1, 4))


def test_maps_of_dinat_which_have_the_channels_last_are_averaged_over_places(checkpoint, monkeypatch):
    without_natten(monkeypatch)
    config = hf.DinatConfig(embed_dim=8, depths=[1, 1], num_heads=[2, 2], kernel_size=3, dilations=[[1], [1]])
    folder, model = checkpoint(lambda: hf.DinatModel(config))
    streams, pixels = first_streams(folder)
    with torch.inference_mode():
        maps = model(pixels, output_hidden_states=True).hidden_states
    assert [tuple(values.shape) for values in maps] == [(2, 8, 8, 8), (2, 4, 4, 16), (2, 4, 4, 16)]
    for layer, values in enumerate(maps):
        assert_close(streams["vision"][:, layer, : values.shape[3]].numpy(), values.mean(dim=(1, 2)).numpy())


def groupvit():
    parts = {"num_group_tokens": [4, 2, 0], "num_output_groups": [4, 2, 0], "depths": [1, 1, 1]}
    vision = hf.GroupViTVisionConfig(**TOKENS, **MLP, **parts)
    text = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 9}
    return hf.GroupViTModel(hf.GroupViTConfig(vision_config=vision.to_dict(), text_config=text))


def test_groupvit_gives_its_tokens_and_then_its_groups(checkpoint):
    folder, model = checkpoint(groupvit)
    streams, pixels = first_streams(folder)
    with torch.inference_mode():
        states = model.vision_model(pixels, output_hidden_states=True).hidden_states
    for layer, tokens in enumerate(states):
        assert_close(streams["vision"][:, layer].numpy(), tokens.mean(dim=1).numpy())


def qwen_tower():
    part = importlib.import_module("transformers.models.qwen2_5_vl.modeling_qwen2_5_vl")
    sizes = {"depth": 2, "hidden_size": 16, "num_heads": 2, "intermediate_size": 24, "out_hidden_size": 16}
    text = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2}
    return part.Qwen2_5_VLModel(
        hf.Qwen2_5_VLConfig(vision_config=sizes, text_config={**text, **MLP, "vocab_size": 9, "layer_types": None})
    )


def siglip2_tower():
    """SigLIP 2's vision tower as published, but for its sizes: patches of 16 pixels, positions for 16 x 16 of them."""
    return hf.Siglip2VisionConfig(
        hidden_size=16, intermediate_size=24, num_hidden_layers=3, num_attention_heads=2, patch_size=16, num_patches=256
    )


def siglip2():
    text = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 9, "projection_size": 16}
    return hf.Siglip2Model(
        hf.Siglip2Config(vision_config=siglip2_tower().to_dict(), text_config={**text, **MLP, "bos_token_id": 1})
    )


SIGLIP2 = {"its tower": lambda: hf.Siglip2VisionModel(siglip2_tower()), "both towers": siglip2}
SIDES = [(425, 425), (300, 100), (64, 640), (33, 47), (425, 425)]  # (height, width)


@pytest.fixture
def naflex(checkpoint):
    """Saves SigLIP 2 with the pixel settings that are published, but for at most 30 patches an image."""

    def save(name):
        folder, model = checkpoint(SIGLIP2[name])
        settings = {"patch_size": 16, "max_num_patches": 30, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
        kind = {"image_processor_type": "Siglip2ImageProcessorFast", "do_convert_rgb": None, "resample": 2}
        (folder / "preprocessor_config.json").write_text(json.dumps(settings | kind))
        noise = np.random.default_rng(0)
        pictures = [Image.fromarray(noise.integers(0, 256, (*side, 3), dtype=np.uint8)) for side in SIDES]
        return folder, getattr(model, "vision_model", model), pictures

    return save


def streams_of(folder, pictures):
    script = load_script("vision_model.py").script(MODEL, 1, ["mean"])
    model, processor = script.load(Checkpoint(MODEL, None, folder), "cpu", torch.float32)
    with torch.inference_mode():
        pixels = script.preprocess(processor, pictures).to("cpu", torch.float32)
        return script.encode_images(model, processor, pixels, ("mean",))[0]["vision"].numpy()


def patches_of(picture):
    """An image's patches (1, N, 768), N of 30 at most, row by row, with their rows and columns; by Pillow and NumPy."""
    width, height = picture.size
    scale = max(x for x in np.linspace(1e-3, 1, 10**5) * 10 if np.ceil(height * x / 16) * np.ceil(width * x / 16) <= 30)
    rows, columns = (max(1, int(np.ceil(side * scale / 16))) for side in (height, width))
    pixels = np.asarray(picture.resize((columns * 16, rows * 16), Image.Resampling.BILINEAR)) / 127.5 - 1
    patches = pixels.reshape(rows, 16, columns, 16, 3).transpose(0, 2, 1, 3, 4).reshape(1, rows * columns, 768)
    return torch.tensor(patches, dtype=torch.float32), torch.tensor([[rows, columns]])


@pytest.mark.parametrize("name", SIGLIP2)
def test_siglip_2_naflex_averages_each_image_over_its_own_patches(name, naflex):
    folder, tower, pictures = naflex(name)
    found = streams_of(folder, pictures)
    assert found.shape == (5, 4, 16)
    counts = set()
    for picture, layers in zip(pictures, found, strict=True):
        patches, shape = patches_of(picture)
        counts.add(patches.shape[1])
        with torch.inference_mode():
            states = tower(patches, torch.ones(patches.shape[:2]), shape, output_hidden_states=True).hidden_states
        np.testing.assert_allclose(layers, torch.cat(states).mean(dim=1).numpy(), atol=1e-3)
    assert len(counts) > 2  # the images have padding of several lengths


def test_siglip_2_naflex_gives_the_same_alone_and_in_a_batch(naflex):
    folder, _, pictures = naflex("its tower")
    alone = np.concatenate([streams_of(folder, [picture]) for picture in pictures])
    assert_close(streams_of(folder, pictures), alone)


def test_siglip_2_naflex_extracts_by_a_users_command(naflex, own_nsd):
    folder, _, _ = naflex("both towers")
    done = run_here("vision_model.py", "-d", own_nsd, "-g", "cpu", "--model-id", MODEL, "--checkpoint", folder)
    assert done.returncode == 0, done.stderr
    assert stored(own_nsd).shape == (40, 4, 16)
    done = run_here(
        "vision_model.py", "-d", own_nsd, "-g", "cpu", "-m", MODEL, "--checkpoint", folder, "--pooling", "cls"
    )
    assert done.returncode == 2
    assert "no class token: leave out --pooling cls" in done.stderr


def x_clip():
    sizes = {"mit_hidden_size": 16, "mit_intermediate_size": 16, "mit_num_attention_heads": 2}
    text = TEXT.to_dict() | {"hidden_size": 16}
    prompts = {"prompt_layers": 1, "prompt_num_attention_heads": 2, "projection_dim": 16}
    return hf.XCLIPModel(
        hf.XCLIPConfig(vision_config={**TOKENS, **MLP, **sizes, "num_frames": 4}, text_config=text, **prompts)
    )


NOT_IMAGES = {
    "X-CLIP": (x_clip, "reads videos in an unknown form"),
    "Qwen2.5-VL with another processor": (qwen_tower, "could not compute an image .*grid_thw.* belong together"),
}


@pytest.mark.parametrize("name", NOT_IMAGES)
def test_a_network_that_does_not_read_single_images_is_refused_by_one_line(name, checkpoint):
    build, said = NOT_IMAGES[name]
    folder, _ = checkpoint(build)
    with pytest.raises(InputError, match=said) as refused:
        first_streams(folder)
    assert "\n" not in str(refused.value)


def test_states_of_sam_by_1_0_0_which_averaged_its_channels_away_are_not_continued(own_nsd, checkpoint):
    folder, _ = checkpoint(CHANNELS_LAST["SAM"])
    extract(own_nsd, folder)
    store = next(own_nsd.glob("image_embeddings/no_prompt/*"))
    settings = EmbeddingStore(store).settings()
    assert settings.pop("map_channels") == "last"
    record_settings(store, settings)
    with pytest.raises(InputError, match="map_channels = first, but this run has last"):
        extract(own_nsd, folder)


def first_streams(folder, grid=1):
    """The streams of two pictures, and their pixels, as the script makes both."""
    script = load_script("vision_model.py").script(MODEL, grid, ["mean"])
    model, processor = script.load(Checkpoint(MODEL, None, folder), "cpu", torch.float32)
    noise = np.random.default_rng(0).integers(0, 256, (2, 40, 40, 3), dtype=np.uint8)
    pixels = script.preprocess(processor, [Image.fromarray(picture) for picture in noise])
    with torch.inference_mode():
        return script.encode_images(model, processor, pixels, ("mean",))[0], pixels


def test_a_timm_network_gives_what_enters_and_leaves_each_of_its_blocks(own_nsd, checkpoint):
    folder, model = checkpoint(lambda: timm_network("tf_efficientnet_lite0"))
    extract(own_nsd, folder, "-b", 20, grid=2)
    channels_last(model)  # random blocks magnify what another order of sums leaves
    network, states = model.eval().timm_model, []
    with torch.inference_mode():
        states.append(network.bn1(network.conv_stem(pixels_of(own_nsd, folder))))
        for stage in network.blocks:
            for block in stage:
                states.append(block(states[-1]))
    found = stored(own_nsd, "vision_grid2")
    assert found.shape == (40, 1 + 16, 320 * 4)
    for layer, maps in enumerate(states):
        cells = torch.nn.functional.adaptive_avg_pool2d(maps, 2).flatten(1)
        assert_close(found[:, layer, : cells.shape[1]], cells.numpy())


def test_convolutions_have_their_channels_last(checkpoint):
    folder, _ = checkpoint(lambda: timm_network("tf_efficientnet_lite0"))
    script = load_script("vision_model.py").script(MODEL, 2, ["mean"])
    model, _ = script.load(Checkpoint(MODEL, None, folder), "cpu", torch.float32)
    kernels = [weights for weights in model.network.parameters() if weights.ndim == 4]
    assert len(kernels) > 40
    assert all(weights.is_contiguous(memory_format=torch.channels_last) for weights in kernels)


def test_a_timm_transformer_gives_its_tokens_up_to_the_final_norm(own_nsd, checkpoint):
    folder, model = checkpoint(lambda: timm_network("test_vit"))
    extract(own_nsd, folder, poolings=("mean", "cls"))
    network, states = model.eval().timm_model, []
    with torch.inference_mode():
        states.append(network.norm_pre(network._pos_embed(network.patch_embed(pixels_of(own_nsd, folder)))))
        for block in network.blocks:
            states.append(block(states[-1]))
    states = torch.stack(states, dim=1).numpy()
    assert_close(stored(own_nsd), states.mean(axis=2))
    assert_close(stored(own_nsd, "vision_cls"), states[:, :, 0])


def test_a_timm_network_with_prefix_tokens_but_stages_is_read_by_stages():
    """As MViT, whose blocks lie in its stages."""
    assert timm_blocks(SimpleNamespace(timm_model=SimpleNamespace(num_prefix_tokens=0, stages=[]))) == []


def test_a_timm_network_of_other_blocks_gives_its_stages(own_nsd, checkpoint):
    folder, model = checkpoint(lambda: timm_network("test_convnext"))
    extract(own_nsd, folder)
    maps = own_states(model, pixels_of(own_nsd, folder))
    assert_close(stored(own_nsd)[:, -1, : maps[-1].shape[1]], maps[-1].mean(axis=(2, 3)))


@pytest.mark.parametrize("architecture", ["test_vit", "test_resnet"])
def test_a_network_as_timm_publishes_it_is_read_without_its_classifier(architecture, tmp_path):
    """timm's folders name the architecture alone, and hold the classifier's weights."""
    whole = timm.create_model(architecture, img_size=64) if "vit" in architecture else timm.create_model(architecture)
    whole = whole.eval()
    settings = whole.pretrained_cfg | {"input_size": [3, 64, 64]}
    config = {"architecture": architecture, "num_classes": whole.num_classes, "num_features": whole.num_features}
    config["pretrained_cfg"] = {
        key: settings[key] for key in ("input_size", "mean", "std", "interpolation", "crop_pct")
    }
    config["pretrained_cfg"] |= {"classifier": settings["classifier"]}
    config["model_args"] = {"img_size": 64} if "vit" in architecture else {}
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file(whole.state_dict(), tmp_path / "model.safetensors", metadata={"format": "pt"})
    network, _ = load_tower(Checkpoint("timm/model", None, tmp_path), "cpu", torch.float32, [])
    pixels = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(network(pixels).last_hidden_state, whole.forward_features(pixels))


@pytest.mark.parametrize(("build", "grid"), [(TRANSFORMERS["DINOv2"], 1), (CONVOLUTIONAL["ResNet"], 2)])
def test_the_batch_size_changes_no_number(build, grid, own_nsd, checkpoint, monkeypatch):
    folder, _ = checkpoint(build)
    found = []
    for batch_size in (1, 8):
        extract(own_nsd, folder, "-b", batch_size, "--dtype", "float32", grid=grid)
        found.append(stored(own_nsd, "vision" if grid == 1 else "vision_grid2"))
        for path in own_nsd.glob("image_embeddings/*/*/batch_*"):
            path.unlink()
    assert_close(found[1], found[0])


def test_a_masked_autoencoder_sees_the_whole_image(own_nsd, checkpoint):
    folder, model = checkpoint(lambda: hf.ViTMAEModel(hf.ViTMAEConfig(**TOKENS, **MLP)))
    extract(own_nsd, folder)
    model.config.mask_ratio = 0.0
    wanted = own_states(model, pixels_of(own_nsd, folder))
    assert wanted[0].shape[1] == 17
    assert_close(stored(own_nsd), np.stack(wanted, axis=1).mean(axis=2))


@pytest.mark.parametrize(
    ("build", "asked", "said"),
    [
        (groupvit, {"grid": 2}, r"learned tokens \(.*group_token\) in unknown positions"),
        (groupvit, {"poolings": ("patch",)}, r"learned tokens \(.*group_token\) in unknown positions"),
        (CONVOLUTIONAL["ResNet"], {"poolings": ("cls",)}, "no class token: leave out --pooling cls"),
        (swin, {"poolings": ("cls",)}, "no class token: leave out --pooling cls"),
        (registers_alone, {"poolings": ("cls",)}, "no class token: leave out --pooling cls"),
        (CONVOLUTIONAL["ResNet"], {"poolings": ("cls",), "grid": 2}, "no cls pooling; it has mean"),
    ],
)
def test_what_a_network_does_not_have_is_refused(build, asked, said, own_nsd, checkpoint):
    folder, _ = checkpoint(build)
    with pytest.raises(InputError, match=said):
        extract(own_nsd, folder, **asked)
    assert not list(own_nsd.rglob("batch_*"))


def test_a_users_command_extracts_and_grids_live_side_by_side(own_nsd, checkpoint):
    folder, _ = checkpoint(CONVOLUTIONAL["ConvNeXt"])
    command = ["-d", own_nsd, "-g", "cpu", "--model-id", MODEL, "--checkpoint", folder]
    for grid in (["--grid", "2"], []):
        done = run_here("vision_model.py", *command, *grid)
        assert done.returncode == 0, done.stderr
    assert stored(own_nsd).shape == (40, 4, 32)
    assert stored(own_nsd, "vision_grid2").shape == (40, 4, 128)


def test_outputs_are_added_to_a_store_and_aligned_by_name(own_nsd, checkpoint):
    folder, model = checkpoint(clip)
    command = ["vision_model.py", "-d", own_nsd, "-g", "cpu", "--model-id", MODEL, "--checkpoint", folder]
    assert run_here(*command).returncode == 0
    before = stored(own_nsd)
    done = run_here(*command, "--pooling", "mean", "patch", "--outputs", "normed", "pooled", "projected")
    assert done.returncode == 0, done.stderr
    shapes = EmbeddingStore(own_nsd / "image_embeddings" / "no_prompt" / "test_network").streams()
    of_one_layer = dict.fromkeys(("vision_normed", "vision_normed_patch", "vision_pooled"), (1, 16))
    assert shapes == {"vision": (4, 16), "vision_patch": (4, 16), "vision_projected": (1, 512)} | of_one_layer
    np.testing.assert_array_equal(stored(own_nsd), before)
    with torch.inference_mode():
        features = model.get_image_features(pixels_of(own_nsd, folder)).pooler_output
    assert_close(stored(own_nsd, "vision_projected")[:, 0], features.numpy())
    align = [ALIGN, "-d", own_nsd, "-s", "1", "-m", MODEL, "-g", "cpu", "--stream", "vision_projected"]
    done = run_here(*align)
    assert done.returncode == 0, done.stderr
    scored = [path.read_text() for path in own_nsd.rglob("*.csv") if "vision_projected" in path.read_text()]
    assert scored


def test_an_unknown_output_is_refused_before_the_network_is_loaded(own_nsd):
    done = run_here("vision_model.py", "-d", own_nsd, "--model-id", MODEL, "--outputs", "last")
    assert done.returncode == 2
    assert "invalid choice: 'last'; choose from normed, pooled, projected" in done.stderr
