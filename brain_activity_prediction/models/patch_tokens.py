"""Find the tokens of a vision network that represent patches of the image.

All other tokens are learned. They are parameters of the network, so that their names, numbers and positions are known
without running it. Letters: T tokens, W width.
"""

import re
from collections import Counter
from collections.abc import Iterator

from torch import nn

from brain_activity_prediction.runtime.errors import InputError

# Parameters (..., n, W) or (W,) of n learned tokens that the network puts before its patches.
BEFORE = {"cls_token", "class_embedding", "register_tokens", "cls_register_token", "distillation_token"}
BEFORE |= {"reg_token", "dist_token"}  # timm
AFTER = {"detection_tokens"}  # YOLOS
CLASS_LAST = ("llama4_vision_model",)  # model types whose class token follows the patches
LATE = ("Cait", "Xcit", "ConVit")  # timm networks that add their class token after some of their blocks
IN_TILES = ("mllama_vision_model",)  # model types with class and padding tokens for each tile of an image
# Parts after the layers: their tokens are computed from the last hidden states.
READERS = re.compile(r"(^|[._])(head|pool|pooler|decoder|predictor)([._]|$)")
LEARNED = re.compile(r"(^|_)(tokens?|query|queries)(_|$)")  # names that suggest learned tokens


def patch_tokens(tower: nn.Module, n_tokens: int) -> slice:
    """Return the positions of the patches among a vision network's tokens.

    Class, register, distillation and detection tokens are left out. In networks without such tokens, such as SigLIP,
    all tokens are patches.

    tower  vision network of transformers, such as `CLIPVisionModel`, or a timm network within it
    n_tokens  number of tokens T of one image's hidden states

    Raises InputError if the network has learned tokens whose positions are not known.
    """
    before, after = _learned_tokens(tower)
    if n_tokens <= before + after:
        raise InputError(
            f"{type(tower).__name__} has {before + after} tokens that are not patches, but its states have only "
            f"{n_tokens} tokens: leave out --pooling patch"
        )
    return slice(before, n_tokens - after)


def may_have_class_token(tower: nn.Module) -> bool:
    """Return whether the first token of a vision network may be a class token, judged by the names of its parameters.

    The answer is True if no parameter has the name of a known learned token. It is False for networks that have only
    registers, such as timm's `reg4_gap`.
    """
    names = [path.rpartition(".")[2] for path, _ in _token_parameters(tower)]
    before = BEFORE.intersection(names)
    return not before or any("cls" in name or "class" in name for name in before)


def _learned_tokens(tower: nn.Module) -> tuple[int, int]:
    """Return the numbers of learned tokens before and after the patches."""
    network = getattr(tower, "timm_model", tower)
    if hasattr(network, "num_prefix_tokens") and type(network).__name__ not in LATE:
        return network.num_prefix_tokens, 0
    model_type = getattr(getattr(tower, "config", None), "model_type", None)
    tokens = dict(_token_parameters(tower))
    names = Counter(path.rpartition(".")[2] for path in tokens)
    unknown = [
        path
        for path in tokens
        if (name := path.rpartition(".")[2]) not in BEFORE | AFTER  # group tokens of GroupViT
        or names[name] > 1  # two networks in one
        or re.search(r"\.\d+\.", path)  # tokens of one stage, such as the last of PVT
        or model_type in IN_TILES
        or type(network).__name__ in LATE
    ]
    if unknown:
        raise InputError(
            f"{type(tower).__name__} has learned tokens ({unknown[0]}) in unknown positions, so the patches cannot be "
            "found: leave out --pooling patch"
        )
    before = sum(n for path, n in tokens.items() if path.rpartition(".")[2] in BEFORE)
    after = sum(n for path, n in tokens.items() if path.rpartition(".")[2] in AFTER)
    return (after, before) if model_type in CLASS_LAST else (before, after)


def _token_parameters(tower: nn.Module) -> Iterator[tuple[str, int]]:
    """Yield the path of each parameter that holds learned tokens, and the number of its tokens."""
    for path, values in tower.named_parameters():
        owner, _, name = path.rpartition(".")
        if name == "weight" and isinstance(tower.get_submodule(owner), nn.Embedding):
            path, name = owner, owner.rpartition(".")[2]
        if READERS.search(path) or "mask" in name:
            continue
        if name in BEFORE | AFTER or LEARNED.search(name):
            yield path, values.numel() // values.shape[-1]
