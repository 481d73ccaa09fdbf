"""Models of the real classes with random weights, made in memory, at any width and on any device."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from brain_activity_prediction.demo.models import prompt_tokenizer
from brain_activity_prediction.extract_image_embeddings import extraction
from brain_activity_prediction.extract_image_embeddings.torchvision_import import import_torchvision

EXTRACT = Path(extraction.__file__).parent


@dataclass(frozen=True)
class Untrained:
    """Stands in for a `Checkpoint`: weights drawn as transformers initialises them, and a processor made here."""

    config: Any
    made_processor: Any
    seed: int = 0

    def model(self, model_class, device, dtype):
        torch.manual_seed(self.seed)
        torch.set_default_dtype(dtype)  # so that 13 billion weights are never held in float32
        try:
            with torch.device(device):
                return model_class(self.config).eval()
        finally:
            torch.set_default_dtype(torch.float32)

    def processor(self, processor_class):
        return self.made_processor


def script(name):
    """A model script of the extraction folder as a module."""
    spec = importlib.util.spec_from_file_location(name.replace(".", "_"), EXTRACT / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def vit(**config):
    """A ViT; without arguments ViT-Base, 12 layers of width 768 over 224 pixels in patches of 16."""
    import_torchvision()
    from transformers import ViTConfig, ViTImageProcessorPil

    config = ViTConfig(**config)
    return Untrained(config, ViTImageProcessorPil(size={"height": config.image_size, "width": config.image_size}))


def llava(vision, text, vocabulary=None):
    """A LLaVA-1.5 of 336 pixels in patches of 14, so 576 image tokens; `vision` and `text` give depth and width.

    Its tokenizer is learnt from the nine prompts, so a word of theirs is about a token. `vocabulary` is by default the
    tokenizer's, some 600: beside narrow layers, logits over the real 32064 would weigh far more than they do.
    """
    import_torchvision()
    from transformers import CLIPImageProcessorPil, CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaProcessor

    tokenizer = prompt_tokenizer()
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(image_size=336, patch_size=14, **vision),
        text_config=LlamaConfig(vocab_size=vocabulary or len(tokenizer), max_position_embeddings=4096, **text),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
    )
    images = CLIPImageProcessorPil(size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336})
    details = {"patch_size": 14, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    return Untrained(config, LlavaProcessor(images, tokenizer, **details))
