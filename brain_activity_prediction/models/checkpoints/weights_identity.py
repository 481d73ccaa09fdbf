"""Identify weights by content, so that the hub's cache and a folder with equal files count as the same weights.

Only files that are loaded are compared. Notes, other formats of the same weights, files of the training and the hub's
own records are ignored.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from brain_activity_prediction.storage.files import samples

PARTS = ("", "qformer_tokenizer", "mpt-7b", "clip")  # subfolders that scripts read
CONFIGURATIONS = (
    *("config.json", "generation_config.json", "open_clip_config.json"),
    *("preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json"),
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.json", "vocab.txt", "merges.txt", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model"),
    *("chat_template.json", "chat_template.jinja"),
)
WEIGHTS = (
    *("model.safetensors", "model.safetensors.index.json"),
    *("pytorch_model.bin", "pytorch_model.bin.index.json"),
)
PREFERRED = {"clip": ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")}  # the files that open_clip loads
WEIGHT_FILES = ("*.safetensors", "*.bin", "*.pt", "*.pth")
TEXT_FILES = ("*.json", "*.txt", "*.model")  # configurations and tokenizers in version 1.0.0
TRAINING_FILES = ("training_args", "optimizer", "scheduler", "rng_state", "random_states", "scaler")


def content_of(folder: Path, with_weights: bool, elsewhere: Mapping[str, Path] | None = None) -> dict[str, str] | None:
    """Return `{path in the folder: digest}` of the files from which a model is loaded; None if weights are missing.

    Digests cover the whole content of configurations and tokenizers. Of a weight file they cover its size and 64
    samples of 4 kB.

    elsewhere  `{part: folder}` of parts in other folders, such as other repositories on the hub
    """
    parts = {part: folder / part for part in PARTS} | dict(elsewhere or {})
    found, weights = {}, {}
    for part, own in parts.items():
        for name in CONFIGURATIONS:
            if (own / name).is_file():
                found[_within(part, name)] = hashlib.sha256((own / name).read_bytes()).hexdigest()[:16]
        weights |= {_within(part, path.name): path for path in weight_files(own, PREFERRED.get(part, WEIGHTS))}
    if not with_weights:
        return found
    if not weights or not all(path.is_file() for path in weights.values()):
        return None
    return found | {name: _sampled(path).hexdigest()[:16] for name, path in weights.items()}


def _within(part: str, name: str) -> str:
    return f"{part}/{name}" if part else name


def weight_files(folder: Path, preferred: Sequence[str] = WEIGHTS) -> list[Path]:
    """Return the weight files that are loaded from a folder; if it has several formats, the first in `preferred`."""
    for name in preferred:
        if (folder / name).is_file():
            return _shards(folder / name) if name.endswith(".index.json") else [folder / name]
    every = sorted({path for pattern in WEIGHT_FILES for path in folder.glob(pattern)})
    return [path for path in every if not path.name.startswith(TRAINING_FILES)]


def content_name(content: Mapping[str, str]) -> str:
    """Return a short name that identifies the result of `content_of`."""
    return f"content {hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]}"


def first_version_name(folder: Path, with_weights: bool) -> str:
    """Return the name that version 1.0.0 gave to a folder's weights and text files, for stores of that version."""
    digest = hashlib.sha256()
    for path in _below(folder, TEXT_FILES):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    for path in _below(folder, WEIGHT_FILES if with_weights else ()):
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
        _sampled(path, digest)
    return f"files {digest.hexdigest()[:16]}"


def is_same(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Return whether two folders have equal weight files, and agree in all other files that both have.

    The hub's cache holds only the configurations that a script has requested, so that files may be missing from it.
    """
    weights = [{name for name in content if f"*{Path(name).suffix}" in WEIGHT_FILES} for content in (one, other)]
    shared = one.keys() & other.keys()
    return weights[0] == weights[1] and bool(shared) and all(one[name] == other[name] for name in shared)


def _shards(index: Path) -> list[Path]:
    try:
        names = set(json.loads(index.read_bytes())["weight_map"].values())
        paths = sorted(index.parent / name for name in names)
    except (ValueError, KeyError, TypeError, AttributeError):
        return [index]  # the index is damaged, which loading reports
    return paths if all(path.parent == index.parent for path in paths) else [index]


def _sampled(path: Path, digest=None):
    """Add samples from the whole length of a file to a digest; a new digest starts with the file's size."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode()) if digest is None else digest
    for sample in samples(path):
        digest.update(sample)
    return digest


def _below(folder: Path, patterns: tuple[str, ...]) -> list[Path]:
    return sorted({path for pattern in patterns for path in folder.rglob(pattern)})
