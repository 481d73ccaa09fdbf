"""Predicts each subject's responses to the shared images from the other subjects' responses, by ridge regression.

This ceiling needs no repeats and no model, only the betas of two or more subjects. By default, all other subjects
predict together. With --predict-from each, they predict one at a time, which gives a lower ceiling; a publication
should name the choice. The ceiling is not an upper bound: a model's r may exceed it. The ceiling's ridge learns from
some 800 images, four fifths of those that all subjects saw; a model's ridge learns from some 9,000. r is the mean over
the folds.
"""

import argparse

import brain_activity_prediction  # noqa: F401, handles signals from here on

# isort: split
from brain_activity_prediction.cli import dataset_flags
from brain_activity_prediction.cli import shared_flags as shared
from brain_activity_prediction.cli.settings_from_flags import settings_from
from brain_activity_prediction.datasets.find import as_chosen
from brain_activity_prediction.encoding.settings import AlphaGrid
from brain_activity_prediction.runtime import devices
from brain_activity_prediction.runtime.errors import InputError
from brain_activity_prediction.runtime.running import run_script

SOURCES = TOGETHER, EACH = "together", "each"
# The features are the voxels of all other subjects, ten times as many as a model has; the best alpha grows with them.
LARGEST_LOG_10_ALPHA = 7


def flags() -> argparse.ArgumentParser:
    flags = shared.parser(__doc__, several_subjects=True)
    flags.set_defaults(subject=list(dataset_flags.STUDIED))
    shared.add_device(flags)
    shared.add_alphas(flags, AlphaGrid(max_log_10_alpha=LARGEST_LOG_10_ALPHA))
    shared.add_responses(flags)
    flags.add_argument(
        "--predict-from",
        choices=SOURCES,
        default=TOGETHER,
        help="predict from all other subjects in one fit (together), or from each in its own fit, averaging r (each)",
    )
    return flags


def main() -> None:
    arguments = flags().parse_args()
    subjects = sorted(set(arguments.subject))
    if len(subjects) < 2:
        raise InputError("a ceiling needs the responses of several subjects: name two or more with -s")
    dataset = as_chosen(dataset_flags.dataset_from(arguments), dataset_flags.reading_from(arguments))
    for subject in subjects:
        dataset.sessions(subject)
    devices.check_device(arguments.gpu_id)

    from brain_activity_prediction.cross_subject.ceiling import CeilingSettings, write_ceilings

    settings = settings_from(
        CeilingSettings,
        arguments,
        subjects=subjects,
        together=arguments.predict_from == TOGETHER,
    )
    write_ceilings(settings, dataset)


if __name__ == "__main__":
    run_script(main)
