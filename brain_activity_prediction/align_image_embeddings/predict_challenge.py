"""Predicts the unpublished responses to the test images of a challenge (Algonauts 2023), and writes arrays to submit.

Models are fitted to all images with responses. Each vertex is predicted from its best layer by cross-validated score.
"""

import argparse

import brain_activity_prediction  # noqa: F401, handles signals from here on

# isort: split
from brain_activity_prediction.cli import shared_flags as shared
from brain_activity_prediction.cli.settings_from_flags import settings_from
from brain_activity_prediction.datasets.find import find_dataset
from brain_activity_prediction.encoding.layers import open_layers
from brain_activity_prediction.encoding.settings import SubmissionSettings
from brain_activity_prediction.ridge import CRITERIA
from brain_activity_prediction.runtime import devices
from brain_activity_prediction.runtime.running import run_script


def flags() -> argparse.ArgumentParser:
    flags = shared.parser(__doc__)
    shared.add_prompts(flags)
    shared.add_device(flags)
    shared.add_layers(flags)
    shared.add_alphas(flags)
    flags.add_argument(
        "--criterion",
        choices=CRITERIA,
        default=SubmissionSettings.criterion,
        help="cross-validated score by which alpha is chosen",
    )
    return flags


def read_settings() -> SubmissionSettings:
    """Return the settings of the command line."""
    return settings_from(SubmissionSettings, flags().parse_args())


def main() -> None:
    settings = read_settings()
    dataset = find_dataset(settings.base_dir, settings.dataset)
    dataset.check_subjects([settings.subject])
    dataset.challenge_images(settings.subject)
    devices.check_device(settings.device)
    layers = open_layers(settings.output, settings.features)

    from brain_activity_prediction.encoding.submission import predict_challenge

    predict_challenge(settings, dataset, layers)


if __name__ == "__main__":
    run_script(main)
