"""Tiny transformers of many kinds with non-zero parameters, and the outputs of their attention and MLP, as a reference.

The reference uses none of our hooks. The output of attention is the residual stream before the MLP's norm minus the
layer's input. The output of the MLP is the layer's output minus that stream. Layers that compute both from the same
input have no such stream in between.

Letters: B rows, L layers, T tokens, W width.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch

from brain_activity_prediction.models.library_imports import import_torchvision

import_torchvision()
import transformers as hf  # noqa: E402
from transformers.models.mllama.modeling_mllama import MllamaTextModel, MllamaVisionModel  # noqa: E402
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VisionTransformerPretrainedModel  # noqa: E402

TINY = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48}
TEXT = TINY | {"vocab_size": 64, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
GROUPED = TEXT | {"num_key_value_heads": 2, "head_dim": 8}
PICTURES = TINY | {"image_size": 28, "patch_size": 14}
IDS = {"input_ids": torch.arange(3, 21).reshape(2, 9)}
PIXELS = {"pixel_values": torch.linspace(-1, 1, 2 * 3 * 28 * 28).reshape(2, 3, 28, 28)}
CROSS = {
    "cross_attention_states": torch.linspace(-1, 1, 2 * 5 * 32).reshape(2, 5, 32),
    # The first three tokens come before the image.
    "full_text_row_masked_out_mask": torch.tensor([0.0] * 3 + [1.0] * 6).expand(2, 1, 9)[..., None],
}
PACKED = {
    "hidden_states": torch.linspace(-1, 1, 16 * 1176).reshape(16, 1176),
    "grid_thw": torch.tensor([[1, 4, 4]]),
}
TILES = {
    "pixel_values": torch.linspace(-1, 1, 4 * 3 * 28 * 28).reshape(1, 1, 4, 3, 28, 28),
    "aspect_ratio_ids": torch.tensor([[6]]),
    "aspect_ratio_mask": torch.ones(1, 1, 4),
}


@dataclass
class Family:
    """A model's class and configuration, its inputs, the path of its layers, and the module before the MLP."""

    kind: Any
    config: Any
    inputs: dict
    layers: str = "layers"
    before_mlp: str | None = "post_attention_layernorm"

    def model(self):
        torch.manual_seed(0)
        model = self.kind(self.config).eval()
        with torch.no_grad():
            for name, values in model.named_parameters():
                values.normal_(1.0 if "norm" in name else 0.2, 0.2)
        return model


def mllama_vision():
    return hf.models.mllama.MllamaVisionConfig(
        hidden_size=32, attention_heads=4, intermediate_size=48, num_hidden_layers=2, num_global_layers=2,
        image_size=28, patch_size=14, max_num_tiles=4, vision_output_dim=96, intermediate_layers_indices=[0, 1],
    )  # fmt: skip


MLLAMA = GROUPED | {"cross_attention_layers": [1], "rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}
MLLAMA.pop("head_dim")
QWEN_VISION = {"depth": 3, "hidden_size": 32, "out_hidden_size": 32, "intermediate_size": 48, "num_heads": 4}

FAMILIES: dict[str, Callable[[], Family]] = {
    "LLaMA": lambda: Family(hf.LlamaModel, hf.LlamaConfig(**GROUPED), IDS),
    "Qwen3": lambda: Family(hf.Qwen3Model, hf.Qwen3Config(**GROUPED | {"head_dim": 16}), IDS),
    "Gemma 3": lambda: Family(
        hf.Gemma3TextModel, hf.Gemma3TextConfig(**GROUPED), IDS, before_mlp="pre_feedforward_layernorm"
    ),
    "Granite": lambda: Family(hf.GraniteModel, hf.GraniteConfig(**TEXT, residual_multiplier=0.22), IDS),
    "Mixtral": lambda: Family(
        hf.MixtralModel, hf.MixtralConfig(**GROUPED, num_local_experts=4, num_experts_per_tok=2), IDS
    ),
    "Mllama": lambda: Family(MllamaTextModel, hf.MllamaTextConfig(**MLLAMA), IDS | CROSS),
    "GPT-2": lambda: Family(
        hf.GPT2Model, hf.GPT2Config(n_embd=32, n_layer=3, n_head=4, vocab_size=64), IDS, "h", "ln_2"
    ),
    "OPT": lambda: Family(
        hf.OPTModel,
        hf.OPTConfig(**TINY, ffn_dim=48, vocab_size=64, word_embed_proj_dim=32),
        IDS,
        "decoder.layers",
        "final_layer_norm",
    ),
    "Llama 4": lambda: Family(
        hf.Llama4TextModel,
        hf.Llama4TextConfig(**GROUPED, intermediate_size_mlp=48, num_local_experts=2, num_experts_per_tok=1),
        IDS,
    ),
    "T5 encoder": lambda: Family(
        hf.T5EncoderModel,
        hf.T5Config(d_model=32, d_kv=8, d_ff=48, num_layers=3, num_heads=4, vocab_size=64),
        IDS,
        "encoder.block",
        "layer.1.layer_norm",
    ),
    "GPT-NeoX": lambda: Family(hf.GPTNeoXModel, hf.GPTNeoXConfig(**TEXT), IDS, before_mlp=None),
    "Cohere": lambda: Family(hf.CohereModel, hf.CohereConfig(**TEXT), IDS, before_mlp=None),
    "Falcon": lambda: Family(hf.FalconModel, hf.FalconConfig(**TEXT), IDS, "h", before_mlp=None),
    "CLIP": lambda: Family(
        hf.CLIPVisionModel, hf.CLIPVisionConfig(**PICTURES), PIXELS, "encoder.layers", "layer_norm2"
    ),
    "DINOv2": lambda: Family(hf.Dinov2Model, hf.Dinov2Config(**PICTURES), PIXELS, "encoder.layer", "norm2"),
    "InternVL tower": lambda: Family(
        hf.InternVLVisionModel,
        hf.InternVLVisionConfig(**PICTURES | {"image_size": [28, 28], "patch_size": [14, 14]}),
        PIXELS,
        "encoder.layer",
        "layernorm_after",
    ),
    "Qwen2.5-VL tower": lambda: Family(
        Qwen2_5_VisionTransformerPretrainedModel,
        hf.models.qwen2_5_vl.configuration_qwen2_5_vl.Qwen2_5_VLVisionConfig(**QWEN_VISION),
        PACKED,
        "blocks",
        "norm2",
    ),
    "Mllama tower": lambda: Family(MllamaVisionModel, mllama_vision(), TILES, "global_transformer.layers"),
}


def own_parts(run, layers, before_mlp):
    """Return the outputs of attention and MLP in each layer, two lists of (..., W), or their sum and None."""
    entered, between, left = [], [], []
    with ExitStack() as hooks:
        for layer in layers:
            keep = lambda module, inputs, named: entered.append(states_of(inputs, named).clone())  # noqa: E731
            hooks.callback(layer.register_forward_pre_hook(keep, with_kwargs=True).remove)
            hooks.callback(layer.register_forward_hook(lambda *passed: left.append(first(passed[-1]).clone())).remove)
            if before_mlp:
                norm = layer.get_submodule(before_mlp)
                hooks.callback(norm.register_forward_pre_hook(lambda _, inputs: between.append(inputs[0])).remove)
        run()
    if not before_mlp:
        return [out - into for into, out in zip(entered, left, strict=True)], None
    between = [mid.reshape(into.shape) for into, mid in zip(entered, between, strict=True)]
    return [mid - into for into, mid in zip(entered, between, strict=True)], [
        out - mid for mid, out in zip(between, left, strict=True)
    ]


def states_of(inputs, named):
    return inputs[0] if inputs else named["hidden_states"]


def first(output):
    return output[0] if isinstance(output, tuple) else output
