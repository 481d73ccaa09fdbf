"""A tiny mPLUG-Owl of the real classes with non-zero parameters, in a folder for `--checkpoint`."""

import io
from pathlib import Path

import sentencepiece
import torch

from brain_activity_prediction.extract_image_embeddings.prompts import PROMPTS
from brain_activity_prediction.models.library_imports import import_torchvision

import_torchvision()

from brain_activity_prediction.models.checkpoints.checkpoint import Checkpoint  # noqa: E402
from brain_activity_prediction.models.mplug_owl.network import MplugOwl, MplugOwlConfig  # noqa: E402

SYSTEM = "The assistant gives helpful, detailed, and polite answers to the user's questions."


def tiny_config(vision=None, abstractor=None, text=None, queries=5) -> MplugOwlConfig:
    """Return a small configuration in which all sizes differ."""
    vision = {
        "hidden_size": 24,
        "intermediate_size": 40,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "image_size": 28,
        "patch_size": 7,
        "layer_norm_eps": 2e-3,
    } | (vision or {})
    abstractor = {
        "hidden_size": vision["hidden_size"],
        "intermediate_size": 20,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "layer_norm_eps": 5e-3,
    } | (abstractor or {})
    text = {
        "vocab_size": 400,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "max_position_embeddings": 512,
    } | (text or {})
    return MplugOwlConfig(vision, abstractor, text, num_query_tokens=queries)


def random_model(config: MplugOwlConfig, seed: int = 0) -> MplugOwl:
    """Return the network in float32, with random weights so large that every part of it changes the result."""
    model, generator = MplugOwl(config).eval(), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            is_norm_weight = parameter.ndim == 1 and name.endswith("weight")
            fan_in = parameter[0].numel() if parameter.ndim == 2 and "embed_tokens" not in name else 4
            parameter.copy_(1 + 0.2 * noise if is_norm_weight else noise / fan_in**0.5)
    return model


def write_tokenizer(folder: Path) -> sentencepiece.SentencePieceProcessor:
    """Train a sentencepiece tokenizer with LLaMA's settings and 400 pieces; save and return it."""
    sentences = [*PROMPTS.values(), SYSTEM, "Human: AI: a dog and two cats on a red sofa"] * 20
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences),
        model_writer=model,
        vocab_size=400,
        model_type="bpe",
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        minloglevel=2,
    )
    (folder / "tokenizer.model").write_bytes(model.getvalue())
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def write_checkpoint(folder: Path, config: MplugOwlConfig | None = None, seed: int = 0) -> Path:
    """Write a folder with config.json, model.safetensors and tokenizer.model."""
    random_model(config or tiny_config(), seed).save_pretrained(folder)
    write_tokenizer(folder)
    return folder


def load(folder: Path, dtype: torch.dtype = torch.float32) -> MplugOwl:
    """Load the network from such a folder, as the model script does."""
    return Checkpoint("unused", None, folder).model(MplugOwl, "cpu", dtype)
