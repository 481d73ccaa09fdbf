"""A tiny OpenFlamingo of the real classes with non-zero parameters, in a folder for `--checkpoint`."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from brain_activity_prediction.models.openflamingo import network
from brain_activity_prediction.models.openflamingo import weights as openflamingo_checkpoint

GEOMETRY = {
    "vision": {
        "embed_dim": 24,
        "image_size": 28,
        "patch_size": 14,
        "width": 16,
        "layers": 3,
        "head_width": 8,
    },
    "lang": {"d_model": 32, "n_heads": 4, "n_layers": 4, "max_seq_len": 256},
    "cross_attn_every_n_layers": 2,
    "vocab_size_total": 260,  # 256 bytes, the end of text, and OpenFlamingo's three tokens
}
SPARE_ROWS = 4  # MPT's embedding table is longer than its tokenizer's vocabulary


def write_checkpoint(folder: Path, geometry: dict, tensors: dict) -> Path:
    """Write checkpoint.pt, mpt-7b/ and clip/ from the network's tensors by name; return `folder`."""
    trained = {
        f"module.{name}": tensor for name, tensor in tensors.items() if openflamingo_checkpoint.TRAINED.match(name)
    }
    folder.mkdir(parents=True)
    torch.save(trained, folder / "checkpoint.pt")
    _write_clip(folder / "clip", geometry, tensors)
    _write_mpt(folder / "mpt-7b", geometry, tensors)
    return folder


def random_tensors(geometry: dict, seed: int = 0) -> dict:
    """Return random tensors by the network's names, so large that an answer depends on its picture."""
    import open_clip
    from transformers import MptConfig, MptForCausalLM

    with torch.device("meta"):
        visual = open_clip.CLIP(**_clip_config(geometry), quick_gelu=True).visual
        mpt = MptForCausalLM(MptConfig(**geometry["lang"], vocab_size=geometry["vocab_size_total"]))
        model = network.build(visual, mpt, 0, 0, geometry["cross_attn_every_n_layers"])
    shapes = {openflamingo_checkpoint.own_name(name): tensor.shape for name, tensor in model.state_dict().items()}
    del shapes["lang_encoder.lm_head.weight"]  # the token embeddings' own
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, shape in shapes.items():
        scale = 2 * shape[-1] ** -0.5 if len(shape) > 1 else 0.3
        centre = 1.0 if len(shape) == 1 and not name.endswith("bias") else 0.0  # gains and gates
        tensors[name] = centre + scale * torch.randn(shape, generator=generator)
    return tensors


def _write_clip(folder: Path, geometry: dict, tensors: dict) -> None:
    import open_clip

    whole = open_clip.CLIP(**_clip_config(geometry)).state_dict()
    whole |= _part(tensors, "vision_encoder.", "visual.")
    folder.mkdir()
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": _clip_config(geometry)}))
    save_file(whole, folder / "open_clip_model.safetensors")


def _write_mpt(folder: Path, geometry: dict, tensors: dict) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = geometry["vocab_size_total"] - 3
    names = [*sorted(pre_tokenizers.ByteLevel.alphabet())[: words - 1], "<|endoftext|>"]
    tokenizer = Tokenizer(models.BPE({name: number for number, name in enumerate(names)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>").save_pretrained(folder)

    weights = {
        name.replace(".decoder_layer", ""): tensor
        for name, tensor in _part(tensors, "lang_encoder.", "").items()
        if "gated_cross_attn_layer" not in name
    }
    rows = torch.full((words + SPARE_ROWS, geometry["lang"]["d_model"]), 7.0)  # replaced by the trained ones
    torch.save(weights | {"transformer.wte.weight": rows}, folder / "pytorch_model.bin")
    published = {
        "architectures": ["MPTForCausalLM"],
        "auto_map": {"AutoModelForCausalLM": "modeling_mpt.MPTForCausalLM"},
        "model_type": "mpt",
        "init_config": {"name": "kaiming_normal_"},
        "torch_dtype": "bfloat16",
        "use_cache": False,
        "verbose": 0,
        "vocab_size": len(rows),
    }
    (folder / "config.json").write_text(json.dumps(geometry["lang"] | published))


def _clip_config(geometry: dict) -> dict:
    vision = {name: value for name, value in geometry["vision"].items() if name not in ("embed_dim", "quick_gelu")}
    text = {"context_length": 4, "vocab_size": 8, "width": 8, "heads": 1, "layers": 1}
    return {"embed_dim": geometry["vision"]["embed_dim"], "vision_cfg": vision, "text_cfg": text}


def _part(tensors: dict, prefix: str, new: str) -> dict:
    return {new + name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
