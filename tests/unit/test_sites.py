"""What is read inside a layer: what attention and MLP add to the residual stream, and the output of each head."""

import pytest
import torch
from inside_layers import FAMILIES, GROUPED, IDS, TEXT, Family, hf, own_parts

from brain_activity_prediction.models.pooling import pooled, stream_name
from brain_activity_prediction.models.sites.parts import find_parts
from brain_activity_prediction.models.sites.points import with_sites
from brain_activity_prediction.models.vision_language.image_states import tower_states
from brain_activity_prediction.runtime.errors import InputError

PROJECTIONS = ("o_proj", "c_proj", "SelfAttention.o", "attn.proj")  # attention comes before the MLP
EVERY = {"mean": slice(None)}
TOLERANCE = 2e-5  # of a layer's largest value: what is expected is a difference of larger numbers


def read(model, family, sites):
    """The mean over tokens of each site, {site: (B, L, W)}."""
    layers = model.get_submodule(family.layers)
    with torch.inference_mode():
        points, found = with_sites([], layers, sites, lambda: model(**family.inputs))
        packed = "grid_thw" in family.inputs  # one row of all patches
        with tower_states(points, {"mean": lambda _: slice(None)}, 1) if packed else pooled(points, EVERY) as states:
            model(**family.inputs)
    streams = states.streams("s", found) if packed else states.streams("s", None, found)
    return {site: streams[stream_name("s", "mean", site)] for site in found}


def means(states):
    return torch.stack([layer.mean(dim=1) if layer.ndim == 3 else layer[None].mean(dim=1) for layer in states], dim=1)


@pytest.mark.parametrize("name", FAMILIES)
def test_attention_and_mlp_are_what_a_layer_adds_to_the_residual_stream(name):
    family = FAMILIES[name]()
    model = family.model()
    with torch.inference_mode():
        layers = model.get_submodule(family.layers)
        attention, mlp = own_parts(lambda: model(**family.inputs), layers, family.before_mlp)
    found = read(model, family, ["attention", "mlp"])
    if mlp is None:
        expected, given = means(attention), found["attention"] + found["mlp"]
        assert float((given - expected).abs().max() / expected.abs().max()) < TOLERANCE
        return
    for site, expected in (("attention", means(attention)), ("mlp", means(mlp))):
        assert found[site].shape == expected.shape
        assert float((found[site] - expected).abs().max() / expected.abs().max()) < TOLERANCE, site


def test_heads_are_the_attention_weights_times_the_values():
    """By LLaMA's own attention weights and values, of which two heads share one."""
    family = FAMILIES["LLaMA"]()
    model = family.model()
    model.set_attn_implementation("eager")
    values = []
    for layer in model.layers:
        layer.self_attn.v_proj.register_forward_hook(lambda module, inputs, output: values.append(output))
    with torch.inference_mode():
        weights = model(**family.inputs, output_attentions=True).attentions  # L of (B, 4, T, T)
        own = [value.unflatten(2, (2, 8)).repeat_interleave(2, dim=2) for value in values]  # L of (B, T, 4, 8)
        expected = [torch.einsum("bhts,bshv->bhtv", *pair).mean(dim=2) for pair in zip(weights, own, strict=True)]
    found = read(model, family, ["heads"])["heads"]
    torch.testing.assert_close(found, torch.cat(expected, dim=1))  # layer 0's heads, then layer 1's


@pytest.mark.parametrize("name", ["LLaMA", "Qwen3", "GPT-2", "DINOv2", "T5 encoder", "Qwen2.5-VL tower"])
def test_heads_times_the_output_projection_are_what_attention_adds(name):
    family = FAMILIES[name]()
    model = family.model()
    if name == "DINOv2":  # its layer scale comes after the projection
        [layer.layer_scale1.lambda1.data.fill_(1.0) for layer in model.encoder.layer]
    found = read(model, family, ["attention", "heads"])
    for number, layer in enumerate(model.get_submodule(family.layers)):
        projection = next(m for path, m in layer.named_modules() if path.endswith(PROJECTIONS))
        weight = projection.weight.T if isinstance(projection, torch.nn.Linear) else projection.weight  # (H * V, W)
        heads = found["heads"].unflatten(1, (-1, 4))[:, number]  # (B, 4, V)
        added = torch.einsum("bhv,hvw->bw", heads, weight.unflatten(0, (4, -1)))
        bias = 0.0 if getattr(projection, "bias", None) is None else projection.bias
        torch.testing.assert_close(added + bias, found["attention"][:, number], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("sites", [["attention"], ["mlp"]])
def test_a_network_that_norms_the_sum_is_refused_by_one_line(sites):
    family = Family(hf.BertModel, hf.BertConfig(**TEXT), IDS, "encoder.layer")
    with pytest.raises(InputError, match=r"layer 0 \(BertLayer\).*leave out --sites") as refused:
        read(family.model(), family, sites)
    assert "\n" not in str(refused.value)


def test_a_layer_without_an_mlp_is_refused():
    config = hf.MambaConfig(hidden_size=32, num_hidden_layers=2, vocab_size=64, state_size=4)
    family = Family(hf.MambaModel, config, IDS)
    with pytest.raises(InputError, match="layer 0"):
        read(family.model(), family, ["attention"])
    with pytest.raises(InputError, match="no attention heads"):
        read(family.model(), family, ["heads"])


def test_a_layer_with_two_attentions_is_refused():
    config = hf.T5Config(d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, vocab_size=64)
    family = Family(hf.T5Model, config, IDS | {"decoder_input_ids": IDS["input_ids"]}, "decoder.block")
    with pytest.raises(InputError, match="has 2 attentions"):
        read(family.model(), family, ["heads"])
    with pytest.raises(InputError, match="layer 0"):
        read(family.model(), family, ["mlp"])


def test_a_layer_that_is_not_computed_is_refused():
    family = FAMILIES["CLIP"]()
    model = family.model()
    family.layers = "further"
    model.further = torch.nn.ModuleList([*model.encoder.layers, type(model.encoder.layers[0])(model.config)])
    with pytest.raises(InputError, match=r"layer 3 .* is not computed"):
        read(model, family, ["attention"])


def test_bert_has_heads():
    family = Family(hf.BertModel, hf.BertConfig(**TEXT), IDS, "encoder.layer")
    assert read(family.model(), family, ["heads"])["heads"].shape == (2, 12, 8)


def test_layers_with_different_heads_are_refused():
    family = FAMILIES["LLaMA"]()
    model = family.model()
    other = hf.LlamaConfig(**GROUPED | {"num_attention_heads": 2})
    model.layers[1].self_attn = hf.models.llama.modeling_llama.LlamaAttention(other, 1)
    with pytest.raises(InputError, match="layer 1 has 2 attention heads"):
        read(model, family, ["heads"])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["LLaMA", "Gemma 3", "DINOv2", "Mllama"])
def test_the_parts_are_found_in_half_precision(name, dtype):
    family = FAMILIES[name]()
    model = family.model()
    expected = read(model, family, ["attention", "mlp"])
    family.inputs = {
        key: given.to(dtype) if given.is_floating_point() else given for key, given in family.inputs.items()
    }
    found = read(model.to(dtype), family, ["attention", "mlp"])
    for site, states in expected.items():
        assert float((found[site] - states).abs().max() / states.abs().max()) < 0.1


@pytest.mark.parametrize(("dtype", "size"), [(torch.bfloat16, 0.05), (torch.float16, 0.02)])
def test_small_layer_scales_are_not_taken_for_gates_in_half_precision(dtype, size):
    """Small numbers and their tanh differ by less than one rounding; InternVL's scales begin at 0.1."""
    family, draw = FAMILIES["InternVL tower"](), torch.Generator().manual_seed(2)
    model = family.model()
    for layer in model.encoder.layer:
        for scale in (layer.lambda_1, layer.lambda_2):
            scale.data.copy_(size + size * torch.randn(scale.shape, generator=draw))
    pixels = family.inputs["pixel_values"].to(dtype)
    with torch.inference_mode():
        found = find_parts(model.to(dtype).encoder.layer, lambda: model(pixel_values=pixels))
    assert {(part.gate.name, part.gate.tanh) for parts in found for part in parts.values()} == {
        ("lambda_1", False),
        ("lambda_2", False),
    }
