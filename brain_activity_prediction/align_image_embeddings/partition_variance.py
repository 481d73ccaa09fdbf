"""Partitions the variance that two to four feature spaces predict into what each predicts alone and what they share.

All spaces are fitted jointly, each with an alpha of its own (banded ridge): alpha and the weights of the spaces are
chosen for each voxel by K-fold cross-validation on the training images. The layer `best` is each region's best one on
the training images; regions with the same layers share their fits. Weightings are written one by one: a run that dies
continues at its weighting, and processes with the same command share them out.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import brain_activity_prediction  # noqa: F401, handles signals from here on

# isort: split
import numpy as np

from brain_activity_prediction.cli import shared_flags as shared
from brain_activity_prediction.cli.flag_values import analysis_name, positive_int, seed
from brain_activity_prediction.datasets.nsd.layout import find_layout
from brain_activity_prediction.encoding.layers import check_complete
from brain_activity_prediction.encoding.protocols import FOLDS
from brain_activity_prediction.ridge.weightings import random_weightings, weighting_grid
from brain_activity_prediction.runtime.claims import Claims, remove_left_claims, shared_out
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.runtime.running import fill, progress_seconds, run_script
from brain_activity_prediction.runtime.stopping import until_stopped
from brain_activity_prediction.runtime.wording import are, count
from brain_activity_prediction.storage.folders import partitioning_folder
from brain_activity_prediction.storage.settings_file import ORIGIN, RESPONSES, comparable
from brain_activity_prediction.variance_partitioning import feature_spaces
from brain_activity_prediction.variance_partitioning.feature_spaces import LETTERS, Space
from brain_activity_prediction.variance_partitioning.share_store import WeightingScores

if TYPE_CHECKING:
    import torch

    from brain_activity_prediction.encoding.subject_data import Targets
    from brain_activity_prediction.ridge.banded import FeatureSpaces
    from brain_activity_prediction.variance_partitioning.region_layers import LayerChoice


def flags() -> argparse.ArgumentParser:
    flags = shared.parser(__doc__)
    feature_spaces.add_spaces(flags)
    flags.add_argument("-n", "--name", required=True, type=analysis_name, help="of the folder that results go to")
    shared.add_device(flags)
    shared.add_alphas(flags)
    flags.add_argument(
        "--random-weightings",
        type=positive_int,
        metavar="N",
        help="N random weightings of each combination of spaces, instead of a grid of 9 a pair, 61 a triple",
    )
    flags.add_argument("--seed", type=seed, default=0, help="of the random weightings")
    shared.add_responses(flags)
    shared.add_ceilings(flags)
    shared.add_bootstrap(flags)
    flags.add_argument("--redo", action="store_true", help="replace scores that are there")
    return flags


def main() -> None:
    arguments = flags().parse_args()
    shared.check_alphas(arguments)
    layout = find_layout(arguments.base_dir)
    layout.sessions(arguments.subject)
    shared.check_device(arguments.gpu_id)
    spaces = feature_spaces.parse_spaces(arguments.space, arguments.base_dir)

    from brain_activity_prediction.datasets.nsd.regions import read_regions
    from brain_activity_prediction.encoding.subject_data import (
        ceiling_of_test_images,
        targets_asked_for,
        tell_data_used,
    )
    from brain_activity_prediction.variance_partitioning.region_layers import layer_choices
    from brain_activity_prediction.variance_partitioning.share_table import summarise

    regions = read_regions(layout, arguments.subject, arguments.roi)
    targets = targets_asked_for(arguments, layout, arguments.subject)
    ceiling = ceiling_of_test_images(targets, layout, arguments.subject, arguments.ncsnr)
    for space in spaces:
        check_complete(space.store(arguments.base_dir), space.stream, targets.image_ids)
    choices = layer_choices(spaces, arguments.base_dir, arguments.subject, targets, regions)
    analyses = [(choice, scores_of(choice, choice is choices[0], arguments)) for choice in choices]
    for choice, scores in analyses:
        scores.claim(settings_of(arguments, choice.spaces, targets), arguments.redo)
    tell_data_used(targets, arguments.subject)
    resampled = [fit_choice(choice, scores, targets, arguments) for choice, scores in analyses]
    ceilings = (ceiling, arguments.ncsnr, arguments.min_noise_ceiling)
    summarise(analyses, targets, regions, ceilings, resampled, arguments.subject)


def scores_of(choice: LayerChoice, first: bool, arguments: argparse.Namespace) -> WeightingScores:
    """Where the joint fits of a choice of layers are kept: the first in the analysis' folder, others in subfolders."""
    folder, n_spaces = partitioning_folder(arguments.base_dir, arguments.subject, arguments.name), len(choice.spaces)
    if arguments.random_weightings:
        weightings = random_weightings(n_spaces, arguments.random_weightings, arguments.seed)
    else:
        weightings = weighting_grid(n_spaces)
    return WeightingScores(folder if first else folder / choice.folder_name, weightings)


def fit_choice(choice: LayerChoice, scores: WeightingScores, targets: Targets, arguments: argparse.Namespace):
    """Fits what is left of a choice of layers, and returns what `resampled_shares` does, None without --bootstrap."""
    from brain_activity_prediction.variance_partitioning.resampled_shares import resampled_shares

    fits = Fits(scores.weightings, choice.spaces, targets, arguments)
    fit_weightings(scores, targets, fits)
    if not arguments.bootstrap:
        return None
    return resampled_shares(scores, targets.test, choice.regions, arguments.bootstrap, fits.predictions)


def settings_of(arguments: argparse.Namespace, spaces: Sequence[Space], targets: Targets) -> dict:
    """What changes the scores, recorded beside them."""
    drawn = arguments.random_weightings
    settings = {
        "spaces": [str(space) for space in spaces],
        "min_log_10_alpha": arguments.min_log_10_alpha,
        "max_log_10_alpha": arguments.max_log_10_alpha,
        "num_alphas": arguments.num_alphas,
        "weightings": f"{drawn} random, seed {arguments.seed}" if drawn else "grid",
        "folds": FOLDS,
        "sessions": targets.sessions,
        "zscore_sessions": arguments.zscore_sessions,
        "standardised_by": "training images",
        RESPONSES: targets.digest,
        ORIGIN: targets.made_from,
    }
    for letter, space in zip(LETTERS, spaces, strict=False):
        embeddings = comparable(space.store(arguments.base_dir).settings() or {})
        settings |= {f"{letter}_embeddings_{name}": value for name, value in embeddings.items()}
    return settings


@dataclass(frozen=True)
class Fits:
    """The joint fits of an analysis; the spaces' states are read when the first is asked for."""

    weightings: np.ndarray
    spaces: Sequence[Space]
    targets: Targets
    arguments: argparse.Namespace

    @cached_property
    def features(self) -> FeatureSpaces:
        from brain_activity_prediction.ridge.banded import FeatureSpaces

        parts = (read_space(space, self.arguments, self.targets) for space in self.spaces)
        return FeatureSpaces.of(*zip(*parts, strict=True))

    def fit(self, number: int, voxels: np.ndarray | slice = slice(None)) -> tuple[torch.Tensor, ...]:
        """alpha (v,), cv_score (v,) and predictions (n_test, v) of a weighting, by its number."""
        import torch

        responses = torch.from_numpy(np.ascontiguousarray(self.targets.train[:, voxels]))
        return self.features.fit(self.weightings[number], responses, shared.alphas(self.arguments), folds=FOLDS)

    def predictions(self, number: int, voxels: np.ndarray) -> torch.Tensor:
        return self.fit(number, voxels)[2]


def fit_weightings(scores: WeightingScores, targets: Targets, fits: Fits) -> None:
    """Fits and writes weighting after weighting that no other process is at work on."""
    left, claims_folder = scores.left(), scores.folder / "claims"
    if not left:
        remove_left_claims(claims_folder)
        return
    log.info(
        f"{count(len(scores.weightings), 'weighting')} of {len(fits.spaces)} spaces, {len(left)} {are(len(left))} left "
        f"(layers {', '.join(str(space.layer) for space in fits.spaces)})"
    )

    import torch
    from tqdm import tqdm

    from brain_activity_prediction.inference.missing_images import score_present
    from brain_activity_prediction.ridge.scores import r2_score

    observed = torch.from_numpy(targets.test)
    bar = tqdm(total=len(left), unit="weighting", mininterval=progress_seconds())
    with Claims(claims_folder) as claims, bar as progress:
        claimed = shared_out(claims, lambda: {("scores",): scores.left()}, 1, WeightingScores.name)
        for numbers, _ in until_stopped(claimed):
            for number in numbers:
                alpha, cv_score, predicted = fits.fit(number)
                found = {
                    "alpha": alpha.cpu(),
                    "cv_score": cv_score.cpu(),
                    "r2": score_present(r2_score, observed, predicted.cpu()),
                }
                scores.write(number, found)
                claims.finished([WeightingScores.name(number)])
                progress.update()
        fill(progress)


def read_space(space: Space, arguments: argparse.Namespace, targets: Targets):
    """The standardised states (n_train, D) and (n_test, D) of a space, on the device."""
    import torch

    from brain_activity_prediction.encoding.subject_data import standardise, varying_features

    states = space.store(arguments.base_dir).read_layer(space.stream, space.layer, targets.image_ids)
    parts = varying_features(*standardise(*np.split(states, [len(targets.train_ids)])))
    return [torch.from_numpy(part).to(arguments.gpu_id) for part in parts]


if __name__ == "__main__":
    run_script(main)
