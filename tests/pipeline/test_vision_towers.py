"""Vision networks that lie in other models, read videos, or put the patches of all images into one row."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from scripts import load_script
from vision_networks import hf, random_weights

from brain_activity_prediction.models.checkpoints.checkpoint import Checkpoint

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


def test_the_tower_of_a_qwen_is_loaded_without_the_language_model(qwen):
    _, model, _ = loaded(qwen[1])
    language = sum(values.numel() for values in qwen[0].model.language_model.parameters())
    whole = sum(values.numel() for values in qwen[0].model.parameters())
    assert language > 1000
    assert sum(values.numel() for values in model.network.parameters()) == whole - language


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
    assert f"{type(model).__name__} reads videos: each picture is shown as {frames} equal frames" in caplog.text


def test_the_cells_of_a_still_video_lie_where_the_image_has_them(video):
    assert_spots_lie_in_their_cells(video[2], 4, 4, 8)
