"""Compares a model's layers with regions of the brain without a fit: RSA and centred kernel alignment.

Both ask whether a layer and a region find the same images alike, on the images that all subjects saw. States and
responses are z-scored over these images.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import brain_activity_prediction  # noqa: F401, handles signals from here on

# isort: split
import numpy as np

from brain_activity_prediction.cli import shared_flags as shared
from brain_activity_prediction.cli.model_names import resolved_model_id
from brain_activity_prediction.datasets.nsd.layout import find_layout
from brain_activity_prediction.encoding.layers import by_stream, check_complete, open_layers
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.runtime.running import run_script
from brain_activity_prediction.runtime.wording import count
from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore
from brain_activity_prediction.storage.folders import alignment_folder
from brain_activity_prediction.storage.settings_file import comparable, fingerprint

if TYPE_CHECKING:
    from brain_activity_prediction.rsa.brain_geometry import Brain


def flags() -> argparse.ArgumentParser:
    flags = shared.parser(__doc__)
    shared.add_prompts(flags)
    shared.add_device(flags)
    shared.add_layers(flags)
    shared.add_responses(flags)
    shared.add_permutations(flags)
    shared.add_numbers(
        flags,
        "--ceiling-subjects",
        choices=shared.SUBJECTS,
        default=[],
        metavar="N",
        help="noise ceilings from these subjects' responses to the same images",
    )
    return flags


def main() -> None:
    arguments = flags().parse_args()
    arguments.model_id = resolved_model_id(arguments.base_dir, arguments.model_id)
    layout = find_layout(arguments.base_dir)
    subjects = (arguments.subject, *arguments.ceiling_subjects)
    for subject in subjects:
        layout.sessions(subject)
    if arguments.subject in arguments.ceiling_subjects:
        raise InputError(f"--ceiling-subjects {arguments.subject}: a ceiling comes from other subjects than --subject")
    shared.check_device(arguments.gpu_id)
    layers = open_layers(arguments)

    from brain_activity_prediction.datasets.nsd.regions import read_regions
    from brain_activity_prediction.rsa.brain_geometry import Patterns
    from brain_activity_prediction.rsa.similarity_table import similarity_table, write

    regions = {subject: read_regions(layout, subject, arguments.roi) for subject in subjects}
    own, *others = (Patterns.read(subject, layout, regions[subject], arguments) for subject in subjects)
    for (_, stream), of_stream in by_stream(layers).items():
        check_complete(of_stream[0].store, stream, own.test_ids)
    for other, subject in zip(others, arguments.ceiling_subjects, strict=True):
        if not np.array_equal(other.test_ids, own.test_ids):
            raise InputError(
                f"subject {subject} saw other shared images than subject {arguments.subject}: give --sessions"
            )
    images = own.common_ids(others)
    if len(images) < len(own.test_ids):
        left_out = f"{len(own.test_ids) - len(images)} of {len(own.test_ids)}"
        log.info(f"images left out: {left_out}, because too many voxels of a region lack valid trials")
    brain, *others = (patterns.brain(images, arguments.gpu_id) for patterns in (own, *others))
    log.info(f"{arguments.model_id}: {count(len(layers), 'layer')}, {count(len(brain.n_voxels), 'region')}")
    table = similarity_table(layers, brain, others, arguments)
    for prompt, store in {layer.prompt: layer.store for layer in layers}.items():
        settings = fingerprint(settings_of(arguments, brain, store))
        folder = alignment_folder(arguments.base_dir, arguments.subject, arguments.model_id, prompt)
        write(table[table["prompt"].isna() if prompt is None else table["prompt"] == prompt], settings, folder)


def settings_of(arguments: argparse.Namespace, brain: Brain, store: EmbeddingStore) -> dict:
    """What changes the numbers."""
    return {
        "sessions": brain.sessions,
        "zscore_sessions": arguments.zscore_sessions,
        "permutations": arguments.permutations,
        "ceiling_subjects": arguments.ceiling_subjects,
        "responses": brain.digest,
        "embeddings": comparable(store.settings() or {}),
    }


if __name__ == "__main__":
    run_script(main)
