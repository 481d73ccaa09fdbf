"""Prepare the inputs that all layers share: a subject's responses and noise ceilings, and the folders for scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from brain_activity_prediction.datasets.dataset import Dataset
from brain_activity_prediction.encoding.layers import Layer, check_complete
from brain_activity_prediction.encoding.planning import planned_permutations
from brain_activity_prediction.encoding.protocols import COMPUTED, ceiling_source, ceiling_state
from brain_activity_prediction.encoding.scaling import scaling
from brain_activity_prediction.encoding.scores.score_store import ScoreStore
from brain_activity_prediction.encoding.settings import EncodingSettings
from brain_activity_prediction.encoding.subject_data import (
    SubjectData,
    ceiling_of_test_images,
    ceilings_of_regions,
    log_data_used,
    read_subject_data,
)
from brain_activity_prediction.inference.region_statistics import StatisticsRequest, usable_ceiling
from brain_activity_prediction.storage.folders import alignment_folder, fold_folder, responses_folder


@dataclass(frozen=True)
class Analysis:
    """One subject's data, the requested statistics, and the folder of scores of each prompt."""

    subject_data: SubjectData
    regions: Mapping[str, np.ndarray]  # masks (V,) by name
    ceiling: np.ndarray  # (V,) noise ceiling in R2 units
    statistics: StatisticsRequest  # requested in addition to the scores
    stores: Mapping[int | None, ScoreStore]  # by prompt; None for streams that do not depend on a prompt
    ceiling_state: str  # see `protocols.ceiling_state`


def prepare_analysis(settings: EncodingSettings, dataset: Dataset, layers: Sequence[Layer]) -> Analysis:
    """Read a subject's responses, and prepare the folders of scores of all prompts.

    Damaged score files are deleted, with a warning that names them.

    Raises InputError if hidden states of an image are missing, or if existing scores were made with other settings.
    """
    n_permutations = planned_permutations(dataset, settings)
    regions = dataset.regions(settings.subject, settings.rois)
    if settings.ncsnr != COMPUTED:
        dataset.check_ncsnr(settings.subject)
    cache, scale = responses_folder(settings.output), scaling(settings.protocol)
    data = read_subject_data(dataset, settings.subject, settings.responses, cache, scale)
    made_from = ceiling_state(dataset, settings.subject, settings.ncsnr)  # before the files are read
    ceiling = ceiling_of_test_images(data, dataset, settings.subject, settings.ncsnr)
    source = ceiling_source(dataset.name, settings.ncsnr)
    region_ceilings = ceilings_of_regions(data, regions)
    check_complete(layers, data.image_ids)
    stores = {}
    for prompt, embeddings in {layer.prompt: layer.store for layer in layers}.items():
        folder = alignment_folder(
            settings.output, settings.subject, settings.features.model_id, prompt, settings.protocol
        )
        recorded = settings.recorded(data, embeddings.settings() or {})
        if settings.split.fold == 1:
            ScoreStore(folder).claim(recorded | settings.split.whole.recorded(), settings.redo)
        store = ScoreStore(fold_folder(folder, settings.split.fold))
        store.claim(recorded, settings.redo)
        store.write_noise_ceiling(ceiling, source, region_ceilings, data.data_used())
        stores[prompt] = store
    log_data_used(data, settings.subject)
    statistics = StatisticsRequest(
        regions,
        n_permutations,
        settings.permutation_block,
        settings.bootstrap,
        usable_ceiling(ceiling, settings.min_noise_ceiling),
        np.isfinite(region_ceilings.voxels),
    )
    return Analysis(data, regions, ceiling, statistics, stores, made_from)
