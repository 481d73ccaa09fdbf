"""The mPLUG-Owl network (version 1, images), under the parameter names of its published checkpoint.

A CLIP vision tower, an abstractor whose queries sum up its tokens, and LLaMA reading the result between text tokens.
Source: Ye et al. 2023, arXiv 2304.14178. Letters: N images, S pixels a side, V = 1 + patches vision tokens,
Q queries, D vision width, B prompts, T tokens, W language width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPVisionConfig, LlamaConfig, LlamaForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.models.clip.modeling_clip import CLIPMLP

from brain_activity_prediction.extract_image_embeddings.mplug_owl_checkpoint import local_folder, match, read_state

IMAGE_TOKEN_ID = -1  # stands in token ids for one of the Q + 1 vectors of an image
ABSTRACTOR_EPS = 1e-5  # the authors' abstractor reads its configured epsilon in one of its four norms only
ABSTRACTOR_MLP = "abstractor.encoder.layers.0.crossattention.output.mlp.w1.weight"


class MplugOwlConfig(PreTrainedConfig):
    """The sizes of the network; those that are not given are the sizes of the published 7B model."""

    model_type = "mplug-owl"
    sub_configs = {
        "vision_config": CLIPVisionConfig,
        "visual_abstractor_config": PreTrainedConfig,
        "text_config": LlamaConfig,
    }

    def __init__(
        self,
        vision_config: dict | None = None,
        visual_abstractor_config: dict | None = None,
        text_config: dict | None = None,
        num_query_tokens: int = 64,
        **others,
    ):
        tower = {"hidden_size": 1024, "num_attention_heads": 16, "layer_norm_eps": 1e-6}
        vision = {"intermediate_size": 4096, "num_hidden_layers": 24, "image_size": 224, "patch_size": 14}
        abstractor = {"intermediate_size": 2816, "num_hidden_layers": 6}
        # The vision tower's activation was never read from its configuration.
        always = {"hidden_act": "quick_gelu"}
        self.vision_config = CLIPVisionConfig(**{**tower, **vision, **(vision_config or {}), **always})
        self.visual_abstractor_config = PreTrainedConfig(**{**tower, **abstractor, **(visual_abstractor_config or {})})
        self.text_config = LlamaConfig(**(text_config or {}))
        self.num_query_tokens = num_query_tokens
        super().__init__(**others)


def attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """softmax(q k' / sqrt(d)) v of (N, heads, tokens, d), the heads side by side again: (N, tokens, heads * d).

    Step by step and in the working dtype, as the authors' code rounds; torch's fused attention differs in the last bits.
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
    """Layers one after the other; what else they read is the same for all."""

    def __init__(self, layers: list[nn.Module]):
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, hidden: Tensor, *context: Tensor) -> Tensor:
        for layer in self.layers:
            hidden = layer(hidden, *context)
        return hidden


class VisionTower(nn.Module):
    """Pixels (N, 3, S, S) to tokens (N, V, D), the class token first, all of them normalised."""

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
        queries = self.norm1(hidden)  # the residual, too, starts from the normalised queries
        attended = self.attention(queries, torch.cat([queries, self.normk(image)], dim=1))
        return self.output(queries, attended)


class AbstractorLayer(nn.Module):
    def __init__(self, config: PreTrainedConfig):
        super().__init__()
        self.crossattention = CrossAttention(config)

    def forward(self, hidden: Tensor, image: Tensor) -> Tensor:
        return self.crossattention(hidden, image)


class Abstractor(nn.Module):
    """Queries (N, Q, D) that look at vision tokens (N, V, D) become the image's Q + 1 language vectors (N, Q + 1, W)."""

    def __init__(self, config: PreTrainedConfig, language_width: int):
        super().__init__()
        self.encoder = Encoder([AbstractorLayer(config) for _ in range(config.num_hidden_layers)])
        self.visual_fc = nn.Linear(config.hidden_size, language_width)
        self.vit_eos = nn.Parameter(torch.empty(1, 1, language_width))

    def forward(self, queries: Tensor, image: Tensor) -> Tensor:
        projected = self.visual_fc(self.encoder(queries, image))
        return torch.cat([projected, self.vit_eos.expand(len(projected), -1, -1)], dim=1)


class MplugOwl(PreTrainedModel):
    """The whole network; `language_model` is transformers' own LLaMA, read through its `inputs_embeds`."""

    config_class = MplugOwlConfig
    _supports_sdpa = True
    _no_split_modules = ["VisionTower", "Abstractor", "LlamaDecoderLayer"]

    def __init__(self, config: MplugOwlConfig):
        super().__init__(config)
        self.query_tokens = nn.Parameter(torch.empty(1, config.num_query_tokens, config.vision_config.hidden_size))
        self.vision_model = VisionTower(config.vision_config)
        self.abstractor = Abstractor(config.visual_abstractor_config, config.text_config.hidden_size)
        self.language_model = LlamaForCausalLM(config.text_config)
        self.post_init()

    @classmethod
    def from_pretrained(cls, source, revision=None, local_files_only=False, **settings) -> MplugOwl:
        """The network with the weights of a folder or of a model id on the hub.

        `settings` are those of transformers' loader, `dtype` and `device_map` among them. Raises InputError where
        the weights are not exactly the parameters of the network that the folder's config.json describes.
        """
        folder = local_folder(source, revision, local_files_only)
        config, state = MplugOwlConfig.from_pretrained(folder), read_state(folder)
        if ABSTRACTOR_MLP in state:  # the width in the published configuration was not always the one in use
            config.visual_abstractor_config.intermediate_size = len(state[ABSTRACTOR_MLP])
        with torch.device("meta"):
            match(cls(config).state_dict(), state, folder)
        return super().from_pretrained(None, config=config, state_dict=state, **settings)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, (VisionEmbeddings, Abstractor, MplugOwl)):
            for parameter in module.parameters(recurse=False):
                init.normal_(parameter, std=0.02)

    def encode_images(self, pixels: Tensor) -> Tensor:
        """Pixels (N, 3, S, S) to the vectors (N, Q + 1, W) that stand for each image in a prompt."""
        return self.abstractor(self.query_tokens.expand(len(pixels), -1, -1), self.vision_model(pixels))

    def embed(self, ids: Tensor, images: Tensor) -> Tensor:
        """Token ids (B, T) to `inputs_embeds` (B, T, W) for the language model.

        The vectors of `images` (N, Q + 1, W) take, in order, the places where an id is IMAGE_TOKEN_ID.
        """
        places = ids == IMAGE_TOKEN_ID
        assert places.sum() == images.shape[:2].numel(), "each image needs Q + 1 places in the prompt"
        text = self.language_model.get_input_embeddings()(ids.masked_fill(places, 0))
        return text.masked_scatter(places[..., None], images.to(text))
