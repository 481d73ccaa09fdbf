"""The mPLUG-Owl network (version 1, images), with the parameter names of its published checkpoint.

It consists of a CLIP vision tower, an abstractor whose queries summarise the tower's tokens, and LLaMA, which reads the
abstractor's result among text tokens. Source: Ye et al. 2023, arXiv 2304.14178.
Letters: N images of S x S pixels, V = 1 + patches vision tokens, Q queries, D vision width, B prompts, T tokens, W
language width.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from transformers import CLIPVisionConfig, LlamaConfig, LlamaForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers import initialization as init

from brain_activity_prediction.models.mplug_owl.layers import Abstractor, VisionEmbeddings, VisionTower
from brain_activity_prediction.models.mplug_owl.weights import local_folder, match, read_state

IMAGE_TOKEN_ID = -1  # token id that marks the places of an image's Q + 1 vectors
VISION = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "image_size": 224,
    "patch_size": 14,
    "layer_norm_eps": 1e-6,
}
ABSTRACTOR = {
    "hidden_size": 1024,
    "intermediate_size": 2816,
    "num_hidden_layers": 6,
    "num_attention_heads": 16,
    "layer_norm_eps": 1e-6,
}
ABSTRACTOR_MLP = "abstractor.encoder.layers.0.crossattention.output.mlp.w1.weight"


class MplugOwlConfig(PreTrainedConfig):
    """The sizes of the network, by default those of the published 7B model.

    Raises ValueError if the width is not a multiple of the number of attention heads.
    """

    model_type = "mplug-owl"
    sub_configs: ClassVar = {
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
        vision = VISION | (vision_config or {}) | {"hidden_act": "quick_gelu"}  # even if config.json names another
        self.vision_config = CLIPVisionConfig(**vision)
        self.visual_abstractor_config = PreTrainedConfig(**ABSTRACTOR | (visual_abstractor_config or {}))
        self.text_config = LlamaConfig(**(text_config or {}))
        self.num_query_tokens = num_query_tokens
        width, heads = self.visual_abstractor_config.hidden_size, self.visual_abstractor_config.num_attention_heads
        if width % heads:
            raise ValueError(f"the abstractor's width {width} is not a multiple of its {heads} attention heads")
        super().__init__(**others)


class MplugOwl(PreTrainedModel):
    """The whole network; `language_model` is transformers' own LLaMA, called with `inputs_embeds`."""

    config_class = MplugOwlConfig
    _supports_sdpa = True
    _no_split_modules: ClassVar = ["VisionTower", "Abstractor", "LlamaDecoderLayer"]

    def __init__(self, config: MplugOwlConfig):
        super().__init__(config)
        self.query_tokens = nn.Parameter(torch.empty(1, config.num_query_tokens, config.vision_config.hidden_size))
        self.vision_model = VisionTower(config.vision_config)
        self.abstractor = Abstractor(config.visual_abstractor_config, config.text_config.hidden_size)
        self.language_model = LlamaForCausalLM(config.text_config)
        self.post_init()

    @classmethod
    def from_pretrained(cls, source, revision=None, local_files_only=False, **settings) -> MplugOwl:
        """Load the network with the weights of a folder or of a model id on the hub.

        settings  other arguments of transformers' `from_pretrained`, such as `dtype` and `device_map`

        Raises InputError if the weights are not exactly the parameters of the network that config.json describes.
        """
        folder = local_folder(source, revision, local_files_only)
        config, state = MplugOwlConfig.from_pretrained(folder), read_state(folder)
        if ABSTRACTOR_MLP in state:  # the published configuration has named another width than the weights have
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
        """Turn pixels (N, 3, S, S) into the vectors (N, Q + 1, W) that represent each image in a prompt."""
        return self.abstractor(self.query_tokens.expand(len(pixels), -1, -1), self.vision_model(pixels))

    def embed(self, ids: Tensor, images: Tensor) -> Tensor:
        """Turn token ids (B, T) into `inputs_embeds` (B, T, W) for the language model.

        The vectors of `images` (N, Q + 1, W) replace the ids IMAGE_TOKEN_ID, in order.
        """
        places = ids == IMAGE_TOKEN_ID
        assert places.sum() == images.shape[:2].numel(), "each image needs Q + 1 places in the prompt"
        text = self.language_model.get_input_embeddings()(ids.masked_fill(places, 0))
        return text.masked_scatter(places[..., None], images.to(text))
