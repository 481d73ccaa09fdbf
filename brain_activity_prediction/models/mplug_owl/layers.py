"""The layers of mPLUG-Owl's vision tower and abstractor, which no library provides.

Source: Ye et al. 2023, arXiv 2304.14178. Letters: N images of S x S pixels, V = 1 + patches vision tokens, Q queries, D
vision width, W language width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPVisionConfig, PreTrainedConfig
from transformers.models.clip.modeling_clip import CLIPMLP

ABSTRACTOR_EPS = 1e-5  # for three of an abstractor layer's four norms; the fourth uses the configured value


def attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Compute softmax(q k' / sqrt(d)) v for (N, heads, tokens, d); the result is (N, tokens, heads * d).

    Each step is computed in the dtype of the inputs, so that rounding is the same as in the authors' code.
    """
    scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
    return (scores.softmax(dim=-1) @ value).transpose(1, 2).flatten(2)


class VisionEmbeddings(nn.Module):
    def __init__(self, config: CLIPVisionConfig):
        super().__init__()
        width, patch = config.hidden_size, config.patch_size
        n_patches = (config.image_size // patch) ** 2
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        self.position_embedding = nn.Parameter(torch.empty(1, 1 + n_patches, width))
        self.patch_embed = nn.Conv2d(config.num_channels, width, kernel_size=patch, stride=patch, bias=False)
        self.pre_layernorm = nn.LayerNorm(width, eps=config.layer_norm_eps)

    def forward(self, pixels: Tensor) -> Tensor:
        patches = self.patch_embed(pixels).flatten(2).transpose(1, 2)  # (N, V - 1, D), row by row
        tokens = torch.cat([self.cls_token.expand(len(patches), -1, -1), patches], dim=1)
        return self.pre_layernorm(tokens + self.position_embedding)


class VisionAttention(nn.Module):
    def __init__(self, config: CLIPVisionConfig):
        super().__init__()
        self.heads = config.num_attention_heads
        self.query_key_value = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, hidden: Tensor) -> Tensor:
        # The packed rows are ordered head by head, and q, k, v within a head.
        packed = self.query_key_value(hidden).unflatten(-1, (self.heads, 3, -1))  # (N, V, heads, 3, D / heads)
        query, key, value = packed.transpose(1, 2).unbind(dim=3)
        return self.dense(attention(query, key, value))


class VisionLayer(nn.Module):
    def __init__(self, config: CLIPVisionConfig):
        super().__init__()
        self.input_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.self_attn = VisionAttention(config)
        self.post_attention_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = CLIPMLP(config)

    def forward(self, hidden: Tensor) -> Tensor:
        hidden = hidden + self.self_attn(self.input_layernorm(hidden))
        return hidden + self.mlp(self.post_attention_layernorm(hidden))


class Encoder(nn.Module):
    """A sequence of layers; all inputs except the hidden states are the same for every layer."""

    def __init__(self, layers: list[nn.Module]):
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, hidden: Tensor, *context: Tensor) -> Tensor:
        for layer in self.layers:
            hidden = layer(hidden, *context)
        return hidden


class VisionTower(nn.Module):
    """Map pixels (N, 3, S, S) to normalised tokens (N, V, D), of which the first is the class token."""

    def __init__(self, config: CLIPVisionConfig):
        super().__init__()
        self.embeddings = VisionEmbeddings(config)
        self.encoder = Encoder([VisionLayer(config) for _ in range(config.num_hidden_layers)])
        self.post_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.post_layernorm(self.encoder(self.embeddings(pixels)))


class AbstractorAttention(nn.Module):
    def __init__(self, config: PreTrainedConfig):
        super().__init__()
        self.heads = config.num_attention_heads
        self.query = nn.Linear(config.hidden_size, config.hidden_size)
        self.key = nn.Linear(config.hidden_size, config.hidden_size)
        self.value = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, queries: Tensor, tokens: Tensor) -> Tensor:
        query, key, value = (
            states.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (N, heads, Q or Q + V, D / heads)
            for states in (self.query(queries), self.key(tokens), self.value(tokens))
        )
        return attention(query, key, value)


class AbstractorMLP(nn.Module):
    def __init__(self, config: PreTrainedConfig):
        super().__init__()
        self.w1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.w2 = nn.Linear(config.intermediate_size, config.hidden_size)
        self.w3 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.ffn_ln = nn.LayerNorm(config.intermediate_size, eps=config.layer_norm_eps)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.w2(self.ffn_ln(F.silu(self.w1(hidden)) * self.w3(hidden)))


class AbstractorOutput(nn.Module):
    def __init__(self, config: PreTrainedConfig):
        super().__init__()
        self.out_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.norm2 = nn.LayerNorm(config.hidden_size, eps=ABSTRACTOR_EPS)
        self.mlp = AbstractorMLP(config)

    def forward(self, queries: Tensor, attended: Tensor) -> Tensor:
        hidden = queries + self.out_proj(attended)
        return hidden + self.mlp(self.norm2(hidden))


class CrossAttention(nn.Module):
    def __init__(self, config: PreTrainedConfig):
        super().__init__()
        self.norm1 = nn.LayerNorm(config.hidden_size, eps=ABSTRACTOR_EPS)
        self.normk = nn.LayerNorm(config.hidden_size, eps=ABSTRACTOR_EPS)
        self.attention = AbstractorAttention(config)
        self.output = AbstractorOutput(config)

    def forward(self, hidden: Tensor, image: Tensor) -> Tensor:
        queries = self.norm1(hidden)  # the normalised queries are also the input of the residual connection
        attended = self.attention(queries, torch.cat([queries, self.normk(image)], dim=1))
        return self.output(queries, attended)


class AbstractorLayer(nn.Module):
    def __init__(self, config: PreTrainedConfig):
        super().__init__()
        self.crossattention = CrossAttention(config)

    def forward(self, hidden: Tensor, image: Tensor) -> Tensor:
        return self.crossattention(hidden, image)


class Abstractor(nn.Module):
    """Cross-attention from queries (N, Q, D) to vision tokens (N, V, D); returns (N, Q + 1, W), an end mark last."""

    def __init__(self, config: PreTrainedConfig, language_width: int):
        super().__init__()
        self.encoder = Encoder([AbstractorLayer(config) for _ in range(config.num_hidden_layers)])
        self.visual_fc = nn.Linear(config.hidden_size, language_width)
        self.vit_eos = nn.Parameter(torch.empty(1, 1, language_width))

    def forward(self, queries: Tensor, image: Tensor) -> Tensor:
        projected = self.visual_fc(self.encoder(queries, image))
        return torch.cat([projected, self.vit_eos.expand(len(projected), -1, -1)], dim=1)
