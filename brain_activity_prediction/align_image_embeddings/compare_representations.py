"""Compares a model's layers with brain regions by RSA and centred kernel alignment, which need no fit.

Both measure whether pairs of images that are similar in a layer are also similar in a region. They use the images that
all subjects saw. Hidden states and responses are z-scored over these images.
"""

import argparse

import brain_activity_prediction  # noqa: F401, handles signals from here on

# isort: split
from brain_activity_prediction.cli import dataset_flags
from brain_activity_prediction.cli import shared_flags as shared
from brain_activity_prediction.cli.flag_values import subject_list
from brain_activity_prediction.cli.settings_from_flags import open_dataset, settings_from
from brain_activity_prediction.encoding.layers import open_layers
from brain_activity_prediction.rsa.settings import SimilaritySettings
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.running import run_script


def flags() -> argparse.ArgumentParser:
    flags = shared.parser(__doc__)
    shared.add_prompts(flags)
    shared.add_device(flags)
    shared.add_layers(flags)
    shared.add_responses(flags)
    dataset_flags.add_split(flags)
    shared.add_permutations(flags)
    shared.add_numbers(
        flags,
        "--ceiling-subjects",
        read=subject_list,
        default=[],
        metavar="S",
        help="other subjects, whose responses to the same images give noise ceilings (default: none)",
    )
    return flags


def read_settings() -> SimilaritySettings:
    """Return the settings of the command line."""
    return settings_from(SimilaritySettings, flags().parse_args())


def main() -> None:
    settings = read_settings()
    dataset = open_dataset(settings, *settings.ceiling_subjects)
    if settings.subject in settings.ceiling_subjects:
        raise InputError(f"--ceiling-subjects {settings.subject} is also --subject: give other subjects")
    layers = open_layers(settings.output, settings.features)

    from brain_activity_prediction.rsa.analysis import compare_representations

    compare_representations(settings, dataset, layers)


if __name__ == "__main__":
    run_script(main)
