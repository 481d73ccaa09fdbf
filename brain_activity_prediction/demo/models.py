"""Create small models of the real model classes with random weights, saved as checkpoints for the scripts."""

import re
from pathlib import Path

from brain_activity_prediction.extract_image_embeddings.prompts import PROMPTS

IMAGE_SIZE = 32
# Standard deviation of the weights, times the square root of the number of inputs. Weights of attention and of updates
# of the residual stream have a larger SD, so that the states of successive layers differ clearly.
GAIN, WIDE_GAIN = 1.5, 4.0
WIDE = ("q_proj", "k_proj", "o_proj", "out_proj", "down_proj", "fc2")
NORM = re.compile(r"(?i)(norm\w*|\.ln)\.weight$")
STUDY_PROMPTS = range(1, 10)  # fixed, so that later prompts do not change the demo's numbers
SPECIAL_TOKENS = ("<unk>", "<s>", "</s>", "<pad>", "<image>")


def write_vit(folder: Path, seed: int = 0, wide_gain: float = WIDE_GAIN, **config) -> None:
    """Write a ViT like google/vit-huge-patch14-224-in21k, by default with 8 layers of width 96."""
    from transformers import ViTConfig, ViTImageProcessor, ViTModel

    config = {
        "hidden_size": 96,
        "num_hidden_layers": 8,
        "num_attention_heads": 4,
        "intermediate_size": 192,
        "image_size": IMAGE_SIZE,
        "patch_size": 8,
    } | config
    save_random(ViTModel(ViTConfig(**config)), folder, seed, wide_gain)
    size = {"height": config["image_size"], "width": config["image_size"]}
    ViTImageProcessor(size=size).save_pretrained(folder)


def write_llava(folder: Path, seed: int = 0, wide_gain: float = WIDE_GAIN, **config) -> None:
    """Write a LLaVA: a CLIP tower of 4 layers and width 64, and by default a LLaMA of 8 layers and width 96."""
    from transformers import (
        CLIPImageProcessor,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )

    tokenizer = prompt_tokenizer()
    vision = CLIPVisionConfig(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        image_size=IMAGE_SIZE,
        patch_size=8,
    )
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 96,
        "intermediate_size": 192,
        "num_hidden_layers": 8,
        "num_attention_heads": 4,
        "max_position_embeddings": 512,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    } | config
    image_token = tokenizer.convert_tokens_to_ids("<image>")
    llava = LlavaConfig(vision_config=vision, text_config=LlamaConfig(**text), image_token_id=image_token)
    save_random(LlavaForConditionalGeneration(llava), folder, seed, wide_gain)
    crop = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    images = CLIPImageProcessor(size={"shortest_edge": IMAGE_SIZE}, crop_size=crop)
    LlavaProcessor(
        images,
        tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    ).save_pretrained(folder)


def save_random(model, folder: Path, seed: int, wide_gain: float = WIDE_GAIN) -> None:
    """Draw all parameters at random, so that they depend only on the seed, and save the model."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim == 1:
                parameter.copy_(0.1 * noise + (1.0 if NORM.search(name) else 0.0))
            elif "embed" in name or not name.endswith("weight"):  # tokens, positions, queries, gates
                parameter.copy_(0.5 * noise)
            else:
                gain = wide_gain if any(part in name for part in WIDE) else GAIN
                parameter.copy_(gain * noise / parameter[0].numel() ** 0.5)
    model.save_pretrained(folder)


def prompt_tokenizer():
    """Return a byte-pair tokenizer learnt from the nine prompts, with LLaMA's special tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=list(SPECIAL_TOKENS), initial_alphabet=alphabet, show_progress=False
    )
    texts = [PROMPTS[number] for number in STUDY_PROMPTS]
    tokenizer.train_from_iterator([*texts, "USER: ASSISTANT:"] * 4, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    names = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, extra_special_tokens={"image_token": "<image>"}, **names)
