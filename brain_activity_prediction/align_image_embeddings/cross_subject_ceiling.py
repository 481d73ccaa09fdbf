"""Predicts each subject's responses to the shared images from the other subjects' responses, by ridge regression.

This ceiling needs no repeats and no model, only the betas of two or more subjects. By default, a subject is predicted
from all other subjects together. With --predict-from each, it is predicted from one subject at a time, which gives a
lower ceiling; state your choice in publications. The ceiling is not an upper bound, because it is trained on about 800
images (four fifths of those that all subjects saw), but a model on about 9,000. r is the mean over the folds.
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
# The best alpha grows with the number of features: here all voxels of other subjects, ten times a model's width.
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
        help="predict from all other subjects in one fit (together), or from one at a time and average r (each)",
    )
    return flags


def main() -> None:
    arguments = flags().parse_args()
    subjects = sorted(set(arguments.subject))
    if len(subjects) < 2:
        raise InputError("this ceiling needs responses of several subjects: name two or more with -s")
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
