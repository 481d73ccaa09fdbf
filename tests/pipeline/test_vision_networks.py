"""Every class of vision networks: its streams equal what the class itself gives of one image at a time."""

import numpy as np
import pytest
import torch
from vision_networks import after_norm, hf, image_sides, network
from vision_table import NORMED, PATCHES, POOLED, VIDEOS

from brain_activity_prediction.models.vision.inputs import check_inputs, frames_of
from brain_activity_prediction.models.vision.network import VisionNetwork
from brain_activity_prediction.runtime.errors import InputError

pytestmark = pytest.mark.slow

GRID = 3
N_IMAGES = 5


def averaged_cells(values):
    """The mean of places (rows, columns, W) over GRID x GRID cells, as W x cells in reading order, by NumPy."""
    rows, columns, _ = values.shape
    edges = [[(i * n // GRID, -(-(i + 1) * n // GRID)) for i in range(GRID)] for n in (rows, columns)]
    cells = [values[a:b, c:d].mean(axis=(0, 1)) for a, b in edges[0] for c, d in edges[1]]
    return np.stack(cells, axis=1).ravel()


def places(patches, sides):
    """Patches (N, W) on their own rows and columns, of which there are as many as the image's shape tells."""
    rows = next(rows for rows in range(1, len(patches) + 1) if rows * rows * sides[1] >= len(patches) * sides[0])
    return patches.reshape(rows, -1, patches.shape[1])


def shown(pixels):
    """An image processor whose pixels are given: those of blank images, and then of the images."""
    return lambda images, **_: {"pixel_values": pixels[: len(images)]}


def own_states(model, pixels):
    """What a class gives of one image: all its hidden states (T, W) in reading order, and its output."""
    named = {}
    if type(model).__name__ == "ViTMAEModel":  # the order of its patches
        named["noise"] = torch.arange((pixels.shape[1] // 16) ** 2)[None].float()
    output = model(pixels[None], output_hidden_states=True, **named)
    states = output.reshaped_hidden_states if type(model).__name__ == "HieraModel" else output.hidden_states
    return [hidden.reshape(-1, hidden.shape[-1]).numpy() for hidden in states], output


def padded(layers):
    """Vectors of layers of several widths, filled with zeros to the widest."""
    width = max(map(len, layers))
    return np.stack([np.pad(layer, (0, width - len(layer))) for layer in layers])


@torch.inference_mode()
@pytest.mark.parametrize("name", PATCHES)
def test_each_class_gives_its_own_states_of_one_image_at_a_time(name):
    model, (before, after) = network(name), PATCHES[name]
    sides = image_sides(model.config)
    pixels = torch.rand(N_IMAGES, 3, *sides, generator=torch.Generator().manual_seed(1))
    outputs = [output for output, of in (("normed", NORMED), ("pooled", POOLED)) if name in of]
    read = {}
    for grid in (1, GRID):
        reader = VisionNetwork(model)
        reader.check(shown(pixels), ["mean", "patch"], grid, outputs)
        read |= reader.streams(pixels, ["mean", "patch"], grid, outputs)
    for image in range(N_IMAGES):
        states, output = own_states(model, pixels[image])
        patches = [layer[before : len(layer) - after] for layer in states]
        expected = {
            "vision": padded([layer.mean(axis=0) for layer in states]),
            "vision_patch": padded([layer.mean(axis=0) for layer in patches]),
            f"vision_grid{GRID}": padded([averaged_cells(places(layer, sides)) for layer in patches]),
        }
        if "normed" in outputs:
            normed = after_norm(model, output)[0].numpy()
            expected["vision_normed"] = normed.mean(axis=0)[None]
            expected["vision_normed_patch"] = normed[before : len(normed) - after].mean(axis=0)[None]
        if "pooled" in outputs:
            expected["vision_pooled"] = output.pooler_output.numpy()
        assert read.keys() == expected.keys()
        for stream, values in expected.items():
            np.testing.assert_allclose(
                read[stream][image], values, rtol=1e-5, atol=1e-5 * np.abs(values).max(), err_msg=stream
            )


@pytest.mark.parametrize("name", VIDEOS)
def test_networks_for_videos_are_shown_as_many_frames_as_the_table_tells(name):
    model_class = getattr(hf, name)
    with torch.device("meta"):
        assert frames_of(model_class(model_class.config_class())) == VIDEOS[name][0]


def test_a_network_that_reads_more_than_pixels_is_refused():
    with torch.device("meta"):
        model = hf.MllamaVisionModel(hf.MllamaVisionConfig())
    with pytest.raises(InputError, match="needs aspect_ratio_ids and aspect_ratio_mask besides an image's pixels"):
        check_inputs(model)


def test_a_network_that_gives_no_hidden_states_is_refused_by_one_line():
    model = hf.DetrModel(hf.DetrConfig(encoder_layers=1, decoder_layers=1)).eval()
    with pytest.raises(InputError, match=r"^DetrModel gives no hidden states of its layers: choose another network$"):
        VisionNetwork(model).check(shown(torch.rand(2, 3, 64, 64)), ["mean"], 1, [])


def test_each_class_without_a_final_norm_or_a_pooler_is_refused_these():
    for name in PATCHES:
        model = network(name)
        pixels = torch.rand(2, 3, *image_sides(model.config))
        for output, of in (("normed", NORMED), ("pooled", POOLED)):
            if name not in of:
                with pytest.raises(InputError, match=f"{name} has no .*: leave out --outputs {output}"):
                    VisionNetwork(model).check(shown(pixels), ["mean"], 1, [output])
