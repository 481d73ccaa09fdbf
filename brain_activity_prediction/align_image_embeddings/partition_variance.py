"""Partitions the variance that two to four feature spaces predict into unique and shared parts.

A feature space is one layer of a model. All spaces are fitted jointly, each with its own penalty (banded ridge). Alpha
and the relative weights of the spaces are chosen for each voxel by K-fold cross-validation on the training images. The
layer `best` is each region's best layer on the training images. To continue an interrupted run, repeat the command.
Several processes with the same command share the work.
"""

import argparse

import brain_activity_prediction  # noqa: F401, handles signals from here on

# isort: split
from brain_activity_prediction.cli import dataset_flags
from brain_activity_prediction.cli import shared_flags as shared
from brain_activity_prediction.cli.flag_values import analysis_name, positive_int, seed
from brain_activity_prediction.cli.model_names import resolved_model_id
from brain_activity_prediction.cli.settings_from_flags import open_dataset, settings_from
from brain_activity_prediction.runtime.running import run_script
from brain_activity_prediction.variance_partitioning.feature_spaces import check_spaces, parse_space
from brain_activity_prediction.variance_partitioning.settings import PartitioningSettings


def flags() -> argparse.ArgumentParser:
    flags = shared.parser(__doc__)
    flags.add_argument(
        "--space",
        nargs=4,
        action="append",
        required=True,
        metavar=("MODEL", "PROMPT", "STREAM", "LAYER"),
        help="feature space, given two to four times: model id, prompt number (or none), stream, and layer: a number "
        "from 0, or best for each region's best layer in align_model.py",
    )
    flags.add_argument("-n", "--name", required=True, type=analysis_name, help="name of the results' folder")
    shared.add_device(flags)
    shared.add_alphas(flags)
    flags.add_argument(
        "--random-weightings",
        type=positive_int,
        metavar="N",
        help="try this number of random weightings for each combination of spaces (default: a grid: 9 for pairs, 61 "
        "for triples)",
    )
    flags.add_argument("--seed", type=seed, default=PartitioningSettings.seed, help="seed of the random weightings")
    shared.add_responses(flags, space="")
    dataset_flags.add_trials(flags)
    dataset_flags.add_split(flags)
    shared.add_ceilings(flags)
    shared.add_bootstrap(flags)
    flags.add_argument("--redo", action="store_true", help="replace existing scores")
    return flags


def read_settings() -> PartitioningSettings:
    """Return the settings of the command line."""
    arguments = flags().parse_args()
    output = dataset_flags.output_from(arguments)
    return settings_from(
        PartitioningSettings,
        arguments,
        spaces=[parse_space(resolved_model_id(output, model), *words) for model, *words in arguments.space],
    )


def main() -> None:
    settings = read_settings()
    dataset = open_dataset(settings)
    check_spaces(settings.spaces, settings.output)

    from brain_activity_prediction.variance_partitioning.partition import partition

    partition(settings, dataset)


if __name__ == "__main__":
    run_script(main)
