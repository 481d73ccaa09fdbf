"""Compare a model's layers with a subject's brain regions by RSA and centred kernel alignment, which need no fit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from brain_activity_prediction.datasets.dataset import Dataset
from brain_activity_prediction.encoding.layers import Layer, check_complete
from brain_activity_prediction.encoding.subject_data import log_data_used, read_subject_data
from brain_activity_prediction.rsa.brain_geometry import Patterns
from brain_activity_prediction.rsa.settings import SimilaritySettings
from brain_activity_prediction.rsa.similarity_table import similarity_table, write
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.runtime.wording import count
from brain_activity_prediction.storage.folders import Subject, alignment_folder, responses_folder
from brain_activity_prediction.storage.settings_file import fingerprint


def compare_representations(settings: SimilaritySettings, dataset: Dataset, layers: Sequence[Layer]) -> None:
    """Write a table of similarities for each prompt, and print the most similar layers."""
    model_id = settings.features.model_id
    own, *others = (_read_patterns(settings, dataset, one) for one in (settings.subject, *settings.ceiling_subjects))
    check_complete(layers, own.test_ids)
    images = _common_images(settings, own, others)
    brain, *others = (patterns.brain(images, settings.device) for patterns in (own, *others))
    log.info(f"{model_id}: {count(len(layers), 'layer')}, {count(len(brain.n_voxels), 'region')}")
    table = similarity_table(layers, brain, others, settings.device, settings.permutations)
    table = table.assign(model_id=model_id, subject=settings.subject)
    for prompt, store in {layer.prompt: layer.store for layer in layers}.items():
        recorded = fingerprint(settings.recorded(brain, store.settings() or {}))
        folder = alignment_folder(settings.output, settings.subject, model_id, prompt)
        write(table[table["prompt"].isna() if prompt is None else table["prompt"] == prompt], recorded, folder)


def _read_patterns(settings: SimilaritySettings, dataset: Dataset, subject: Subject) -> Patterns:
    """Read a subject's responses to the images that all subjects saw."""
    cache = responses_folder(settings.output)
    regions = dataset.regions(subject, settings.rois)
    subject_data = read_subject_data(dataset, subject, settings.responses, cache)
    log_data_used(
        subject_data, subject
    )  # logged before the checks, which may end the run because of another subject's sessions
    return Patterns.of(subject_data, regions)


def _common_images(settings: SimilaritySettings, own: Patterns, others: Sequence[Patterns]) -> np.ndarray:
    """Return the ids of the images to compare; InputError if the subjects saw different shared images."""
    for other, subject in zip(others, settings.ceiling_subjects, strict=True):
        if not np.array_equal(other.test_ids, own.test_ids):
            raise InputError(
                f"subjects {subject} and {settings.subject} saw different shared images: select --sessions in which "
                "both saw the same"
            )
    images = own.common_ids(others)
    if len(images) < len(own.test_ids):
        left_out = f"{len(own.test_ids) - len(images)} of {len(own.test_ids)}"
        log.warning(f"images left out: {left_out}, for which too many voxels of a region lack valid trials")
    return images
