"""Fits ridge regression from a model's hidden states to every voxel and scores it on held-out images, by region.

Training images are those only this subject saw, test images those all subjects saw. Alpha is chosen for each voxel by
K-fold cross-validation on the training images. Layers are written one by one: a run that dies continues at its layer.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

import brain_activity_prediction  # noqa: F401, handles signals from here on

# isort: split
import numpy as np

from brain_activity_prediction.cli import shared_flags as shared
from brain_activity_prediction.cli.flag_values import positive_int
from brain_activity_prediction.cli.model_names import resolved_model_id
from brain_activity_prediction.datasets.nsd.design import read_design
from brain_activity_prediction.datasets.nsd.layout import Layout, find_layout
from brain_activity_prediction.encoding import protocols
from brain_activity_prediction.encoding.encode import assess_best_layers, check_finished, fit_layers, layers_left
from brain_activity_prediction.encoding.layers import Layer, by_stream, check_complete, open_layers
from brain_activity_prediction.encoding.scores.score_store import Results
from brain_activity_prediction.inference.permutations import FEW_BLOCKS, FEWEST_BLOCKS, n_different
from brain_activity_prediction.inference.region_statistics import Asked, usable_ceiling
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.runtime.running import run_script
from brain_activity_prediction.runtime.wording import are, count, were
from brain_activity_prediction.storage.embeddings.embedding_store import EmbeddingStore
from brain_activity_prediction.storage.files import remove_left_behind
from brain_activity_prediction.storage.folders import alignment_folder
from brain_activity_prediction.storage.made_from import write_note
from brain_activity_prediction.storage.settings_file import ORIGIN, RESPONSES, comparable

if TYPE_CHECKING:
    from brain_activity_prediction.encoding.subject_data import Targets

CRITERIA = ("neg_mean_squared_error", "r2", "correlation")


def flags() -> argparse.ArgumentParser:
    flags = shared.parser(__doc__)
    shared.add_prompts(flags)
    shared.add_device(flags)
    shared.add_layers(flags)
    shared.add_protocol(flags)
    shared.add_layer_choice(flags)
    shared.add_alphas(flags)
    flags.add_argument("--criterion", choices=CRITERIA, default=CRITERIA[0], help="what alpha is chosen by")
    shared.add_responses(flags)
    shared.add_ceilings(flags)
    shared.add_permutations(flags)
    flags.add_argument(
        "--permutation-block",
        type=positive_int,
        default=1,
        metavar="N",
        help="permute whole blocks of N test images that follow each other by id, not in time: no guard against the "
        "autocorrelation of fMRI; images left over are not in the test",
    )
    shared.add_bootstrap(flags)
    flags.add_argument("--redo", action="store_true", help="replace scores that are there")
    return flags


def read_flags(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The flags of the words, None for the command line's; InputError where they contradict each other."""
    arguments = protocols.applied(flags(), words)
    shared.check_alphas(arguments)
    return arguments


def check_files(layout: Layout, arguments: argparse.Namespace) -> None:
    """Raises InputError where a file that the flags name is missing: betas of a session, an ROI, NSD's ncsnr."""
    for session in arguments.sessions or ():
        layout.betas(arguments.subject, session)
    for name in arguments.roi or ():
        layout.check_roi(arguments.subject, name)
    if arguments.ncsnr == "nsd":
        layout.ncsnr(arguments.subject)


def main() -> None:
    arguments = read_flags()
    arguments.model_id = resolved_model_id(arguments.base_dir, arguments.model_id)
    protocols.announce(arguments.protocol)
    layout = find_layout(arguments.base_dir)
    layout.sessions(arguments.subject)
    shared.check_device(arguments.gpu_id)
    layers = open_layers(arguments)
    log.info(f"{arguments.model_id}, {layout.name} layout of NSD: {count(len(layers), 'layer')}")
    align(layout, layers, arguments)


def align(layout: Layout, layers: list[Layer], arguments: argparse.Namespace) -> None:
    """Fits the layers that have no scores yet and writes what people look at; says what is missing before any fit."""
    from brain_activity_prediction.datasets.nsd.regions import read_regions
    from brain_activity_prediction.encoding.subject_data import (
        ceiling_of_test_images,
        ceilings_of_regions,
        scaling,
        targets_asked_for,
        tell_data_used,
    )
    from brain_activity_prediction.encoding.tables.summary import summarise, warn_of_low_ceilings

    n_permutations = planned_permutations(layout, arguments)
    regions = read_regions(layout, arguments.subject, arguments.roi)
    targets = targets_asked_for(arguments, layout, arguments.subject, scaling(arguments.protocol))
    ceiling = ceiling_of_test_images(targets, layout, arguments.subject, arguments.ncsnr)
    for (_, stream), own in by_stream(layers).items():
        check_complete(own[0].store, stream, targets.image_ids)
    usable = usable_ceiling(ceiling, arguments.min_noise_ceiling)
    of_regions = ceilings_of_regions(targets, regions)
    counted = np.isfinite(of_regions.voxels)
    asked = Asked(regions, n_permutations, arguments.permutation_block, arguments.bootstrap, usable, counted)
    results = {}
    for prompt, store in {layer.prompt: layer.store for layer in layers}.items():
        of = (arguments.base_dir, arguments.subject, arguments.model_id, prompt, arguments.protocol)
        results[prompt] = Results(alignment_folder(*of))
        results[prompt].claim(settings_of(arguments, targets, store), arguments.redo)
        results[prompt].write_noise_ceiling(ceiling, arguments.ncsnr, of_regions, targets.data_used())

    tell_data_used(targets, arguments.subject)
    left = layers_left(layers, results, asked)
    if len(left) < len(layers):
        n_done = len(layers) - len(left)
        done = f"{count(n_done, 'layer')} {were(n_done)} scored before"
        log.info(f"{done}, {len(left)} {are(len(left))} left")
    fit_layers(left, targets, asked, results, arguments)
    check_finished(layers, results, asked)
    warn_of_low_ceilings(ceiling, arguments.min_noise_ceiling)
    for prompt, finished in results.items():
        remove_left_behind(finished.folder)
        of, scored = (arguments.model_id, prompt, arguments.subject), None
        while scored != finished.layers():  # another process may finish layers meanwhile: no table is to lack them
            scored = finished.layers()
            for stream in finished.streams():
                assess_best_layers(finished, stream, targets, asked, arguments.gpu_id)
            made_from = finished.state()
            summarise(finished, regions, targets, of, arguments.min_noise_ceiling, arguments.layers)
        write_note(finished.folder, made_from)


def planned_permutations(layout: Layout, arguments: argparse.Namespace) -> int:
    """The number of permutations to make: as many as asked for, or all that the blocks of test images have.

    Raises InputError where there are too few blocks; a line on stderr says how many images are left over and warns of
    few blocks.
    """
    n_permutations, block = arguments.permutations, arguments.permutation_block
    if not n_permutations:
        return 0
    design = read_design(layout.design())
    sessions = arguments.sessions or layout.sessions(arguments.subject)
    n_images = np.isin(design.shared_ids, design.trial_ids(arguments.subject, sessions)).sum()
    n_blocks = int(n_images) // block
    if n_blocks < FEWEST_BLOCKS and block > 1:
        raise InputError(
            f"--permutation-block {block}: {n_images} test images make {n_blocks} whole blocks, too few for a "
            f"permutation test: give {max(n_images // FEW_BLOCKS, 1)} or less"
        )
    if left_over := n_images % block:
        log.warning(f"permutation test: {left_over} of {n_images} test images fill no block and are left out")
    if n_blocks < FEW_BLOCKS:
        blocks = "test images" if block == 1 else f"blocks of {block} test images"
        log.info(f"permutation test: only {n_blocks} {blocks} to permute, p is coarse and finds little")
    return n_different(n_blocks, n_permutations)


def settings_of(arguments: argparse.Namespace, targets: Targets, store: EmbeddingStore) -> dict:
    """What changes the scores, recorded beside them."""
    return {
        "protocol": arguments.protocol,
        "min_log_10_alpha": arguments.min_log_10_alpha,
        "max_log_10_alpha": arguments.max_log_10_alpha,
        "num_alphas": arguments.num_alphas,
        "criterion": arguments.criterion,
        "folds": protocols.FOLDS,
        "sessions": targets.sessions,
        "zscore_sessions": arguments.zscore_sessions,
        "standardised_by": protocols.STANDARDISED_BY[arguments.protocol],
        RESPONSES: targets.digest,
        ORIGIN: targets.made_from,
        **{f"embeddings_{name}": value for name, value in comparable(store.settings() or {}).items()},
    }


if __name__ == "__main__":
    run_script(main)
