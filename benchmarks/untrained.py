"""Models of the real classes with random weights, made in memory, at any width and on any device."""

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from brain_activity_prediction import models
from brain_activity_prediction.demo.models import prompt_tokenizer
from brain_activity_prediction.models.checkpoints.checkpoint import Checkpoint
from brain_activity_prediction.models.library_imports import import_torchvision

EXTRACT = Path(models.__file__).parents[1] / "extract_image_embeddings"


@dataclass(frozen=True, kw_only=True)
class Untrained(Checkpoint):
    """A `Checkpoint` without files: weights drawn as transformers initialises them, and a processor made here."""

    model_id: str = "untrained"
    seed: int = 0
    made_config: Any
    made_processor: Any

    def model(self, model_class, device, dtype):
        torch.manual_seed(self.seed)
        torch.set_default_dtype(dtype)  # so that 13 billion weights are never held in float32
        try:
            with torch.device(device):
                return model_class(self.made_config).eval()
        finally:
            torch.set_default_dtype(torch.float32)

    def file(self, name):
        return None

    def processor(self, processor_class):
        return getattr(self.made_processor, "image_processor", self.made_processor)

    def read_tokenizer(self, part):
        return getattr(self.made_processor, part or "tokenizer", self.made_processor)


def script(name):
    """A model script of the extraction folder as a module."""
    spec = importlib.util.spec_from_file_location(name.replace(".", "_"), EXTRACT / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def widths(width, mlp, layers, heads):
    """A transformer's size under the names that most configurations have for it."""
    return {
        "hidden_size": width,
        "intermediate_size": mlp,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
    }


def vit(**config):
    """A ViT; without arguments ViT-Base, 12 layers of width 768 over 224 pixels in patches of 16."""
    import_torchvision()
    from transformers import ViTConfig, ViTImageProcessorPil

    config = ViTConfig(**config)
    return Untrained(
        made_config=config,
        made_processor=ViTImageProcessorPil(size={"height": config.image_size, "width": config.image_size}),
    )


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
    return Untrained(made_config=config, made_processor=LlavaProcessor(images, tokenizer, **details))


def idefics(vision, text, latents):
    """An IDEFICS of 224 pixels in patches of 14, with cross-attention every 4 layers, over what the perceiver gives.

    `latents` are the width and number of the perceiver's heads.
    """
    import_torchvision()
    from transformers import IdeficsConfig, IdeficsImageProcessorPil, IdeficsProcessor

    tokenizer = prompt_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<fake_token_around_image>", "<end_of_utterance>"]})
    head_dim, n_heads = latents
    config = IdeficsConfig(
        **text,
        additional_vocab_size=2,
        cross_layer_interval=4,
        use_resampler=True,
        vision_config=vision | {"embed_dim": vision["hidden_size"], "patch_size": 14},
        perceiver_config={"use_resampler": True, "resampler_head_dim": head_dim, "resampler_n_heads": n_heads},
    )
    return Untrained(
        made_config=config, made_processor=IdeficsProcessor(IdeficsImageProcessorPil(image_size=224), tokenizer)
    )


def instruct_blip(vision, reader, text):
    """An InstructBLIP of 224 pixels in patches of 14, with 32 queries; `reader` is the Q-Former."""
    import_torchvision()
    from transformers import BlipImageProcessorPil, InstructBlipConfig, InstructBlipProcessor, LlamaConfig

    tokenizer = prompt_tokenizer()
    config = InstructBlipConfig(
        vision_config=vision | {"initializer_range": 0.02},  # by default 1e-10, which is 0 in float16
        qformer_config=reader | {"vocab_size": 30523},
        text_config=LlamaConfig(vocab_size=32001, **text).to_dict(),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    images = BlipImageProcessorPil(size={"height": 224, "width": 224})
    return Untrained(
        made_config=config,
        made_processor=InstructBlipProcessor(images, tokenizer, prompt_tokenizer(), num_query_tokens=32),
    )


def mplug_owl(vision, abstractor, text):
    """An mPLUG-Owl, all else as `MplugOwlConfig` has it."""
    import_torchvision()
    from brain_activity_prediction.models.mplug_owl.network import MplugOwlConfig

    return Untrained(made_config=MplugOwlConfig(vision, abstractor, text), made_processor=prompt_tokenizer())


def open_flamingo(folder, vision, heads, text, vocabulary=50280):
    """An OpenFlamingo of 224 pixels in patches of 14, its cross-attention before every fourth MPT block.

    Its loader takes three parts of a folder rather than a class, so this writes them, without weights, to `folder`.
    `vision` is the tower's configuration as open_clip names it, `heads` how many MPT has.
    """
    from brain_activity_prediction.models.openflamingo.weights import SPECIAL_TOKENS

    for part in ("mpt-7b", "clip"):
        (folder / part).mkdir(parents=True)
    torch.save(
        {"lang_encoder.transformer.blocks.3.gated_cross_attn_layer.attn_gate": torch.zeros(1)}, folder / "checkpoint.pt"
    )
    tokenizer = prompt_tokenizer()
    tokenizer.add_tokens(list(SPECIAL_TOKENS))
    tokenizer.add_tokens([f"<{number}>" for number in range(vocabulary - len(tokenizer))])  # a token an embedding
    tokenizer.save_pretrained(folder / "mpt-7b")
    mpt = {"model_type": "mpt", "d_model": text["hidden_size"], "n_heads": heads, "n_layers": text["num_hidden_layers"]}
    (folder / "mpt-7b" / "config.json").write_text(json.dumps(mpt))
    reader = {"context_length": 4, "vocab_size": 8, "width": 8, "heads": 1, "layers": 1}  # thrown away
    clip = {"embed_dim": 768, "vision_cfg": vision, "text_cfg": reader}
    (folder / "clip" / "open_clip_config.json").write_text(json.dumps({"model_cfg": clip}))
    (folder / "clip" / "open_clip_model.safetensors").touch()
    return Checkpoint("org/untrained", None, folder, seed=0)


def published(model, narrow=1, folder=None):
    """What a script of the six loads, in the published size; `folder` is for what must lie on the disk.

    `narrow`, a power of 2 up to 32, divides every width; attention then has 2 heads.
    """

    def size(width, mlp, layers, heads):
        return widths(width // narrow, mlp // narrow, layers, heads if narrow == 1 else 2)

    clip_l, vit_h = size(1024, 4096, 24, 16), size(1280, 5120, 32, 16)
    llama_7b, vicuna_13b = size(4096, 11008, 32, 32), size(5120, 13824, 40, 40)
    visual = {"image_size": 224, "patch_size": 14, "layers": 24, "width": 1024 // narrow}
    return {
        "vit_huge_patch14_224_in21k": lambda: vit(patch_size=14, **vit_h),
        "llava_1.5_13b": lambda: llava(clip_l, vicuna_13b, vocabulary=32064),
        "idefics_9b_instruct": lambda: idefics(vit_h, llama_7b, (96 // narrow, 16)),
        "instruct_blip_13b": lambda: instruct_blip(size(1408, 6144, 39, 16), size(768, 3072, 12, 12), vicuna_13b),
        "mplug_owl_llama_7b": lambda: mplug_owl(clip_l, size(1024, 2816, 6, 16), llama_7b),
        "openflamingo_9b": lambda: open_flamingo(
            folder / "parts",
            visual | {"head_width": visual["width"] // clip_l["num_attention_heads"]},
            llama_7b["num_attention_heads"],
            llama_7b,
        ),
    }[model]()
