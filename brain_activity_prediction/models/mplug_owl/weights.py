"""Read an mPLUG-Owl checkpoint from disk and compare its parameters with those of the network."""

from collections.abc import Mapping
from pathlib import Path
from zipfile import is_zipfile

import torch
from huggingface_hub import snapshot_download
from safetensors.torch import load_file
from torch import Tensor

from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.storage.files import reading

FILES = ("*.json", "*.safetensors", "pytorch_model*.bin")
ROTARY_BUFFER = ".rotary_emb.inv_freq"  # saved by older versions of transformers; newer ones compute it


def local_folder(source: str | Path, revision: str | None, local_files_only: bool) -> Path:
    """Return `source` if it is a folder; if it is a model id, the folder with its files from the hub."""
    if Path(source).is_dir():
        return Path(source)
    kept = snapshot_download(str(source), revision=revision, local_files_only=local_files_only, allow_patterns=FILES)
    return Path(kept)


def read_state(folder: Path) -> dict[str, Tensor]:
    """Return `{parameter: tensor}` of all weight files, memory-mapped on the CPU in the files' dtype.

    Safetensors are preferred to `.bin` files. From `.bin` files, only tensors are read.
    """
    files = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))
    if not files:
        raise InputError(
            f"{folder} holds neither *.safetensors nor pytorch_model*.bin: give the folder of a saved model"
        )
    state = {}
    for file in files:
        state |= _read(file)
    return {name: tensor for name, tensor in state.items() if not name.endswith(ROTARY_BUFFER)}


def _read(file: Path) -> dict[str, Tensor]:
    with reading(file, "copy the checkpoint again"):
        if file.suffix == ".safetensors":
            return load_file(file)
        tensors = torch.load(file, map_location="cpu", weights_only=True, mmap=is_zipfile(file))
        if not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
            raise TypeError("it holds something other than named tensors")
        return tensors


def match(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor], folder: Path) -> None:
    """Raise InputError unless the network and the checkpoint have parameters of the same names and shapes."""
    problems = {
        "missing": [name for name in wanted if name not in found],
        "unexpected": [name for name in found if name not in wanted],
        "of another shape": [
            f"{name} {tuple(found[name].shape)} instead of {tuple(tensor.shape)}"
            for name, tensor in wanted.items()
            if name in found and found[name].shape != tensor.shape
        ],
    }
    told = [f"{len(names)} {what} (first: {names[0]})" for what, names in problems.items() if names]
    if told:
        raise InputError(
            f"{folder} does not hold this mPLUG-Owl: of {len(wanted)} parameters {', '.join(told)}; "
            "check that config.json and all the weight files come from one model"
        )
