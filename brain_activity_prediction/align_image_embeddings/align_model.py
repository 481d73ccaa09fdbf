"""Fits ridge regression from a model's hidden states to every voxel, and scores the predictions on held-out images.

For NSD, models are trained on the images that only this subject saw, and tested on the images that all subjects saw.
Alpha, the ridge penalty, is chosen for each voxel by K-fold cross-validation on the training images. Scores are stored
layer by layer. To continue an interrupted run, repeat the command.
"""

import argparse
from collections.abc import Sequence

import brain_activity_prediction  # noqa: F401, handles signals from here on

# isort: split
from brain_activity_prediction.cli import dataset_flags
from brain_activity_prediction.cli import shared_flags as shared
from brain_activity_prediction.cli.flag_values import positive_int
from brain_activity_prediction.cli.settings_from_flags import (
    log_protocol,
    open_dataset,
    parse_with_protocol,
    settings_from,
)
from brain_activity_prediction.encoding.layers import open_layers
from brain_activity_prediction.encoding.settings import EncodingSettings
from brain_activity_prediction.ridge import CRITERIA
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.runtime.running import run_script
from brain_activity_prediction.runtime.wording import count


def flags() -> argparse.ArgumentParser:
    flags = shared.parser(__doc__)
    shared.add_prompts(flags)
    shared.add_device(flags)
    shared.add_layers(flags)
    shared.add_protocol(flags)
    shared.add_layer_choice(flags)
    shared.add_alphas(flags)
    flags.add_argument(
        "--criterion",
        choices=CRITERIA,
        default=EncodingSettings.criterion,
        help="cross-validated score by which alpha is chosen",
    )
    shared.add_responses(flags)
    dataset_flags.add_trials(flags)
    dataset_flags.add_split(flags)
    dataset_flags.add_cv_test(flags)
    shared.add_ceilings(flags)
    shared.add_permutations(flags)
    flags.add_argument(
        "--permutation-block",
        type=positive_int,
        default=EncodingSettings.permutation_block,
        metavar="N",
        help="number of test images with consecutive ids that are permuted together; images after the last whole block "
        "are left out; blocks do not correct for the autocorrelation of fMRI, because ids are not in order of time",
    )
    shared.add_bootstrap(flags)
    flags.add_argument("--redo", action="store_true", help="replace existing scores")
    return flags


def read_settings(words: Sequence[str] | None = None) -> EncodingSettings:
    """Return the settings of a command line; raise InputError if flags contradict each other.

    words  words of the command line; None for that of this process
    """
    return settings_from(EncodingSettings, parse_with_protocol(flags(), words))


def main() -> None:
    settings = read_settings()
    log_protocol(settings.protocol)
    dataset = open_dataset(settings)
    layers = open_layers(settings.output, settings.features)
    log.info(f"{settings.features.model_id}, {dataset.description}: {count(len(layers), 'layer')}")

    if settings.split.cv_test:
        from brain_activity_prediction.encoding.cross_validation import cross_validate

        cross_validate(settings, dataset, layers)
    else:
        from brain_activity_prediction.encoding.encode import encode

        encode(settings, dataset, layers)


if __name__ == "__main__":
    run_script(main)
