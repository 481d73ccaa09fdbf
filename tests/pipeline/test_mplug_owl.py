"""The mPLUG-Owl network: the authors' numbers, the published names, any geometry."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_mplug_owl import load, random_model, tiny_config, write_checkpoint
from torch import nn
from transformers import CLIPVisionModel

from brain_activity_prediction.models.mplug_owl.network import MplugOwl, MplugOwlConfig

pytestmark = pytest.mark.slow

REFERENCE = Path(__file__).resolve().parents[3] / "shared" / "reference" / "mplug_owl"
needs_reference = pytest.mark.skipif(not REFERENCE.is_dir(), reason="no ../shared/reference/mplug_owl")
IMAGE_CASES = ("single", "rightpad", "leftpad_multi")
CASES = (*IMAGE_CASES, "textonly")
# Absolute, float32. QUERIES: both implementations are 6e-6 to 9e-6 from this network in float64, so up to 6e-6 apart by
# the processor's rounding; norm2 with an epsilon of 1e-6 instead of 1e-5 is 1.1e-5 or more off.
IMAGE, QUERIES, STATES, LOGITS = ({"rtol": 0, "atol": atol} for atol in (5e-6, 8e-6, 2e-5, 5e-5))
CLIP_NAMES = {
    "dense": "out_proj",
    "input_layernorm": "layer_norm1",
    "post_attention_layernorm": "layer_norm2",
}
GEOMETRIES = {
    "one of everything": {
        "vision": {"num_hidden_layers": 1, "num_attention_heads": 1, "image_size": 7},
        "abstractor": {"num_hidden_layers": 1, "num_attention_heads": 1},
        "text": {"num_hidden_layers": 1, "num_attention_heads": 1},
        "queries": 1,
    },
    "wide vision, many heads, an image that is no multiple of the patch": {
        "vision": {"hidden_size": 48, "intermediate_size": 20, "num_attention_heads": 12, "image_size": 60},
        "abstractor": {"intermediate_size": 96, "num_hidden_layers": 4, "num_attention_heads": 6},
        "text": {"hidden_size": 40, "num_attention_heads": 10},
        "queries": 17,
    },
    "deep vision, large patches, grouped heads": {
        "vision": {"num_hidden_layers": 6, "patch_size": 14, "image_size": 70, "num_attention_heads": 2},
        "abstractor": {"num_attention_heads": 8},
        "text": {"hidden_size": 64, "num_attention_heads": 8, "num_key_value_heads": 2, "vocab_size": 77},
        "queries": 9,
    },
}


@pytest.fixture(scope="module")
def reference():
    """The authors' tiny network, loaded as a user would load a checkpoint."""
    return load(REFERENCE)


def arrays(case):
    with np.load(REFERENCE / "cases.npz") as file:
        return {name.split("/")[1]: torch.from_numpy(file[name]) for name in file if name.startswith(f"{case}/")}


def outputs(modules):
    """A list that fills with what the modules give, in order."""
    kept = []
    for module in modules:
        module.register_forward_hook(lambda module, inputs, output: kept.append(output))
    return kept


def inputs_embeds(model, case):
    """The case's prompt as the language model reads it, its images in place."""
    width = model.config.text_config.hidden_size
    images = model.encode_images(case["pixel_values"]) if "pixel_values" in case else torch.empty(0, 9, width)
    return model.embed(case["input_ids"], images)


@torch.no_grad()
def greedy(language_model, embeds, mask, n_new, end_id):
    """New tokens (B, n_new) and each later step's hidden states, with the positions that the authors' library gave.

    The next position is the number of unpadded tokens so far; a row that has ended goes on with the padding id 0.
    """
    positions = (mask.cumsum(dim=1) - 1).masked_fill(mask == 0, 1)
    step, tokens, states = {"inputs_embeds": embeds, "position_ids": positions}, [], []
    alive, cache = torch.ones(len(mask), dtype=torch.bool), None
    while len(tokens) < n_new and alive.any():
        output = language_model(
            **step, attention_mask=mask, past_key_values=cache, use_cache=True, output_hidden_states=True
        )
        new, cache = output.logits[:, -1].argmax(dim=-1) * alive, output.past_key_values
        tokens.append(new)
        states.append(torch.stack(output.hidden_states))
        alive &= new != end_id
        step = {"input_ids": new[:, None], "position_ids": mask.sum(dim=1, keepdim=True)}
        mask = torch.cat([mask, torch.ones(len(mask), 1, dtype=mask.dtype)], dim=1)
    return torch.stack(tokens, dim=1), states[1:]


@needs_reference
@pytest.mark.parametrize("case", IMAGE_CASES)
def test_the_vision_tower_and_the_abstractor_give_the_authors_numbers(case):
    model, expected = load(REFERENCE), arrays(case)
    embedded = outputs([model.vision_model.embeddings])
    layers, queries = outputs(model.vision_model.encoder.layers), outputs(model.abstractor.encoder.layers)
    vision = outputs([model.vision_model])
    with torch.inference_mode():
        image = model.encode_images(expected["pixel_values"])
    torch.testing.assert_close(torch.stack(embedded + layers), expected["vision_hidden_states"], **IMAGE)
    torch.testing.assert_close(vision[0], expected["vision_last_hidden_state"], **IMAGE)
    torch.testing.assert_close(torch.stack(queries), expected["abstractor_layer_outputs"], **QUERIES)
    torch.testing.assert_close(image, expected["abstractor_last_hidden_state"], **QUERIES)


@needs_reference
@pytest.mark.parametrize("case", CASES)
def test_llama_reads_the_images_and_the_text_as_the_authors_does(reference, case):
    expected = arrays(case)
    with torch.inference_mode():
        embeds = inputs_embeds(reference, expected)
        output = reference.language_model(
            inputs_embeds=embeds, attention_mask=expected["attention_mask"], output_hidden_states=True
        )
    text = expected["attention_mask"] == 1  # what stands at padding means nothing
    torch.testing.assert_close(embeds, expected["inputs_embeds"], **IMAGE)
    torch.testing.assert_close(
        torch.stack(output.hidden_states)[:, text], expected["forward_hidden_states"][:, text], **STATES
    )
    torch.testing.assert_close(output.logits[text], expected["forward_logits"][text], **LOGITS)


@needs_reference
@pytest.mark.parametrize("case", CASES)
def test_greedy_answers_are_the_authors_and_stop_where_theirs_stop(reference, case):
    expected = arrays(case)
    with torch.inference_mode():
        embeds = inputs_embeds(reference, expected)
    for run, end_id in (("gen", 2), ("geneos", expected["geneos_eos_token_id"].item())):
        tokens, states = greedy(reference.language_model, embeds, expected["attention_mask"], 6, end_id)
        # The first id of theirs is a placeholder that was never read.
        assert tokens.tolist() == expected[f"{run}_sequences"][:, 1:].tolist()
        torch.testing.assert_close(torch.stack(states), expected[f"{run}_steps_hidden_states"], **STATES)


@needs_reference
def test_the_published_checkpoint_fits_name_by_name_and_shape_by_shape():
    published = json.loads((REFERENCE / "real_names_shapes.json").read_text())
    tensors = {
        name: torch.empty(tensor["shape"], device="meta")
        for name, tensor in published["tensors"].items()
        if not name.endswith("rotary_emb.inv_freq")
    }
    for config in (MplugOwlConfig(**published["config"]), MplugOwlConfig()):  # the 7B's sizes are the defaults
        with torch.device("meta"):
            model = MplugOwl(config)
        model.load_state_dict(tensors, strict=True)
        assert sum(parameter.numel() for parameter in model.parameters()) == published["num_params"]


def as_clip(tower, config):
    """The vision tower's weights under the names of transformers' CLIP, the packed queries, keys and values apart."""
    state = {
        "embeddings.class_embedding": tower.embeddings.cls_token.flatten(),
        "embeddings.position_embedding.weight": tower.embeddings.position_embedding[0],
        "embeddings.patch_embedding.weight": tower.embeddings.patch_embed.weight,
    }
    for name, value in tower.state_dict().items():
        if name.endswith(("pre_layernorm.weight", "pre_layernorm.bias")):
            state[name.replace("embeddings.pre_layernorm", "pre_layrnorm")] = value
        elif "query_key_value" in name:
            heads = value.unflatten(0, (config.num_attention_heads, 3, -1))
            for index, part in enumerate(("q_proj", "k_proj", "v_proj")):
                state[name.replace("query_key_value", part)] = heads[:, index].flatten(0, 1)
        elif not name.startswith("embeddings"):
            for ours, theirs in CLIP_NAMES.items():
                name = name.replace(ours, theirs)
            state[name] = value
    return state


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_at_any_geometry_the_vision_tower_is_transformers_clip(geometry):
    model = random_model(tiny_config(**geometry))
    config = model.config.vision_config
    clip = CLIPVisionModel(config).eval()
    clip.load_state_dict(as_clip(model.vision_model, config))
    pixels = torch.randn(2, 3, config.image_size, config.image_size)
    with torch.inference_mode():
        expected = clip.post_layernorm(clip(pixels).last_hidden_state)
        torch.testing.assert_close(model.vision_model(pixels), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_at_any_geometry_each_image_takes_its_places_in_the_prompt(geometry):
    model = random_model(tiny_config(**geometry))
    size, width = model.config.vision_config.image_size, model.config.text_config.hidden_size
    places = model.config.num_query_tokens + 1
    ids = torch.tensor([[1, *[-1] * places, 7, *[-1] * places], [1, *[5] * places, 7, *[-1] * places]])
    with torch.inference_mode():
        images = model.encode_images(torch.randn(3, 3, size, size))
        embeds = model.embed(ids, images)
        logits = model.language_model(inputs_embeds=embeds).logits
    assert images.shape == (3, places, width)
    assert torch.equal(embeds[ids == -1], images.flatten(0, 1))
    assert torch.equal(embeds[ids != -1], model.language_model.model.embed_tokens.weight[ids[ids != -1]])
    assert logits.isfinite().all()


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_at_any_geometry_the_abstractor_attends_as_torch_does(geometry):
    model = random_model(tiny_config(**geometry))
    config, layer = model.config.visual_abstractor_config, model.abstractor.encoder.layers[0].crossattention
    ours = layer.attention
    theirs = nn.MultiheadAttention(config.hidden_size, config.num_attention_heads, batch_first=True).eval()
    with torch.no_grad():
        for kind in ("weight", "bias"):
            parts = [getattr(part, kind) for part in (ours.query, ours.key, ours.value)]
            getattr(theirs, f"in_proj_{kind}").copy_(torch.cat(parts))
            getattr(theirs.out_proj, kind).copy_(getattr(layer.output.out_proj, kind))
    queries, tokens = torch.randn(2, 4, config.hidden_size), torch.randn(2, 9, config.hidden_size)
    with torch.inference_mode():
        attended = layer.output.out_proj(ours(queries, tokens))
        torch.testing.assert_close(attended, theirs(queries, tokens, tokens)[0], rtol=0, atol=1e-5)


def test_a_network_without_weights_is_drawn_from_the_seed():
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(MplugOwl(tiny_config()).state_dict())
    names = [name for name in drawn[0] if "norm" not in name and "ffn_ln" not in name and not name.endswith("bias")]
    assert all(torch.equal(drawn[0][name], drawn[1][name]) for name in drawn[0])
    assert not any(torch.equal(drawn[0][name], drawn[2][name]) for name in names)
    assert all(0.01 < drawn[0][name].std() < 0.04 for name in names)


def test_the_whole_network_runs_in_half_precision(tmp_path):
    pixels, ids = torch.randn(2, 3, 28, 28), torch.tensor([[1, *[-1] * 6, 7, 8]] * 2)
    folder, states = write_checkpoint(tmp_path / "checkpoint"), []
    for dtype in (torch.float32, torch.bfloat16):
        model = load(folder, dtype)
        assert {parameter.dtype for parameter in model.parameters()} == {dtype}
        with torch.inference_mode():
            embeds = model.embed(ids, model.encode_images(pixels.to(dtype)))
            states.append(model.language_model.model(inputs_embeds=embeds).last_hidden_state.float())
    assert (states[0] - states[1]).norm() < 0.1 * states[0].norm()
