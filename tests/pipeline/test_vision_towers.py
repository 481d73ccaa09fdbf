"""Vision networks that lie in other models, read videos, or put the patches of all images into one row."""

import json
import shutil

import numpy as np
import pytest
import tiny_vision_language
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from scripts import load_script
from vision_networks import hf, random_weights

from brain_activity_prediction.models.checkpoints.checkpoint import Checkpoint
from brain_activity_prediction.models.vision.tower import load_tower
from brain_activity_prediction.runtime.errors import InputError

pytestmark = pytest.mark.slow

MODEL = "test/tower"
TOKENS = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}
MLP = {"intermediate_size": 32}
TEXT = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": 9}
TEXT |= MLP | {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
QWEN = {"depth": 2, "hidden_size": 16, "num_heads": 2, "intermediate_size": 24}
OF_SQUARES = {
    "image_processor_type": "Qwen2VLImageProcessor",
    "patch_size": 14,
    "merge_size": 2,
    "temporal_patch_size": 2,
    "size": {"shortest_edge": 56 * 56, "longest_edge": 168 * 168},
}
SIDES = [(112, 168), (168, 168), (112, 168), (84, 140), (168, 56)]  # (height, width) of pictures


def save(model, folder, processor):
    random_weights(model)
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


def loaded(folder, grid=1, poolings=("mean",), outputs=()):
    script = load_script("vision_model.py").script(MODEL, grid, list(poolings), list(outputs))
    return script, *script.load(Checkpoint(MODEL, None, folder), "cpu", torch.float32)


def streams_of(folder, pictures, grid=1, poolings=("mean",), outputs=()):
    script, model, processor = loaded(folder, grid, poolings, outputs)
    with torch.inference_mode():
        inputs = script.preprocess(processor, pictures).to("cpu", torch.float32)
        streams, _ = script.encode_images(model, processor, inputs, poolings)
    return {name: states.numpy() for name, states in streams.items()}


def pictures(sides=SIDES):
    noise = np.random.default_rng(0)
    return [Image.fromarray(noise.integers(0, 256, (*side, 3), dtype=np.uint8)) for side in sides]


def assert_close(found, wanted):
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())


def spot(row, column, rows, columns, side):
    """A black picture with one white patch of this many pixels."""
    values = np.zeros((rows * side, columns * side, 3), np.uint8)
    values[row * side : (row + 1) * side, column * side : (column + 1) * side] = 255
    return Image.fromarray(values)


def assert_spots_lie_in_their_cells(folder, rows, columns, side):
    """With a cell for each patch, a white patch changes its own cell of the first layer and no other."""
    places = [(0, 0), (0, columns - 1), (1, 2), (rows - 1, 1), (rows // 2, columns // 2), (rows - 1, columns - 1)]
    seen = [spot(*place, rows, columns, side) for place in places]
    black = Image.new("RGB", (columns * side, rows * side))
    states = streams_of(folder, [black, *seen], grid=rows)[f"vision_grid{rows}"][:, 0].reshape(7, -1, rows, rows)
    changed = np.abs(states[1:] - states[:1]).max(axis=1)
    for (row, column), cells in zip(places, changed, strict=True):
        assert np.argwhere(cells > 1e-4).tolist() == [[row, column]]


def qwen2_vl():
    vision = {"depth": 2, "embed_dim": 16, "hidden_size": 16, "num_heads": 2, "mlp_ratio": 2}
    return hf.Qwen2VLForConditionalGeneration(hf.Qwen2VLConfig(vision_config=vision, text_config=TEXT))


def qwen2_5_vl():
    vision = QWEN | {"out_hidden_size": 16, "fullatt_block_indexes": [1], "window_size": 56}
    return hf.Qwen2_5_VLForConditionalGeneration(hf.Qwen2_5_VLConfig(vision_config=vision, text_config=TEXT))


def qwen3_vl():
    sizes = {"out_hidden_size": 16, "deepstack_visual_indexes": [0], "num_position_embeddings": 64, "patch_size": 14}
    text = TEXT | {"head_dim": 8}
    return hf.Qwen3VLForConditionalGeneration(hf.Qwen3VLConfig(vision_config=QWEN | sizes, text_config=text))


QWENS = {"Qwen2-VL": qwen2_vl, "Qwen2.5-VL": qwen2_5_vl, "Qwen3-VL": qwen3_vl}


@pytest.fixture(scope="module", params=QWENS)
def qwen(request, tmp_path_factory):
    model = QWENS[request.param]().eval()
    return model, save(model, tmp_path_factory.mktemp("qwen"), OF_SQUARES)


def test_the_tower_of_a_qwen_gives_the_mean_of_each_images_patches(qwen):
    model, folder = qwen
    found = streams_of(folder, pictures())["vision"]
    processor = hf.AutoImageProcessor.from_pretrained(folder, backend="pil")
    for picture, layers in zip(pictures(), found, strict=True):
        inputs = processor(picture, return_tensors="pt")
        with torch.inference_mode():
            tower = model.model.visual(inputs.pixel_values, inputs.image_grid_thw, output_hidden_states=True)
        assert len(tower.hidden_states) == len(layers)
        assert_close(layers, torch.stack(tower.hidden_states).mean(dim=1).numpy())


def test_the_cells_of_a_qwen_lie_where_the_image_has_them(qwen):
    assert_spots_lie_in_their_cells(qwen[1], 12, 12, 14)


def test_the_tower_of_a_qwen_needs_no_weights_of_the_language_model(qwen, tmp_path):
    folder = shutil.copytree(qwen[1], tmp_path / "tower")
    weights = load_file(folder / "model.safetensors")
    of_tower = {name: values for name, values in weights.items() if "visual." in name}
    assert 0 < len(of_tower) < len(weights)
    save_file(of_tower, folder / "model.safetensors", {"format": "pt"})
    assert_close(streams_of(folder, pictures())["vision"], streams_of(qwen[1], pictures())["vision"])


def test_the_tower_of_a_glm_gives_its_last_layer_and_not_merged_patches(tmp_path):
    vision = {"depth": 2, "hidden_size": 16, "num_heads": 2, "intermediate_size": 24, "out_hidden_size": 8}
    vision |= {"image_size": 168}
    model = hf.Glm4vVisionModel(hf.Glm4vVisionConfig(**vision)).eval()
    whole = hf.Glm4vForConditionalGeneration(hf.Glm4vConfig(vision_config=vision, text_config=TEXT | {"head_dim": 8}))
    folder = save(whole, tmp_path, OF_SQUARES | {"image_processor_type": "Glm4vImageProcessor"})
    model.load_state_dict(whole.model.visual.state_dict())
    found = streams_of(folder, pictures())["vision"]
    processor, states = hf.AutoImageProcessor.from_pretrained(folder, backend="pil"), []
    for block in model.blocks:
        block.register_forward_hook(lambda _, given, output: states.append(output))
    for picture, layers in zip(pictures(), found, strict=True):
        inputs = processor(picture, return_tensors="pt")
        with torch.inference_mode():
            model(inputs.pixel_values, inputs.image_grid_thw)
        assert_close(layers[1:], torch.stack(states[-2:]).mean(dim=1).numpy())


@pytest.mark.parametrize(("model_type", "tower"), [("glmga", "visual"), ("lighton_ocr", "vision_encoder")])
def test_the_tower_is_taken_out_of_models_that_share_a_class_or_name_no_base(model_type, tower, tmp_path):
    whole = tiny_vision_language.write(model_type, tmp_path / "model")
    network, _ = load_tower(Checkpoint(MODEL, None, tmp_path / "model"), "cpu", torch.float32, [])
    expected = getattr(whole.model, tower).state_dict()
    assert expected
    for name, values in expected.items():
        assert torch.equal(network.state_dict()[name], values)


def test_tiles_that_follow_one_another_are_refused_as_such(tmp_path):
    """As Llama 4's, Cohere's and LFM2-VL's processors give them."""
    model = hf.CLIPVisionModel(hf.CLIPVisionConfig(**TOKENS, **MLP))
    tiles = {
        "image_processor_type": "GotOcr2ImageProcessor",
        "crop_to_patches": True,
        "size": {"height": 32, "width": 32},
    }
    with pytest.raises(InputError, match="cuts images into tiles"):
        loaded(save(model, tmp_path, tiles))


PIXTRAL = {"image_processor_type": "PixtralImageProcessor", "patch_size": {"height": 14, "width": 14}}
PIXTRAL |= {"size": {"longest_edge": 168}}


def pixtral():
    vision = TOKENS | MLP | {"model_type": "pixtral", "patch_size": 14, "image_size": 168, "head_dim": 8}
    text = TEXT | {"model_type": "mistral", "head_dim": 8}
    return hf.LlavaForConditionalGeneration(hf.LlavaConfig(vision_config=vision, text_config=text))


@pytest.fixture(scope="module")
def pixtral_folder(tmp_path_factory):
    model = pixtral().eval()
    return model, save(model, tmp_path_factory.mktemp("pixtral"), PIXTRAL)


def test_pixtral_gives_the_mean_of_each_images_patches(pixtral_folder):
    model, folder = pixtral_folder
    found = streams_of(folder, pictures())["vision"]
    processor = hf.AutoImageProcessor.from_pretrained(folder, backend="pil")
    for picture, layers in zip(pictures(), found, strict=True):
        inputs = processor(picture, return_tensors="pt")
        with torch.inference_mode():
            states = model.model.vision_tower(**inputs, output_hidden_states=True).hidden_states
        assert_close(layers, torch.cat(states).mean(dim=1).numpy())


def test_the_cells_of_pixtral_lie_where_the_image_has_them(pixtral_folder):
    assert_spots_lie_in_their_cells(pixtral_folder[1], 12, 12, 14)


VIDEO = {"num_frames": 4}
VIDEOS = {
    "VideoMAE": (lambda: hf.VideoMAEModel(hf.VideoMAEConfig(**TOKENS, **MLP, **VIDEO)), 4),
    "ViViT": (lambda: hf.VivitModel(hf.VivitConfig(**TOKENS, **MLP, **VIDEO, tubelet_size=[2, 8, 8])), 4),
    "TimeSformer": (lambda: hf.TimesformerModel(hf.TimesformerConfig(**TOKENS, **MLP, **VIDEO)), 4),
    "V-JEPA 2": (lambda: hf.VJEPA2Model(v_jepa2()), 2),
}
OF_VIDEOS = {"image_processor_type": "VideoMAEImageProcessor", "size": {"height": 32, "width": 32}}
OF_VIDEOS |= {"do_center_crop": False}
OF_V_JEPA = {"video_processor_type": "VJEPA2VideoProcessor", "size": {"height": 32, "width": 32}}
OF_V_JEPA |= {"do_center_crop": False, "do_resize": False}


def v_jepa2():
    predictor = {"pred_hidden_size": 12, "pred_num_attention_heads": 2, "pred_num_hidden_layers": 1}
    return hf.VJEPA2Config(**TOKENS, **predictor, crop_size=32, frames_per_clip=4, mlp_ratio=2)


@pytest.fixture(scope="module", params=VIDEOS)
def video(request, tmp_path_factory):
    build, frames = VIDEOS[request.param]
    model = build().eval()
    settings = OF_V_JEPA if request.param == "V-JEPA 2" else OF_VIDEOS
    return model, frames, save(model, tmp_path_factory.mktemp("video"), settings)


def test_a_network_for_videos_sees_each_picture_as_a_still_video(video):
    model, frames, folder = video
    seen = pictures([(32, 32)] * 5)
    found = streams_of(folder, seen)["vision"]
    script, _, processor = loaded(folder)
    for picture, layers in zip(seen, found, strict=True):
        pixels = script.preprocess(processor, [picture])
        assert pixels.shape == (1, 1, 3, 32, 32)
        with torch.inference_mode():
            states = model(torch.cat([pixels] * frames, dim=1), output_hidden_states=True).hidden_states
        assert_close(layers, torch.cat(states).mean(dim=1).numpy())


def test_a_network_for_videos_says_how_many_frames_it_is_shown(video, caplog):
    model, frames, folder = video
    with caplog.at_level("INFO"):
        loaded(folder)
    assert f"{type(model).__name__} reads videos: each picture is given to it as {frames} equal frames" in caplog.text


def test_the_cells_of_a_still_video_lie_where_the_image_has_them(video):
    assert_spots_lie_in_their_cells(video[2], 4, 4, 8)


OF_IMAGES = {"image_processor_type": "CLIPImageProcessor", "size": {"height": 32, "width": 32}, "do_center_crop": False}
BOTH = {"vision_config": TOKENS | MLP, "text_config": TEXT, "projection_dim": 12}
GROUPS = {"num_group_tokens": [4, 2, 0], "num_output_groups": [4, 2, 0], "depths": [1, 1, 1]}
PROJECTED = {
    "CLIP": lambda: hf.CLIPModel(hf.CLIPConfig(**BOTH)),
    "MetaCLIP 2": lambda: hf.MetaClip2Model(hf.MetaClip2Config(**BOTH)),
    "Chinese CLIP": lambda: hf.ChineseCLIPModel(hf.ChineseCLIPConfig(**BOTH)),
    "AIMv2": lambda: hf.Aimv2Model(hf.Aimv2Config(**BOTH)),
    "OWL-ViT": lambda: hf.OwlViTModel(hf.OwlViTConfig(**BOTH)),
    "GroupViT": lambda: hf.GroupViTModel(
        hf.GroupViTConfig(**BOTH | {"vision_config": TOKENS | MLP | GROUPS, "projection_intermediate_dim": 12})
    ),
}


@pytest.mark.parametrize("name", PROJECTED)
def test_the_projected_output_is_the_models_own_feature_of_an_image(name, tmp_path):
    model = PROJECTED[name]().eval()
    folder = save(model, tmp_path, OF_IMAGES)
    found = streams_of(folder, pictures(), outputs=["pooled", "projected"])
    pixels = hf.AutoImageProcessor.from_pretrained(folder, backend="pil")(pictures(), return_tensors="pt").pixel_values
    with torch.inference_mode():
        features = torch.cat([model.get_image_features(one[None]).pooler_output for one in pixels])
        pooled = torch.cat([model.vision_model(one[None]).pooler_output for one in pixels])
    assert found.keys() == {"vision", "vision_pooled", "vision_projected"}
    assert_close(found["vision_projected"][:, 0], features.numpy())
    assert_close(found["vision_pooled"][:, 0], pooled.numpy())


def blip():
    text = TEXT | {"projection_dim": 12, "encoder_hidden_size": 16, "sep_token_id": 2}
    vision = TOKENS | MLP
    return hf.BlipForConditionalGeneration(hf.BlipConfig(vision_config=vision, text_config=text, projection_dim=12))


def test_the_tower_of_blip_is_read_from_a_checkpoint_that_captions(tmp_path):
    model = blip().eval()
    folder = save(model, tmp_path, OF_IMAGES)
    found = streams_of(folder, pictures(), poolings=("mean", "patch"), outputs=["normed"])
    pixels = hf.AutoImageProcessor.from_pretrained(folder, backend="pil")(pictures(), return_tensors="pt").pixel_values
    with torch.inference_mode():
        own = [model.vision_model(one[None], output_hidden_states=True) for one in pixels]
    assert_close(found["vision"], np.stack([torch.cat(one.hidden_states).mean(dim=1).numpy() for one in own]))
    patches = [torch.cat(one.hidden_states)[:, 1:].mean(dim=1).numpy() for one in own]
    assert_close(found["vision_patch"], np.stack(patches))
    assert_close(found["vision_normed"], np.stack([one.last_hidden_state.mean(dim=1).numpy() for one in own]))


def test_an_output_whose_weights_the_checkpoint_lacks_is_refused(tmp_path):
    folder = save(blip().eval(), tmp_path / "blip", OF_IMAGES)
    with pytest.raises(InputError, match=r"lacks 1 of the parameters of BlipModel, first visual_projection.weight"):
        loaded(folder, outputs=["projected"])
    vit = hf.ViTModel(hf.ViTConfig(**TOKENS, **MLP), add_pooling_layer=False).eval()
    folder = save(vit, tmp_path / "vit", OF_IMAGES)
    assert streams_of(folder, pictures(), outputs=["normed"])["vision_normed"].shape == (5, 1, 16)
    with pytest.raises(InputError, match=r"lacks 2 of the parameters of AutoModel, first pooler.dense.bias"):
        loaded(folder, outputs=["pooled"])


def test_a_network_without_a_projection_is_refused_it(tmp_path):
    model = hf.SiglipModel(hf.SiglipConfig(vision_config=TOKENS | MLP, text_config=TEXT | {"projection_size": 16}))
    folder = save(model.eval(), tmp_path, OF_IMAGES)
    with pytest.raises(InputError, match=r"SiglipVisionModel has no layer visual_projection .*--outputs projected"):
        loaded(folder, outputs=["projected"])


def test_untrained_towers_are_those_of_the_whole_untrained_model(tmp_path):
    folder = save(PROJECTED["CLIP"]().eval(), tmp_path, OF_IMAGES)
    untrained = Checkpoint(MODEL, None, folder, seed=3)
    network, _ = load_tower(untrained, "cpu", torch.float32, [])
    whole = untrained.model(hf.AutoModel, "cpu", torch.float32).vision_model.state_dict()
    assert whole.keys() == network.state_dict().keys()
    assert all(torch.equal(whole[name], values) for name, values in network.state_dict().items())


def test_an_image_processor_that_cuts_tiles_is_refused_by_one_line(tmp_path):
    vision = TOKENS | MLP | {"model_type": "clip_vision_model"}
    text = TEXT | {"model_type": "llama"}
    model = hf.LlavaNextForConditionalGeneration(hf.LlavaNextConfig(vision_config=vision, text_config=text))
    tiles = {"image_processor_type": "LlavaNextImageProcessor", "image_grid_pinpoints": [[64, 64]]}
    sizes = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    folder = save(model.eval(), tmp_path, tiles | sizes)
    with pytest.raises(InputError, match=r"cuts images into tiles.*vision_language_model.py") as refused:
        loaded(folder)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("build", [qwen2_5_vl, pixtral])
def test_packed_rows_give_the_same_alone_and_in_a_batch(build, tmp_path):
    folder = save(build().eval(), tmp_path, PIXTRAL if build is pixtral else OF_SQUARES)
    for grid in (1, 2):
        together = next(iter(streams_of(folder, pictures(), grid).values()))
        alone = [next(iter(streams_of(folder, [picture], grid).values())) for picture in pictures()]
        assert_close(together, np.concatenate(alone))
