"""Check the files and plan the fits, before the first fit starts. Only `discard` changes files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from brain_activity_prediction.datasets.dataset import Dataset
from brain_activity_prediction.datasets.splits import split_images
from brain_activity_prediction.encoding.evaluation import layers_lacking_predictions
from brain_activity_prediction.encoding.layers import Layer, by_stream
from brain_activity_prediction.encoding.scores.score_store import ScoreStore
from brain_activity_prediction.encoding.settings import EncodingSettings
from brain_activity_prediction.inference.permutations import FEW_BLOCKS, FEWEST_BLOCKS, n_different
from brain_activity_prediction.inference.region_statistics import StatisticsRequest
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.runtime.wording import are, count, were

ScoreStores = Mapping[int | None, ScoreStore]  # by prompt


def planned_permutations(dataset: Dataset, settings: EncodingSettings) -> int:
    """Return the number of permutations: the requested number, but at most the number of possible orders of the blocks.

    A warning counts the images after the last whole block. A message warns of few blocks.

    Raises InputError if there are too few blocks for a test.
    """
    block = settings.permutation_block
    if not settings.permutations:
        return 0
    seen = np.unique(dataset.trial_ids(settings.subject, settings.sessions or dataset.sessions(settings.subject)))
    n_images = len(split_images(dataset, settings.subject, seen, settings.split).test)
    n_blocks = n_images // block
    if n_blocks < FEWEST_BLOCKS and block > 1:
        raise InputError(
            f"--permutation-block {block}: {n_images} test images make {n_blocks} whole blocks, too few for a "
            f"permutation test: give {max(n_images // FEW_BLOCKS, 1)} or less"
        )
    if left_over := n_images % block:
        log.warning(f"permutation test: {left_over} of {n_images} test images are left out, because they fill no block")
    if n_blocks < FEW_BLOCKS:
        blocks = "test images" if block == 1 else f"blocks of {block} test images"
        log.info(f"permutation test: only {n_blocks} {blocks} to permute. p is coarse, and the test has little power")
    return n_different(n_blocks, settings.permutations)


def missing_layers(layers: Sequence[Layer], stores: ScoreStores, statistics: StatisticsRequest) -> list[Layer]:
    """List the layers without scores, or without the requested statistics."""
    return [layer for layer in layers if not stores[layer.prompt].has(layer.stream, layer.number, statistics)]


def layers_without_predictions(
    layers: Sequence[Layer], missing: Sequence[Layer], stores: ScoreStores, statistics: StatisticsRequest
) -> list[Layer]:
    """List the finished layers that are the best layer of a voxel but lack its predictions, which the statistics need.

    Streams with unfinished layers are skipped, because their best layers are still unknown.
    """
    if statistics.nothing:
        return []
    incomplete = by_stream(missing)
    return [
        layer
        for (prompt, stream), finished in by_stream(layers).items()
        if (prompt, stream) not in incomplete and (lacking := layers_lacking_predictions(stores[prompt], stream))
        for layer in finished
        if layer.number in lacking
    ]


def discard(layers: Sequence[Layer], stores: ScoreStores) -> None:
    """Delete the scores of layers, so that they are fitted again."""
    for layer in layers:
        stores[layer.prompt].discard(layer.stream, layer.number)


def log_left(left: Sequence[Layer], layers: Sequence[Layer]) -> None:
    """Log how many layers were scored before and how many are left, unless all are left."""
    if n_done := len(layers) - len(left):
        log.info(f"{count(n_done, 'layer')} {were(n_done)} scored before, {len(left)} {are(len(left))} left")


def check_finished(layers: Sequence[Layer], stores: ScoreStores, statistics: StatisticsRequest) -> None:
    """Raise InputError if scores were deleted during this run."""
    if missing := missing_layers(layers, stores, statistics):
        raise InputError(
            f"scores of {len(missing)} of {len(layers)} layers were removed from {stores[missing[0].prompt].folder} "
            "while this ran: start the same command again"
        )
