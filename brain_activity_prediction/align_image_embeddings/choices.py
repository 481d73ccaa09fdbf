"""What is asked for of a model's states and is not there, answered with what there is."""

import argparse
import difflib
from collections.abc import Mapping
from pathlib import Path

from brain_activity_prediction.embedding_store import EmbeddingStore
from brain_activity_prediction.errors import InputError


def check_choices(stores: Mapping[int | None, EmbeddingStore], arguments: argparse.Namespace) -> None:
    """Raises InputError where --stream or --layer-number names one that none of the stores has."""
    n_layers: dict[str, int] = {}
    for store in stores.values():
        n_layers |= {stream: layers for stream, (layers, _) in store.streams().items()}
    for stream in arguments.stream or ():
        if stream not in n_layers:
            raise InputError(f"{arguments.model_id} has no stream {stream}: there are {', '.join(sorted(n_layers))}")
    chosen = {stream: n for stream, n in sorted(n_layers.items()) if stream in (arguments.stream or n_layers)}
    for number in arguments.layer_number or ():
        if not any(0 <= number < n for n in chosen.values()):
            there = ", ".join(f"{stream} has 0 to {n - 1}" for stream, n in chosen.items())
            raise InputError(f"{arguments.model_id} has no layer {number}: {there}")


def what_to_do_about(model_id: str, base_dir: Path) -> str:
    """What a model without states is answered with: the id that was probably meant, or to extract it."""
    folders = {folder.name for folder in base_dir.glob("image_embeddings/*prompt*/*") if folder.is_dir()}
    ids = sorted(name.replace("_", "/", 1) for name in folders)  # few organisations have an underscore in their names
    meant = difflib.get_close_matches(model_id, ids, n=1, cutoff=0.7)
    return f"did you mean {meant[0]}?" if meant else "run its extraction script first"
