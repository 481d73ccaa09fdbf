"""Load OpenFlamingo's weights from three repositories on the hub, or from a folder with these three parts.

DIR/checkpoint.pt   perceiver, gated cross-attention and token embeddings, from openflamingo/OpenFlamingo-9B-vitl-mpt7b;
                    or checkpoint.safetensors with the same names of tensors
DIR/mpt-7b/         config.json, tokenizer files and weights, from anas-awadalla/mpt-7b
DIR/clip/           open_clip_model.safetensors (or open_clip_pytorch_model.bin), from
                    timm/vit_large_patch14_clip_224.openai; optionally open_clip_config.json with the sizes of the model
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from brain_activity_prediction.models.checkpoints.checkpoint import Checkpoint
from brain_activity_prediction.models.checkpoints.machine import check_memory
from brain_activity_prediction.models.guarded import guarded
from brain_activity_prediction.models.library_imports import import_torchvision
from brain_activity_prediction.models.openflamingo import network
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.storage.files import read_bytes, reading

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
    from transformers import PreTrainedTokenizerFast

MPT_ID, MPT_REVISION = "anas-awadalla/mpt-7b", "b772e556c8e8a17d087db6935e7cd019e5eefb0f"
CLIP_NAME, CLIP_WEIGHTS = "ViT-L-14", "openai"
CLIP_ID = "timm/vit_large_patch14_clip_224.openai"  # open_clip fetches these weights here, at no fixed revision
PARTS_ON_HUB = {"mpt-7b": (MPT_ID, MPT_REVISION), "clip": (CLIP_ID, "main")}
TRAINED_FILE, MPT_FILE, CLIP_FILE = "checkpoint.[ps]*", "mpt-7b/config.json", "clip/open_clip_*model.*"
FILES = (TRAINED_FILE, MPT_FILE, CLIP_FILE)
SPECIAL_TOKENS = ("<|endofchunk|>", "<image>")  # added to MPT's tokens in this order, with the last embeddings
TOWERS, FOREIGN = ("vision_cfg", "text_cfg"), ("hf_", "timm_")  # parts of CLIP; prefixes of keys for other libraries
LARGEST_CLIP_BYTES = 2**20
PADDING = "<PAD>"  # added after SPECIAL_TOKENS, and replaces the padding token of MPT's tokenizer
# The network has two names for every cross-attention and MPT block. These patterns replace one by the other.
ALIASES = {
    r"^module\.": "",  # prefix that parallel training puts before every name
    r"\.gated_cross_attn_layers\.(\d+)": r".transformer.blocks.\1.gated_cross_attn_layer",
    r"\.old_decoder_blocks\.(\d+)": r".transformer.blocks.\1.decoder_layer",
}
TRAINED = re.compile(r"perceiver\.|lang_encoder\.transformer\.(wte\.|blocks\.\d+\.gated_cross_attn_layer\.)")


class Processor(NamedTuple):
    """MPT's tokenizer with OpenFlamingo's tokens, and CLIP's transform of a picture to (3, S, S)."""

    tokenizer: Any
    transform: Callable


def load(checkpoint: Checkpoint, dtype: torch.dtype) -> tuple[nn.Module, Processor]:
    """Load the network, in evaluation mode on the CPU and in one dtype, and its processor.

    With a seed, the weights are drawn at random; from the trained weights, only the positions of the cross-attention
    are used. Raises InputError for a missing package, and for a part that is missing, damaged, or of another model.
    """
    check(checkpoint)
    import_torchvision()
    folder = checkpoint.folder
    trained, untrained = read_trained(_trained_file(checkpoint)), checkpoint.seed is not None
    with checkpoint.random_numbers():
        with _loading(folder / "mpt-7b" if folder else MPT_ID):
            tokenizer = load_tokenizer(checkpoint)
            language_model = load_language_model(mpt(checkpoint), len(tokenizer), dtype)
        with _loading(folder / "clip" if folder else f"{CLIP_NAME} ({CLIP_WEIGHTS})"):
            visual, transform = load_vision_tower(folder and folder / "clip", untrained)
        endofchunk_id, image_id = tokenizer.convert_tokens_to_ids(SPECIAL_TOKENS)
        model = network.build(
            visual,
            language_model,
            image_id,
            endofchunk_id,
            cross_attention_interval(trained),
            device="cpu" if untrained else "meta",
        )
    if not untrained:
        load_trained(model, trained)
    generation = language_model.generation_config
    generation.eos_token_id, generation.pad_token_id = sorted(end_ids(checkpoint)), tokenizer.pad_token_id
    generation.use_cache = True  # MPT's own configuration turns the cache off
    return model.to(dtype).eval(), Processor(tokenizer, transform)


def check(checkpoint: Checkpoint) -> None:
    """Raise InputError for a missing package, and for flags that the package open_flamingo does not support."""
    network.require_packages()
    if checkpoint.quantize or checkpoint.device_map:
        raise InputError("OpenFlamingo cannot be quantised or distributed: leave out --quantize and --device-map")


def read_trained(path: Path) -> dict[str, Tensor]:
    """Read the tensors of an OpenFlamingo checkpoint, with the names that `own_name` returns."""
    import torch
    from safetensors.torch import load_file

    with reading(path):
        if path.suffix == ".safetensors":
            tensors = load_file(path)
        else:
            tensors = torch.load(path, map_location="cpu", weights_only=True)
    tensors = tensors.get("model_state_dict", tensors)  # the key of checkpoints saved during training
    return {own_name(name): tensor for name, tensor in tensors.items()}


def own_name(name: str) -> str:
    """Return a tensor's name in the network, given one of its names in a checkpoint."""
    for alias, own in ALIASES.items():
        name = re.sub(alias, own, name)
    return name


def cross_attention_interval(names: Iterable[str]) -> int:
    """Return the number of MPT blocks from one gated cross-attention to the next, from a checkpoint's tensor names."""
    blocks = [int(found[1]) for name in names if (found := re.search(r"blocks\.(\d+)\.gated_cross_attn_layer", name))]
    if not blocks:
        raise InputError("the checkpoint holds no gated cross-attention: it is not OpenFlamingo's")
    return min(blocks) + 1


def load_trained(model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Load a checkpoint's tensors into the network.

    Raises InputError unless names and shapes are those of the network, and all tensors of the perceiver,
    cross-attention and token embeddings are present. Tensors of the two frozen towers are optional.
    """
    shapes = {own_name(name): tensor.shape for name, tensor in model.state_dict().items()}
    trained = {name for name in shapes if TRAINED.match(name)}
    wrong = {
        "missing": trained - tensors.keys(),
        "unknown": tensors.keys() - shapes.keys(),
        "of another shape": {name for name in tensors.keys() & shapes.keys() if tensors[name].shape != shapes[name]},
    }
    for what, names in wrong.items():
        if names:
            raise InputError(
                f"{len(names)} of the {len(trained)} tensors of the OpenFlamingo checkpoint are {what}, "
                f"first {min(names)}: the checkpoint and its mpt-7b and clip belong to different models"
            )
    model.load_state_dict(tensors, strict=False, assign=True)
    model.lang_encoder.tie_weights()
    model.requires_grad_(False)


def mpt(checkpoint: Checkpoint) -> Checkpoint:
    """Return the part of the checkpoint that holds MPT."""
    return checkpoint.part("mpt-7b", MPT_ID, MPT_REVISION)


def load_tokenizer(checkpoint: Checkpoint) -> PreTrainedTokenizerFast:
    """Load MPT's tokenizer with OpenFlamingo's three tokens appended."""
    tokenizer = mpt(checkpoint).tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": list(SPECIAL_TOKENS)})
    tokenizer.add_special_tokens({"pad_token": PADDING})
    return tokenizer


def end_ids(checkpoint: Checkpoint) -> frozenset[int]:
    """Return the token ids that end an answer: <|endofchunk|>, and the ids that MPT's files name."""
    return mpt(checkpoint).end_ids() | end_of_chunk_ids(checkpoint)


def end_of_chunk_ids(checkpoint: Checkpoint) -> frozenset[int]:
    """Return the token id of <|endofchunk|>."""
    endofchunk, _ = load_tokenizer(checkpoint).convert_tokens_to_ids(SPECIAL_TOKENS)
    return frozenset([endofchunk])


def load_language_model(part: Checkpoint, n_tokens: int, dtype: torch.dtype) -> nn.Module:
    """Load the MPT of transformers with `n_tokens` embeddings.

    Raises InputError if the checkpoint lacks a parameter of MPT.
    """
    from transformers import MptForCausalLM

    if part.seed is None:
        model = part.model(MptForCausalLM, "cpu", dtype)
    else:
        part.check_memory(MptForCausalLM, dtype)
        model = MptForCausalLM._from_config(part.config(MptForCausalLM), dtype=dtype)
    model.resize_token_embeddings(n_tokens, mean_resizing=False)
    return model


def load_vision_tower(folder: Path | None, untrained: bool = False):
    """Load CLIP's vision tower and its transform of images; `folder` is None for OpenAI's weights on the hub."""
    import open_clip

    name, weights = CLIP_NAME, CLIP_WEIGHTS
    if folder is not None:
        weights = str(min(folder.parent.glob(CLIP_FILE)))
        if (folder / "open_clip_config.json").exists():
            _check_clip(folder / "open_clip_config.json")
            name, weights = f"local-dir:{folder}", None
    # OpenAI trained with an approximation of GELU, but open_clip's ViT-L-14 uses the exact function since 2.29.
    clip, _, transform = open_clip.create_model_and_transforms(
        name, None if untrained else weights, load_weights=not untrained, force_quick_gelu=True
    )
    return clip.visual, transform


def _check_clip(path: Path) -> None:
    """Raise InputError if a CLIP's configuration names models of other libraries, or does not fit into memory."""
    import open_clip
    import torch

    with reading(path):
        content = json.loads(read_bytes(path, LARGEST_CLIP_BYTES))
        sizes = {name: dict(value) for name, value in content.get("model_cfg", content).items() if name in TOWERS}
        embed_dim = int(content.get("model_cfg", content)["embed_dim"])
    foreign = [key for tower in sizes.values() for key in tower if key.startswith(FOREIGN)]
    if foreign:
        raise InputError(f"{path} names another model on the hub, {min(foreign)}: copy OpenFlamingo's own CLIP there")
    check_memory(lambda: open_clip.CLIP(embed_dim, **sizes), torch.float32, path.parent)


def _trained_file(checkpoint: Checkpoint) -> Path:
    if checkpoint.folder:
        return min(checkpoint.folder.glob(TRAINED_FILE))
    from huggingface_hub import hf_hub_download

    with _loading(checkpoint.model_id):
        return Path(hf_hub_download(checkpoint.model_id, "checkpoint.pt", **checkpoint.hub_source))


def _loading(source: Path | str) -> AbstractContextManager[None]:
    return guarded(f"{source} could not be loaded", "give weights on disk with --checkpoint DIR")
